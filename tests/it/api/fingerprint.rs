//! `GET /fingerprint`: equal states have equal fingerprints, and where they differ is found.

use std::sync::atomic::Ordering;

use causeway::http::{HttpOptions, Limits};
use serde_json::{Value, json};

use crate::local::{Cluster, Node, Setup};
use crate::support::until;

async fn fingerprint(node: &Node) -> Value {
    let reply = node.get("/fingerprint").await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

/// The numbers of the buckets by which two answers differ.
fn differing(one: &Value, other: &Value) -> Vec<usize> {
    (0..256).filter(|bucket| one["buckets"][bucket] != other["buckets"][bucket]).collect()
}

#[tokio::test]
async fn nodes_that_converged_have_one_fingerprint_whatever_came_first() {
    let cluster = Cluster::of(3).await;
    let [one, other, _] = &cluster.nodes[..] else { unreachable!() };
    assert_eq!(fingerprint(one).await["fingerprint"], fingerprint(other).await["fingerprint"], "of nothing");

    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        cluster.link(a, b, false);
    }
    // More keys than are fetched at once, and siblings that arrive in another order on every node.
    let mut contexts = Vec::new();
    for (index, node) in cluster.nodes.iter().enumerate() {
        let values: serde_json::Map<_, _> =
            (0..200).map(|key| (format!("{key}"), format!("by {index}").into())).collect();
        assert_eq!(node.set("", values.into(), &[]).await.status, 200);
        contexts.push(node.put(&format!("only at {index}"), "value").await);
    }
    let apart = (fingerprint(one).await, fingerprint(other).await);
    assert_ne!(apart.0["fingerprint"], apart.1["fingerprint"]);
    assert_eq!(apart.0["keys"], 201);

    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        cluster.link(a, b, true);
    }
    for context in contexts {
        cluster.all_reach(&context).await;
    }
    let first = fingerprint(one).await;
    assert_eq!(first["keys"], 203);
    for node in &cluster.nodes {
        let another = fingerprint(node).await;
        for part in ["vector", "keys", "fingerprint", "buckets"] {
            assert_eq!(first[part], another[part], "{part}");
        }
    }
}

#[tokio::test]
async fn a_key_that_differs_is_found_by_its_bucket() {
    let cluster = Cluster::of(2).await;
    let [one, other] = &cluster.nodes[..] else { unreachable!() };
    for key in 0..100 {
        one.put(&format!("key{key}"), "value").await;
    }
    let context = one.put("key100", "value").await;
    cluster.all_reach(&context).await;
    cluster.link(0, 1, false);
    one.put("key7", "another").await;
    let (at_one, at_other) = (fingerprint(one).await, fingerprint(other).await);
    assert_ne!(at_one["fingerprint"], at_other["fingerprint"]);
    assert_ne!(at_one["vector"], at_other["vector"]);
    let buckets = differing(&at_one, &at_other);
    assert_eq!(buckets.len(), 1);

    let path = format!("/fingerprint?bucket={}", buckets[0]);
    let (at_one, at_other) = (one.get(&path).await.json(), other.get(&path).await.json());
    assert_eq!((&at_one["bucket"], &at_one["left_out"]), (&buckets[0].into(), &0.into()));
    let keys = |answer: &Value| answer["keys"].as_array().unwrap().clone();
    let differ: Vec<_> = keys(&at_one).into_iter().filter(|key| !keys(&at_other).contains(key)).collect();
    assert_eq!(differ.len(), 1);
    assert_eq!(differ[0]["key"], "key7");
}

#[tokio::test]
async fn a_bucket_shows_no_more_keys_than_a_request_may_have() {
    let limits = Limits { entries: 2, ..Limits::default() };
    let node = Node::alone(Setup { http: HttpOptions { limits, ..HttpOptions::default() }, ..Setup::default() }).await;
    for key in 0..300 {
        node.put(&format!("key{key:03}"), "value").await;
    }
    let (mut keys, mut left_out) = (Vec::new(), 0);
    for bucket in 0..256 {
        let answer = node.get(&format!("/fingerprint?bucket={bucket}")).await.json();
        let shown = answer["keys"].as_array().unwrap();
        assert!(shown.len() == 2 || answer["left_out"] == 0, "{answer}");
        keys.extend(shown.iter().map(|key| key["key"].as_str().unwrap().to_owned()));
        left_out += answer["left_out"].as_u64().unwrap();
    }
    assert!(left_out > 0 && keys.len() as u64 + left_out == 300, "{} and {left_out}", keys.len());
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len() as u64 + left_out, 300, "every key is in one bucket");
}

#[tokio::test]
async fn there_are_two_at_once_and_who_goes_away_makes_room() {
    let (node, storage) = Node::with_faults(Setup::default()).await;
    node.put("key", "value").await;
    storage.hold_snapshots.store(true, Ordering::SeqCst);
    let waiting: Vec<_> =
        (0..2).map(|_| tokio::spawn(node.request(reqwest::Method::GET, "/fingerprint").send())).collect();
    let refused = async || {
        // What is let in waits with the others; give it up.
        let reply = node.request(reqwest::Method::GET, "/fingerprint?bucket=1");
        let reply = reply.timeout(std::time::Duration::from_millis(200)).send().await.ok()?;
        Some(reply)
    };
    let reply = until(refused, async || "a third is never refused".to_owned()).await;
    assert_eq!((reply.status().as_u16(), reply.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    let problem: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
    assert_eq!((&problem["type"], &problem["limit"]), (&json!("/problems/overloaded"), &json!(2)));

    waiting.iter().for_each(|request| request.abort());
    storage.hold_snapshots.store(false, Ordering::SeqCst);
    let taken = async || (node.get("/fingerprint").await.status == 200).then_some(());
    until(taken, async || "there is never room again".to_owned()).await;
}
