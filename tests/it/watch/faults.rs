//! A hundred watches of a node under load, while it is cut off, killed and stopped, and others too: put together, what each
//! was told is what the node's log has of its prefix, nothing twice, nothing left out, in the log's order; and that is
//! causal, and has what clients were answered.
//!
//! The log is read from the node's files in the end, op by op, not by a watch. `CAUSEWAY_TEST_SEED` repeats what is random.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use causeway::causality::{self, Dot, NodeId};
use causeway::format;
use causeway::replica::{Op, OpRange};
use causeway::storage::{BatchLimit, DiskStorage, Identity, LogId, Storage};
use causeway_checker::history::{Volume, What};
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::support::api::Api;
use crate::support::cluster::Cluster;
use crate::support::history::Recorder;
use crate::support::load::{Load, Plan};
use crate::support::random::Random;
use crate::support::sse::{Event, Events};
use crate::support::{PATIENCE, until};

const WATCHES: usize = 100;
const KEYS: u64 = 24;
/// The node that is watched.
const WATCHED: usize = 0;
/// How often it goes away, half of these times in each half.
const BREAKS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_watches_see_every_change_once_in_causal_order_whatever_happens() {
    let seed = Random::seed("watches");
    let mut random = Random::new(seed);
    let cluster = Cluster::linked().await;
    let recorder = Recorder::new();
    for node in 0..3 {
        recorder.node(node, What::Up(Volume::Empty));
    }
    let api = cluster.api(WATCHED).clone();
    let nodes: Vec<_> = (0..).zip(&cluster.nodes).map(|(id, node)| (id, node.api.clone())).collect();
    let think = Duration::from_millis(30);
    let plan = Plan { seed: !seed, sessions: 6, keys: KEYS, value_digits: 1, think, requests: usize::MAX, nodes };
    let load = Load::start(&plan, &recorder);
    let mut faults = Faults { cluster, recorder: recorder.clone() };
    let mut watching = Vec::new();
    while watching.len() < WATCHES * 8 / 10 {
        watching.push(Watch::begin(&api, &mut random, None).await);
    }
    let early = watching.len();
    faults.first_half().await;
    // The log has much of what is to come by now.
    while watching.len() < WATCHES {
        let after = random.percent(50).then_some("0");
        watching.push(Watch::begin(&api, &mut random, after).await);
    }
    faults.second_half().await;
    load.stop().await;
    recorder.finals(&plan.nodes).await;

    // The last change of all prefixes, for the test alone: the checker's history is complete.
    let prefixes: BTreeSet<&str> = watching.iter().map(|watch| &*watch.prefix).collect();
    let ends: Map<String, Value> = prefixes.iter().map(|prefix| (format!("{prefix}{END}"), "".into())).collect();
    assert_eq!(crate::support::api::send(api.patch("", &ends.into())).await.unwrap().status, 200);
    let mut seen = Vec::new();
    for watch in watching {
        seen.push(watch.end().await);
    }
    let log = faults.log().await;
    log.check_order();
    log.check_answers(&recorder);
    for (index, seen) in seen.iter().enumerate() {
        log.check_watch(seen);
        let breaks = if index < early { BREAKS } else { BREAKS / 2 };
        assert!(seen.resumed >= breaks && seen.closed.contains_key("stopping"), "'{}': {:?}", seen.prefix, seen.closed);
    }
    recorder.judge("watches");
    let changes: usize = seen.iter().map(|seen| seen.changes.len()).sum();
    eprintln!("watches: {} ops, {changes} changes told", log.ops.len());
}

/// Ends the keys of the last change.
const END: &str = "~end";

/// All, a third, a single key, or no key at all.
fn prefix(random: &mut Random) -> String {
    match random.below(10) {
        0..2 => String::new(),
        2..6 => format!("key0{}", random.below(3)),
        6..9 => format!("key0{:02}", random.below(KEYS)),
        _ => "none".to_owned(),
    }
}

/// A client that watches, and resumes when it is cut off.
struct Watch {
    prefix: Arc<str>,
    task: JoinHandle<Seen>,
}

/// What a watch was told, over all its connections.
struct Seen {
    prefix: Arc<str>,
    /// Where it began.
    began: String,
    changes: Vec<Event>,
    resumed: usize,
    /// How its connections ended.
    closed: BTreeMap<String, usize>,
}

impl Watch {
    /// Returns when it has begun.
    async fn begin(api: &Api, random: &mut Random, after: Option<&str>) -> Self {
        let (prefix, by_header): (Arc<str>, bool) = (prefix(random).into(), random.percent(50));
        let request = request(api, &prefix, false, after);
        let Ok(mut events) = Events::open(request).await.unwrap() else { panic!("the watch is refused") };
        let began = events.next().await.unwrap().expect("a start").cursor().to_owned();
        let (changes, closed) = Default::default();
        let seen = Seen { prefix: prefix.clone(), began, changes, resumed: 0, closed };
        Self { prefix, task: tokio::spawn(seen.all(api.clone(), events, by_header)) }
    }

    async fn end(self) -> Seen {
        timeout(PATIENCE, self.task).await.unwrap_or_else(|_| panic!("'{}' never sees the end", self.prefix)).unwrap()
    }
}

fn request(api: &Api, prefix: &str, by_header: bool, after: Option<&str>) -> reqwest::RequestBuilder {
    let request = |query: &str| api.request(Method::GET, &format!("/watch?prefix={prefix}{query}"));
    let request = match after {
        None => request(""),
        Some(after) if by_header => request("").header("last-event-id", after),
        Some(after) => request(&format!("&after={after}")),
    };
    request.timeout(Duration::from_secs(600))
}

impl Seen {
    /// Watches until the last change.
    async fn all(mut self, api: Api, mut events: Events, by_header: bool) -> Self {
        let mut cursor = self.began.clone();
        loop {
            let how = match events.next().await {
                Ok(Some(event)) => match &*event.name {
                    "change" => {
                        event.cursor().clone_into(&mut cursor);
                        let is_last = event.data.contains(END);
                        self.changes.push(event);
                        if is_last {
                            return self;
                        }
                        continue;
                    }
                    "cursor" => {
                        event.cursor().clone_into(&mut cursor);
                        continue;
                    }
                    "closed" => event.json()["reason"].as_str().unwrap().to_owned(),
                    other => panic!("{other}"),
                },
                Ok(None) => panic!("an end without a reason"),
                Err(_) => "cut".to_owned(),
            };
            *self.closed.entry(how).or_default() += 1;
            events = self.resume(&api, &cursor, by_header).await;
        }
    }

    async fn resume(&mut self, api: &Api, cursor: &str, by_header: bool) -> Events {
        self.resumed += 1;
        loop {
            match Events::open(request(api, &self.prefix, by_header, Some(cursor))).await {
                Ok(Ok(mut events)) => {
                    // It may be killed before it says anything.
                    if let Ok(Some(start)) = events.next().await {
                        assert_eq!((&*start.name, start.cursor()), ("start", cursor));
                        format::token::decode(start.json()["context"].as_str().unwrap()).unwrap();
                        return events;
                    }
                }
                Ok(Err(response)) => panic!("'{}' can't be resumed at {cursor}: {response:?}", self.prefix),
                // Nobody is there.
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

/// The cluster, and what is done to it.
struct Faults {
    cluster: Cluster,
    recorder: Arc<Recorder>,
}

impl Faults {
    async fn first_half(&mut self) {
        self.requests(200).await;
        self.cut(|from, to| from == WATCHED || to == WATCHED);
        self.requests(250).await;
        self.heal();
        self.requests(150).await;
        self.kill(WATCHED, 100).await;
        self.requests(200).await;
        // What it catches up on comes while it is killed again.
        self.cut(|from, to| from == WATCHED || to == WATCHED);
        self.requests(200).await;
        self.heal();
        self.kill(WATCHED, 100).await;
        self.requests(200).await;
    }

    async fn second_half(&mut self) {
        self.cut(|from, to| (from, to) == (1, WATCHED));
        self.kill(1, 100).await;
        self.requests(200).await;
        self.heal();
        self.terminate(WATCHED, 100).await;
        self.requests(200).await;
        self.cluster.links.values().for_each(|link| link.break_connections());
        self.cut(|_, _| true);
        self.requests(150).await;
        self.kill(WATCHED, 100).await;
        self.requests(150).await;
        self.heal();
        self.requests(150).await;
    }

    fn cut(&self, which: impl Fn(usize, usize) -> bool) {
        let links = self.cluster.links.iter().filter(|((from, to), _)| which(*from, *to));
        links.for_each(|(_, link)| link.cut());
    }

    fn heal(&self) {
        self.cluster.links.values().for_each(|link| link.heal());
    }

    /// Lets so many requests end.
    async fn requests(&self, count: usize) {
        let wanted = self.recorder.len() + count;
        let enough = async || (self.recorder.len() >= wanted).then_some(());
        until(enough, async || format!("{} of {wanted} requests", self.recorder.len())).await;
    }

    async fn kill(&mut self, node: usize, requests_meanwhile: usize) {
        self.recorder.node(node as u32, What::Down);
        self.cluster.nodes.remove(node).kill();
        self.start(node, requests_meanwhile).await;
    }

    /// Stops it in order, which its watches must not hold up.
    async fn terminate(&mut self, node: usize, requests_meanwhile: usize) {
        self.recorder.node(node as u32, What::Down);
        let process = self.cluster.nodes.remove(node);
        let log = process.log_path();
        let (status, _) = process.terminate().await;
        let log = std::fs::read_to_string(log).unwrap();
        assert!(status.success() && !log.contains("connections were cut"), "{status}\n{log}");
        self.start(node, requests_meanwhile).await;
    }

    async fn start(&mut self, node: usize, requests_meanwhile: usize) {
        self.requests(requests_meanwhile).await;
        let started = self.cluster.launches[node].start_ready().await;
        self.cluster.nodes.insert(node, started);
        self.recorder.node(node as u32, What::Up(Volume::Kept));
    }

    /// Ends the watched node, and reads its log.
    async fn log(mut self) -> Log {
        let status = self.cluster.api(WATCHED).status().await;
        let origins = status["vector"].as_object().unwrap().iter().map(|(origin, last)| format!("{origin}.{last}"));
        let parents = status["ancestry"].as_object().unwrap().values().flat_map(|parents| parents.as_array().unwrap());
        let parents = parents.map(|parent| parent.as_str().unwrap().to_owned());
        let ends: BTreeSet<Dot> = origins.chain(parents).map(|dot| dot.parse().unwrap()).collect();
        assert!(self.cluster.nodes.remove(WATCHED).terminate().await.0.success());
        let identity = Identity { cluster: "causeway".to_owned(), node: NodeId(WATCHED as u32) };
        let path = self.cluster.launches[WATCHED].data_dir(WATCHED as u32);
        let (storage, _) = DiskStorage::open(&path, &identity).unwrap();
        // The last op of each origin that there is: a parent may not be it.
        let last: BTreeMap<_, _> = ends.iter().map(|dot| (dot.origin, dot.counter)).collect();
        let ranges: Vec<_> = last.into_iter().map(|(origin, last)| OpRange { origin, first: 1, last }).collect();
        let stored = storage.ops(&ranges, BatchLimit { ops: usize::MAX, bytes: usize::MAX }).unwrap();
        assert_eq!(stored.len() as u64, ranges.iter().map(OpRange::count).sum::<u64>());
        let ops = stored.iter().map(|op| (op.position, format::op::decode(&op.bytes).unwrap()));
        Log { id: storage.log_id(), ops: ops.collect() }
    }
}

/// What the watched node's log holds.
struct Log {
    id: LogId,
    ops: Vec<(u64, Op)>,
}

impl Log {
    /// Every op is behind all that it depends on.
    fn check_order(&self) {
        let mut before = BTreeSet::new();
        for (expected, (position, op)) in (1..).zip(&self.ops) {
            assert_eq!(*position, expected);
            let previous = (op.dot.counter > 1).then(|| op.dot.origin.dot(op.dot.counter - 1));
            for dependency in op.parents.iter().chain(&op.deps).chain(&previous) {
                assert!(before.contains(dependency), "{} comes before {dependency}", op.dot);
            }
            for replaced in op.entries.iter().flat_map(|entry| &entry.replaces) {
                assert!(before.contains(replaced), "{} comes before {replaced}", op.dot);
            }
            assert!(before.insert(op.dot), "{} is there twice", op.dot);
        }
    }

    /// Every write that was answered is there as it was asked for, on all nodes.
    fn check_answers(&self, recorder: &Recorder) {
        let ops: BTreeMap<causality::Dot, &Op> = self.ops.iter().map(|(_, op)| (op.dot, op)).collect();
        let written = recorder.written();
        assert!(written.len() > 500, "too few writes to prove anything: {}", written.len());
        for (dot, values) in written {
            let op = ops.get(&dot).unwrap_or_else(|| panic!("{dot} was answered and is not in the log"));
            let has =
                op.entries.iter().map(|entry| (entry.key.to_string(), entry.value.as_ref().map(|v| v.to_string())));
            assert_eq!(has.collect::<BTreeMap<_, _>>(), values, "{dot}");
        }
    }

    /// What a watch was told is what there is behind its beginning, of its prefix.
    fn check_watch(&self, seen: &Seen) {
        let began: u64 = seen.began.split('-').next().unwrap().parse().unwrap();
        let of_prefix = self.ops[began as usize..].iter().filter_map(|(position, op)| {
            let entries: Vec<Value> = op
                .entries
                .iter()
                .filter(|entry| entry.key.starts_with(&*seen.prefix))
                .map(|entry| {
                    let replaces: Vec<String> = entry.replaces.iter().map(Dot::to_string).collect();
                    json!({"key": &*entry.key, "value": entry.value.as_deref(), "replaces": replaces})
                })
                .collect();
            let at = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(op.hlc.wall().0)).to_string();
            let (dot, node) = (op.dot.to_string(), op.dot.origin.node.0);
            let id = format!("{position}-{dot}-{}", self.id);
            let data = json!({"dot": dot, "node": node, "written_at": at, "trace_id": null, "entries": entries});
            (!entries.is_empty()).then_some((id, data))
        });
        let mut told = seen.changes.iter();
        for (id, data) in of_prefix {
            let event = told.next().unwrap_or_else(|| panic!("'{}' was not told of {id}", seen.prefix));
            assert_eq!((event.cursor(), event.json()), (&*id, data), "'{}'", seen.prefix);
        }
        assert_eq!(told.next(), None, "'{}' was told more than there is", seen.prefix);
    }
}
