//! Three nodes as services of a Docker Swarm on the real engine, deployed and changed by `deploy/swarm`, from the host through the
//! published ports.
//!
//! Runs with `CAUSEWAY_TEST_SWARM` set to the stack's name (as `tests/run swarm` does, which also says ports and names, and
//! cleans up), one test at a time: there is one stack.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::compose::docker;
use crate::support::api::{Api, send};
use crate::support::until;
use crate::upgrade::read_back;

const NODES: usize = 3;
const CLIENTS: usize = 6;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The running stack. Every node is healthy and connected when a test gets it.
struct Stack {
    name: String,
    nodes: Vec<Api>,
    _alone: MutexGuard<'static, ()>,
}

impl Stack {
    /// Deploys it, or finds it running; `None`, with the reason printed, when these tests are not asked for.
    fn up() -> Option<Self> {
        let Ok(name) = std::env::var("CAUSEWAY_TEST_SWARM") else {
            eprintln!("skipped: set CAUSEWAY_TEST_SWARM to a stack's name to test on the Docker engine");
            return None;
        };
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let nodes = (0..NODES).map(|node| Api::new(setting(&format!("CAUSEWAY_PORT_{node}")).parse().unwrap()));
        let stack = Self { name, nodes: nodes.collect(), _alone: alone };
        stack.deploy_well(&[]);
        Some(stack)
    }

    /// Brings the stack to what `deploy/swarm.yml` says with these variables.
    fn deploy(&self, variables: &[(&str, &str)]) -> Output {
        let mut deploy = Command::new("deploy/swarm");
        deploy.args([&*self.name, "--resolve-image", "never"]).envs(variables.iter().copied());
        tokio::task::block_in_place(|| deploy.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap())
    }

    fn deploy_well(&self, variables: &[(&str, &str)]) {
        let output = self.deploy(variables);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn service(&self, node: usize) -> String {
        format!("{}_node{node}", self.name)
    }

    /// The container that a node runs in.
    fn container(&self, node: usize) -> String {
        let filter = format!("label=com.docker.swarm.service.name={}", self.service(node));
        let containers = docker(&["ps", "--quiet", "--filter", &filter]);
        assert_eq!(containers.lines().count(), 1, "node{node} runs in {containers:?}");
        containers
    }

    fn containers(&self) -> Vec<String> {
        (0..NODES).map(|node| self.container(node)).collect()
    }

    /// Makes a node's task anew, on its volume and with all of its networks.
    fn restart(&self, node: usize) {
        let service = self.service(node);
        tokio::task::block_in_place(|| {
            docker(&["service", "update", "--force", "--detach=false", "--quiet", &service])
        });
    }

    async fn vectors(&self) -> Vec<Value> {
        let mut vectors = Vec::new();
        for node in &self.nodes {
            vectors.push(node.status().await["vector"].clone());
        }
        vectors
    }

    /// Waits until all nodes have the same.
    async fn until_equal(&self) {
        let equal = async || self.vectors().await.windows(2).all(|pair| pair[0] == pair[1]).then_some(());
        until(equal, async || format!("not equal: {:?}", self.vectors().await)).await;
    }

    /// Every node shows all of this.
    async fn shows(&self, expected: &BTreeMap<String, String>) {
        for (number, node) in self.nodes.iter().enumerate() {
            assert_eq!(read_back(node, expected).await, *expected, "node{number}");
        }
    }
}

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; tests/run swarm sets it"))
}

/// Clients that write, each to one node as long as that takes its writes, and to the next one when it does not.
struct Clients {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<BTreeMap<String, String>>>,
}

impl Clients {
    fn start(nodes: &[Api], run: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..CLIENTS).map(|number| {
            let (nodes, stop, name) = (nodes.to_vec(), stop.clone(), format!("{run}-{number}"));
            tokio::spawn(async move { keep_writing(&nodes, number, &name, &stop).await })
        });
        Self { clients: clients.collect(), stop }
    }

    /// What was acknowledged. None of them was refused by all nodes.
    async fn stop(self) -> BTreeMap<String, String> {
        self.stop.store(true, Ordering::SeqCst);
        let mut acknowledged = BTreeMap::new();
        for client in self.clients {
            acknowledged.extend(client.await.unwrap());
        }
        acknowledged
    }
}

async fn keep_writing(nodes: &[Api], mut at: usize, name: &str, stop: &AtomicBool) -> BTreeMap<String, String> {
    let mut acknowledged = BTreeMap::new();
    while !stop.load(Ordering::SeqCst) {
        let (key, value) = (format!("{name}-{}", acknowledged.len()), "v".to_owned());
        let mut tries = Vec::new();
        loop {
            match send(nodes[at % NODES].patch("", &json!({ &key: value }))).await {
                Ok(answer) if answer.status == 200 => break,
                Ok(answer) => tries.push(format!("{}: {}", answer.status, answer.body)),
                Err(error) => tries.push(format!("{error:?}")),
            }
            assert!(tries.len() < NODES, "no node takes {key}: {tries:?}");
            at += 1;
        }
        acknowledged.insert(key, value);
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_replaced_one_by_one_and_clients_that_fail_over_are_never_refused() {
    let Some(stack) = Stack::up() else { return };
    let before = stack.containers();
    let clients = Clients::start(&stack.nodes, &unique("update"));
    stack.deploy_well(&[("CAUSEWAY_MEMORY", "900m")]);
    let after = stack.containers();
    let acknowledged = clients.stop().await;
    assert!(before.iter().all(|old| !after.contains(old)), "{before:?} became {after:?}");
    println!("{} acknowledged writes while all nodes were replaced", acknowledged.len());
    stack.until_equal().await;
    stack.shows(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_fails_stops_at_the_first_node_and_goes_back() {
    let Some(stack) = Stack::up() else { return };
    let before = stack.containers();
    let clients = Clients::start(&stack.nodes, &unique("broken"));
    let output = stack.deploy(&[("CAUSEWAY_IMAGE", "causeway:that-there-is-not")]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("node0 can't be updated, and is as it was before"), "{said}");
    // The container of node0 may just be coming back.
    let others: Vec<_> = (1..NODES).map(|node| stack.container(node)).collect();
    assert_eq!(others, before[1..], "no other node was touched");
    until(async || stack.nodes[0].is_ready().await.then_some(()), async || "node0 is not back".to_owned()).await;
    let acknowledged = clients.stop().await;
    stack.until_equal().await;
    stack.shows(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_takes_writes_and_catches_up() {
    let Some(stack) = Stack::up() else { return };
    let key = |node: usize| format!("{}-{node}", stack.name);
    let value = unique("cut");
    docker(&["network", "disconnect", &setting("CAUSEWAY_REPLICATION_NETWORK"), &stack.container(0)]);
    for (number, node) in stack.nodes.iter().enumerate() {
        node.set(&key(number), &value).await;
    }
    stack.nodes[1].until_reads(&key(2), &value).await;
    assert_ne!(stack.nodes[0].read(&key(1)).await.as_ref(), Some(&value), "node0 is cut off");
    assert_ne!(stack.nodes[1].read(&key(0)).await.as_ref(), Some(&value), "node0 is cut off");
    // `docker network connect` would not bring the service's name back.
    stack.restart(0);
    stack.until_equal().await;
    stack.shows(&(0..NODES).map(|number| (key(number), value.clone())).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_outlives_the_stack() {
    let Some(stack) = Stack::up() else { return };
    let kept = BTreeMap::from([(format!("{}-kept", stack.name), unique("kept"))]);
    for (key, value) in &kept {
        stack.nodes[2].set(key, value).await;
    }
    docker(&["stack", "rm", &stack.name]);
    // Its networks go last, and a stack of the same name can't be deployed while they do.
    let network = setting("CAUSEWAY_REPLICATION_NETWORK");
    let gone =
        async || docker(&["network", "ls", "--quiet", "--filter", &format!("name={network}")]).is_empty().then_some(());
    until(gone, async || format!("{network} is still there")).await;
    stack.deploy_well(&[]);
    stack.until_equal().await;
    stack.shows(&kept).await;
}

/// A name of one run of the tests: the volumes may hold those of earlier ones.
fn unique(name: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{name}-{}", now.as_nanos())
}
