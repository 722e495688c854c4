//! The logic alone, with a clock of its own.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::calls::Settings;
use super::errands::{Errand, Read, Run, Seen, Set, Step};
use super::nodes::Nodes;
use super::steps::{Answer, Failure, Outcome, Request};
use crate::{Error, Values, WriteOptions};

mod following;
mod merging;
mod parsing;
mod tries;

const A: &str = "http://a";
const B: &str = "http://b";
const C: &str = "http://c";

/// Performs steps: answers come in order or from a function, and time passes in pauses only.
struct World {
    settings: Arc<Settings>,
    began: Instant,
    now: Instant,
    requests: Vec<Request>,
    /// Who was asked, and after how many milliseconds.
    asked: Vec<(String, u64)>,
}

impl World {
    fn new() -> Self {
        Self::of(&[A, B, C])
    }

    fn of(urls: &[&str]) -> Self {
        let settings = Settings {
            nodes: Nodes::new(urls).unwrap(),
            token: None,
            timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(3),
            wait: Duration::from_secs(2),
            jitter: || 1.0,
        };
        let now = Instant::now();
        Self { settings: Arc::new(settings), began: now, now, requests: Vec::new(), asked: Vec::new() }
    }

    fn run<E: Errand>(
        &mut self,
        seen: &mut Seen,
        errand: E,
        timeout: Option<u64>,
        mut answer: impl FnMut(&Request) -> Outcome,
    ) -> Result<E::Output, Error> {
        let deadline = self.settings.deadline(self.now, timeout.map(Duration::from_secs))?;
        let mut run = Run::begin(self.settings.clone(), seen, errand, deadline);
        let mut outcome = None;
        loop {
            match run.step(self.now, outcome.take())? {
                Step::Done(output) => return Ok(output),
                Step::Pause(pause) => self.pause(pause),
                Step::Send(request) => {
                    self.note(&request);
                    outcome = Some(answer(&request));
                }
            }
        }
    }

    /// Writes a key; all of the answers must be asked for.
    fn write(&mut self, seen: &mut Seen, answers: Vec<Outcome>) -> Result<crate::Written, Error> {
        self.write_with(seen, WriteOptions::new(), answers)
    }

    fn write_with(
        &mut self,
        seen: &mut Seen,
        options: WriteOptions,
        answers: Vec<Outcome>,
    ) -> Result<crate::Written, Error> {
        let mut answers = answers.into_iter();
        let written = self.run(seen, Set::new(Values::new().set("k", "v"), options), None, |_| answers.next().unwrap());
        assert_eq!(answers.count(), 0, "not all answers were asked for");
        written
    }

    /// Reads a key.
    fn read(&mut self, seen: &mut Seen, answers: Vec<Outcome>) -> Result<crate::Siblings, Error> {
        let mut answers = answers.into_iter();
        let found = self.run(seen, Read::new(["k".to_owned()]), None, |_| answers.next().unwrap());
        assert_eq!(answers.count(), 0, "not all answers were asked for");
        found.map(|mut found| found.remove("k").unwrap())
    }

    fn pause(&mut self, pause: Duration) {
        assert!(!pause.is_zero());
        self.now += pause;
    }

    fn note(&mut self, request: &Request) {
        let after = u64::try_from((self.now - self.began).as_millis()).unwrap();
        self.asked.push((request.url[..A.len()].to_owned(), after));
        self.requests.push(request.clone());
    }

    /// Who was asked, in order.
    fn who(&self) -> Vec<&str> {
        self.asked.iter().map(|(node, _)| node.as_str()).collect()
    }

    fn when(&self) -> Vec<(&str, u64)> {
        self.asked.iter().map(|(node, after)| (node.as_str(), *after)).collect()
    }
}

fn seen(context: &str) -> Seen {
    Seen { context: Some(context.to_owned()), home: None }
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_str())
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: BTreeMap<_, _> = headers.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Answer { status, headers, body: body.as_bytes().to_vec() }
}

fn done() -> Outcome {
    let body = r#"{"dot":"0.00c0ffee00c0ffee.1","context":"after","durable_on":[0]}"#;
    Ok(answer(200, &[("causal-context", "after")], body))
}

/// The siblings of the key `k`.
fn found(values: &[&str]) -> Outcome {
    let sibling = |value: &&str| {
        let written_at = "2026-11-24T14:08:11.532Z";
        json!({"value": value, "dot": "0.00c0ffee00c0ffee.1", "node": 0, "written_at": written_at, "arrival": 1})
    };
    let siblings: Vec<Value> = values.iter().map(sibling).collect();
    let context = format!("seen {}", values.len());
    let body = json!({"keys": [{"key": "k", "siblings": siblings}], "context": context}).to_string();
    Ok(answer(200, &[("causal-context", &context)], &body))
}

fn no_connection() -> Outcome {
    Err(Failure { sent: false, reason: "refused".to_owned() })
}

fn lost() -> Outcome {
    Err(Failure { sent: true, reason: "reset".to_owned() })
}

/// A refusal.
fn no(kind: &str, status: u16, members: &Value) -> Outcome {
    let mut all = Map::new();
    all.insert("type".to_owned(), Value::from(format!("/problems/{kind}")));
    all.extend(members.as_object().unwrap().clone());
    Ok(answer(status, &[("content-type", "application/problem+json")], &Value::Object(all).to_string()))
}

/// A refusal for a while.
fn no_until(kind: &str, status: u16, seconds: &str) -> Outcome {
    let mut outcome = no(kind, status, &json!({}))?;
    outcome.headers.insert("retry-after".to_owned(), seconds.to_owned());
    Ok(outcome)
}
