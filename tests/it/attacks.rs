//! Who reaches the port for peers of a node with a secret, or the way there, and does not know the secret: nothing gets in,
//! and no answer is believed that the peer did not give. And how secrets are brought in and exchanged.
//! [`browsers`]: who has a page that is looked at by somebody who reaches a node. [`tokens`]: who is a client without
//! the right token. [`ports`]: who reaches only the client port, and asks for what peers may. [`slow`], [`bombs`]: who wants
//! a node to be of no use to others. [`tls`]: who has no certificate, or none that counts. docs/security.md has a table of all of it.

mod bombs;
mod browsers;
mod ports;
mod slow;
mod tap;
mod tls;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use causeway::auth::{Caller, Keyring, Secrets, digest};
use causeway::peers::{CALL, FACTS_CALL, HELLO_CALL, STATE_CALL};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands::ask;
use crate::support::api::{Answer, Api, send};
use crate::support::cluster::Cluster;
use crate::support::process::{Launch, Process};
use crate::support::{free_ports, until};
use tap::{Caught, Does, Tap};

const SECRET: &str = "the secret of the cluster, which nobody else knows";
const OTHER: &str = "another secret, which is just as long as the first";

fn keyring(secret: &str, cluster: &str) -> Keyring {
    Keyring::new(&Secrets::parse(secret).unwrap(), cluster)
}

/// A file with these lines.
fn file(directory: &Path, name: &str, lines: &[&str]) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, lines.join("\n")).unwrap();
    path
}

/// A node that has what is in this file.
fn with_secret(directory: &Path, secret: &Path, id: u32, port: u16, peers: &[(u32, u16)]) -> Launch {
    let own = directory.join(id.to_string());
    Launch::by_environment(&own, id, port, peers).with("CAUSEWAY_SECRET_FILE", secret.to_str().unwrap())
}

/// Node 1, whose way to node 0 is in the hands of an attacker, and another node of their cluster.
struct World {
    node0: Process,
    node1: Process,
    bystander: Process,
    launch0: Launch,
    way: Tap,
    _directory: TempDir,
}

impl World {
    async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let secret = file(directory.path(), "secret", &[SECRET]);
        let [port0, port1, port2] = free_ports();
        let way = Tap::to(port0).await;
        let launch = |id, port, peers: &[(u32, u16)]| with_secret(directory.path(), &secret, id, port, peers);
        let launch0 = launch(0, port0, &[(0, port0), (1, port1)]);
        let node0 = launch0.start_ready().await;
        let node1 = launch(1, port1, &[(0, way.port), (1, port1)]).start_ready().await;
        let bystander = launch(2, port2, &[(2, port2)]).start_ready().await;
        let world = Self { node0, node1, bystander, launch0, way, _directory: directory };
        world.node1.api.set("before", "value").await;
        world.node0.api.until_reads("before", "value").await;
        world
    }

    /// A push by node 1 that writes this key on node 0, and never got there.
    async fn catch(&self, key: &'static str) -> Caught {
        self.way.catch(key, &self.node1.api).await
    }

    /// What node 1 says of node 0.
    async fn peer0(&self) -> Value {
        self.node1.api.status().await["peers"][0].clone()
    }
}

/// Why a request was refused, by its answer.
fn reason(answer: &Answer) -> String {
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.header("causeway-peer-auth"), None);
    let problem = answer.json();
    assert_eq!((&problem["type"], &problem["status"]), (&json!("/problems/peer-not-authenticated"), &json!(401)));
    let reason = problem["reason"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("www-authenticate"), Some(&*format!("Causeway-Peer reason={reason}")));
    assert!(!answer.body.contains(SECRET));
    reason
}

/// What can be made of a request that was caught, without knowing the secret; and why it is refused.
fn forgeries(caught: &Caught) -> Vec<(&'static str, Caught, &'static str)> {
    let signed_by = |keys: Keyring, path: &str| {
        let call = Caller::new(1, 99).sign(&keys, "POST", path, None, digest(&caught.body)).unwrap();
        Caught { proof: Some(call.header().to_owned()), ..caught.clone() }
    };
    let with_proof = |change: &dyn Fn(&mut Vec<String>)| {
        let mut parts: Vec<String> = caught.proof.as_ref().unwrap().split(' ').map(str::to_owned).collect();
        change(&mut parts);
        Caught { proof: Some(parts.join(" ")), ..caught.clone() }
    };
    let at = |path: &str| Caught { path: path.to_owned(), ..caught.clone() };
    let mut altered = caught.clone();
    let middle = altered.body.len() / 2;
    altered.body[middle] ^= 1;
    let cut_short = Caught { body: caught.body[..middle].to_vec(), ..caught.clone() };
    vec![
        ("no proof", Caught { proof: None, ..caught.clone() }, "secret-missing"),
        ("as by a node without a secret", Caught { proof: Some("none 1".into()), ..caught.clone() }, "secret-missing"),
        ("garbage", Caught { proof: Some("v1 let me in".into()), ..caught.clone() }, "malformed"),
        ("another secret", signed_by(keyring(OTHER, "causeway"), CALL), "unknown-key"),
        ("another cluster's name", signed_by(keyring(SECRET, "other"), CALL), "unknown-key"),
        ("another path", at(STATE_CALL), "wrong-mac"),
        ("as a hello", at(HELLO_CALL), "wrong-mac"),
        ("as a question", at(FACTS_CALL), "wrong-mac"),
        ("with a query", at(&format!("{CALL}?x=1")), "wrong-mac"),
        ("as by another node", with_proof(&|parts| parts[1] = "2".into()), "wrong-mac"),
        ("with another number", with_proof(&|parts| parts[5] = "7777".into()), "wrong-mac"),
        ("of another run", with_proof(&|parts| parts[4] = "0000000000000001".into()), "wrong-mac"),
        ("without a challenge", with_proof(&|parts| parts[3] = "-".into()), "wrong-mac"),
        ("another MAC", with_proof(&|parts| parts[7] = "A".repeat(43)), "wrong-mac"),
        ("another body", altered, "body-altered"),
        ("and what it was made of, after that", caught.clone(), "replayed"),
        ("half of the body", cut_short, "replayed"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_gets_in_that_the_cluster_did_not_send_there_and_now() {
    let mut world = World::start().await;
    let caught = world.catch("stolen").await;
    let elsewhere = caught.send(&world.bystander.api).await;
    assert_eq!(reason(&elsewhere), "other-challenge", "to another node");
    for (attack, forgery, expected) in forgeries(&caught) {
        assert_eq!(reason(&forgery.send(&world.node0.api).await), expected, "{attack}");
    }
    for node in [&world.node0, &world.bystander] {
        assert_eq!(node.api.read("stolen").await, None);
    }
    for refusal in ["secret-missing", "unknown-key", "wrong-mac", "body-altered", "malformed", "replayed"] {
        let series = format!("causeway_peer_refusals_total{{reason=\"{refusal}\"}}");
        assert!(world.node0.api.metric(&series).await.unwrap() >= 1.0, "{refusal}");
    }
    let log = world.node0.log();
    assert_eq!(log.matches("sends: the request is not the one that was signed").count(), 2, "node 1 and 2: {log}");
    assert!(!log.contains(SECRET));

    // As it was sent it gets in: once.
    let caught = world.catch("delivered").await;
    let answer = caught.send(&world.node0.api).await;
    assert!(answer.status == 200 && answer.header("causeway-peer-auth").is_some(), "{answer:?}");
    assert_eq!(world.node0.api.read("delivered").await.as_deref(), Some("value"));
    assert_eq!(reason(&caught.send(&world.node0.api).await), "replayed");

    // What was meant for a process is nothing for the next.
    let caught = world.catch("late").await;
    assert_eq!(world.node0.terminate().await.0.code(), Some(0));
    world.node0 = world.launch0.start_ready().await;
    assert_eq!(reason(&caught.send(&world.node0.api).await), "other-challenge");
    assert_eq!(world.node0.api.read("late").await, None);

    // Nothing of that keeps the nodes from going on.
    world.way.does(Does::Nothing);
    for key in ["stolen", "late"] {
        world.node0.api.until_reads(key, "value").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_believed_that_the_peer_did_not_give() {
    let world = World::start().await;
    let lies = [
        (Does::Acknowledges, "its answer is not signed"),
        (Does::AcknowledgesWithAnOldProof, "its answer is not the one that was signed"),
    ];
    for (index, (lie, why)) in lies.into_iter().enumerate() {
        let key = format!("unseen{index}");
        world.way.does(lie);
        world.node1.api.set(&key, "value").await;
        let told = async || {
            let peer = world.peer0().await;
            peer["why"].as_str().is_some_and(|found| found.contains(why)).then_some(peer)
        };
        let peer = until(told, async || world.peer0().await.to_string()).await;
        assert_eq!((&peer["up_to_date"], &peer["ops_to_ship"]), (&json!(false), &json!(1)), "{peer}");
        assert_eq!(world.node0.api.read(&key).await, None);
        world.way.does(Does::Nothing);
        world.node0.api.until_reads(&key, "value").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_secret_and_one_without_say_what_is_wrong() {
    let directory = TempDir::new().unwrap();
    let secret = file(directory.path(), "secret", &[SECRET]);
    let ports = free_ports::<2>();
    let launch = |id: u32| Launch::by_arguments(&directory.path().join(id.to_string()), id, ports[id as usize], &ports);
    let with = launch(0).with("CAUSEWAY_SECRET_FILE", secret.to_str().unwrap()).start_ready().await;
    let without = launch(1).start_ready().await;
    let views = [
        (
            &with,
            "this node has a secret and it has none: give it the cluster's secret (CAUSEWAY_SECRET_FILE)",
            "refusing what node 1, or who says to be it, sends: this node has a secret, and the request is signed with none",
        ),
        (
            &without,
            "it has a secret and this node sent none: give this node the cluster's secret (CAUSEWAY_SECRET_FILE)",
            "refusing what node 0, or who says to be it, sends: this node has no secret, and the request is signed with one",
        ),
    ];
    for (node, why, logged) in views {
        node.api.set("key", "value").await;
        let said = async || (node.api.status().await["peers"][0]["why"] == *why).then_some(());
        until(said, async || node.api.status().await.to_string()).await;
        until(async || node.log().contains(logged).then_some(()), async || node.log()).await;
        assert_eq!(node.log().matches(logged).count(), 1);
        assert!(!node.log().contains(SECRET));
    }
    for port in ports {
        let shown = ask(port, &["status"]);
        assert!(shown.out.contains("a secret and"), "{shown:?}");
    }
}

/// Writes that go on all the time in each of these ways; not one of them may fail.
struct Writers {
    stop: Arc<AtomicBool>,
    written: Vec<Arc<AtomicUsize>>,
    tasks: tokio::task::JoinSet<()>,
}

impl Writers {
    fn start(apis: &[Api]) -> Self {
        let (stop, mut tasks) = (Arc::new(AtomicBool::new(false)), tokio::task::JoinSet::new());
        let mut written = Vec::new();
        for (id, api) in apis.iter().enumerate() {
            let count = Arc::new(AtomicUsize::new(0));
            written.push(count.clone());
            let (api, stop) = (api.clone(), stop.clone());
            tasks.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let number = count.load(Ordering::SeqCst);
                    api.set(&format!("key-{id}-{}", number % 50), &number.to_string()).await;
                    count.store(number + 1, Ordering::SeqCst);
                }
            });
        }
        Self { stop, written, tasks }
    }

    /// Waits until there were some more, everywhere.
    async fn go_on(&self) {
        let counts = || self.written.iter().map(|count| count.load(Ordering::SeqCst)).collect::<Vec<_>>();
        let before = counts();
        let grown = async || counts().iter().zip(&before).all(|(now, before)| now - before >= 20).then_some(());
        until(grown, async || format!("{:?} after {before:?}", counts())).await;
    }

    async fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.written.iter().map(|count| count.load(Ordering::SeqCst) as u64).sum()
    }
}

/// What one node has reaches the others.
async fn spread(cluster: &Cluster, step: usize) {
    for from in 0..3 {
        let key = format!("mark-{step}-{from}");
        cluster.api(from).set(&key, "value").await;
        for to in 0..3 {
            cluster.api(to).until_reads(&key, "value").await;
        }
    }
}

/// A secret is brought in, exchanged for another and taken away again, node by node, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_exchanged_under_writes_without_one_that_fails() {
    let directory = TempDir::new().unwrap();
    let steps: [&[&str]; 8] = [
        &["none", SECRET],
        &[SECRET, "none"],
        &[SECRET],
        &[SECRET, OTHER],
        &[OTHER, SECRET],
        &[OTHER],
        &[OTHER, "none"],
        &["none", OTHER],
    ];
    let path = |node: u32| file(directory.path(), &node.to_string(), steps[0]);
    let paths = [0, 1, 2].map(path);
    let cluster =
        Cluster::mesh_with(|id, launch| launch.with("CAUSEWAY_SECRET_FILE", paths[id as usize].to_str().unwrap()))
            .await;
    spread(&cluster, 0).await;
    let writers = Writers::start(&[0, 1, 2].map(|node| cluster.api(node).clone()));
    for (step, lines) in steps.into_iter().enumerate().skip(1) {
        for (node, path) in cluster.nodes.iter().zip(&paths) {
            fs::write(path, lines.join("\n")).unwrap();
            let taken = async || (node.log().matches("secrets were read anew").count() == step).then_some(());
            until(taken, async || format!("step {step}: {}", node.log())).await;
            writers.go_on().await;
        }
        spread(&cluster, step).await;
    }
    // What is no secret changes nothing, and is said once.
    fs::write(&paths[0], "short").unwrap();
    let said = "the file with the cluster's secrets has a secret of 5 characters in line 1";
    until(async || cluster.nodes[0].log().contains(said).then_some(()), async || cluster.nodes[0].log()).await;
    assert_eq!(cluster.api(0).metric("causeway_secret_file_bad").await, Some(1.0));
    spread(&cluster, steps.len()).await;
    assert_eq!(cluster.nodes[0].log().matches(said).count(), 1);

    let written = writers.stop().await;
    cluster.until_equal(written).await;
    for node in &cluster.nodes {
        let log = node.log();
        assert!(!log.contains("refusing"), "{log}");
        assert!(!log.contains(SECRET) && !log.contains(OTHER));
    }
}

/// With a secret all that nodes do among each other works as without.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_a_secret_replicate_and_tell_of_each_other() {
    let directory = TempDir::new().unwrap();
    let secret = file(directory.path(), "secret", &["# the cluster's", SECRET]);
    let with_secret = |_, launch: Launch| launch.with("CAUSEWAY_SECRET_FILE", secret.to_str().unwrap());
    let cluster = Cluster::mesh_with(with_secret).await;
    let large = "v".repeat(1 << 20);
    for node in 0..3 {
        cluster.api(node).set(&format!("key{node}"), &large).await;
    }
    cluster.until_equal(3).await;
    cluster.until_acknowledged().await;
    let all =
        send(cluster.api(0).patch("?acks=all", &json!({"acks": "all"})).header("prefer", "wait=10")).await.unwrap();
    assert_eq!(all.status, 200, "{}", all.body);
    let known = async || {
        let seen = cluster.api(0).get("/cluster").await.json();
        (0..3).all(|id| seen["nodes"][id]["facts"]["keys"] == 4).then_some(())
    };
    until(known, async || cluster.api(0).get("/cluster").await.body).await;
    for node in &cluster.nodes {
        assert!(node.log().contains("this cluster has secrets: this node signs with "), "{}", node.log());
        assert!(!node.log().contains(SECRET));
    }
    for page in ["/status", "/metrics", "/cluster"] {
        assert!(!cluster.api(0).get(page).await.body.contains(SECRET), "{page}");
    }
}
