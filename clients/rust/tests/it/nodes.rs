//! Three nodes as processes of the real binary.

use std::collections::BTreeMap;
use std::env;
use std::fs::OpenOptions;
use std::iter;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use causeway_client::Client;
use serde_json::Value;
use tempfile::TempDir;

use crate::relay::Relay;

/// Longer than anything takes: who waits so long has found something.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is waited for is looked at so often.
const LOOK: Duration = Duration::from_millis(20);

/// The directory of the build that the tests are of.
pub(crate) fn built() -> PathBuf {
    let tests = env::current_exe().unwrap();
    tests.parent().and_then(Path::parent).expect("tests are built below the target directory").to_owned()
}

/// The program under test: `CAUSEWAY_BINARY`, or the one built beside the tests, as `cargo test --workspace` does.
fn binary() -> PathBuf {
    let binary = env::var_os("CAUSEWAY_BINARY").map_or_else(|| built().join("causeway"), PathBuf::from);
    assert!(binary.exists(), "{} is not there: cargo build, or set CAUSEWAY_BINARY", binary.display());
    binary
}

/// Waits until something is there.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "it never comes: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// A port at which nobody is, and that no other test gets. It lies below those that the system gives to whoever asks for any:
/// of these, a connection of another test could have one before it is listened on.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 10_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time begin at different ones.
    let begin = std::process::id().wrapping_mul(101);
    let mut ports = iter::repeat_with(|| GIVEN.fetch_add(1, Ordering::Relaxed)).take(COUNT as usize);
    ports
        .find_map(|given| {
            let port = u16::try_from(FIRST + begin.wrapping_add(given) % COUNT).unwrap();
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(port)
        })
        .expect("not all of them are taken")
}

/// A node that can be started again on its data. Dropped, it is killed.
pub(crate) struct Node {
    pub(crate) port: u16,
    pub(crate) url: String,
    log: PathBuf,
    environment: Vec<(&'static str, String)>,
    process: Option<Child>,
}

impl Node {
    fn new(directory: &Path, id: usize, port: u16, peers: &[u16]) -> Self {
        let peers: Vec<_> =
            peers.iter().enumerate().map(|(peer, port)| format!("{peer}=http://127.0.0.1:{port}")).collect();
        let environment = vec![
            ("CAUSEWAY_NODE_ID", id.to_string()),
            ("CAUSEWAY_LISTEN", format!("127.0.0.1:{port}")),
            ("CAUSEWAY_PEERS", peers.join(",")),
            ("CAUSEWAY_DATA_DIR", directory.join(id.to_string()).display().to_string()),
            // Tests need little room.
            ("CAUSEWAY_MIN_FREE_BYTES", "0".to_owned()),
        ];
        let log = directory.join(format!("{id}.log"));
        Self { port, url: format!("http://127.0.0.1:{port}"), log, environment, process: None }
    }

    fn launch(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new(binary());
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("CAUSEWAY_") || name.to_string_lossy().starts_with("OTEL_") {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
    }

    async fn until_ready(&mut self) {
        let url = format!("{}/readyz", self.url);
        let (process, log) = (&mut self.process, &self.log);
        until("the node is ready", async || {
            let ended = process.as_mut().and_then(|process| process.try_wait().unwrap());
            assert!(ended.is_none(), "the node ended:\n{}", std::fs::read_to_string(log).unwrap());
            http().get(&url).send().await.ok().filter(|answer| answer.status().is_success()).map(drop)
        })
        .await;
    }

    /// Starts it, and waits until it takes requests.
    pub(crate) async fn start(&mut self) {
        self.launch();
        self.until_ready().await;
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    async fn vector(&self) -> Option<Value> {
        let answer = http().get(format!("{}/status", self.url)).send().await.ok()?;
        let status: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
        Some(status["vector"].clone())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

fn http() -> reqwest::Client {
    // It is there already from the second time on.
    #[cfg(feature = "rustls")]
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap()
}

/// Three nodes over ways that can be cut.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    links: BTreeMap<(usize, usize), Relay>,
    _directory: TempDir,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let ports: [u16; 3] = std::array::from_fn(|_| free_port());
        let mut links = BTreeMap::new();
        let mut nodes = Vec::new();
        for (from, own) in ports.into_iter().enumerate() {
            let mut peers = ports;
            for (to, peer) in peers.iter_mut().enumerate().filter(|(to, _)| *to != from) {
                let link = Relay::to(*peer).await;
                *peer = link.port;
                links.insert((from, to), link);
            }
            nodes.push(Node::new(directory.path(), from, own, &peers));
        }
        nodes.iter_mut().for_each(Node::launch);
        for node in &mut nodes {
            node.until_ready().await;
        }
        Self { nodes, links, _directory: directory }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url.clone()).collect()
    }

    pub(crate) fn url(&self, node: usize) -> &str {
        &self.nodes[node].url
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.urls()).unwrap()
    }

    fn links_of(&self, node: usize) -> impl Iterator<Item = &Relay> {
        self.links.iter().filter(move |((from, to), _)| [*from, *to].contains(&node)).map(|(_, link)| link)
    }

    /// Cuts a node off from the others.
    pub(crate) fn cut_off(&self, node: usize) {
        self.links_of(node).for_each(Relay::cut);
    }

    /// Ends that.
    pub(crate) fn heal(&self, node: usize) {
        self.links_of(node).for_each(Relay::heal);
    }

    /// Waits until all nodes have the same.
    pub(crate) async fn until_equal(&self) {
        until("all nodes have the same", async || {
            let mut vectors = Vec::new();
            for node in &self.nodes {
                vectors.push(node.vector().await?);
            }
            vectors.iter().all(|vector| *vector == vectors[0]).then_some(())
        })
        .await;
    }
}
