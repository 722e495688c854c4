//! Draining a node: no write is answered after it is done, and what was under way before counts.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::local::{Node, Reply, Setup};
use crate::support::until;

async fn put(node: &Node, draining: bool) -> Value {
    let request = node.request(Method::PUT, "/draining").header("content-type", "application/json");
    let reply = Reply::of(request.body(json!({"draining": draining}).to_string())).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    reply.json()
}

#[tokio::test]
async fn a_write_that_is_under_way_is_waited_for_and_a_later_one_is_refused() {
    let (node, storage) = Node::with_faults(Setup::default()).await;
    let node = Arc::new(node);
    storage.hold_commits.store(true, Ordering::SeqCst);
    let writer = node.clone();
    let under_way = tokio::spawn(async move { writer.set("", json!({"key": "under way"}), &[]).await });
    let waiting = async || (node.get("/status").await.json()["waiting_requests"] == 1).then_some(());
    until(waiting, async || node.get("/status").await.body).await;

    let answer = put(&node, true).await;
    assert_eq!((&answer["draining"], &answer["drain"]["writes_under_way"]), (&json!(true), &json!(1)), "{answer}");
    let reply = node.set("", json!({"key": "later"}), &[]).await;
    assert_eq!((reply.status.as_u16(), &*reply.problem()), (503, "draining"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(node.get("/readyz").await.problem(), "draining");
    assert!(!under_way.is_finished());

    storage.hold_commits.store(false, Ordering::SeqCst);
    assert_eq!(under_way.await.unwrap().status, 200);
    let drain = node.get("/status").await.json()["draining"].clone();
    assert_eq!((&drain["writes_under_way"], &drain["done"]), (&json!(0), &json!(false)), "nobody else has it: {drain}");
    assert_eq!(node.siblings("key").await, ["under way"]);

    assert_eq!(put(&node, false).await["drain"], Value::Null);
    assert_eq!(node.get("/readyz").await.status, 200);
    node.put("key", "again").await;
}
