//! A node of this process with its API and its replication endpoint, its senders and its telemetry.

use std::future::pending;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use causeway::causality::{NodeId, VersionVector};
use causeway::http::{self, HttpOptions};
use causeway::listen::{self, ListenOptions, Stopped};
use causeway::node::{AdmissionLimit, NodeHandle, NodeOptions, Observer, Running, Try};
use causeway::peers::{self, EndpointOptions, SenderOptions};
use causeway::replica::{LinkId, LinkView, OpRange, PeerChange, Recovered, ReplicaOptions, Seed, View, Visible};
use causeway::storage::{DiskStorage, Identity, MemoryStorage, OpenError, Storage};
use causeway::telemetry::{Telemetry, TraceOptions};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::support::api::{Answer, Api, send};
use crate::support::link::Link;
use crate::support::{PATIENCE, until};

/// How a node is started; can be started again on what it left.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) id: u32,
    pub(super) cluster: &'static str,
    /// Where this node finds the others; without an id where only the port is known.
    pub(super) peers: Vec<(Option<u32>, u16)>,
    pub(super) directory: PathBuf,
    /// Where its data is instead, if that is to be in memory.
    pub(super) memory: Option<MemoryStorage>,
    /// Where its spans go.
    pub(super) collector: Option<String>,
    /// How long they gather before they go there.
    pub(super) spans_delay: Duration,
    pub(super) senders: SenderOptions,
}

/// A running node.
pub(super) struct Node {
    pub(super) port: u16,
    pub(super) api: Api,
    pub(super) handle: NodeHandle,
    pub(super) tries: Arc<Tries>,
    running: Running,
    telemetry: Telemetry,
    serving: (oneshot::Sender<()>, JoinHandle<Stopped>),
    senders: JoinSet<()>,
}

impl Setup {
    pub(super) async fn start(&self) -> Node {
        let traces = self.collector.as_ref().map(|endpoint| {
            let mut traces = TraceOptions::new(endpoint);
            traces.resource.push(("service.name".to_owned(), format!("node{}", self.id)));
            traces.batch.delay = self.spans_delay;
            traces
        });
        let telemetry = Telemetry::start(NodeId(self.id), traces).unwrap();
        let tries = Arc::new(Tries { inner: telemetry.observer(), failed: Mutex::default() });
        let mut running = self.start_node(tries.clone()).await;
        let handle = running.handle.clone();
        telemetry.attach(handle.clone());
        let urls = self.peers.iter().map(|(_, port)| format!("http://127.0.0.1:{port}")).collect();
        let (orders, questions) = (std::mem::take(&mut running.orders), std::mem::take(&mut running.questions));
        let senders = peers::spawn(urls, orders, questions, handle.clone(), tries.clone(), self.senders.clone());
        let options = HttpOptions { tracer: telemetry.tracer(), ..HttpOptions::default() };
        let (keys, boot) = (self.senders.keys.clone(), getrandom::u64().unwrap());
        let endpoint = EndpointOptions { keys, boot, metrics: peers::Metrics::default() };
        let router = http::app(handle.clone(), options).merge(peers::router(handle.clone(), endpoint));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let listen = ListenOptions { stop_grace: Duration::from_millis(100), ..ListenOptions::default() };
        let (stop, stopped) = oneshot::channel::<()>();
        // A node that is dropped rather than stopped goes on serving until the test's runtime ends.
        let stopped = async {
            if stopped.await.is_err() {
                pending().await
            }
        };
        let serving = (stop, tokio::spawn(listen::serve(listener, router, listen, stopped)));
        Node { port, api: Api::new(port), handle, tries, running, telemetry, serving, senders }
    }

    async fn start_node(&self, observer: Arc<dyn Observer>) -> Running {
        if let Some(memory) = &self.memory {
            return self.start_on(Arc::new(memory.clone()), memory.recovered(), observer);
        }
        let identity = Identity { cluster: self.cluster.to_owned(), node: NodeId(self.id) };
        // What the node before it was still doing may hold the directory for a moment.
        let open = || match DiskStorage::open(&self.directory, &identity) {
            Err(OpenError::InUse { .. }) => None,
            opened => Some(opened.unwrap()),
        };
        let (storage, recovered) = until(async || open(), async || "the directory is in use".to_owned()).await;
        self.start_on(Arc::new(storage), recovered, observer)
    }

    fn start_on(&self, storage: Arc<dyn Storage>, recovered: Recovered, observer: Arc<dyn Observer>) -> Running {
        let peers = self.peers.iter().map(|(id, _)| id.map(NodeId)).collect();
        let options = NodeOptions {
            replica: ReplicaOptions::new(self.cluster, NodeId(self.id), peers),
            seed: Seed { boot: getrandom::u64().unwrap(), random: getrandom::u64().unwrap() },
            admission: AdmissionLimit { requests: 1_000, bytes: 64 << 20, wait: Duration::from_secs(20) },
            addresses: vec![],
            min_free_bytes: 0,
            max_log_bytes: 1 << 30,
        };
        causeway::node::start(options, storage, recovered, observer).unwrap()
    }
}

impl Node {
    pub(super) fn vector(&self) -> VersionVector {
        self.handle.status().view.vector.clone()
    }

    /// What it knows of one of its peers, in the order of its setup.
    pub(super) fn link(&self, index: usize) -> LinkView {
        self.handle.status().view.links[index].clone()
    }

    /// Waits until it sees that this peer does not answer.
    pub(super) async fn until_away(&self, index: usize) {
        until(async || self.link(index).away_since, async || format!("{:?}", self.link(index))).await;
    }

    /// Waits until a try has failed in this way.
    pub(super) async fn until_failed(&self, error_type: &str) {
        let failed = async || self.tries.failed().contains(&error_type).then_some(());
        until(failed, async || format!("no {error_type} among {:?}", self.tries.failed())).await;
    }

    /// Ends it; says whether all its spans were exported.
    pub(super) async fn stop(self) -> bool {
        self.stop_within(PATIENCE).await
    }

    /// The same, with less patience for the collector.
    pub(super) async fn stop_within(mut self, patience: Duration) -> bool {
        let (stop, serving) = self.serving;
        stop.send(()).unwrap();
        serving.await.unwrap();
        let running = self.running;
        tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
        self.senders.shutdown().await;
        self.telemetry.shutdown(patience).await
    }
}

/// Writes one key in a trace of the client's; the op's dot is in the answer.
pub(super) async fn set_traced(api: &Api, key: &str, value: &str, trace_id: &str) -> Answer {
    let parent = format!("00-{trace_id}-00000000000000c1-01");
    let answer = send(api.patch("", &json!({ key: value })).header("traceparent", parent)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer
}

/// Notes how tries failed, and passes everything on.
pub(super) struct Tries {
    inner: Arc<dyn Observer>,
    failed: Mutex<Vec<&'static str>>,
}

impl Tries {
    pub(super) fn failed(&self) -> Vec<&'static str> {
        self.failed.lock().unwrap().clone()
    }
}

impl Observer for Tries {
    fn visible(&self, visible: &Visible) {
        self.inner.visible(visible);
    }

    fn acknowledged(&self, peer: NodeId, ops: &[OpRange], by_state: bool, latencies: &[(u64, Duration)]) {
        self.inner.acknowledged(peer, ops, by_state, latencies);
    }

    fn peer(&self, link: LinkId, node: Option<NodeId>, change: PeerChange) {
        self.inner.peer(link, node, change);
    }

    fn twin(&self, node: NodeId, seen: bool) {
        self.inner.twin(node, seen);
    }

    fn tried(&self, attempt: &Try<'_>) {
        self.failed.lock().unwrap().extend(attempt.error.as_ref().map(|(error_type, _)| error_type));
        self.inner.tried(attempt);
    }

    fn committed(&self, ops: usize, took: Duration) {
        self.inner.committed(ops, took);
    }

    fn unknown_member(&self, node: NodeId) {
        self.inner.unknown_member(node);
    }

    fn delivery_buffer(&self, view: &View) {
        self.inner.delivery_buffer(view);
    }
}

/// Setups of nodes that know each other, and the ways between them.
pub(super) struct Plan {
    pub(super) setups: Vec<Setup>,
    /// (from, to)
    pub(super) ways: Vec<((usize, usize), Link)>,
    _directory: TempDir,
}

impl Plan {
    /// `count` nodes, known by ids or by bare ports.
    pub(super) async fn of(count: usize, by_id: bool) -> Self {
        let directory = TempDir::new().unwrap();
        let mut ways = Vec::new();
        let mut setups = Vec::new();
        for from in 0..count {
            let mut peers = Vec::new();
            for to in (0..count).filter(|to| *to != from) {
                let link = Link::to(0).await;
                peers.push((by_id.then_some(to as u32), link.port));
                ways.push(((from, to), link));
            }
            setups.push(Setup {
                id: from as u32,
                cluster: "test",
                peers,
                directory: directory.path().join(from.to_string()),
                memory: None,
                collector: None,
                spans_delay: Duration::from_millis(50),
                senders: SenderOptions::default(),
            });
        }
        Self { setups, ways, _directory: directory }
    }

    /// Starts all nodes.
    pub(super) async fn start(&self) -> Vec<Node> {
        let mut nodes = Vec::new();
        for index in 0..self.setups.len() {
            nodes.push(self.start_one(index).await);
        }
        nodes
    }

    /// Starts one node; the ways to it lead there.
    pub(super) async fn start_one(&self, index: usize) -> Node {
        let node = self.setups[index].start().await;
        self.ways.iter().filter(|((_, to), _)| *to == index).for_each(|(_, link)| link.lead_to(node.port));
        node
    }

    pub(super) fn way(&self, from: usize, to: usize) -> &Link {
        &self.ways.iter().find(|(ends, _)| *ends == (from, to)).unwrap().1
    }

    /// Cuts a node off from all others, both ways.
    pub(super) fn cut_off(&self, node: usize) {
        self.ways.iter().filter(|((from, to), _)| *from == node || *to == node).for_each(|(_, link)| link.cut());
    }

    pub(super) fn heal(&self) {
        self.ways.iter().for_each(|(_, link)| link.heal());
    }
}

/// Waits until all nodes have the same ops, `ops` of them.
pub(super) async fn until_equal(nodes: &[Node], ops: u64) {
    let count = |vector: &VersionVector| vector.entries().map(|dot| dot.counter).sum::<u64>();
    let equal = async || {
        let vectors: Vec<VersionVector> = nodes.iter().map(Node::vector).collect();
        vectors.iter().all(|vector| count(vector) >= ops && *vector == vectors[0]).then_some(())
    };
    until(equal, async || {
        let states =
            nodes.iter().map(|node| format!("{}, tries that failed: {:?}", node.vector(), node.tries.failed()));
        states.collect::<Vec<_>>().join("\n")
    })
    .await;
}
