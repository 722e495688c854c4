//! What a watch does: it follows one node, resumes there, and begins anew where it can't.
//!
//! A cursor is good only at the node that gave it. So a watch that is cut off asks that node again for a while, and only
//! then another one, where it begins anew and says so by `Reset`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::calls::{Call, Settings, Verdict, checked_timeout, judge, problem_of, retry_after};
use super::errands::with_query;
use super::events::{EventParser, RawEvent};
use super::nodes::{Choice, Node, Tries, Why};
use super::steps::{Answer, Failure, Outcome, Request};
use crate::error::Error;
use crate::{Change, Event};

/// The first op of any node's log.
const BEGINNING: &str = "0";
const BROKE_OFF: &str = "the watch broke off";

/// What to do next for a watch.
pub(crate) enum Step {
    /// Make a request; of a good answer read the head, of another all.
    Open(Request),
    /// Read on in the answer that was opened last, for at most so long.
    Receive(Duration),
    Pause(Duration),
    Tell(Event),
}

/// What came of a step.
pub(crate) enum Came {
    Opened(Outcome),
    /// Bytes; none at the end, however it came.
    Piece(Option<Vec<u8>>),
}

/// A watch: how far it is, at which node.
pub(crate) struct Watching {
    settings: Arc<Settings>,
    prefix: String,
    id: Option<String>,
    /// The URL of the node that gave the id, which need not be one of the client's.
    from: Option<String>,
    /// How long a node may say nothing: it speaks every 15 seconds.
    pub(crate) silence: Duration,
    /// How long a watch that was cut off may take to go on; for the first half only its own node is asked.
    pub(crate) timeout: Duration,
    /// Whether its start is still to be told.
    fresh: bool,
    /// The node that it was at last, where it also begins anew.
    home: Option<Node>,
    /// Whether `Reset` is to be told.
    is_reset: bool,
    tries: Option<Tries>,
    asked: Node,
    reading: Option<Reading>,
}

/// A node's answer.
struct Reading {
    parser: EventParser,
    has_spoken: bool,
    has_ended: bool,
}

impl Watching {
    /// A watch that begins now.
    pub(crate) fn new(settings: Arc<Settings>, prefix: String) -> Self {
        let timeout = settings.timeout;
        Self {
            settings,
            prefix,
            id: None,
            from: None,
            silence: Duration::from_secs(45),
            timeout,
            fresh: true,
            home: None,
            is_reset: false,
            tries: None,
            asked: 0,
            reading: None,
        }
    }

    /// It goes on behind a cursor.
    pub(crate) fn goes_on_behind(&mut self, cursor: &str) {
        let (id, from) = cursor.split_once('@').map_or((cursor, None), |(id, from)| (id, Some(from)));
        self.id = Some(id.to_owned()).filter(|id| !id.is_empty());
        self.from = from.map(str::to_owned);
        self.fresh = from.is_none() && matches!(id, "" | BEGINNING);
    }

    /// How far it is: an event's id, and the node that gave it.
    pub(crate) fn cursor(&self) -> Option<String> {
        let id = self.id.as_ref()?;
        Some(self.from.as_ref().map_or_else(|| id.clone(), |from| format!("{id}@{from}")))
    }

    /// Goes on, with what came of the last step. After an error it goes on where it was.
    pub(crate) fn step(&mut self, now: Instant, came: Option<Came>) -> Result<Step, Error> {
        let step = self.take(now, came).and_then(|()| self.next(now));
        if step.is_err() {
            self.tries = None;
            self.reading = None;
        }
        step
    }

    fn take(&mut self, now: Instant, came: Option<Came>) -> Result<(), Error> {
        match (came, &mut self.reading) {
            (Some(Came::Opened(Ok(answer))), _) if answer.status == 200 => self.opened(&answer),
            (Some(Came::Opened(Ok(answer))), _) if answer.status == 410 => {
                self.reset();
                Ok(())
            }
            (Some(Came::Opened(outcome)), _) => self.refused(now, outcome),
            (Some(Came::Piece(Some(piece))), Some(reading)) => {
                reading.parser.feed(&piece);
                Ok(())
            }
            (Some(Came::Piece(None)), Some(reading)) => {
                reading.has_ended = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn next(&mut self, now: Instant) -> Result<Step, Error> {
        loop {
            if std::mem::take(&mut self.is_reset) {
                return Ok(Step::Tell(Event::Reset));
            }
            let Some(reading) = &mut self.reading else {
                return self.ask(now);
            };
            match reading.parser.next()? {
                Some(raw) => {
                    reading.has_spoken = true;
                    if let Some(event) = self.taken(now, &raw)? {
                        return Ok(Step::Tell(event));
                    }
                }
                None if reading.has_ended => self.broke_off(now),
                None => return Ok(Step::Receive(self.silence)),
            }
        }
    }

    /// Chooses who is asked: its own node, and after a while any.
    fn ask(&mut self, now: Instant) -> Result<Step, Error> {
        checked_timeout(self.timeout)?;
        let own = self.from.as_deref().and_then(|from| self.settings.nodes.find(from));
        let mut tries = self.tries.take().unwrap_or_else(|| Tries::new(own.or(self.home), now + self.timeout, false));
        let others_from = tries.deadline - self.timeout / 2;
        let alone = self.settings.nodes.urls().len() == 1;
        tries.pinned = own.filter(|_| self.id.is_some() && (now < others_from || alone));
        let choice = tries.next(&self.settings.nodes, now);
        let step = match choice {
            Choice::Nobody => return Err(tries.error(&self.settings.nodes)),
            Choice::Pause(pause) if tries.pinned.is_some() && !alone => Step::Pause(pause.min(others_from - now)),
            Choice::Pause(pause) => Step::Pause(pause),
            Choice::Ask(node) => {
                self.asked = node;
                Step::Open(self.request(node, now, tries.deadline))
            }
        };
        self.tries = Some(tries);
        Ok(step)
    }

    fn request(&self, node: Node, now: Instant, deadline: Instant) -> Request {
        let is_from = self.from.as_deref().is_none_or(|from| from == self.settings.nodes.url(node));
        let prefix = Some(("prefix", self.prefix.clone())).filter(|(_, prefix)| !prefix.is_empty());
        let after = self.id.clone().filter(|_| is_from).map(|id| ("after", id));
        let mut call = Call::get(with_query("/watch", prefix.into_iter().chain(after)));
        call.headers.push(("accept", "text/event-stream".to_owned()));
        call.request(&self.settings, node, now, deadline)
    }

    fn opened(&mut self, answer: &Answer) -> Result<(), Error> {
        let url = self.settings.nodes.url(self.asked).to_owned();
        if !answer.header("content-type").is_some_and(|text| text.starts_with("text/event-stream")) {
            return Err(Error::BadAnswer(format!("{url} does not send events")));
        }
        self.settings.nodes.works(self.asked, false);
        self.home = Some(self.asked);
        if self.id.is_some() && self.from.as_ref().is_some_and(|from| *from != url) {
            self.reset();
        }
        self.reading = Some(Reading { parser: EventParser::default(), has_spoken: false, has_ended: false });
        Ok(())
    }

    fn refused(&mut self, now: Instant, outcome: Outcome) -> Result<(), Error> {
        let node = self.asked;
        let (why, later) = match outcome {
            Err(Failure { reason, .. }) => (Why::Failure(reason), Duration::ZERO),
            Ok(answer) => {
                let problem = problem_of(self.settings.nodes.url(node), &answer);
                if judge(&answer, &problem, false) == Verdict::Refused {
                    return Err(problem.into());
                }
                (Why::Problem(problem), retry_after(&answer))
            }
        };
        self.settings.nodes.failed(node, now, later, false);
        self.failed(now, why, later);
        Ok(())
    }

    fn failed(&mut self, now: Instant, why: Why, later: Duration) {
        let own = self.from.as_deref().and_then(|from| self.settings.nodes.find(from));
        let begin = || Tries::new(own.or(self.home), now + self.timeout, false);
        self.tries.get_or_insert_with(begin).failed(self.asked, why, now, later, (self.settings.jitter)());
    }

    /// What comes next does not go on from what came.
    fn reset(&mut self) {
        self.id = None;
        self.from = None;
        self.fresh = true;
        self.is_reset = true;
    }

    /// The connection was cut, or the node said that it closes it. A pause keeps it from asking again and again.
    fn broke_off(&mut self, now: Instant) {
        if self.reading.take().is_some_and(|reading| reading.has_spoken) {
            self.tries = None;
        }
        self.failed(now, Why::Failure(BROKE_OFF.to_owned()), Duration::ZERO);
    }

    /// Goes on to an event's cursor; gives what there is to tell of it.
    fn taken(&mut self, now: Instant, raw: &RawEvent) -> Result<Option<Event>, Error> {
        match raw.name.as_str() {
            "reset" => {
                self.reading = None;
                self.tries = None;
                self.reset();
                Ok(None)
            }
            "closed" => {
                self.broke_off(now);
                Ok(None)
            }
            "start" => {
                let Start { context } = data(raw)?;
                let cursor = self.goes_on(raw)?;
                let was_fresh = std::mem::take(&mut self.fresh);
                Ok(was_fresh.then_some(Event::Start { cursor, context }))
            }
            "change" => {
                let change: Change = data(raw)?;
                let cursor = self.goes_on(raw)?;
                Ok(Some(Event::Change(Change { cursor, ..change })))
            }
            "cursor" => self.goes_on(raw).map(|_| None),
            // Others may come with a later version.
            _ => Ok(None),
        }
    }

    fn goes_on(&mut self, raw: &RawEvent) -> Result<String, Error> {
        let url = self.settings.nodes.url(self.asked);
        let id = raw.id.as_ref().ok_or_else(|| Error::BadAnswer(format!("an event of {url} has no id")))?;
        self.id = Some(id.clone());
        self.from = Some(url.to_owned());
        Ok(format!("{id}@{url}"))
    }
}

#[derive(Deserialize)]
struct Start {
    context: String,
}

fn data<T: DeserializeOwned>(raw: &RawEvent) -> Result<T, Error> {
    serde_json::from_str(&raw.data).map_err(|error| Error::BadAnswer(format!("an event: {error}")))
}
