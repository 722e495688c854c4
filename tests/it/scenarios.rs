//! The reference's four scenarios, each in a network namespace of its own, with its ports and its iptables
//! rules. (In the README they stand as commands.)

use std::time::Duration;

use tempfile::TempDir;

use crate::support::namespace::{block, enter, heal};
use crate::support::process::{Launch, Process};
use crate::support::until;

/// node0 on 8000 and node1 on 8001, that have found each other.
async fn pair(directory: &TempDir) -> [Process; 2] {
    let launch =
        |id: u32| Launch::by_arguments(&directory.path().join(id.to_string()), id, 8000 + id as u16, &[8000, 8001]);
    let nodes = [launch(0).start_ready().await, launch(1).start_ready().await];
    for node in &nodes {
        let met = async || (node.api.status().await["peers"][0]["node"].is_u64()).then_some(());
        until(met, async || format!("the nodes don't know each other: {}", node.log())).await;
    }
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node() {
    if !enter("scenarios::one_node") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let node = Launch::by_arguments(directory.path(), 0, 8000, &[8000]).start_ready().await;
    let missing = node.api.get("/read?key=key1").await;
    assert_eq!((missing.status, missing.body.as_str()), (404, "key not found"));
    node.api.set("key1", "value1").await;
    let read = node.api.get("/read?key=key1").await;
    assert_eq!((read.status, read.body.as_str()), (200, "value1"));
    assert_eq!(read.header("content-type"), Some("text/plain; charset=utf-8"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes() {
    if !enter("scenarios::two_nodes") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let [node0, node1] = pair(&directory).await;
    node1.api.set("key1", "value1").await;
    node0.api.until_reads("key1", "value1").await;
    node1.api.until_reads("key1", "value1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partition_different_keys() {
    if !enter("scenarios::partition_different_keys") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let [node0, node1] = pair(&directory).await;
    // A node can't be asked through its own blocked port: each is asked while the other is cut off.
    block(8000);
    node1.api.set("key0", "value0").await;
    heal();
    block(8001);
    node0.api.set("key1", "value1").await;
    heal();
    for node in [&node0, &node1] {
        node.api.until_reads("key0", "value0").await;
        node.api.until_reads("key1", "value1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partition_equal_keys() {
    if !enter("scenarios::partition_equal_keys") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let [node0, node1] = pair(&directory).await;
    // If the first write crosses while neither port is cut, the second knew it and replaces it everywhere: as
    // right, and rare. So up to five keys, each with one of the two outcomes, and one at least with siblings.
    // While node0's port alone is cut it could still call node1; the pauses give it time to try.
    for (round, pause_ms) in [300, 700, 1_300, 1_900, 2_700].into_iter().enumerate() {
        let key = format!("key{round}");
        block(8000);
        node1.api.set(&key, "value0").await;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        heal();
        block(8001);
        node0.api.set(&key, "value1").await;
        heal();
        let equal = async || {
            let vectors = (node0.api.status().await["vector"].clone(), node1.api.status().await["vector"].clone());
            (vectors.0 == vectors.1).then_some(())
        };
        until(equal, async || "the nodes stay different".to_owned()).await;
        let shown = (node0.api.read(&key).await.unwrap(), node1.api.read(&key).await.unwrap());
        match (shown.0.as_str(), shown.1.as_str()) {
            ("value0", "value1") => {
                let siblings = node0.api.siblings(&key).await;
                assert_eq!(siblings.len(), 2);
                assert_eq!(siblings, node1.api.siblings(&key).await);
                for node in [&node0, &node1] {
                    let read = node.api.get(&format!("/read?key={key}")).await;
                    assert_eq!(read.header("causeway-siblings"), Some("2"));
                }
                return;
            }
            ("value1", "value1") => assert_eq!(node0.api.siblings(&key).await.len(), 1),
            other => panic!("{key} reads {other:?}"),
        }
    }
    panic!("never value0 on node0 and value1 on node1");
}
