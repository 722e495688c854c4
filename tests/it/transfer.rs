//! Nodes, as processes, of which one lacks what is in no log any more: it gets another's whole state, while all are used,
//! and whoever is killed meanwhile.

mod held;

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::support::api::{Api, send};
use crate::support::cluster::Cluster;
use crate::support::until;

/// What the log of each node may take on disk: as little as can be set.
const LOG_BYTES: u64 = 4 << 20;

/// Of a write with one of these, four fill a part of the log.
const VALUE_BYTES: usize = 256 << 10;

/// Three nodes whose logs are short, and whose states go to each other at this pace.
async fn cluster(bytes_per_second: u64) -> Cluster {
    Cluster::mesh_with(|_, launch| {
        launch
            .with("CAUSEWAY_LOG_MAX_BYTES", &LOG_BYTES.to_string())
            .with("CAUSEWAY_STATE_MAX_BYTES_PER_SECOND", &bytes_per_second.to_string())
            .with("CAUSEWAY_MIN_FREE_BYTES", "0")
    })
    .await
}

/// What the nodes must show in the end.
#[derive(Default)]
struct Written(BTreeMap<String, Option<String>>);

impl Written {
    async fn set(&mut self, api: &Api, key: &str, value: &str) {
        api.set(key, value).await;
        self.0.insert(key.to_owned(), Some(value.to_owned()));
    }

    async fn delete(&mut self, api: &Api, key: &str) {
        let answer = send(api.patch("", &json!({ key: null }))).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        self.0.insert(key.to_owned(), None);
    }

    /// So many large values, under keys that begin so.
    async fn many(&mut self, api: &Api, prefix: &str, count: usize) {
        for number in 0..count {
            let value = format!("{prefix} {number} {}", "v".repeat(VALUE_BYTES));
            self.set(api, &format!("{prefix}/{number:03}"), &value).await;
        }
    }

    /// Waits until every node has all of it, and nothing else.
    async fn until_on_all(&self, cluster: &Cluster) {
        let states = async || {
            let mut states = Vec::new();
            for node in &cluster.nodes {
                states.push(node.api.get("/fingerprint").await.json());
            }
            states
        };
        let keys = self.0.values().flatten().count();
        let is_same = |state: &Value, other: &Value| {
            state["vector"] == other["vector"] && state["fingerprint"] == other["fingerprint"] && state["keys"] == keys
        };
        let same = async || {
            let states = states().await;
            states.iter().all(|state| is_same(state, &states[0])).then_some(())
        };
        until(same, async || {
            let mut shown = String::new();
            for node in &cluster.nodes {
                shown += &format!("{}\n", node.api.status().await);
            }
            format!("not the same, or not {keys} keys:\n{shown}")
        })
        .await;
        for node in &cluster.nodes {
            for (key, value) in &self.0 {
                assert!(node.api.read(key).await == *value, "{key} reads otherwise");
            }
        }
    }
}

/// Stops a node, in this way, and writes what will have left the logs of the others when it comes back.
async fn leave_behind(cluster: &mut Cluster, node: usize, written: &mut Written) {
    cluster.nodes.remove(node).kill();
    written.many(cluster.api(0), "meanwhile", 40).await;
    for api in [cluster.api(0), cluster.api(1)] {
        api.until_trimmed(LOG_BYTES).await;
    }
}

async fn start(cluster: &mut Cluster, node: usize) {
    cluster.nodes.insert(node, cluster.launches[node].start_ready().await);
}

async fn kill(cluster: &mut Cluster, node: usize) {
    cluster.nodes.remove(node).kill();
    start(cluster, node).await;
}

/// Waits until a node has got a few keys of another's state, and not all; whose it is.
async fn until_filling(api: &Api) -> usize {
    let filling = async || {
        let status = api.status().await;
        let keys = status["catching_up"]["keys"].as_u64()?;
        (keys > 2).then(|| status["catching_up"]["peer"].as_u64().unwrap() as usize)
    };
    until(filling, async || api.status().await.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_for_too_long_is_caught_up_while_all_are_used() {
    let mut cluster = cluster(4 << 20).await;
    let mut written = Written::default();
    for key in ["kept", "changed", "gone"] {
        written.set(cluster.api(0), key, "before").await;
    }
    cluster.until_equal(3).await;
    leave_behind(&mut cluster, 2, &mut written).await;
    written.delete(cluster.api(1), "gone").await;
    written.set(cluster.api(1), "changed", "after").await;
    start(&mut cluster, 2).await;

    let giver = until_filling(cluster.api(2)).await;
    let sending = cluster.api(giver).status().await;
    assert!(sending["peers"].as_array().unwrap().iter().any(|peer| peer["state_transfer"]["peer"] == 2), "{sending}");
    let sending_to_it =
        format!("causeway_state_transfer_sending{{peer=\"http://127.0.0.1:{}\"}}", cluster.launches[2].port);
    let gauge = async |node: usize, series: &str| {
        let shown = cluster.api(node).get("/metrics").await.body;
        let line = shown.lines().find(|line| line.starts_with(series)).unwrap_or_else(|| panic!("no {series}"));
        line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    assert_eq!(gauge(2, "causeway_state_transfer_receiving ").await, 1.0);
    assert!(gauge(2, "causeway_state_transfer_receiving_keys_left ").await > 0.0);
    assert_eq!(gauge(giver, &sending_to_it).await, 1.0);
    // Until all of it is there, the node shows what it had, says that it is behind, and is used like any other.
    let read = cluster.api(2).get("/read?key=gone").await;
    assert_eq!((&*read.body, read.header("causeway-catching-up")), ("before", Some("1")));
    written.set(cluster.api(2), "there", "meanwhile").await;
    written.set(cluster.api(giver), "here", "meanwhile").await;
    written.set(cluster.api(2), "kept", "changed there").await;
    assert_eq!(cluster.api(giver).read("changed").await.as_deref(), Some("after"));

    written.until_on_all(&cluster).await;
    assert_eq!(cluster.api(2).get("/read?key=kept").await.header("causeway-catching-up"), None);
    for node in 0..3 {
        let log = cluster.nodes[node].log();
        let lines = log.lines().filter(|line| line.contains("whole state") || line.contains("a peer's state")).count();
        assert!(lines <= 8, "a line when it begins and ends, not for each piece:\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_an_empty_volume_gets_all_and_writes_like_any_other() {
    let mut cluster = cluster(0).await;
    let mut written = Written::default();
    written.set(cluster.api(2), "its own", "before").await;
    cluster.until_equal(1).await;
    leave_behind(&mut cluster, 2, &mut written).await;
    fs::remove_dir_all(cluster.launches[2].data_dir(2)).unwrap();
    start(&mut cluster, 2).await;
    written.until_on_all(&cluster).await;
    written.set(cluster.api(2), "its own", "after").await;
    written.set(cluster.api(0), "another", "after").await;
    written.until_on_all(&cluster).await;
    // What it has now is on disk.
    kill(&mut cluster, 2).await;
    written.until_on_all(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_in_the_middle_nothing_is_lost() {
    let mut cluster = cluster(2 << 20).await;
    let mut written = Written::default();
    written.many(cluster.api(0), "before", 4).await;
    cluster.until_equal(4).await;
    leave_behind(&mut cluster, 2, &mut written).await;
    start(&mut cluster, 2).await;

    until_filling(cluster.api(2)).await;
    written.set(cluster.api(2), "before the first kill", "there").await;
    kill(&mut cluster, 2).await;
    let giver = until_filling(cluster.api(2)).await;
    written.set(cluster.api(2), "before the second kill", "there").await;
    written.set(cluster.api(giver), "at the giver", "before it is killed").await;
    kill(&mut cluster, giver).await;
    written.set(cluster.api(2), "after the kills", "there").await;
    written.until_on_all(&cluster).await;
}
