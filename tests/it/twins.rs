//! Two processes that live at the same time with one node id.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::api::Api;
use crate::support::process::{Launch, Process};
use crate::support::{PATIENCE, free_ports, until};

const OWN: &str = "another living process has the id of this node, 0";
const OTHERS: &str = "two living processes have the id 0";
const OVER: &str = "no two processes have the id 0 any more";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

async fn twins(api: &Api) -> Vec<u64> {
    let status = api.status().await;
    let twins = status["twins"].as_array().unwrap();
    assert!(twins.iter().all(|twin| twin["since"].as_str().is_some_and(|since| since.ends_with('Z'))), "{status}");
    twins.iter().map(|twin| twin["node"].as_u64().unwrap()).collect()
}

async fn until_twins_are(node: &Process, expected: &[u64]) {
    let began = Instant::now();
    let told = async || (twins(&node.api).await == expected).then_some(());
    // Longer than a claim holds.
    while began.elapsed() < PATIENCE && told().await.is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    until(told, async || format!("not {expected:?}: {}", node.api.status().await)).await;
}

fn times(node: &Process, line: &str) -> usize {
    node.log().matches(line).count()
}

/// A volume is copied, and both copies are started; the peers know where both are.
#[tokio::test(flavor = "multi_thread")]
async fn both_owners_of_a_copied_volume_are_told_and_their_writes_are_kept() {
    let directory = TempDir::new().unwrap();
    let ports = free_ports::<4>();
    let [port0, copy_port, port1, port2] = ports;
    let launch =
        |name: &str, id, port, peers: &[u16]| Launch::by_arguments(&directory.path().join(name), id, port, peers);
    let original = launch("0", 0, port0, &[port0, port1, port2]);
    let copied = launch("copy", 0, copy_port, &[copy_port, port1, port2]);
    let node1 = launch("1", 1, port1, &ports).start_ready().await;
    let node2 = launch("2", 2, port2, &ports).start_ready().await;
    let node0 = original.start_ready().await;
    node0.api.set("before", "value").await;
    node1.api.until_reads("before", "value").await;
    assert_eq!(node0.terminate().await.0.code(), Some(0));
    copy(&original.data_dir(0), &copied.data_dir(0));

    let node0 = original.start_ready().await;
    // Started again, late or not: that is no twin.
    node0.api.set("alone", "value").await;
    node2.api.until_reads("alone", "value").await;
    assert_eq!(times(&node1, OTHERS) + times(&node2, OTHERS), 0);
    let twin = copied.start_ready().await;
    let nodes = [&node0, &twin, &node1, &node2];
    for node in nodes {
        until_twins_are(node, &[0]).await;
    }
    assert_eq!([times(&node0, OWN), times(&twin, OWN)], [1, 1]);
    assert_eq!([times(&node1, OTHERS), times(&node2, OTHERS)], [1, 1]);
    assert_eq!(twin.api.metric("causeway_twins{of=\"self\"}").await, Some(1.0));
    assert_eq!(node1.api.metric("causeway_twins{of=\"others\"}").await, Some(1.0));
    let cluster = node1.api.get("/cluster").await.json();
    let own = cluster["nodes"].as_array().unwrap().iter().find(|node| node["self"] == true).unwrap();
    assert_eq!(own["facts"]["twins"], json!([0]));

    node0.api.set("original", "value").await;
    twin.api.set("copy", "value").await;
    for node in nodes {
        node.api.until_reads("original", "value").await;
        node.api.until_reads("copy", "value").await;
        node.api.until_reads("before", "value").await;
    }

    assert_eq!(twin.terminate().await.0.code(), Some(0));
    for node in [&node0, &node1, &node2] {
        until_twins_are(node, &[]).await;
        assert_eq!(times(node, OVER), 1, "{}", node.log());
    }
    assert_eq!(node0.api.metric("causeway_twins{of=\"self\"}").await, Some(0.0));
    let vector = async |node: &Process| -> Value { node.api.status().await["vector"].clone() };
    assert_eq!(vector(&node0).await, vector(&node1).await);
}
