//! The cluster of docker-compose.yml, started by `deploy/up`, and what the tests do to it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::api::client;

pub(super) const NODES: [&str; 3] = ["node0", "node1", "node2"];
pub(super) const ALL: [usize; 3] = [0, 1, 2];
const PORTS: [u16; 3] = [8000, 8001, 8002];

/// How long anything may take before a test gives up on it.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What Compose reads when logs are to be short.
const SHORT_LOGS: (&str, &str) = ("COMPOSE_FILE", "docker-compose.yml:tests/it/compose/short-logs.yml");

/// There is one cluster on a machine: its names and ports are fixed.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The running cluster. Every node is connected when a test gets it and when it gives it back.
pub(super) struct Cluster {
    pub(super) http: reqwest::Client,
    _alone: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Starts the cluster as the README says, or finds it running; `None`, with the reason printed, when these
    /// tests are not asked for.
    pub(super) fn up() -> Option<Self> {
        Self::wanted().then(|| Self::start(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner), &[]))
    }

    /// The same, but as it is shipped and on empty volumes.
    pub(super) fn fresh() -> Option<Self> {
        Self::wanted().then(|| {
            let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
            forget_volumes();
            Self::start(alone, &[])
        })
    }

    /// The same, on empty volumes, and with logs that are as short as they can be.
    pub(super) fn with_short_logs() -> Option<Self> {
        Self::wanted().then(|| {
            let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
            forget_volumes();
            Self::start(alone, &[SHORT_LOGS])
        })
    }

    /// Kills a node's container and takes it away, and its volume with it if that is wanted.
    pub(super) fn remove(&self, node: usize, with_volume: bool) {
        let volume = docker(&["inspect", "-f", "{{range .Mounts}}{{.Name}}{{end}}", NODES[node]]);
        docker(&["rm", "-f", NODES[node]]);
        if with_volume {
            docker(&["volume", "rm", &volume]);
        }
    }

    /// Makes the container of a node of this cluster, which has short logs, and its volume where that is missing. It is
    /// connected, and not started.
    pub(super) fn create(&self, node: usize) {
        let up =
            "set -euo pipefail; source deploy/common.sh; need_compose; \"${compose[@]}\" up --no-start --no-build $1";
        let mut bash = Command::new("bash");
        bash.args(["-c", up, "up", NODES[node]]).current_dir(env!("CARGO_MANIFEST_DIR"));
        succeed(bash.envs([SHORT_LOGS]));
        // Compose 1.29 leaves all but the first for the start.
        let networks = docker(&["inspect", "-f", "{{json .NetworkSettings.Networks}}", NODES[node]]);
        let networks: BTreeMap<String, Value> = serde_json::from_str(&networks).unwrap();
        for network in ["edge", "replication"] {
            if !networks.contains_key(network) {
                docker(&["network", "connect", network, NODES[node]]);
            }
        }
    }

    /// The same, but exporting spans to a receiver on this host.
    pub(super) fn exporting_to(port: u16) -> Option<Self> {
        Self::wanted().then(|| {
            let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
            // So that its networks exist: the host, as the containers reach it.
            deploy_up(&[]);
            let host = docker(&["network", "inspect", "edge", "-f", "{{(index .IPAM.Config 0).Gateway}}"]);
            Self::start(alone, &[("CAUSEWAY_OTLP_ENDPOINT", &format!("http://{host}:{port}"))])
        })
    }

    fn wanted() -> bool {
        let wanted = std::env::var_os("CAUSEWAY_TEST_COMPOSE").is_some();
        if !wanted {
            eprintln!("skipped: set CAUSEWAY_TEST_COMPOSE=1 to test on the Docker engine");
        }
        wanted
    }

    fn start(alone: MutexGuard<'static, ()>, environment: &[(&str, &str)]) -> Self {
        deploy_up(environment);
        let http = client(&[]).timeout(Duration::from_secs(5)).build().unwrap();
        let cluster = Self { http, _alone: alone };
        cluster.connect_all();
        cluster
    }

    pub(super) fn disconnect(&self, node: usize) {
        docker(&["network", "disconnect", "replication", NODES[node]]);
    }

    pub(super) fn connect(&self, node: usize) {
        docker(&["network", "connect", "replication", NODES[node]]);
    }

    fn connect_all(&self) {
        for node in ALL {
            if address(NODES[node]).is_empty() {
                self.connect(node);
            }
        }
    }

    pub(super) fn url(&self, node: usize, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", PORTS[node])
    }

    /// Writes one key; must answer `200`. Returns the answer and how long it took.
    pub(super) async fn set(&self, node: usize, key: &str, value: &str) -> (Value, Duration) {
        self.set_with(node, key, value, None).await
    }

    pub(super) async fn set_with(
        &self,
        node: usize,
        key: &str,
        value: &str,
        context: Option<&str>,
    ) -> (Value, Duration) {
        let began = Instant::now();
        let mut request = self.http.patch(self.url(node, "/set")).header("content-type", "application/json");
        if let Some(context) = context {
            request = request.header("causal-context", context);
        }
        let body = json!({ "values": { key: value } }).to_string();
        let response = request.body(body).send().await.unwrap();
        let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
        assert_eq!(status, 200, "PATCH /set on {}: {text}", NODES[node]);
        (serde_json::from_str(&text).unwrap(), began.elapsed())
    }

    /// A plain read: the value (`None` for 404), and how many siblings the header says there are.
    pub(super) async fn read(&self, node: usize, key: &str) -> (Option<String>, u64) {
        let response = self.http.get(self.url(node, &format!("/read?key={key}"))).send().await.unwrap();
        let siblings = response.headers().get("causeway-siblings").and_then(|value| value.to_str().ok()?.parse().ok());
        let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
        match status {
            200 => (Some(text), siblings.unwrap()),
            404 => (None, 0),
            other => panic!("GET /read?key={key} on {}: {other} {text}", NODES[node]),
        }
    }

    /// All siblings of a key, as a set of (value, dot), and the context of that read.
    pub(super) async fn siblings(&self, node: usize, key: &str) -> (BTreeSet<(String, String)>, String) {
        let url = self.url(node, &format!("/read?key={key}&resolve=all"));
        let body: Value =
            serde_json::from_str(&self.http.get(url).send().await.unwrap().text().await.unwrap()).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let siblings = body["siblings"].as_array().into_iter().flatten();
        (siblings.map(|sibling| (text(&sibling["value"]), text(&sibling["dot"]))).collect(), text(&body["context"]))
    }

    pub(super) async fn status(&self, node: usize) -> Value {
        let text = self.http.get(self.url(node, "/status")).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until a plain read shows `value`; returns how long that took.
    pub(super) async fn until_reads(&self, node: usize, key: &str, value: &str) -> Duration {
        let began = Instant::now();
        loop {
            let (read, _) = self.read(node, key).await;
            if read.as_deref() == Some(value) {
                return began.elapsed();
            }
            assert!(began.elapsed() < PATIENCE, "{key} on {} reads {read:?}, not {value}", NODES[node]);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until all nodes have the same version vector.
    pub(super) async fn until_equal(&self) -> Duration {
        let began = Instant::now();
        loop {
            let mut vectors = Vec::new();
            for node in ALL {
                vectors.push(self.status(node).await["vector"].clone());
            }
            if vectors.iter().all(|vector| *vector == vectors[0]) {
                return began.elapsed();
            }
            assert!(began.elapsed() < PATIENCE, "not equal: {vectors:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.connect_all();
        }
    }
}

fn forget_volumes() {
    succeed(Command::new("deploy/down").arg("--volumes").current_dir(env!("CARGO_MANIFEST_DIR")));
}

fn deploy_up(environment: &[(&str, &str)]) {
    let mut up = Command::new("deploy/up");
    succeed(up.current_dir(env!("CARGO_MANIFEST_DIR")).envs(environment.iter().copied()));
}

/// A container's address on the replication network; empty when it is cut off.
pub(super) fn address(container: &str) -> String {
    let format = "{{with .NetworkSettings.Networks.replication}}{{.IPAddress}}{{end}}";
    docker(&["inspect", "-f", format, container])
}

/// Runs `docker`; it must succeed. Returns what it printed.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = succeed(Command::new("docker").args(arguments));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs `iptables` inside a container's network namespace.
pub(super) fn iptables(container: &str, arguments: &[&str]) {
    let pid = docker(&["inspect", "-f", "{{.State.Pid}}", container]);
    succeed(Command::new("nsenter").args(["-t", &pid, "-n", "iptables"]).args(arguments));
}

pub(super) fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

pub(super) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
