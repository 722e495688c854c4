//! Bits that flip in what a node has stored: what is said of it, what is answered, and how it is repaired from its peers.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::json;
use tempfile::TempDir;

use crate::support::api::Api;
use crate::support::cluster::Cluster;
use crate::support::process::{Launch, Process, causeway};
use crate::support::{free_ports, until};

/// Of a write with one of these, four fill a part of the log, and none is kept in memory.
const VALUE_BYTES: usize = 256 << 10;
const WRITES: usize = 24;

fn settings(launch: Launch) -> Launch {
    launch
        .with("CAUSEWAY_CACHE_BYTES", "1048576")
        .with("CAUSEWAY_LOG_MAX_BYTES", "4194304")
        .with("CAUSEWAY_MIN_FREE_BYTES", "0")
}

async fn cluster() -> Cluster {
    Cluster::mesh_with(|_, launch| settings(launch)).await
}

fn key(number: usize) -> String {
    format!("key{number:03}")
}

/// Begins with what is in no other.
fn value(number: usize) -> String {
    format!("<value of {number:03}>{}", "v".repeat(VALUE_BYTES))
}

async fn write(api: &Api, numbers: std::ops::Range<usize>) {
    for number in numbers {
        api.set(&key(number), &value(number)).await;
    }
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    // Tables come and go meanwhile.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The files below a directory with that text in it, and where.
fn places(directory: &Path, text: &str) -> Vec<(PathBuf, usize)> {
    let place = |path: PathBuf| {
        let bytes = fs::read(&path).ok()?;
        let at = bytes.windows(text.len()).position(|window| window == text.as_bytes())?;
        Some((path, at))
    };
    files(directory).into_iter().filter_map(place).collect()
}

fn flip_at(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// Flips a bit wherever the value of this number is below a directory.
fn flip(directory: &Path, number: usize) {
    let places = places(directory, &format!("<value of {number:03}>"));
    places.iter().for_each(|(path, at)| flip_at(path, *at as u64));
}

/// Flips bits in the tables of a node until that is come upon: they are made and merged meanwhile.
async fn flip_in_tables(node: &Process, directory: &Path, number: usize) {
    let met = async || {
        flip(directory, number);
        // Readers see what is in tables from the next commit on.
        write(&node.api, 0..1).await;
        read(&node.api, number).await;
        (found(&node.api).await > 0.0).then_some(())
    };
    until(met, async || format!("it is not come upon:\n{}", node.log())).await;
}

fn store(launch: &Launch, node: u32) -> PathBuf {
    launch.data_dir(node).join("store")
}

/// Reads a key; a damaged one is told, and never shown otherwise than it was written.
async fn read(api: &Api, number: usize) -> bool {
    let answer = api.get(&format!("/read?key={}", key(number))).await;
    match answer.status {
        200 => assert!(answer.body == value(number), "a value that nobody wrote"),
        500 => assert_eq!(answer.json()["type"], "/problems/storage-unreadable", "{}", answer.body),
        other => panic!("{other}: {}", answer.body),
    }
    answer.status == 200
}

async fn found(api: &Api) -> f64 {
    api.metric("causeway_damaged_records_total").await.unwrap()
}

/// Waits until damage was come upon, and is repaired.
async fn until_repaired(node: &Process) {
    let repaired = async || {
        let status = node.api.status().await;
        (status["damage"].is_null() && found(&node.api).await > 0.0).then_some(())
    };
    until(repaired, async || format!("{}\n{}", node.api.status().await, node.log())).await;
}

/// `causeway verify` finds the nodes equal, and each shows all that was written.
async fn check_equal(cluster: &Cluster, written: usize) {
    for node in &cluster.nodes {
        let all = async || {
            let state = node.api.get("/fingerprint").await.json();
            (state["keys"] == written).then_some(())
        };
        until(all, async || format!("{}\n{}", node.api.status().await, node.log())).await;
    }
    let ports = cluster.launches.iter().map(|launch| launch.port.to_string()).collect::<Vec<_>>().join(",");
    let verify = move || causeway().args(["verify", "--node", &ports, "--wait", "20"]).output().unwrap();
    let Output { status, stdout, stderr } = tokio::task::spawn_blocking(verify).await.unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(status.success() && text.starts_with("equal: 3 nodes"), "{text}");
    for node in &cluster.nodes {
        for number in 0..written {
            assert!(read(&node.api, number).await, "{number} can't be read");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_key_is_told_and_had_again_from_a_peer_without_a_restart() {
    let cluster = cluster().await;
    write(cluster.api(0), 0..WRITES).await;
    cluster.until_equal(WRITES as u64).await;
    cluster.until_acknowledged().await;
    let keys = store(&cluster.launches[0], 0).join("keys");
    flip_in_tables(&cluster.nodes[0], &keys, 2).await;
    // It takes writes meanwhile, and those of others.
    write(cluster.api(0), WRITES..WRITES + 2).await;
    write(cluster.api(1), WRITES + 2..WRITES + 4).await;
    until_repaired(&cluster.nodes[0]).await;
    assert!(read(cluster.api(0), 2).await);
    check_equal(&cluster, WRITES + 4).await;
    let log = cluster.nodes[0].log();
    for said in ["stored keys are DAMAGED", "the damaged keys were replaced"] {
        assert_eq!(log.matches(said).count(), 1, "one line a change:\n{log}");
    }
    assert_eq!(cluster.api(0).status().await["read_only"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_peers_tells_of_damage_and_goes_on() {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let launch = settings(Launch::by_environment(directory.path(), 0, port, &[(0, port)]));
    let node = launch.start_ready().await;
    write(&node.api, 0..WRITES).await;
    flip_in_tables(&node, &store(&launch, 0).join("keys"), 2).await;
    let told = async || (node.api.status().await["damage"]["keys"] == true).then_some(());
    until(told, async || node.api.status().await.to_string()).await;
    let told = async || {
        let cluster = node.api.get("/cluster").await.json();
        (cluster["nodes"][0]["facts"]["damage"] == json!({"keys": true, "log": false})).then_some(())
    };
    until(told, async || node.api.get("/cluster").await.body).await;
    // Tables are made and merged all the time.
    write(&node.api, WRITES..3 * WRITES).await;
    for number in (0..3 * WRITES).filter(|number| *number != 2) {
        assert!(read(&node.api, number).await, "{number}");
    }
    assert!(!read(&node.api, 2).await);
    assert_eq!(node.api.get("/readyz").await.status, 200);
    // Writing it anew is all that is left.
    node.api.set(&key(2), &value(2)).await;
    assert!(read(&node.api, 2).await);
}

/// In a closed part of the log, and in the one that is appended to. Nobody else has what is in them.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_given_up_and_who_lacks_it_gets_the_state() {
    for damaged in [1, 9] {
        let mut cluster = cluster().await;
        cluster.nodes.drain(1..).for_each(Process::kill);
        write(cluster.api(0), 0..10).await;
        // What was just written is in memory.
        cluster.nodes.remove(0).kill();
        cluster.nodes.push(cluster.launches[0].start_ready().await);
        flip(&store(&cluster.launches[0], 0).join("log"), damaged);
        for node in [1, 2] {
            cluster.nodes.push(cluster.launches[node].start_ready().await);
        }
        until_repaired(&cluster.nodes[0]).await;
        write(cluster.api(0), 10..11).await;
        check_equal(&cluster, 11).await;
        assert_eq!(cluster.nodes[0].log().matches("ops in the log are DAMAGED").count(), 1);
        assert_eq!(cluster.api(0).status().await["read_only"], false);
        assert_ne!(cluster.api(1).get("/metrics").await.body.find("causeway_state_transfer_adoptions_total 1"), None);
    }
}

/// What is found damaged at a start: what it says, and that what it says to do helps.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_damage_says_what_to_do_and_that_helps() {
    let mut cluster = cluster().await;
    write(cluster.api(0), 0..WRITES).await;
    cluster.until_equal(WRITES as u64).await;
    cluster.until_acknowledged().await;
    let launch = cluster.launches[2].clone();
    let data = launch.data_dir(2);
    let logs = |ending: &str| {
        let all = files(&store(&launch, 2).join("log")).into_iter();
        all.filter(|path| path.extension().is_some_and(|found| found == ending)).collect::<Vec<_>>()
    };
    let whole = |path: &PathBuf| fs::metadata(path).unwrap().len();
    type Place<'p> = (&'p str, Option<&'p str>, Box<dyn Fn() -> (PathBuf, u64) + 'p>);
    let op = |number: usize| {
        let (path, at) = places(&store(&launch, 2).join("log"), &format!("<value of {number:03}>")).pop().unwrap();
        (path, at as u64)
    };
    let damaged: [Place<'_>; 6] = [
        ("a summary", None, Box::new(|| (logs("index").remove(0), 40))),
        ("its identity", Some("identity"), Box::new(|| (data.join("identity"), 12))),
        ("what a part of the log begins with", Some(".ops"), Box::new(|| (logs("ops").pop().unwrap(), 60))),
        ("an op that another came behind", Some(".ops"), Box::new(|| op(WRITES - 2))),
        // That can't be told from one that was interrupted, and is had again.
        ("the last op", None, Box::new(|| op(WRITES - 1))),
        (
            "the end of a table",
            Some("keys"),
            Box::new(|| {
                let tables =
                    files(&store(&launch, 2)).into_iter().filter(|path| !path.to_str().unwrap().contains("/log/"));
                let table = tables.max_by_key(whole).unwrap();
                let end = whole(&table);
                (table, end - 20)
            }),
        ),
    ];
    for (what, named, place) in &damaged {
        for number in [WRITES - 2, WRITES - 1] {
            write(cluster.api(0), number..number + 1).await;
            cluster.until_acknowledged().await;
        }
        cluster.nodes.remove(2).kill();
        let (path, at) = place();
        flip_at(&path, at);
        let mut node = launch.start();
        let ended = node.until_ready_or_ended().await;
        if let Some(named) = named {
            let log = node.log();
            let line = log.lines().rfind(|line| line.contains("is damaged"));
            let line = line.unwrap_or_else(|| panic!("{what}: {log}"));
            assert!(line.contains(named) && line.contains("move the directory away"), "{what}: {line}");
            assert_eq!(ended.and_then(|status| status.code()), Some(1), "{what}");
            fs::remove_dir_all(&data).unwrap();
            drop(node);
            node = launch.start_ready().await;
        } else {
            assert_eq!(ended, None, "{what} is not needed");
        }
        cluster.nodes.push(node);
        check_equal(&cluster, WRITES).await;
    }
}
