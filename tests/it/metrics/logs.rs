//! One line of log when a state changes, and none a try or a refusal.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use causeway::causality::{Hlc, Incarnation, NodeId, Origin, VersionVector, WallMs};
use causeway::format::{frame, message, op};
use causeway::peers::CALL;
use causeway::replica::{Entry, Op, Protocol, Push, Statement};
use futures_util::future::join_all;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::scrape;
use crate::support::api::send;
use crate::support::namespace::{SmallDisk, enter_mounts};
use crate::support::process::{Launch, Process};
use crate::support::{free_ports, until};

/// The lines whose message has this in it.
fn lines(node: &Process, part: &str) -> Vec<Value> {
    let lines = node.log().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
    lines.into_iter().filter(|line| line["message"].as_str().unwrap().contains(part)).collect()
}

async fn until_logged(node: &Process, part: &str) -> Value {
    until(async || lines(node, part).pop(), async || format!("'{part}' is not in:\n{}", node.log())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overload_is_said_when_it_begins_and_when_it_is_over() {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let launch = Launch::by_environment(directory.path(), 0, port, &[(0, port)]).with("CAUSEWAY_MAX_WAITING", "1");
    let node = launch.start_ready().await;
    let mut refused = 0;
    while refused < 20 {
        let values = json!({"key": "value"});
        let answers = join_all((0..32).map(|_| send(node.api.patch("", &values)))).await;
        for answer in answers.into_iter().map(Result::unwrap).filter(|answer| answer.status != 200) {
            assert_eq!((answer.status, &answer.json()["type"]), (503, &"/problems/overloaded".into()));
            refused += 1;
        }
    }
    let began = until_logged(&node, "overloaded: too many requests wait for the disk").await;
    assert_eq!(began["level"], "WARN");
    let ended = until_logged(&node, "no longer overloaded").await;
    assert_eq!(ended["refused"], refused);
    assert_eq!(lines(&node, "overloaded").len(), 2, "one line a change:\n{}", node.log());
    let shown = scrape(&node.api).await;
    assert_eq!(shown.get("causeway_overload_refusals_total", &[("limit", "waiting")]), f64::from(refused));
}

const ORIGIN: Origin = Origin { node: NodeId(1), incarnation: Incarnation(7) };

/// A statement of a node 1, which is none.
fn statement(counters: &[u64], number: u64) -> Statement {
    let vector = VersionVector::from_iter(counters.iter().map(|counter| ORIGIN.dot(*counter)));
    Statement { node: NodeId(1), boot: 1, number, vector, protocol: Protocol::OWN, wants_state: false }
}

/// A push of these ops by a node 1, which is none.
fn push(counters: &[u64]) -> Vec<u8> {
    let ops = counters.iter().map(|counter| {
        let entries = vec![Entry { key: format!("k{counter}").into(), value: Some("v".into()), replaces: Vec::new() }];
        let (dot, hlc) = (ORIGIN.dot(*counter), Hlc::at(WallMs(1)));
        op::encode(&Op { dot, parents: Vec::new(), deps: Vec::new(), hlc, entries, trace: None, idempotency_key: None })
    });
    let sender = statement(&[5], counters[0]);
    let push = Push { cluster: Arc::from("causeway"), to: Some(NodeId(0)), sender, ops: Vec::new(), echo: None };
    message::encode_push(&push, &ops.collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_delivery_buffer_is_said_once_and_when_it_has_room_again() {
    let directory = TempDir::new().unwrap();
    let [port, other] = free_ports();
    let launch = Launch::by_environment(directory.path(), 0, port, &[(0, port), (1, other)]);
    let node = launch.with("CAUSEWAY_MAX_DELIVERY_BUFFER_OPS", "2").start_ready().await;
    let send_push = async |counters: &[u64]| {
        let request = node.api.request(Method::POST, CALL).header(CONTENT_TYPE, message::CONTENT_TYPE);
        assert_eq!(request.body(push(counters)).send().await.unwrap().status(), 200);
    };
    send_push(&[2, 3]).await;
    assert_eq!(scrape(&node.api).await.sum("causeway_delivery_buffer_ops"), 2.0);
    assert!(lines(&node, "the delivery buffer").is_empty(), "it is full, and nothing was refused");
    for _ in 0..3 {
        send_push(&[4, 5]).await;
    }
    let full = until_logged(&node, "the delivery buffer is full").await;
    assert_eq!((&full["level"], &full["ops"]), (&"WARN".into(), &2.into()));
    assert!(full["waits_for"].as_str().unwrap().starts_with(&ORIGIN.dot(1).to_string()), "{full}");
    send_push(&[1]).await;
    until_logged(&node, "the delivery buffer has room again").await;
    assert_eq!(lines(&node, "the delivery buffer").len(), 2, "one line a change:\n{}", node.log());
    assert_eq!(scrape(&node.api).await.sum("causeway_delivery_buffer_ops"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_almost_full_is_said_before_a_commit_fails() {
    if !enter_mounts("metrics::logs::a_disk_that_is_almost_full_is_said_before_a_commit_fails") {
        return;
    }
    const SIZE: u64 = 128 << 20;
    let directory = TempDir::new().unwrap();
    let mounted_at = directory.path().join("mounted");
    let _small = SmallDisk::mount(&mounted_at, SIZE);
    let [port] = free_ports();
    let launch = Launch::by_environment(directory.path(), 0, port, &[(0, port)]);
    let launch = launch.with("CAUSEWAY_MIN_FREE_BYTES", "0");
    let node = launch.with("CAUSEWAY_DATA_DIR", mounted_at.join("data").to_str().unwrap()).start_ready().await;
    let ballast = mounted_at.join("ballast");
    let free = scrape(&node.api).await.sum("causeway_disk_free_bytes") as usize;
    File::create(&ballast).unwrap().write_all(&vec![1; free - (10 << 20)]).unwrap();
    let low = until_logged(&node, "the disk is almost full").await;
    assert_eq!((&low["level"], &low["size_bytes"]), (&"WARN".into(), &SIZE.into()));
    node.api.set("key", "value").await;
    std::fs::remove_file(&ballast).unwrap();
    until_logged(&node, "the disk has room again").await;
    assert_eq!(lines(&node, "the disk").len(), 2, "one line a change:\n{}", node.log());
    assert_eq!(scrape(&node.api).await.sum("causeway_read_only"), 0.0);
}

/// Nodes of later versions, and of one that was forgotten, may come again and again.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_of_another_version_sends_is_refused_with_a_reason_and_in_one_line() {
    let directory = TempDir::new().unwrap();
    let [port, other] = free_ports();
    let node = Launch::by_environment(directory.path(), 0, port, &[(0, port), (1, other)]).start_ready().await;
    let refused = async |body: Vec<u8>| {
        let request = node.api.request(Method::POST, CALL).header(CONTENT_TYPE, message::CONTENT_TYPE);
        let answer = send(request.body(body)).await.unwrap();
        assert_eq!(answer.status, 400, "{}", answer.body);
        // A node of any version can show a text.
        assert_ne!(answer.header("content-type"), Some(message::CONTENT_TYPE));
        answer.body
    };
    for _ in 0..3 {
        let newer_frame = frame::seal(9, |bytes| bytes.extend_from_slice(b"who knows"));
        assert_eq!(refused(newer_frame).await, "push has version 9, the newest known here is 1");
        let sender = Statement { protocol: Protocol { oldest: 7, newest: 8 }, ..statement(&[5], 1) };
        let push = Push { cluster: Arc::from("causeway"), to: Some(NodeId(0)), sender, ops: Vec::new(), echo: None };
        let why = refused(message::encode_push(&push, &[] as &[Vec<u8>])).await;
        assert!(why.starts_with("node 1 speaks versions 7 to 8 of the protocol, this node versions 1 to 2"), "{why}");
    }
    until_logged(&node, "refusing what a peer of another version sends: push has version 9").await;
    until_logged(&node, "refusing what a peer of another version sends: node 1 speaks").await;
    assert_eq!(lines(&node, "another version").len(), 2, "one line each:\n{}", node.log());
}

/// However often it is tried, a peer that is away is one line, and another when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_away_is_one_line() {
    let directory = TempDir::new().unwrap();
    let [port, other] = free_ports();
    let peers = [(0, port), (1, other)];
    let node = Launch::by_environment(&directory.path().join("0"), 0, port, &peers).start_ready().await;
    let tries = async || {
        let shown = scrape(&node.api).await;
        (shown.get("causeway_pushes_total", &[("outcome", "connect")]) >= 8.0).then_some(())
    };
    until(tries, async || node.log()).await;
    assert_eq!(until_logged(&node, "is away").await["error.type"], "connect");
    let _other = Launch::by_environment(&directory.path().join("1"), 1, other, &peers).start_ready().await;
    until_logged(&node, "is back after").await;
    assert_eq!(lines(&node, "peer node1").len(), 2, "one line a change:\n{}", node.log());
}
