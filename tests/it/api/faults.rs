//! When something is wrong with the node: it is said as what it is, and what still works goes on.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::local::{DEADLINE, Node, Reply, Setup};

#[tokio::test]
async fn a_record_that_cannot_be_read_is_never_a_missing_key() {
    let (node, storage) = Node::with_faults(Setup::default()).await;
    storage.damage_snapshots.store(true, Ordering::SeqCst);
    for reply in [
        node.get("/read?key=key").await,
        node.get("/read?key=key&resolve=all").await,
        node.get("/keys").await,
        node.get("/fingerprint").await,
        node.read_many("", json!(["key"])).await,
        node.read_many("?resolve=all", json!(["key"])).await,
    ] {
        assert_eq!((reply.status.as_u16(), &*reply.problem()), (500, "storage-unreadable"), "{}", reply.body);
        assert!(reply.json()["detail"].as_str().unwrap().contains("checksum"));
        assert!(reply.json().get("trace_id").is_none(), "there is no trace");
    }
}

#[tokio::test]
async fn a_write_that_cannot_read_what_it_replaces_is_refused_and_the_next_is_taken() {
    let (node, storage) = Node::with_faults(Setup::default()).await;
    node.put("key", "value").await;
    storage.fail_reads.store(true, Ordering::SeqCst);
    let reply = node.set("", json!({"key": "changed"}), &[]).await;
    assert_eq!((reply.status.as_u16(), &*reply.problem()), (500, "storage-unreadable"));
    assert_eq!(node.get("/read?key=key").await.problem(), "storage-unreadable");
    storage.fail_reads.store(false, Ordering::SeqCst);
    assert_eq!(node.siblings("key").await, ["value"]);
    node.put("key", "changed").await;
}

#[tokio::test]
async fn after_a_failed_commit_the_node_is_read_only_and_says_so() {
    let (node, storage) = Node::with_faults(Setup::default()).await;
    node.put("key", "value").await;
    storage.fail_commits.store(true, Ordering::SeqCst);
    let reply = node.set("", json!({"key": "unknown"}), &[]).await;
    assert_eq!((reply.status.as_u16(), &*reply.problem()), (500, "outcome-unknown"));
    storage.fail_commits.store(false, Ordering::SeqCst);
    let reply = node.set("", json!({"key": "refused"}), &[]).await;
    assert_eq!((reply.status.as_u16(), &*reply.problem()), (503, "read-only"));
    let reply = node.get("/readyz").await;
    assert_eq!((reply.status.as_u16(), &*reply.problem()), (503, "read-only"));
    // It still lives, answers reads, and can be asked.
    assert_eq!(node.get("/livez").await.status, 200);
    assert_eq!(node.get("/read?key=key").await.body, "value");
    assert_eq!(node.get("/status").await.json()["read_only"], true);
}

#[tokio::test]
async fn a_bug_costs_its_own_request_only() {
    let (node, storage) = Node::with_faults(Setup::default()).await;
    node.put("key", "value").await;
    storage.panic_on_reads.store(true, Ordering::SeqCst);
    for reply in [node.get("/read?key=key").await, node.get("/keys").await, node.read_many("", json!(["key"])).await] {
        assert_eq!((reply.status.as_u16(), &*reply.problem()), (500, "internal"));
        assert!(!reply.body.contains("told to panic"), "what is inside stays inside: {}", reply.body);
    }
    storage.panic_on_reads.store(false, Ordering::SeqCst);
    assert_eq!(node.get("/read?key=key").await.body, "value");
}

#[tokio::test]
async fn more_writes_than_may_wait_are_told_to_come_again() {
    let (node, storage) = Node::with_faults(Setup { max_waiting: 1, ..Setup::default() }).await;
    storage.hold_commits.store(true, Ordering::SeqCst);
    let first = node.set("", json!({"first": "1"}), &[]);
    let second = async {
        let deadline = Instant::now() + DEADLINE;
        while node.get("/status").await.json()["waiting_requests"] != 1 {
            assert!(Instant::now() < deadline, "the first write never waited");
        }
        let second = node.set("", json!({"second": "2"}), &[]).await;
        // Reads never wait for a commit.
        assert_eq!(node.get("/read?key=first").await.status, 404);
        storage.hold_commits.store(false, Ordering::SeqCst);
        second
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.status, 200);
    assert_eq!((second.status.as_u16(), &*second.problem()), (503, "overloaded"));
    assert_eq!(second.header("retry-after"), Some("1"));
    assert_eq!(node.get("/read?key=second").await.status, 404);
}

#[tokio::test]
async fn bodies_share_a_bound() {
    let mut setup = Setup::default();
    setup.http.limits.bodies_bytes = 200;
    let node = Node::alone(setup).await;
    let reply = node.set("", json!({"key": "v".repeat(300)}), &[]).await;
    assert_eq!((reply.status.as_u16(), &*reply.problem()), (503, "overloaded"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    // What was refused is not counted any more.
    for _ in 0..10 {
        node.put("key", "small").await;
    }
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let mut setup = Setup::default();
    setup.listen.max_connections = 2;
    let node = Node::alone(setup).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(TcpStream::connect(node.address).await.unwrap());
    }
    let reply = Reply::of(node.request(Method::GET, "/read?key=key")).await;
    assert_eq!((reply.status.as_u16(), &*reply.problem()), (503, "overloaded"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    held.pop();
    // The place is free as soon as the server has noticed.
    let deadline = Instant::now() + DEADLINE;
    while node.get("/read?key=key").await.status != 404 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(held);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let (node, storage) = Node::with_faults(Setup { max_waiting: 1, ..Setup::default() }).await;
    storage.hold_commits.store(true, Ordering::SeqCst);
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let body = r#"{"values": {"key": "of one who left"}}"#;
    let request = format!(
        "PATCH /set HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let deadline = Instant::now() + DEADLINE;
    while node.get("/status").await.json()["waiting_requests"] != 1 {
        assert!(Instant::now() < deadline, "the write never waited");
    }
    drop(stream);
    storage.hold_commits.store(false, Ordering::SeqCst);
    while node.get("/status").await.json()["waiting_requests"] != 0 {
        assert!(Instant::now() < deadline, "it still waits");
    }
    // The node goes on, and the write was made: it had been taken.
    assert_eq!(node.get("/read?key=key").await.body, "of one who left");
}

/// One connection serves many requests, good and bad.
#[tokio::test]
async fn a_refusal_does_not_end_the_connection() {
    let node = Node::alone(Setup::default()).await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    for (path, status) in
        [("/read", "400"), ("/none", "404"), ("/set", "405"), ("/read?key=key", "404"), ("/livez", "200")]
    {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        let mut answer = [0; 4096];
        let mut length = 0;
        while !complete(&answer[..length]) {
            let read = tokio::time::timeout(DEADLINE, stream.read(&mut answer[length..])).await.unwrap().unwrap();
            assert!(read > 0, "{path}: closed");
            length += read;
        }
        assert_eq!(&answer[9..12], status.as_bytes(), "{path}");
    }
}

/// Whether an answer with a content length has arrived whole.
fn complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    body.len() == length.parse::<usize>().unwrap()
}
