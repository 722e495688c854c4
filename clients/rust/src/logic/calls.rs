//! One call of the API: its request, what its answer means, and whether and where it is tried again.
//!
//! A read is tried at any node until one answers. A write has an idempotency key, and goes to another node only as long as
//! it is sure that none before has taken it. Otherwise it is sent to the same one again, which knows it by its key.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::nodes::{Choice, Node, Nodes, Tries, Why};
use super::steps::{Answer, Failure, Outcome, Request};
use crate::Values;
use crate::error::{Error, OutcomeUnknown, Problem, ProblemKind};

/// A node forgets idempotency keys after ten minutes; what is sent later would be another write.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(300);
/// What is left for the way back, when a node may wait.
const WAY_BACK: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(1);
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// How a client asks.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) nodes: Nodes,
    pub(crate) token: Option<String>,
    pub(crate) timeout: Duration,
    pub(crate) attempt_timeout: Duration,
    pub(crate) wait: Duration,
    /// Gives numbers between 0 and 1.
    pub(crate) jitter: fn() -> f64,
}

impl Settings {
    /// When a call that begins now must have ended.
    pub(crate) fn deadline(&self, now: Instant, timeout: Option<Duration>) -> Result<Instant, Error> {
        Ok(now + checked_timeout(timeout.unwrap_or(self.timeout))?)
    }
}

/// Refuses what is no overall timeout.
pub(crate) fn checked_timeout(timeout: Duration) -> Result<Duration, Error> {
    if timeout.is_zero() || timeout > LONGEST_TIMEOUT {
        let longest = LONGEST_TIMEOUT.as_secs();
        return Err(Error::Unusable(format!("a timeout must be more than 0 and at most {longest} seconds")));
    }
    Ok(timeout)
}

/// Refuses what can't stand in a header.
pub(crate) fn checked_header(name: &str, text: &str) -> Result<(), Error> {
    match text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        true => Ok(()),
        false => Err(Error::Unusable(format!("the {name} has characters that it can't have"))),
    }
}

/// What makes a call a write: its values and the name that it goes by.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) values: Values,
    pub(crate) idempotency_key: String,
}

/// A call, whichever node it goes to.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// How long a node may wait for what the call asks for.
    pub(crate) wait: Duration,
    pub(crate) write: Option<Write>,
}

impl Call {
    pub(crate) fn get(path: String) -> Self {
        Self { method: "GET", path, headers: Vec::new(), body: Vec::new(), wait: Duration::ZERO, write: None }
    }

    /// Its request to one node.
    pub(crate) fn request(&self, settings: &Settings, node: Node, now: Instant, deadline: Instant) -> Request {
        let left = deadline.saturating_duration_since(now);
        let wait = self.wait.min(left - WAY_BACK.min(left / 4));
        let mut headers = vec![("user-agent", USER_AGENT.to_owned()), ("accept-encoding", "identity".to_owned())];
        if let Some(token) = &settings.token {
            headers.push(("authorization", format!("Bearer {token}")));
        }
        headers.extend(self.headers.iter().cloned());
        if !self.wait.is_zero() {
            headers.push(("prefer", format!("wait={:.3}", wait.as_secs_f64())));
        }
        if !self.body.is_empty() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        let answer_within = settings.attempt_timeout.max(wait + WAY_BACK).min(left).max(SHORTEST);
        let url = format!("{}{}", settings.nodes.url(node), self.path);
        Request { method: self.method, url, headers, body: self.body.clone(), answer_within, deadline }
    }
}

/// What to do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    /// It will be refused anywhere, at any time.
    Refused,
    /// Nothing was done; this node may do it later, another one now.
    TryAgain,
    /// It may have been done.
    Unknown,
}

/// Reads a refusal; what is no problem of the API is one without a type.
pub(crate) fn problem_of(url: &str, answer: &Answer) -> Problem {
    let media_type = answer.header("content-type").and_then(|text| text.split(';').next()).map(str::trim);
    let members = match media_type {
        Some("application/problem+json") => serde_json::from_slice::<Map<String, Value>>(&answer.body).ok(),
        _ => None,
    };
    Problem::new(url, answer.status, members.unwrap_or_default())
}

/// Decides by an answer, and the problem that it would be.
pub(crate) fn judge(answer: &Answer, problem: &Problem, write: bool) -> Verdict {
    let is_passing = matches!(answer.status, 408 | 429);
    match answer.status {
        200 | 202 => return Verdict::Done,
        status if status < 500 && !is_passing => return Verdict::Refused,
        _ => {}
    }
    let is_lost = |problem: &Problem| problem.lacking().iter().any(|lack| !lack.obtainable);
    if problem.kind() == ProblemKind::ContextNotReached && is_lost(problem) {
        return Verdict::Refused;
    }
    let kind = problem.problem_type.as_str();
    // What has no type comes from something before the node. These statuses say that nothing was done, but for one problem.
    let is_told = kind.starts_with("/problems/") && matches!(answer.status, 503 | 507) && kind != "/problems/stopping";
    match is_told || is_passing || kind == "/problems/storage-unreadable" || !write {
        true => Verdict::TryAgain,
        false => Verdict::Unknown,
    }
}

/// Reads how long to wait at least; dates are not looked at.
pub(crate) fn retry_after(answer: &Answer) -> Duration {
    let text = answer.header("retry-after").unwrap_or_default();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text.parse().unwrap_or(if is_number { u64::MAX } else { 0 });
    Duration::from_secs(seconds)
}

fn takes_no_writes(problem: &Problem) -> bool {
    matches!(
        problem.problem_type.as_str(),
        "/problems/draining" | "/problems/read-only" | "/problems/too-many-incarnations"
    )
}

/// What to do next for a call.
pub(crate) enum Next {
    Send(Request),
    Pause(Duration),
}

/// A call on its way through its tries.
#[derive(Debug)]
pub(crate) struct Calling {
    settings: Arc<Settings>,
    call: Call,
    tries: Tries,
    asked: Node,
}

impl Calling {
    pub(crate) fn begin(
        settings: Arc<Settings>,
        call: Call,
        home: Option<Node>,
        deadline: Instant,
    ) -> Result<Self, Error> {
        for (name, text) in &call.headers {
            checked_header(name, text)?;
        }
        let tries = Tries::new(home, deadline, call.write.is_some());
        Ok(Self { settings, call, tries, asked: 0 })
    }

    /// Whom to ask, or how long to wait; an error when time is up.
    pub(crate) fn next(&mut self, now: Instant) -> Result<Next, Error> {
        match self.tries.next(&self.settings.nodes, now) {
            Choice::Ask(node) => {
                self.asked = node;
                Ok(Next::Send(self.call.request(&self.settings, node, now, self.tries.deadline)))
            }
            Choice::Pause(pause) => Ok(Next::Pause(pause)),
            Choice::Nobody => Err(self.unknown(None).unwrap_or_else(|| self.tries.error(&self.settings.nodes))),
        }
    }

    /// Takes what came of the last request: gives who answered well and what, fails for good, or notes that it failed.
    pub(crate) fn take(&mut self, now: Instant, outcome: Outcome) -> Result<Option<(Node, Answer)>, Error> {
        let (node, write) = (self.asked, self.call.write.is_some());
        let answer = match outcome {
            Ok(answer) => answer,
            Err(failure) => {
                self.lost(node, now, failure);
                return Ok(None);
            }
        };
        let problem = problem_of(self.settings.nodes.url(node), &answer);
        let verdict = judge(&answer, &problem, write);
        match verdict {
            Verdict::Done => {
                self.settings.nodes.works(node, write);
                return Ok(Some((node, answer)));
            }
            // Had the one that may have been made been made, siblings would not be in its way. Else that is still unknown.
            Verdict::Refused if problem.kind() == ProblemKind::TooManySiblings => return Err(problem.into()),
            Verdict::Refused => return Err(self.unknown(Some(&problem)).unwrap_or_else(|| problem.into())),
            Verdict::TryAgain | Verdict::Unknown => {}
        }
        let later = retry_after(&answer);
        // That it lacks what this session has seen says nothing of a node.
        if problem.kind() != ProblemKind::ContextNotReached {
            self.settings.nodes.failed(node, now, later, takes_no_writes(&problem));
        }
        self.tries.failed(node, Why::Problem(problem), now, later, (self.settings.jitter)());
        if verdict == Verdict::Unknown {
            self.tries.pinned = Some(node);
        }
        Ok(None)
    }

    fn lost(&mut self, node: Node, now: Instant, failure: Failure) {
        self.settings.nodes.failed(node, now, Duration::ZERO, false);
        let why = Why::Failure(failure.reason);
        self.tries.failed(node, why, now, Duration::ZERO, (self.settings.jitter)());
        if self.call.write.is_some() && failure.sent {
            self.tries.pinned = Some(node);
        }
    }

    fn unknown(&self, refusal: Option<&Problem>) -> Option<Error> {
        let (node, write) = (self.tries.pinned?, self.call.write.as_ref()?);
        Some(Error::OutcomeUnknown(Box::new(OutcomeUnknown {
            node: self.settings.nodes.url(node).to_owned(),
            idempotency_key: write.idempotency_key.clone(),
            values: write.values.clone(),
            reason: refusal.map_or_else(|| self.tries.reason(node), Problem::to_string),
            refusal: refusal.cloned().map(Box::new),
        })))
    }
}
