//! Sessions of clients that read and write in all the ways there are, and note what they see.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use causeway_checker::history::{Call, Key, NodeId, Outcome, Refusal, Replaces, Resolve};
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value as Json, json};
use tokio::task::JoinHandle;

use super::api::{Answer, Api, send};
use super::history::{Carried, Recorder, Sent, many_read, one_read, unanswered, written};
use super::random::Random;

/// How long a client waits for an answer before it gives up, not knowing what became of its request.
const GIVE_UP: Duration = Duration::from_secs(10);
/// How long a client stays away from a node that did not take its connection.
const STAY_AWAY: Duration = Duration::from_millis(10);
/// How many contexts a session, or all of them for each other, keep.
const KEPT: usize = 8;

/// What a load is like.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) sessions: u32,
    /// How many keys there are.
    pub(crate) keys: u64,
    /// How long a value is at least, with zeros in front of its number.
    pub(crate) value_digits: usize,
    /// How long a session thinks at most between two requests.
    pub(crate) think: Duration,
    /// How many requests all sessions make at most.
    pub(crate) requests: usize,
    pub(crate) nodes: Vec<(NodeId, Api)>,
}

/// Sessions at work.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sessions: Vec<JoinHandle<()>>,
}

impl Load {
    /// Lets sessions work until they are told to stop.
    pub(crate) fn start(plan: &Plan, recorder: &Arc<Recorder>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let board = Arc::new(Mutex::new(Vec::new()));
        let sessions = (0..plan.sessions).map(|number| {
            let session = Session {
                number,
                plan: plan.clone(),
                random: Random::new(plan.seed.wrapping_add(u64::from(number) << 32)),
                recorder: recorder.clone(),
                seen: Vec::new(),
                board: board.clone(),
            };
            tokio::spawn(session.work(stop.clone()))
        });
        Self { sessions: sessions.collect(), stop }
    }

    /// Waits for every session's last answer.
    pub(crate) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for session in self.sessions {
            session.await.unwrap();
        }
    }
}

/// A key of every load.
pub(crate) fn key(number: u64) -> Key {
    format!("key{number:03}").into()
}

struct Session {
    number: u32,
    plan: Plan,
    random: Random,
    recorder: Arc<Recorder>,
    /// The contexts that it was answered with, the last one last.
    seen: Vec<Carried>,
    /// Contexts that sessions hand over to each other.
    board: Arc<Mutex<Vec<Carried>>>,
}

impl Session {
    async fn work(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) && self.recorder.len() < self.plan.requests {
            let request = self.next();
            let (sent, answer) = request.send(&self.recorder).await;
            let (outcome, carried) = match &answer {
                Ok(answer) => understood(&sent.call, answer),
                Err(error) => (unanswered(error), None),
            };
            let away = matches!(outcome, Outcome::Refused { refusal: Refusal::Unreachable });
            self.recorder.request(sent, outcome);
            if let Some(carried) = carried {
                self.keep(carried);
            }
            let think = self.random.below(self.plan.think.as_micros() as u64 + 1);
            tokio::time::sleep(if away { STAY_AWAY } else { Duration::from_micros(think) }).await;
        }
    }

    /// Remembers a context, and hands it over now and then.
    fn keep(&mut self, carried: Carried) {
        if self.random.percent(20) {
            let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
            push_bounded(&mut board, carried.clone());
        }
        push_bounded(&mut self.seen, carried);
    }

    /// The last context mostly; else an older one, or one that another session handed over.
    fn context(&mut self) -> Option<Carried> {
        match self.random.below(10) {
            0 => self.random.pick(&self.seen).cloned(),
            1 => {
                let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
                self.random.pick(&board).cloned()
            }
            _ => self.seen.last().cloned(),
        }
    }

    fn next(&mut self) -> Prepared {
        let home = self.number as usize % self.plan.nodes.len();
        let elsewhere = self.random.percent(20);
        let nodes = &self.plan.nodes;
        let (node, api) = if elsewhere { self.random.pick(nodes).cloned().unwrap() } else { nodes[home].clone() };
        let (request, call, context) = match self.random.below(100) {
            0..25 => self.write(&api, false, 1),
            25..35 => self.write(&api, false, 4),
            35..60 => self.write(&api, true, 1),
            60..65 => self.write(&api, true, 4),
            65..85 => self.read_one(&api),
            _ => self.read_many(&api),
        };
        Prepared { session: self.number, node, request: request.timeout(GIVE_UP), call, context }
    }

    /// A write of up to so many keys, some of which it deletes.
    fn write(&mut self, api: &Api, with_context: bool, most: u64) -> (RequestBuilder, Call, Option<Carried>) {
        let value = self.recorder.value();
        let (mut keys, mut deletes) = (Vec::new(), Vec::new());
        let mut values = Map::new();
        let text = format!("{value:0>width$}", width = self.plan.value_digits);
        for key in self.keys(most) {
            let delete = self.random.percent(15);
            values.insert(key.to_string(), if delete { Json::Null } else { text.clone().into() });
            if delete { &mut deletes } else { &mut keys }.push(key);
        }
        let context = if with_context { self.context() } else { None };
        let replaces = match context {
            Some(_) if self.random.percent(80) => Replaces::Seen,
            _ => Replaces::Held,
        };
        let query = match (replaces, &context) {
            (Replaces::Held, Some(_)) => "?replaces=held",
            _ => "",
        };
        let request = self.with_context(api.patch(query, &values.into()), &context);
        (request, Call::Write { value, keys, deletes, replaces }, context)
    }

    fn read_one(&mut self, api: &Api) -> (RequestBuilder, Call, Option<Carried>) {
        let keys = self.keys(1);
        let resolve = self.resolve();
        let request = api.request(Method::GET, &format!("/read?key={}{}", keys[0], query(resolve, '&')));
        let context = if self.random.percent(70) { self.context() } else { None };
        (self.with_context(request, &context), Call::Read { keys, resolve }, context)
    }

    fn read_many(&mut self, api: &Api) -> (RequestBuilder, Call, Option<Carried>) {
        let keys = self.keys(8);
        let resolve = self.resolve();
        let names: Vec<&str> = keys.iter().map(|key| &**key).collect();
        let request = api.request(Method::POST, &format!("/read{}", query(resolve, '?')));
        let request = request.header("content-type", "application/json").body(json!({ "keys": names }).to_string());
        let context = if self.random.percent(70) { self.context() } else { None };
        (self.with_context(request, &context), Call::Read { keys, resolve }, context)
    }

    fn resolve(&mut self) -> Resolve {
        [Resolve::Arrival, Resolve::Newest, Resolve::All, Resolve::All][self.random.below(4) as usize]
    }

    /// One to `most` keys, none twice.
    fn keys(&mut self, most: u64) -> Vec<Key> {
        let mut keys: Vec<Key> =
            (0..=self.random.below(most)).map(|_| key(self.random.below(self.plan.keys))).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    fn with_context(&mut self, request: RequestBuilder, context: &Option<Carried>) -> RequestBuilder {
        match context {
            // Not long: in a partition many contexts are not reached.
            Some(carried) => request
                .header("causal-context", &carried.token)
                .header("prefer", format!("wait=0.{}", self.random.below(4))),
            None => request,
        }
    }
}

fn push_bounded(contexts: &mut Vec<Carried>, carried: Carried) {
    if contexts.len() == KEPT {
        contexts.remove(0);
    }
    contexts.push(carried);
}

fn query(resolve: Resolve, start: char) -> String {
    match resolve {
        Resolve::Arrival => String::new(),
        Resolve::Newest => format!("{start}resolve=newest"),
        Resolve::All => format!("{start}resolve=all"),
    }
}

/// A request that is not sent yet.
struct Prepared {
    session: u32,
    node: NodeId,
    request: RequestBuilder,
    call: Call,
    context: Option<Carried>,
}

impl Prepared {
    async fn send(self, recorder: &Recorder) -> (Sent, Result<Answer, reqwest::Error>) {
        let Self { session, node, request, call, context } = self;
        let context = context.map(|carried| carried.context);
        let sent = Sent { session, node, start: recorder.now(), context, call };
        (sent, send(request).await)
    }
}

fn understood(call: &Call, answer: &Answer) -> (Outcome, Option<Carried>) {
    match call {
        // Of several keys or one: `POST /read` answers a body with all keys.
        Call::Read { keys, resolve } => {
            let all = *resolve == Resolve::All;
            let is_of_many = answer.status == 200 && answer.header("causeway-siblings").is_none();
            if is_of_many { many_read(answer, keys, all) } else { one_read(answer, all) }
        }
        Call::Write { .. } => written(answer),
    }
}

/// The session that reads what a node holds after it was started.
const READER: u32 = 1_000;

/// Reads all keys of a load from one node, and notes what it says. Returns whether it answered.
pub(crate) async fn read_all(plan: &Plan, recorder: &Recorder, node: NodeId, api: &Api) -> bool {
    let keys: Vec<Key> = (0..plan.keys).map(key).collect();
    let names: Vec<&str> = keys.iter().map(|key| &**key).collect();
    let request = api.request(Method::POST, "/read?resolve=all").header("content-type", "application/json");
    let request = request.body(json!({ "keys": names }).to_string()).timeout(GIVE_UP);
    let call = Call::Read { keys: keys.clone(), resolve: Resolve::All };
    let (sent, answer) = Prepared { session: READER, node, request, call, context: None }.send(recorder).await;
    let outcome = match &answer {
        Ok(answer) => many_read(answer, &keys, true).0,
        Err(error) => unanswered(error),
    };
    let answered = matches!(outcome, Outcome::Read { .. });
    recorder.request(sent, outcome);
    answered
}
