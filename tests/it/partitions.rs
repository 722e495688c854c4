//! Three processes: over which ways ops reach a node, how many copies arrive, and what is left of a partition.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::api::Api;
use crate::support::cluster::Cluster;
use crate::support::until;

async fn write_many(api: Api, count: usize, key: impl Fn(usize) -> String, value: String) {
    for number in 0..count {
        api.set(&key(number), &value).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ops_reach_a_node_through_a_third() {
    let cluster = Cluster::chain().await;
    cluster.api(0).set("from0", "value").await;
    cluster.api(2).set("from2", "value").await;
    cluster.api(2).until_reads("from0", "value").await;
    cluster.api(0).until_reads("from2", "value").await;
    cluster.until_equal(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_op_arrives_once_in_a_healthy_mesh() {
    const WRITES: usize = 300;
    let cluster = Cluster::mesh().await;
    let writers: Vec<_> = (0..3)
        .map(|node| {
            let key = move |number| format!("key-{node}-{number}");
            tokio::spawn(write_many(cluster.api(node).clone(), WRITES, key, "value".to_owned()))
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    cluster.until_equal(3 * WRITES as u64).await;
    for node in 0..3 {
        let received = cluster.api(node).status().await["received_ops"].clone();
        let copies = received["total"].as_f64().unwrap() / (2 * WRITES) as f64;
        assert!((1.0..=1.05).contains(&copies), "node{node} got each op {copies} times: {received}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missing_after_all_were_cut_from_each_other() {
    const WRITES: usize = 1_000;
    let cluster = Cluster::linked().await;
    cluster.api(0).set("before", "the cut").await;
    cluster.until_equal(1).await;
    cluster.links.values().for_each(|link| link.cut());
    let shared = |number| format!("key-{number}");
    let writers: Vec<_> = (0..3)
        .map(|node| tokio::spawn(write_many(cluster.api(node).clone(), WRITES, shared, format!("of node{node}"))))
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for node in 0..3 {
        assert_eq!(cluster.api(node).siblings("key-0").await.len(), 1, "nothing came through the cut");
    }
    cluster.links.values().for_each(|link| link.heal());
    cluster.until_equal(3 * WRITES as u64 + 1).await;

    let expected: BTreeSet<String> = (0..3).map(|node| format!("of node{node}")).collect();
    for number in 0..WRITES {
        let key = shared(number);
        let siblings = cluster.api(0).siblings(&key).await;
        let values: BTreeSet<String> = siblings.iter().map(|(value, _)| value.clone()).collect();
        assert_eq!(values, expected, "{key}");
        for node in 1..3 {
            assert_eq!(cluster.api(node).siblings(&key).await, siblings, "{key} on node{node}");
        }
    }
    for node in 0..3 {
        let status = cluster.api(node).status().await;
        assert_eq!(status["conflicts"], Value::from(WRITES));
        assert_eq!(status["siblings"], Value::from(3 * WRITES + 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_killed_catches_up() {
    let mut cluster = Cluster::mesh().await;
    cluster.api(0).set("early", "value").await;
    cluster.until_equal(1).await;
    let node0 = cluster.api(0).clone();
    let of_node2 = |status: &Value| {
        status["peers"].as_array().unwrap().iter().find(|peer| peer["node"] == 2).cloned().unwrap_or_default()
    };
    // That node2 has the op does not say that node0 has heard so.
    let heard = async || (of_node2(&node0.status().await)["up_to_date"] == true).then_some(());
    until(heard, async || node0.status().await.to_string()).await;
    cluster.nodes.remove(2).kill();
    node0.set("late", "value").await;
    let status = node0.status().await;
    let node2 = of_node2(&status);
    assert_eq!((&node2["ops_to_ship"], &node2["up_to_date"]), (&Value::from(1), &Value::from(false)), "{status}");
    assert!(node2["bytes_to_ship"].as_u64().unwrap() > "latevalue".len() as u64, "{status}");
    assert!(node2["oldest_waiting"].is_string(), "{status}");
    let node2 = cluster.launches[2].start_ready().await;
    cluster.nodes.push(node2);
    cluster.api(2).set("own", "value").await;
    cluster.until_equal(3).await;
    assert_eq!(cluster.api(2).read("late").await.as_deref(), Some("value"));
    assert_eq!(cluster.api(0).read("own").await.as_deref(), Some("value"));
}
