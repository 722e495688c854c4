//! A rolling upgrade: three nodes of the version before are replaced by this one, node by node and on the same directories,
//! while clients write at all of them.
//!
//! `CAUSEWAY_PREVIOUS` names the program of the version before; `tests/run upgrade` builds it from the commit that
//! `tests/upgrade/previous` names. Without it nothing can be tested here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use causeway::format::identity;
use causeway_checker::history::{Call, NodeId, Outcome, Replaces, Volume, What};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::api::{Api, send};
use crate::support::cluster::Cluster;
use crate::support::history::{Recorder, Sent, unanswered, written};
use crate::support::load::{Load, Plan, read_all};
use crate::support::process::Launch;
use crate::support::random::Random;
use crate::support::until;

const NODES: usize = 3;

/// How long a writer thinks between two writes.
const THINK: Duration = Duration::from_millis(4);

/// How many keys are read at once.
const KEYS_A_READ: usize = 1_000;

/// So many writes each node takes before each step.
const WRITES_A_STEP: usize = 40;

/// The sessions of the writers, and those of the marks, in the history: beyond those of the load.
const WRITERS: u32 = 100;
const MARKERS: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_replaced_one_by_one_while_clients_write() {
    let Some(previous) = std::env::var_os("CAUSEWAY_PREVIOUS").map(PathBuf::from) else {
        eprintln!("SKIPPED: there is no program of the version before here; tests/run upgrade builds it");
        return;
    };
    let mut upgrade = Upgrade::start(&previous).await;
    upgrade.check("all old").await;
    for node in 0..NODES {
        let this = upgrade.launch_of(node, None);
        upgrade.replace(node, this).await;
        upgrade.check(&format!("{} new", node + 1)).await;
    }
    upgrade.go_back(NODES - 1, &previous).await;
    upgrade.finish().await;
}

/// A cluster on its way to another version.
struct Upgrade {
    cluster: Cluster,
    /// What each node speaks, by what it says of itself; those of the first version say nothing.
    protocols: Vec<Value>,
    /// The format of the directories of the version before.
    format: u32,
    recorder: Arc<Recorder>,
    plan: Plan,
    load: Load,
    ledger: Arc<Ledger>,
    writers: Vec<JoinHandle<()>>,
}

impl Upgrade {
    async fn start(previous: &Path) -> Self {
        let cluster = Cluster::mesh_with(|_, launch| launch.of(Some(previous))).await;
        let recorder = Recorder::new();
        (0..NODES).for_each(|node| recorder.node(node as NodeId, What::Up(Volume::Empty)));
        let nodes = (0..).zip(&cluster.nodes).map(|(id, node)| (id, node.api.clone())).collect();
        let seed = Random::seed("upgrade");
        let think = Duration::from_millis(15);
        let plan = Plan { seed, sessions: 6, keys: 24, value_digits: 1, think, requests: usize::MAX, nodes };
        let load = Load::start(&plan, &recorder);
        let ledger = Ledger::new(recorder.clone());
        let writers = plan.nodes.iter().map(|(node, api)| {
            let (node, api, ledger) = (*node as usize, api.clone(), ledger.clone());
            tokio::spawn(async move { ledger.keep_writing(node, &api).await })
        });
        let writers = writers.collect();
        let format = format_of(&cluster.launches[0], 0);
        let mut upgrade = Self { cluster, protocols: Vec::new(), format, recorder, plan, load, ledger, writers };
        for node in 0..NODES {
            let protocol = upgrade.protocol_of(node).await;
            upgrade.protocols.push(protocol);
        }
        upgrade
    }

    /// How a node is started: as this version, or as another program.
    fn launch_of(&self, node: usize, program: Option<&Path>) -> Launch {
        self.cluster.launches[node].clone().of(program)
    }

    async fn protocol_of(&self, node: usize) -> Value {
        let status = self.cluster.api(node).status().await;
        status.get("protocol").cloned().unwrap_or(json!({"oldest": 1, "newest": 1}))
    }

    /// Stops a node as an operator does; its writers may fail from now on.
    async fn stop(&mut self, node: usize) {
        self.ledger.down[node].store(true, Ordering::SeqCst);
        self.recorder.node(node as NodeId, What::Down);
        let (status, _) = self.cluster.nodes.remove(node).terminate().await;
        assert!(status.success(), "node {node} ended with {status}");
    }

    /// Starts a node that was stopped, and waits until its writers must succeed.
    async fn start_again(&mut self, node: usize, launch: Launch) {
        let started = launch.start_ready().await;
        self.cluster.nodes.insert(node, started);
        self.cluster.launches[node] = launch;
        self.recorder.node(node as NodeId, What::Up(Volume::Kept));
        self.ledger.down[node].store(false, Ordering::SeqCst);
        self.protocols[node] = self.protocol_of(node).await;
    }

    async fn replace(&mut self, node: usize, launch: Launch) {
        self.stop(node).await;
        self.start_again(node, launch).await;
    }

    /// Ops go from every node to every other, everything acknowledged is readable everywhere, and the nodes that can say
    /// so know what the others speak.
    async fn check(&self, step: &str) {
        self.ledger.go_on().await;
        let acknowledged = self.ledger.acknowledged();
        let mut marks = Vec::new();
        for node in 0..NODES {
            let mark = format!("mark-of-{node}-{}", step.replace(' ', "-"));
            let written = self.ledger.write(MARKERS, node, self.cluster.api(node), &mark).await;
            marks.push((mark, written.unwrap_or_else(|| panic!("node {node} does not take a write, {step}"))));
        }
        for node in 0..NODES {
            for (mark, value) in &marks {
                self.cluster.api(node).until_reads(mark, value).await;
            }
            // By causality all that was acknowledged before is visible where the marks are.
            assert_eq!(read_back(self.cluster.api(node), &acknowledged).await, acknowledged, "node {node}, {step}");
            let (id, api) = &self.plan.nodes[node];
            assert!(read_all(&self.plan, &self.recorder, *id, api).await, "node {node} does not answer, {step}");
            self.check_protocols(node).await;
        }
        eprintln!("upgrade: {step}: {} acknowledged writes are everywhere", acknowledged.len());
    }

    async fn check_protocols(&self, node: usize) {
        let api = self.cluster.api(node);
        if api.status().await.get("protocol").is_none() {
            return;
        }
        let known = async || {
            let status = api.status().await;
            let as_they_say = |peer: &Value| {
                let id = peer["node"].as_u64()? as usize;
                Some(peer["version"].is_string() && peer["protocol"] == self.protocols[id])
            };
            status["peers"].as_array()?.iter().all(|peer| as_they_say(peer) == Some(true)).then_some(())
        };
        let describe = async || format!("{} does not say {:?}", api.status().await["peers"], self.protocols);
        until(known, describe).await;
    }

    /// Starts the version before on a directory of this one. Where its format is newer that is refused and changes nothing;
    /// where it is the same, it works.
    async fn go_back(&mut self, node: usize, previous: &Path) {
        let format = format_of(&self.cluster.launches[node], node);
        let (this, before) = (self.launch_of(node, None), self.launch_of(node, Some(previous)));
        if format == self.format {
            self.replace(node, before).await;
            self.check("one went back").await;
            self.replace(node, this).await;
        } else {
            self.stop(node).await;
            let mut refused = before.start();
            let ended = refused.until_ready_or_ended().await.unwrap_or_else(|| panic!("it went back to an old format"));
            assert!(!ended.success(), "{ended}");
            let why =
                format!("has format {format}; this version reads up to {}: start it with a newer version", self.format);
            assert!(refused.log().contains(&why), "{}", refused.log());
            assert_eq!(format_of(&this, node), format);
            self.start_again(node, this).await;
        }
        self.check("all new again").await;
    }

    async fn finish(self) {
        self.ledger.stop.store(true, Ordering::SeqCst);
        for writer in self.writers {
            writer.await.unwrap();
        }
        self.load.stop().await;
        self.recorder.finals(&self.plan.nodes).await;
        for node in 0..NODES {
            let acknowledged = self.ledger.acknowledged();
            assert_eq!(read_back(self.cluster.api(node), &acknowledged).await, acknowledged, "node {node}, at the end");
        }
        self.recorder.judge("upgrade");
    }
}

/// The format of a node's directory.
fn format_of(launch: &Launch, node: usize) -> u32 {
    let bytes = fs::read(launch.data_dir(node as u32).join("identity")).unwrap();
    identity::decode(&bytes).unwrap().format
}

/// Of these keys, what a node shows.
pub(crate) async fn read_back(api: &Api, expected: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let keys: Vec<&String> = expected.keys().collect();
    let mut shown = BTreeMap::new();
    for keys in keys.chunks(KEYS_A_READ) {
        let request = api.request(Method::POST, "/read").header("content-type", "application/json");
        let answer = send(request.body(json!({ "keys": keys }).to_string())).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let values = answer.json()["values"].as_object().unwrap().clone();
        shown.extend(values.into_iter().filter_map(|(key, value)| Some((key, value.as_str()?.to_owned()))));
    }
    shown
}

/// Writes that go on all the time at every node, each of a key of its own, and which of them were acknowledged.
struct Ledger {
    recorder: Arc<Recorder>,
    acknowledged: Mutex<BTreeMap<String, String>>,
    /// How many by each node.
    counts: [AtomicUsize; NODES],
    /// Which nodes need not answer.
    down: [AtomicBool; NODES],
    stop: AtomicBool,
}

impl Ledger {
    fn new(recorder: Arc<Recorder>) -> Arc<Self> {
        let (acknowledged, counts, down, stop) = Default::default();
        Arc::new(Self { recorder, acknowledged, counts, down, stop })
    }

    fn acknowledged(&self) -> BTreeMap<String, String> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until every node has acknowledged some more.
    async fn go_on(&self) {
        let counts = || self.counts.each_ref().map(|count| count.load(Ordering::SeqCst));
        let before = counts();
        let enough = async || {
            let mut grown = counts().into_iter().zip(before).map(|(now, before)| now - before);
            grown.all(|grown| grown >= WRITES_A_STEP).then_some(())
        };
        until(enough, async || format!("too few writes are acknowledged: {:?} after {before:?}", counts())).await;
    }

    async fn keep_writing(&self, node: usize, api: &Api) {
        for count in 0.. {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let was_down = self.down[node].load(Ordering::SeqCst);
            let key = format!("ledger-{node}-{count}");
            let written = self.write(WRITERS + node as u32, node, api, &key).await;
            let is_down = was_down || self.down[node].load(Ordering::SeqCst);
            assert!(written.is_some() || is_down, "node {node} did not take {key}");
            self.counts[node].fetch_add(usize::from(written.is_some()), Ordering::SeqCst);
            tokio::time::sleep(THINK).await;
        }
    }

    /// Writes a key, and notes that for the checker; the value, if that was acknowledged.
    async fn write(&self, session: u32, node: usize, api: &Api, key: &str) -> Option<String> {
        let value = self.recorder.value();
        let (keys, deletes, replaces) = (vec![key.into()], Vec::new(), Replaces::Held);
        let call = Call::Write { value, keys, deletes, replaces };
        let sent = Sent { session, node: node as NodeId, start: self.recorder.now(), context: None, call };
        let answer = send(api.patch("", &json!({ key: value.to_string() }))).await;
        let outcome = answer.as_ref().map_or_else(unanswered, |answer| written(answer).0);
        let is_written = matches!(outcome, Outcome::Written { .. });
        self.recorder.request(sent, outcome);
        is_written.then(|| {
            let mut acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
            acknowledged.insert(key.to_owned(), value.to_string());
            value.to_string()
        })
    }
}
