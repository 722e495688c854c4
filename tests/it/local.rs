//! Nodes in this process, each with its API on a real listener, and links between them that can be cut.

pub(crate) mod faults;

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use causeway::causality::{Dot, NodeId, VersionVector};
use causeway::format;
use causeway::format::state::{StateAnswer, StateHead, StatePiece, Taken};
use causeway::http::{HttpOptions, app};
use causeway::listen::{ListenOptions, Stopped, serve};
use causeway::node::{AdmissionLimit, NoObserver, NodeHandle, NodeOptions, Running, start};
use causeway::replica::{Answer, LinkId, Push, Recovered, ReplicaOptions, Seed, Send};
use causeway::storage::{BatchLimit, DiskStorage, Identity, MemoryStorage, Storage};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc::Receiver;
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinHandle;

use crate::support::api::client;
use crate::support::document::Document;

pub(crate) use faults::Faulty;

const CLUSTER: &str = "test";

/// How long a test waits for something that must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A node with its API.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) handle: NodeHandle,
    client: reqwest::Client,
    running: Option<Running>,
    serving: Option<(watch::Sender<bool>, JoinHandle<Stopped>)>,
    directory: Option<TempDir>,
}

/// How a node of a test differs from the default.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) http: HttpOptions,
    pub(crate) listen: ListenOptions,
    pub(crate) max_siblings: usize,
    pub(crate) max_waiting: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self { http: HttpOptions::default(), listen: ListenOptions::default(), max_siblings: 64, max_waiting: 1024 }
    }
}

impl Node {
    /// Node `id` of a cluster of `members`, on what `storage` holds.
    pub(crate) async fn start(
        id: u32,
        members: u32,
        storage: Arc<dyn Storage>,
        recovered: Recovered,
        setup: Setup,
    ) -> Self {
        let peers = (0..members).filter(|peer| *peer != id).map(|peer| Some(NodeId(peer))).collect();
        let mut replica = ReplicaOptions::new(CLUSTER, NodeId(id), peers);
        replica.max_siblings = setup.max_siblings;
        replica.forward_after_ms = 100;
        replica.digest_interval_ms = 100;
        let seed = Seed { boot: getrandom::u64().unwrap(), random: getrandom::u64().unwrap() };
        let admission = AdmissionLimit { requests: setup.max_waiting, bytes: 64 << 20, wait: Duration::from_secs(20) };
        let running = start(
            NodeOptions { replica, seed, admission, addresses: vec![], min_free_bytes: 0, max_log_bytes: 1 << 30 },
            storage,
            recovered,
            Arc::new(NoObserver),
        )
        .unwrap();
        let handle = running.handle.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let http = HttpOptions { stopping: Some(stopping.clone()), ..setup.http };
        // A node that is dropped rather than stopped goes on serving until the test's runtime ends.
        let stopped = async move {
            if stopping.clone().wait_for(|stop| *stop).await.is_err() {
                pending().await
            }
        };
        let serving = tokio::spawn(serve(listener, app(handle.clone(), http), setup.listen, stopped));
        let serving = Some((stop, serving));
        Self { address, handle, client: client(&[]).build().unwrap(), running: Some(running), serving, directory: None }
    }

    /// Node `id` of a cluster of `members`, on a disk of its own.
    pub(crate) async fn on_disk(id: u32, members: u32, setup: Setup) -> Self {
        Self::on(tempfile::tempdir().unwrap(), id, members, setup).await
    }

    /// The same, on a directory that may hold something.
    pub(crate) async fn on(directory: TempDir, id: u32, members: u32, setup: Setup) -> Self {
        let identity = Identity { cluster: CLUSTER.to_owned(), node: NodeId(id) };
        let (storage, recovered) = DiskStorage::open(directory.path(), &identity).unwrap();
        let node = Self::start(id, members, Arc::new(storage), recovered, setup).await;
        Self { directory: Some(directory), ..node }
    }

    /// A cluster of one.
    pub(crate) async fn alone(setup: Setup) -> Self {
        Self::on_disk(0, 1, setup).await
    }

    /// A cluster of one whose store can be told to fail.
    pub(crate) async fn with_faults(setup: Setup) -> (Self, Arc<Faulty>) {
        let storage = Arc::new(Faulty::new(MemoryStorage::new()));
        (Self::start(0, 1, storage.clone(), Recovered::default(), setup).await, storage)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address)).timeout(DEADLINE)
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        Reply::of(self.request(Method::GET, path)).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        Reply::of(with(self.request(Method::GET, path), headers)).await
    }

    /// `PATCH /set` with these values.
    pub(crate) async fn set(&self, query: &str, values: Value, headers: &[(&str, &str)]) -> Reply {
        let body = serde_json::json!({ "values": values }).to_string();
        let request = self.request(Method::PATCH, &format!("/set{query}")).body(body);
        Reply::of(with(request.header("content-type", "application/json"), headers)).await
    }

    /// A plain write of one key that must succeed; its context.
    pub(crate) async fn put(&self, key: &str, value: &str) -> String {
        let reply = self.set("", serde_json::json!({ key: value }), &[]).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.context()
    }

    pub(crate) async fn read_many(&self, query: &str, keys: Value) -> Reply {
        let body = serde_json::json!({ "keys": keys }).to_string();
        let request = self.request(Method::POST, &format!("/read{query}")).body(body);
        Reply::of(request.header("content-type", "application/json")).await
    }

    /// The values of a key, in the order of their arrival, the last first.
    pub(crate) async fn siblings(&self, key: &str) -> Vec<String> {
        let reply = self.get(&format!("/read?resolve=all&key={key}")).await;
        if reply.status == StatusCode::NOT_FOUND {
            return Vec::new();
        }
        let siblings = reply.json()["siblings"].as_array().unwrap().clone();
        siblings.iter().map(|sibling| sibling["value"].as_str().unwrap().to_owned()).collect()
    }

    /// Ends the node, and gives back its directory. No connection must have to be cut for it.
    pub(crate) async fn stop(mut self) -> TempDir {
        let (stop, serving) = self.serving.take().unwrap();
        stop.send_replace(true);
        assert_eq!(serving.await.unwrap(), Stopped { cut: 0 });
        let running = self.running.take().unwrap();
        tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
        self.directory.take().unwrap()
    }
}

fn with(mut request: reqwest::RequestBuilder, headers: &[(&str, &str)]) -> reqwest::RequestBuilder {
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let (client, request) = request.build_split();
        let request = request.unwrap();
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = client.execute(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let reply = Self { status, headers, body: response.text().await.unwrap() };
        let header = |name: &str| reply.header(name).map(str::to_owned);
        document().await.check(method.as_str(), &path, status.as_u16(), header, &reply.body);
        reply
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn context(&self) -> String {
        self.header("causal-context").unwrap().to_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The last part of the problem's type.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.body);
        let kind = self.json()["type"].as_str().unwrap().to_owned();
        kind.strip_prefix("/problems/").unwrap().to_owned()
    }
}

/// What the API says of itself.
pub(crate) async fn document() -> &'static Document {
    static DOCUMENT: OnceCell<Document> = OnceCell::const_new();
    let fetch = async || {
        let (node, _) = Node::with_faults(Setup::default()).await;
        let response = node.request(Method::GET, "/openapi.json").send().await.unwrap();
        Document::parse(&response.text().await.unwrap())
    };
    DOCUMENT.get_or_init(fetch).await
}

/// Nodes that all know each other, with links that can be cut.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    links: Vec<((usize, usize), Arc<AtomicBool>)>,
}

impl Cluster {
    pub(crate) async fn of(members: u32) -> Self {
        let mut nodes = Vec::new();
        for id in 0..members {
            nodes.push(Node::on_disk(id, members, Setup::default()).await);
        }
        let mut links = Vec::new();
        for from in 0..nodes.len() {
            let orders = std::mem::take(&mut nodes[from].running.as_mut().unwrap().orders);
            let peers = (0..nodes.len()).filter(|to| *to != from);
            for (to, orders) in peers.zip(orders) {
                let up = Arc::new(AtomicBool::new(true));
                links.push(((from, to), up.clone()));
                tokio::spawn(carry(orders, nodes[from].handle.clone(), nodes[to].handle.clone(), up));
            }
        }
        Self { nodes, links }
    }

    /// Lets these two hear each other or not.
    pub(crate) fn link(&self, one: usize, other: usize, up: bool) {
        for ((from, to), link) in &self.links {
            if (*from, *to) == (one, other) || (*from, *to) == (other, one) {
                link.store(up, Ordering::SeqCst);
            }
        }
    }

    /// Waits until every node has what a context includes.
    pub(crate) async fn all_reach(&self, context: &str) {
        let context = format::token::decode(context).unwrap();
        for node in &self.nodes {
            node.handle.reached(&context.wait, DEADLINE).await.unwrap();
        }
    }
}

/// What the senders of `peers` do, without a network.
async fn carry(mut orders: Receiver<Send>, from: NodeHandle, to: NodeHandle, up: Arc<AtomicBool>) {
    while let Some(Send { link, mut push, ops, probe, state }) = orders.recv().await {
        if state && !probe {
            send_state(&from, &to, link, push, &up).await;
            continue;
        }
        let outcome = if up.load(Ordering::SeqCst) {
            if !probe {
                let stored = from.ops(&ops, BatchLimit { ops: 100, bytes: 1 << 20 }).unwrap();
                push.ops = stored.iter().map(|op| Arc::new(format::op::decode(&op.bytes).unwrap())).collect();
            }
            // The last op of each origin.
            let carried = push.ops.iter().map(|op| op.dot).collect::<VersionVector>().entries().collect();
            to.push(push).await.map(|answer| (carried, answer)).ok()
        } else {
            None
        };
        finish(&from, link, outcome);
    }
}

/// The whole state as one piece.
async fn send_state(from: &NodeHandle, to: &NodeHandle, link: LinkId, push: Push, up: &AtomicBool) {
    let snapshot = from.snapshot().unwrap();
    let keys = snapshot.piece(None, BatchLimit { ops: usize::MAX, bytes: usize::MAX }).unwrap().keys;
    let keys = keys.iter().map(|(key, bytes)| (key.as_str().into(), format::siblings::decode(bytes).unwrap()));
    let keys: Vec<_> = keys.collect();
    let (vector, ancestry) = (snapshot.vector().clone(), (*from.status().view.ancestry).clone());
    let head = Some(StateHead { vector, ancestry, keys: keys.len() as u64 });
    let piece = StatePiece { push, transfer: getrandom::u64().unwrap(), after: None, head, keys, is_last: true };
    match if up.load(Ordering::SeqCst) { to.take_state(piece, 0).await.ok() } else { None } {
        Some(StateAnswer { answer, taken }) => {
            from.state_answered(link, answer, !matches!(taken, Taken::Busy { .. }));
        }
        None => from.send_failed(link, None),
    }
}

fn finish(from: &NodeHandle, link: LinkId, outcome: Option<(Vec<Dot>, Answer)>) {
    match outcome {
        Some((carried, answer)) => from.answered(link, carried, answer),
        None => from.send_failed(link, None),
    }
}
