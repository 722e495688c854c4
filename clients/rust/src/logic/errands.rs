//! What a session does: errands of one or more calls, and the context that it carries from answer to answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::calls::{Call, Calling, Next, Settings, Write};
use super::nodes::Node;
use super::steps::{Answer, Outcome, Request};
use crate::error::{Error, ProblemKind};
use crate::{Siblings, Values, WriteOptions, Written};

const CONTEXT: &str = "causal-context";
/// The status of a write that fewer nodes have than were asked for.
const NOT_ENOUGH: u16 = 202;

/// What a session has seen, and the node that answered last, which has all of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) context: Option<String>,
    pub(crate) home: Option<Node>,
}

/// What an errand does next.
pub(crate) enum Turn<T> {
    Ask(Asked),
    Done(T),
}

/// A call that an errand wants to be made.
pub(crate) struct Asked {
    call: Call,
    /// How long the node may wait: the client's own time, if nothing is said; at all only if it may have to.
    wait: Option<Duration>,
    must_wait: bool,
}

impl Asked {
    fn new(call: Call) -> Self {
        Self { call, wait: None, must_wait: false }
    }
}

/// Calls that belong together.
pub(crate) trait Errand {
    /// What comes of it.
    type Output;

    fn next(&mut self) -> Result<Turn<Self::Output>, Error>;

    fn take(&mut self, answer: Answer) -> Result<(), Error>;

    /// What to make of a call that failed. `in_time`: there is time left for another one.
    fn failed(&mut self, error: Error, _in_time: bool) -> Result<(), Error> {
        Err(error)
    }
}

/// What to do next for an errand.
pub(crate) enum Step<T> {
    Send(Request),
    Pause(Duration),
    Done(T),
}

/// An errand on its way.
pub(crate) struct Run<'a, E> {
    settings: Arc<Settings>,
    seen: &'a mut Seen,
    errand: E,
    deadline: Instant,
    calling: Option<Calling>,
}

impl<'a, E: Errand> Run<'a, E> {
    pub(crate) fn begin(settings: Arc<Settings>, seen: &'a mut Seen, errand: E, deadline: Instant) -> Self {
        Self { settings, seen, errand, deadline, calling: None }
    }

    /// Goes on, with the outcome of the last step if that was a request.
    pub(crate) fn step(&mut self, now: Instant, outcome: Option<Outcome>) -> Result<Step<E::Output>, Error> {
        if let (Some(outcome), Some(calling)) = (outcome, &mut self.calling) {
            match calling.take(now, outcome) {
                Ok(None) => {}
                Ok(Some((node, answer))) => self.answered(node, answer)?,
                Err(error) => self.failed(error, now)?,
            }
        }
        loop {
            if let Some(calling) = &mut self.calling {
                match calling.next(now) {
                    Ok(Next::Send(request)) => return Ok(Step::Send(request)),
                    Ok(Next::Pause(pause)) => return Ok(Step::Pause(pause)),
                    Err(error) => self.failed(error, now)?,
                }
            } else {
                match self.errand.next()? {
                    Turn::Done(output) => return Ok(Step::Done(output)),
                    Turn::Ask(asked) => self.calling = Some(self.call(asked)?),
                }
            }
        }
    }

    fn call(&self, asked: Asked) -> Result<Calling, Error> {
        let Asked { mut call, wait, must_wait } = asked;
        if must_wait || self.seen.context.is_some() {
            call.wait = wait.unwrap_or(self.settings.wait);
        }
        if let Some(context) = &self.seen.context {
            call.headers.push((CONTEXT, context.clone()));
        }
        Calling::begin(self.settings.clone(), call, self.seen.home, self.deadline)
    }

    fn answered(&mut self, node: Node, answer: Answer) -> Result<(), Error> {
        self.calling = None;
        self.seen.home = Some(node);
        let Some(context) = answer.header(CONTEXT) else {
            let url = self.settings.nodes.url(node);
            return Err(Error::BadAnswer(format!("the one of {url} has no causal context")));
        };
        self.seen.context = Some(context.to_owned());
        self.errand.take(answer)
    }

    fn failed(&mut self, error: Error, now: Instant) -> Result<(), Error> {
        self.calling = None;
        self.errand.failed(error, now < self.deadline)
    }
}

#[derive(Deserialize)]
struct Shown {
    keys: Vec<Siblings>,
}

fn parsed<T: DeserializeOwned>(answer: &Answer) -> Result<T, Error> {
    serde_json::from_slice(&answer.body).map_err(|error| Error::BadAnswer(error.to_string()))
}

fn read_call(keys: &[String]) -> Asked {
    let body = json!({ "keys": keys }).to_string().into_bytes();
    let path = "/read?resolve=all".to_owned();
    Asked::new(Call { method: "POST", path, headers: Vec::new(), body, wait: Duration::ZERO, write: None })
}

/// Reads all siblings of keys: as of one instant, if they fit into one answer.
pub(crate) struct Read {
    left: Vec<String>,
    found: BTreeMap<String, Siblings>,
}

impl Read {
    pub(crate) fn new(keys: impl IntoIterator<Item = String>) -> Self {
        let mut left: Vec<String> = Vec::new();
        let mut known = std::collections::BTreeSet::new();
        left.extend(keys.into_iter().filter(|key| known.insert(key.clone())));
        Self { left, found: BTreeMap::new() }
    }
}

impl Errand for Read {
    type Output = BTreeMap<String, Siblings>;

    fn next(&mut self) -> Result<Turn<Self::Output>, Error> {
        match self.left.is_empty() {
            true => Ok(Turn::Done(std::mem::take(&mut self.found))),
            false => Ok(Turn::Ask(read_call(&self.left))),
        }
    }

    fn take(&mut self, answer: Answer) -> Result<(), Error> {
        let asked = self.left.len();
        let shown: Shown = parsed(&answer)?;
        self.found.extend(shown.keys.into_iter().map(|siblings| (siblings.key.clone(), siblings)));
        self.left.retain(|key| !self.found.contains_key(key));
        match self.left.len() < asked {
            true => Ok(()),
            false => Err(Error::BadAnswer("it shows none of the keys that were asked for".to_owned())),
        }
    }
}

/// Writes and deletes, all or nothing.
pub(crate) struct Set {
    values: Values,
    options: WriteOptions,
    written: Option<Written>,
}

impl Set {
    pub(crate) fn new(values: Values, options: WriteOptions) -> Self {
        Self { values, options, written: None }
    }

    fn call(&self) -> Result<Asked, Error> {
        let idempotency_key = match &self.options.idempotency_key {
            Some(key) => key.clone(),
            None => new_idempotency_key()?,
        };
        let acks = self.options.acks.map(|acks| ("acks", acks.text()));
        let replaces = self.options.replaces.map(|replaces| ("replaces", replaces.text().to_owned()));
        let path = with_query("/set", acks.into_iter().chain(replaces));
        let headers = vec![("idempotency-key", idempotency_key.clone())];
        let body = json!({ "values": &self.values }).to_string().into_bytes();
        let write = Some(Write { values: self.values.clone(), idempotency_key });
        let call = Call { method: "PATCH", path, headers, body, wait: Duration::ZERO, write };
        Ok(Asked { call, wait: self.options.wait, must_wait: self.options.acks.is_some() })
    }
}

#[derive(Deserialize)]
struct Receipt {
    dot: String,
    durable_on: Vec<u32>,
}

impl Errand for Set {
    type Output = Written;

    fn next(&mut self) -> Result<Turn<Written>, Error> {
        match self.written.take() {
            Some(written) => Ok(Turn::Done(written)),
            None => Ok(Turn::Ask(self.call()?)),
        }
    }

    fn take(&mut self, answer: Answer) -> Result<(), Error> {
        let Receipt { dot, durable_on } = parsed(&answer)?;
        let replayed = answer.header("idempotency-replayed") == Some("true");
        let enough = answer.status != NOT_ENOUGH;
        self.written = Some(Written { values: self.values.clone(), dot, durable_on, enough, replayed });
        Ok(())
    }
}

/// 128 random bits, as text.
fn new_idempotency_key() -> Result<String, Error> {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(format!("{:032x}", u128::from_be_bytes(bytes))),
        Err(error) => Err(Error::Unusable(format!("the system gives no random bits: {error}"))),
    }
}

/// What came of merging.
pub(crate) enum Merged {
    /// There was nothing to settle; what the key has.
    Left(Option<String>),
    Written(Written),
}

/// Reads a key's siblings and puts what `merge` makes of them into their place.
pub(crate) struct Update<M> {
    key: String,
    merge: M,
    options: WriteOptions,
    /// Writes only where there are several.
    only_conflicts: bool,
    stage: Stage,
}

enum Stage {
    Reading,
    Writing(Box<Set>),
    Settled(Option<String>),
}

impl<M: FnMut(&Siblings) -> Option<String>> Update<M> {
    pub(crate) fn new(key: String, merge: M, options: WriteOptions) -> Self {
        Self { key, merge, options, only_conflicts: false, stage: Stage::Reading }
    }

    pub(crate) fn only_conflicts(mut self) -> Self {
        self.only_conflicts = true;
        self
    }

    fn read(&mut self, answer: &Answer) -> Result<Stage, Error> {
        let Shown { keys } = parsed(answer)?;
        let [siblings] = keys.as_slice() else {
            return Err(Error::BadAnswer(format!("it shows {} keys, asked for one", keys.len())));
        };
        if siblings.key != self.key {
            return Err(Error::BadAnswer("it shows another key than was asked for".to_owned()));
        }
        if siblings.left_out > 0 {
            return Err(Error::SiblingsLeftOut { key: self.key.clone(), left_out: siblings.left_out });
        }
        if self.only_conflicts && !siblings.in_conflict() {
            return Ok(Stage::Settled(siblings.value().map(str::to_owned)));
        }
        let values = Values::from_iter([(self.key.clone(), (self.merge)(siblings))]);
        Ok(Stage::Writing(Box::new(Set::new(values, self.options.clone()))))
    }
}

impl<M: FnMut(&Siblings) -> Option<String>> Errand for Update<M> {
    type Output = Merged;

    fn next(&mut self) -> Result<Turn<Merged>, Error> {
        Ok(match &mut self.stage {
            Stage::Reading => Turn::Ask(read_call(std::slice::from_ref(&self.key))),
            Stage::Settled(value) => Turn::Done(Merged::Left(value.take())),
            Stage::Writing(set) => match set.next()? {
                Turn::Ask(asked) => Turn::Ask(asked),
                Turn::Done(written) => Turn::Done(Merged::Written(written)),
            },
        })
    }

    fn take(&mut self, answer: Answer) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Writing(set) => set.take(answer)?,
            _ => self.stage = self.read(&answer)?,
        }
        Ok(())
    }

    fn failed(&mut self, error: Error, in_time: bool) -> Result<(), Error> {
        // Others came since the read: what is read now covers them.
        if error.kind() == Some(ProblemKind::TooManySiblings) && in_time {
            self.stage = Stage::Reading;
            return Ok(());
        }
        Err(error)
    }
}

/// Lists: a page, and where the next one begins.
pub(crate) struct List<T> {
    path: String,
    page: Option<Page<T>>,
}

#[derive(Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) keys: Vec<T>,
    pub(crate) next: Option<String>,
}

/// A key on a page.
#[derive(Deserialize)]
pub(crate) struct Key {
    pub(crate) key: String,
}

impl<T> List<T> {
    pub(crate) fn new(path: &'static str, limit: u32, prefix: &str, after: Option<&str>) -> Self {
        let prefix = Some(("prefix", prefix.to_owned())).filter(|(_, prefix)| !prefix.is_empty());
        let after = after.map(|after| ("after", after.to_owned()));
        let limit = ("limit", limit.to_string());
        Self { path: with_query(path, prefix.into_iter().chain(after).chain([limit])), page: None }
    }
}

impl<T: DeserializeOwned> Errand for List<T> {
    type Output = Page<T>;

    fn next(&mut self) -> Result<Turn<Page<T>>, Error> {
        match self.page.take() {
            Some(page) => Ok(Turn::Done(page)),
            None => Ok(Turn::Ask(Asked::new(Call::get(self.path.clone())))),
        }
    }

    fn take(&mut self, answer: Answer) -> Result<(), Error> {
        self.page = Some(parsed(&answer)?);
        Ok(())
    }
}

/// A path with its query, in the encoding of forms.
pub(crate) fn with_query(path: &str, pairs: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut url = Url::parse("http://node").expect("a constant URL is one");
    url.query_pairs_mut().extend_pairs(pairs);
    match url.query() {
        Some(query) if !query.is_empty() => format!("{path}?{query}"),
        _ => path.to_owned(),
    }
}
