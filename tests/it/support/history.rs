//! The history of a test: what its clients saw, what was done to its nodes, and what these held in the end, as
//! [`causeway_checker`] wants it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use causeway::causality::{self, VersionVector};
use causeway::format::token;
use causeway_checker::Report;
use causeway_checker::history::{
    Call, Context, Detail, Dot, Event, Final, Key, Micros, NodeEvent, NodeId, Origin, Outcome, Refusal, Request, Shown,
    State, Value, What,
};
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::api::{Answer, Api, send};
use super::until;

/// Notes what happens, on one clock.
pub(crate) struct Recorder {
    began: Instant,
    events: Mutex<Vec<Event>>,
    values: AtomicU64,
}

/// A context, as clients carry it and as the checker reads it.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    pub(crate) token: String,
    pub(crate) context: Arc<Context>,
}

impl Recorder {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), events: Mutex::default(), values: AtomicU64::new(1) })
    }

    /// The time.
    pub(crate) fn now(&self) -> Micros {
        self.began.elapsed().as_micros() as Micros
    }

    /// A number for one more write.
    pub(crate) fn value(&self) -> Value {
        self.values.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes what is about to be done to a node ([`What::Down`]) or has become of it ([`What::Up`]).
    pub(crate) fn node(&self, node: NodeId, what: What) {
        self.push(|at| Event::Node(NodeEvent { at, node, what }));
    }

    /// Notes a request that ended now.
    pub(crate) fn request(&self, sent: Sent, outcome: Outcome) {
        let Sent { session, node, start, context, call } = sent;
        self.push(|end| Event::Request(Request { session, node, start, end, context, call, outcome }));
    }

    /// The time is read under the lock, so that the events are in its order.
    fn push(&self, event: impl FnOnce(Micros) -> Event) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let event = event(self.now());
        events.push(event);
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> usize {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until the nodes hold the same and have nothing to tell each other, and notes what that is.
    pub(crate) async fn finals(&self, nodes: &[(NodeId, Api)]) {
        let equal = async || {
            let mut finals = Vec::new();
            for (node, api) in nodes {
                finals.push(at_rest(*node, api).await?);
            }
            finals.iter().all(|other| other.vector == finals[0].vector).then_some(finals)
        };
        let describe = async || {
            let mut text = String::new();
            for (node, api) in nodes {
                text += &format!("node{node}: {}\n", api.status().await);
            }
            format!("the nodes don't come to rest:\n{text}the history is in {}", self.save("at-rest").display())
        };
        for last in until(equal, describe).await {
            self.push(|_| Event::Final(last));
        }
    }

    /// What came of the requests, and how often.
    pub(crate) fn outcomes(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for event in self.events.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let Event::Request(request) = event else { continue };
            let name = match &request.outcome {
                Outcome::Read { .. } => "read".to_owned(),
                Outcome::Written { .. } | Outcome::Repeated { .. } => "written".to_owned(),
                Outcome::Refused { refusal } => format!("{refusal:?}"),
                Outcome::Unknown | Outcome::Lost => "unknown".to_owned(),
            };
            *counts.entry(name).or_default() += 1;
        }
        counts
    }

    /// What was answered to writes: by their names, what each was to write.
    pub(crate) fn written(&self) -> BTreeMap<causality::Dot, BTreeMap<String, Option<String>>> {
        let mut written = BTreeMap::new();
        for event in self.events.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let Event::Request(Request { call, outcome: Outcome::Written { dot, .. }, .. }) = event else { continue };
            let Call::Write { value, keys, deletes, .. } = call else { continue };
            let values = keys.iter().map(|key| (key.to_string(), Some(value.to_string())));
            let values = values.chain(deletes.iter().map(|key| (key.to_string(), None)));
            let Origin { node, incarnation } = dot.origin;
            let origin = causality::Origin::new(causality::NodeId(node), causality::Incarnation(incarnation));
            written.insert(origin.dot(dot.counter), values.collect());
        }
        written
    }

    /// What the checker says.
    pub(crate) fn report(&self) -> Report {
        causeway_checker::check(&self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fails, and names the file that keeps the history, when something in it is not as promised.
    pub(crate) fn judge(&self, name: &str) {
        eprintln!("{name}: {:?}", self.outcomes());
        let report = self.report();
        eprintln!("{name}: checked {:?}", report.checked);
        if report.violations.is_empty() {
            return;
        }
        let path = self.save(name);
        let told: Vec<String> = report.violations.iter().map(|violation| format!("{violation:?}")).collect();
        panic!("{} violations; the history is in {}\n{}", told.len(), path.display(), told.join("\n"));
    }

    /// Keeps the history in a file, and says in which.
    pub(crate) fn save(&self, name: &str) -> PathBuf {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join(format!("history-{name}-{}.jsonl", std::process::id()));
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        causeway_checker::history::write(&events, BufWriter::new(File::create(&path).unwrap())).unwrap();
        path
    }
}

/// A request under way.
pub(crate) struct Sent {
    pub(crate) session: u32,
    pub(crate) node: NodeId,
    pub(crate) start: Micros,
    pub(crate) context: Option<Arc<Context>>,
    pub(crate) call: Call,
}

/// What a node holds, if all of it could be read from one state, and no peer lacks anything of it.
async fn at_rest(node: NodeId, api: &Api) -> Option<Final> {
    let status = api.status().await;
    // A peer that was never heard is not of the test.
    let mut peers = status["peers"].as_array().unwrap().iter().filter(|peer| !peer["node"].is_null());
    if peers.any(|peer| peer["ops_to_ship"] != 0) {
        return None;
    }
    let ancestry = status["ancestry"].as_object().unwrap().iter();
    let ancestry = ancestry.map(|(origin, parents)| {
        let parents = parents.as_array().unwrap().iter().map(|parent| dot(parent.as_str().unwrap()));
        // A dot of it is the shortest way to read an origin.
        (dot(&format!("{origin}.1")).origin, parents.collect())
    });
    let (keys, context) = all_keys(api).await?;
    let vector = context.wait.clone();
    (vector == vector_of(&status["vector"])).then(|| Final { node, vector, ancestry: ancestry.collect(), keys })
}

fn vector_of(status: &Json) -> Vec<Dot> {
    let entries = status.as_object().unwrap().iter().map(|(origin, counter)| dot(&format!("{origin}.{counter}")));
    let mut vector: Vec<Dot> = entries.collect();
    vector.sort();
    vector
}

/// Every key with all its siblings, and the context of that; `None` when it changed meanwhile.
async fn all_keys(api: &Api) -> Option<(BTreeMap<Key, Vec<Shown>>, Arc<Context>)> {
    let (mut keys, mut after) = (Vec::new(), String::new());
    let mut contexts = Vec::new();
    loop {
        let page = api.get(&format!("/keys?limit=50&after={after}")).await;
        contexts.push(page.header("causal-context").unwrap().to_owned());
        let page = page.json();
        keys.extend(page["keys"].as_array().unwrap().iter().map(|key| key["key"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    if keys.is_empty() {
        return Some((BTreeMap::new(), carried(&contexts[0]).context));
    }
    let body = json!({ "keys": keys }).to_string();
    let request = api.request(Method::POST, "/read?resolve=all").header("content-type", "application/json");
    let answer = send(request.body(body)).await.unwrap();
    let context = answer.header("causal-context").unwrap();
    if contexts.iter().any(|other| other != context) {
        return None;
    }
    let shown = answer.json()["keys"].as_array().unwrap().iter().map(listed).collect::<Vec<_>>();
    assert_eq!(shown.len(), keys.len(), "something was left out");
    let shown = keys.into_iter().map(Key::from).zip(shown.into_iter().map(|state| state.shown));
    Some((shown.collect(), carried(context).context))
}

/// A token with what it says.
pub(crate) fn carried(token: &str) -> Carried {
    let decoded = token::decode(token).unwrap_or_else(|error| panic!("a node gave {token}: {error}"));
    let context = Context {
        wait: vector(&decoded.wait),
        seen: vector(&decoded.seen.vector),
        dots: decoded.seen.dots.iter().copied().map(dot_of).collect(),
        chars: token.len(),
    };
    Carried { token: token.to_owned(), context: Arc::new(context) }
}

fn vector(vector: &VersionVector) -> Vec<Dot> {
    vector.entries().map(dot_of).collect()
}

fn dot_of(dot: causality::Dot) -> Dot {
    let origin = Origin { node: dot.origin.node.0, incarnation: dot.origin.incarnation.0 };
    Dot { origin, counter: dot.counter }
}

fn dot(text: &str) -> Dot {
    dot_of(causality::Dot::from_str(text).unwrap())
}

/// The siblings of a key that `resolve=all` lists, turned into the order of arrival.
fn listed(key: &Json) -> State {
    assert!(key["left_out"].is_null(), "something was left out: {key}");
    let siblings = key["siblings"].as_array().unwrap().iter().rev();
    let shown: Vec<Shown> = siblings
        .map(|sibling| {
            let at = humantime::parse_rfc3339(sibling["written_at"].as_str().unwrap()).unwrap();
            let written_at = at.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
            let dot = dot(sibling["dot"].as_str().unwrap());
            let detail = Detail { dot, written_at, arrival: sibling["arrival"].as_u64().unwrap() };
            Shown { value: sibling["value"].as_str().and_then(number), detail: Some(detail) }
        })
        .collect();
    State { siblings: shown.len(), shown }
}

/// The number that a value is, if it is one that a write of the test gave it.
fn number(text: &str) -> Option<Value> {
    text.parse().ok()
}

/// A plain value, with the number of siblings.
fn plain(value: Option<&str>, siblings: usize) -> State {
    State { siblings, shown: value.map(|text| Shown { value: number(text), detail: None }).into_iter().collect() }
}

/// What an answer to `GET /read` says.
pub(crate) fn one_read(answer: &Answer, all: bool) -> (Outcome, Option<Carried>) {
    let state = match answer.status {
        404 if answer.body == "key not found" => plain(None, 0),
        200 if all => listed(&answer.json()),
        200 => plain(Some(&answer.body), answer.header("causeway-siblings").unwrap().parse().unwrap()),
        _ => return (refused(answer), None),
    };
    if all {
        assert_eq!(answer.header("causeway-siblings"), Some(state.siblings.to_string().as_str()), "{}", answer.body);
    }
    read(answer, vec![state])
}

/// What an answer to `POST /read` of these keys says.
pub(crate) fn many_read(answer: &Answer, keys: &[Key], all: bool) -> (Outcome, Option<Carried>) {
    if answer.status != 200 {
        return (refused(answer), None);
    }
    let body = answer.json();
    assert!(body["left_out"].is_null(), "something was left out: {body}");
    let state = |(index, key): (usize, &Key)| {
        if all {
            assert_eq!(body["keys"][index]["key"], **key);
            return listed(&body["keys"][index]);
        }
        let value = body["values"][&**key].as_str();
        let siblings = body["siblings"][&**key].as_u64().unwrap_or(value.is_some().into());
        plain(value, siblings as usize)
    };
    read(answer, keys.iter().enumerate().map(state).collect())
}

fn read(answer: &Answer, states: Vec<State>) -> (Outcome, Option<Carried>) {
    let carried = carried(answer.header("causal-context").unwrap());
    (Outcome::Read { states, context: carried.context.clone() }, Some(carried))
}

/// What an answer to `PATCH /set` says.
pub(crate) fn written(answer: &Answer) -> (Outcome, Option<Carried>) {
    if answer.status != 200 {
        return (refused(answer), None);
    }
    let carried = carried(answer.header("causal-context").unwrap());
    let dot = dot(answer.json()["dot"].as_str().unwrap());
    (Outcome::Written { dot, context: carried.context.clone() }, Some(carried))
}

fn refused(answer: &Answer) -> Outcome {
    let problem = answer.json();
    let refusal = match problem["type"].as_str().and_then(|kind| kind.strip_prefix("/problems/")) {
        Some("context-not-reached") => Refusal::ContextNotReached,
        Some("too-many-siblings") => Refusal::TooManySiblings,
        Some("read-only" | "too-many-incarnations") => Refusal::ReadOnly,
        Some("overloaded" | "insufficient-storage") => Refusal::Overloaded,
        Some("storage-unreadable") => Refusal::Unreadable,
        Some("outcome-unknown" | "stopping") => return Outcome::Unknown,
        _ => {
            eprintln!("an answer that is never right: {} {}", answer.status, answer.body);
            Refusal::Other
        }
    };
    Outcome::Refused { refusal }
}

/// What it means that no answer came.
pub(crate) fn unanswered(error: &reqwest::Error) -> Outcome {
    // No connection was made, so nothing was sent. In all other cases something may have been.
    if error.is_connect() { Outcome::Refused { refusal: Refusal::Unreachable } } else { Outcome::Unknown }
}
