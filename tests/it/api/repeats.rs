//! `Idempotency-Key`: a write that is sent again is made once.

use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::json;

use crate::local::{Cluster, DEADLINE, Node, Reply, Setup};

const KEY: &str = "Idempotency-Key";
const REPLAYED: &str = "idempotency-replayed";

#[tokio::test]
async fn a_write_that_is_sent_again_is_made_once() {
    let node = Node::alone(Setup::default()).await;
    let first = node.set("", json!({"a": "1", "b": "2", "c": null}), &[(KEY, "order-1")]).await;
    assert_eq!((first.status.as_u16(), first.header(REPLAYED)), (200, None), "{}", first.body);
    node.put("a", "newer").await;

    // In another order, and asking for more acknowledgements: that is no other write.
    for (query, values) in
        [("", json!({"a": "1", "b": "2", "c": null})), ("?acks=all", json!({"c": null, "b": "2", "a": "1"}))]
    {
        let again = node.set(query, values, &[(KEY, "order-1")]).await;
        assert_eq!((again.status.as_u16(), again.header(REPLAYED)), (200, Some("true")), "{}", again.body);
        assert_eq!(again.json()["dot"], first.json()["dot"]);
        assert_eq!(again.json()["durable_on"], json!([0]));
        assert_eq!(again.json()["context"], again.context());
    }
    assert_eq!(node.siblings("a").await, ["newer"]);

    // Another key is another write.
    let other = node.set("", json!({"a": "1", "b": "2", "c": null}), &[(KEY, "order-2")]).await;
    assert_eq!((other.status.as_u16(), other.header(REPLAYED)), (200, None));
    assert_ne!(other.json()["dot"], first.json()["dot"]);
    assert_eq!(node.siblings("a").await, ["1"]);
}

#[tokio::test]
async fn a_key_is_good_for_one_write_only() {
    let node = Node::alone(Setup::default()).await;
    let first = node.set("", json!({"a": "1", "b": null}), &[(KEY, "order-1")]).await;
    for values in [
        json!({"a": "2", "b": null}),
        json!({"a": "1", "b": ""}),
        json!({"a": null, "b": "1"}),
        json!({"a": "1"}),
        json!({"a": "1", "b": null, "c": null}),
        json!({"a1": "", "b": null}),
    ] {
        let reply = node.set("", values.clone(), &[(KEY, "order-1")]).await;
        assert_eq!((reply.status.as_u16(), &*reply.problem()), (422, "idempotency-key-reused"), "{values}");
        assert_eq!(reply.json()["dot"], first.json()["dot"], "{values}");
    }
    assert_eq!(node.get("/keys").await.json()["keys"], json!([{"key": "a", "siblings": 1}]));
    // A write that was refused has not used its key.
    let reply = node.set("", json!({"a": 1}), &[(KEY, "order-2")]).await;
    assert_eq!(reply.status, 422);
    let reply = node.set("", json!({"a": "2"}), &[(KEY, "order-2")]).await;
    assert_eq!((reply.status.as_u16(), reply.header(REPLAYED)), (200, None));
}

/// The client's next write with the context must replace what the first wrote, and nothing that it never saw.
#[tokio::test]
async fn the_context_of_a_repeat_covers_what_its_client_saw_and_the_write() {
    let node = Node::alone(Setup::default()).await;
    let nothing = node.get("/read?key=a").await.context();
    for (query, context) in [("", None), ("?replaces=held", Some(&*nothing)), ("", Some(&*nothing))] {
        node.set("", json!({"a": null}), &[]).await;
        let key = format!("{query}-{}", context.is_some());
        let headers: Vec<_> =
            [(KEY, &*key)].into_iter().chain(context.map(|token| ("Causal-Context", token))).collect();
        node.set(query, json!({"a": "mine"}), &headers).await;
        node.set("", json!({"a": "of another"}), &[("Causal-Context", &nothing)]).await;
        let again = node.set(query, json!({"a": "mine"}), &headers).await;
        assert_eq!(again.header(REPLAYED), Some("true"), "{}", again.body);
        node.set("", json!({"a": "next"}), &[("Causal-Context", &again.context())]).await;
        assert_eq!(node.siblings("a").await, ["next", "of another"], "{query} {context:?}");
        // It is a context to read with, too.
        assert_eq!(node.get_with("/read?key=a", &[("Causal-Context", &again.context())]).await.status, 200);
    }
}

#[tokio::test]
async fn a_repeat_is_known_where_the_write_has_arrived() {
    let cluster = Cluster::of(2).await;
    let patient = format!("wait={}", DEADLINE.as_secs());
    let headers = [(KEY, "order-1"), ("Prefer", &*patient)];
    let first = cluster.nodes[0].set("?acks=all", json!({"a": "1"}), &headers).await;
    assert_eq!(first.json()["durable_on"], json!([0, 1]));
    let again = cluster.nodes[1].set("?acks=all", json!({"a": "1"}), &headers).await;
    assert_eq!((again.status.as_u16(), again.header(REPLAYED)), (200, Some("true")), "{}", again.body);
    assert_eq!(again.json()["dot"], first.json()["dot"]);
    assert_eq!(again.json()["durable_on"], json!([0, 1]));
    let other = cluster.nodes[1].set("", json!({"a": "2"}), &headers).await;
    assert_eq!((other.status.as_u16(), &*other.problem()), (422, "idempotency-key-reused"));
    for node in &cluster.nodes {
        assert_eq!(node.siblings("a").await, ["1"]);
    }
}

#[tokio::test]
async fn a_repeat_is_known_after_a_restart() {
    let mut node = Node::alone(Setup::default()).await;
    let first = node.set("", json!({"a": "1"}), &[(KEY, "order-1")]).await;
    node.put("a", "newer").await;
    for _ in 0..3 {
        node = Node::on(node.stop().await, 0, 1, Setup::default()).await;
        let again = node.set("", json!({"a": "1"}), &[(KEY, "order-1")]).await;
        assert_eq!((again.status.as_u16(), again.header(REPLAYED)), (200, Some("true")), "{}", again.body);
        assert_eq!(again.json()["dot"], first.json()["dot"]);
        let other = node.set("", json!({"a": null}), &[(KEY, "order-1")]).await;
        assert_eq!((other.status.as_u16(), &*other.problem()), (422, "idempotency-key-reused"));
        assert_eq!(node.siblings("a").await, ["newer"]);
    }
}

/// The answers to a write that is sent twice at a time, both before it is durable.
async fn sent_twice_at_once(fails: bool) -> [Reply; 2] {
    let (node, storage) = Node::with_faults(Setup::default()).await;
    storage.hold_commits.store(true, Ordering::SeqCst);
    let write = || async { node.set("", json!({"a": "1"}), &[(KEY, "order-1")]).await };
    let release = async {
        let deadline = Instant::now() + DEADLINE;
        while node.get("/status").await.json()["waiting_requests"] != 2 {
            assert!(Instant::now() < deadline, "one of the two does not wait for the commit");
        }
        storage.fail_commits.store(fails, Ordering::SeqCst);
        storage.hold_commits.store(false, Ordering::SeqCst);
    };
    let (first, second, ()) = tokio::join!(write(), write(), release);
    if !fails {
        assert_eq!(node.siblings("a").await, ["1"]);
    }
    [first, second]
}

#[tokio::test]
async fn a_repeat_waits_for_the_commit_of_the_first() {
    let [first, second] = sent_twice_at_once(false).await;
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200));
    assert_eq!(first.json()["dot"], second.json()["dot"]);
    let replayed = [first.header(REPLAYED), second.header(REPLAYED)];
    assert!(replayed.contains(&None) && replayed.contains(&Some("true")), "{replayed:?}");
}

#[tokio::test]
async fn a_repeat_of_a_write_whose_commit_fails_has_no_known_outcome_either() {
    for reply in sent_twice_at_once(true).await {
        assert_eq!((reply.status.as_u16(), &*reply.problem()), (500, "outcome-unknown"));
    }
}
