//! Clients that are slow, in one way or another, while others are not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use xxhash_rust::xxh3::xxh3_64;

use crate::local::{DEADLINE, Node, Reply, Setup};
use crate::support::until;

/// Begins a write whose body is to have so many bytes.
async fn begin(node: &Node, bytes: usize, expects: bool) -> TcpStream {
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let expect = if expects { "expect: 100-continue\r\n" } else { "" };
    let head = format!(
        "PATCH /set HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{expect}content-length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// All that is answered until the connection ends.
async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("an answer, and then the end").unwrap();
    answer
}

/// One more than always may wait.
const MANY: usize = 65;

async fn many_writes(node: &Node) -> Vec<Reply> {
    futures_util::future::join_all((0..MANY).map(|_| node.set("", json!({"key": "value"}), &[]))).await
}

/// Writes keep their places as long as commits are held.
async fn until_waiting(node: &Node, writes: usize) {
    let waits = async || (node.get("/status").await.json()["waiting_requests"] == writes).then_some(());
    until(waits, async || format!("{writes} writes never waited")).await;
}

#[tokio::test]
async fn a_write_that_has_no_place_is_refused_before_its_body_was_sent() {
    let (node, storage) = Node::with_faults(Setup { max_waiting: 1, ..Setup::default() }).await;
    storage.hold_commits.store(true, Ordering::SeqCst);
    let first = node.set("", json!({"first": "1"}), &[]);
    let others = async {
        until_waiting(&node, 1).await;
        for expects in [true, false] {
            let refused = answer(&mut begin(&node, 1 << 20, expects).await).await;
            assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
            assert!(refused.contains("retry-after: 1\r\n") && refused.contains("connection: close\r\n"), "{refused}");
            assert!(refused.contains("/problems/overloaded"), "{refused}");
        }
        // Coming again would not help.
        let refused = answer(&mut begin(&node, (16 << 20) + 1, true).await).await;
        assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
        storage.hold_commits.store(false, Ordering::SeqCst);
    };
    let (first, ()) = tokio::join!(first, others);
    assert_eq!(first.status, 200);
    node.put("second", "2").await;
}

/// Whether the server wants the body of a write that asked first.
async fn is_wanted(stream: &mut TcpStream) -> bool {
    let mut beginning = [0; 12];
    timeout(DEADLINE, stream.read_exact(&mut beginning)).await.expect("an answer").unwrap();
    assert!(["HTTP/1.1 100", "HTTP/1.1 503"].map(str::as_bytes).contains(&&beginning[..]), "{beginning:?}");
    beginning.ends_with(b"100")
}

/// Else a thousand that find one place free would all send for it.
#[tokio::test]
async fn no_more_large_bodies_are_on_their_way_than_three_times_as_many_as_writes_may_wait() {
    let node = Node::alone(Setup { max_waiting: 2, ..Setup::default() }).await;
    let mut slow = Vec::new();
    for _ in 0..6 {
        let mut stream = begin(&node, 1 << 20, true).await;
        assert!(is_wanted(&mut stream).await);
        slow.push(stream);
    }
    let refused = answer(&mut begin(&node, 1 << 20, true).await).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1\r\n"), "{refused}");
    node.put("small", "value").await;
    // They are given up for others when they don't send.
    let wanted = async || is_wanted(&mut begin(&node, 1 << 20, true).await).await.then_some(());
    until(wanted, async || "they keep their places".to_owned()).await;
}

/// What they announce may never come.
#[tokio::test]
async fn large_bodies_that_do_not_come_keep_nobody_out_as_long_as_the_disk_keeps_up() {
    let node = Node::alone(Setup::default()).await;
    let mut slow = Vec::new();
    // As much as may wait, and again as much.
    for _ in 0..16 {
        let mut stream = begin(&node, 8 << 20, true).await;
        assert!(is_wanted(&mut stream).await);
        slow.push(stream);
    }
    node.put("large", &"v".repeat(1 << 19)).await;
    assert!(is_wanted(&mut begin(&node, 8 << 20, true).await).await);
}

/// A batch as large as may be has its turn among many small ones.
#[tokio::test(flavor = "multi_thread")]
async fn while_many_small_writes_wait_a_large_one_has_a_place() {
    let (node, storage) = Node::with_faults(Setup::default()).await;
    storage.hold_commits.store(true, Ordering::SeqCst);
    let many = many_writes(&node);
    let large = async {
        until_waiting(&node, MANY).await;
        let values: serde_json::Map<_, _> = (0..7).map(|key| (key.to_string(), "v".repeat(1 << 20).into())).collect();
        let write = node.set("", json!(values), &[]);
        let release = async {
            until_waiting(&node, MANY + 1).await;
            storage.hold_commits.store(false, Ordering::SeqCst);
        };
        tokio::join!(write, release).0
    };
    let (many, large) = tokio::join!(many, large);
    assert!(large.status == 200 && many.iter().all(|answer| answer.status == 200), "{large:?}");
}

/// Else they would all be read, and then most of them refused.
#[tokio::test(flavor = "multi_thread")]
async fn while_many_writes_wait_large_bodies_on_their_way_count_as_waiting() {
    let (node, storage) = Node::with_faults(Setup::default()).await;
    storage.hold_commits.store(true, Ordering::SeqCst);
    let many = many_writes(&node);
    let others = async {
        until_waiting(&node, MANY).await;
        let mut slow = Vec::new();
        loop {
            let mut stream = begin(&node, 1 << 20, true).await;
            if !is_wanted(&mut stream).await {
                break;
            }
            slow.push(stream);
        }
        assert_eq!(slow.len(), 6, "a twelfth of 64 MiB, and what goes over it");
        // They are given up for others when they don't send.
        let wanted = async || is_wanted(&mut begin(&node, 1 << 20, true).await).await.then_some(());
        until(wanted, async || "they keep their bytes".to_owned()).await;
        storage.hold_commits.store(false, Ordering::SeqCst);
    };
    let (many, ()) = tokio::join!(many, others);
    assert!(many.iter().all(|answer| answer.status == 200));
}

#[tokio::test]
async fn a_node_that_is_read_only_does_not_wait_for_bodies() {
    let (node, storage) = Node::with_faults(Setup::default()).await;
    storage.fail_commits.store(true, Ordering::SeqCst);
    assert_eq!(node.set("", json!({"key": "unknown"}), &[]).await.problem(), "outcome-unknown");
    let refused = answer(&mut begin(&node, 1 << 20, true).await).await;
    assert!(refused.contains("/problems/read-only"), "{refused}");
}

/// What waits for a context is in memory as much as what is still arriving.
#[tokio::test]
async fn writes_that_wait_for_their_context_count_as_bodies() {
    let mut setup = Setup::default();
    setup.http.limits.bodies_bytes = 10_000;
    let (ahead, node) = (Node::alone(setup.clone()).await, Node::alone(setup).await);
    let context = ahead.put("key", "value").await;
    let value = "v".repeat(6_000);
    let headers = [("causal-context", &*context), ("prefer", "wait=5")];
    let waiting = async {
        loop {
            let reply = node.set("", json!({"waits": value}), &headers).await;
            // The other may have come before it.
            if reply.status == 200 || reply.problem() != "overloaded" {
                break reply;
            }
        }
    };
    let other = async || node.set("", json!({"other": value}), &[]).await;
    let refused_other = async || Some(other().await).filter(|reply| reply.status != 200);
    let refused = tokio::select! {
        waited = waiting => panic!("it did not wait: {waited:?}"),
        refused = until(refused_other, async || "what waits is not counted".to_owned()) => refused,
    };
    assert_eq!((refused.status.as_u16(), &*refused.problem()), (503, "overloaded"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    // A small one still fits, and the large one when the other is gone.
    node.put("small", "value").await;
    let taken = async || (other().await.status == 200).then_some(());
    until(taken, async || "it is counted for ever".to_owned()).await;
}

/// Many small entries take much more memory than their bytes.
#[tokio::test]
async fn many_small_entries_count_as_what_they_take() {
    let mut setup = Setup::default();
    setup.http.limits.bodies_bytes = 100_000;
    let node = Node::alone(setup).await;
    let entries =
        |count: usize| (0..count).map(|index| (format!("{index}"), json!(""))).collect::<serde_json::Map<_, _>>();
    assert_eq!(node.set("", entries(500).into(), &[]).await.status, 200);
    assert_eq!(node.set("", entries(5_000).into(), &[]).await.problem(), "overloaded");
    node.put("small", "value").await;
}

/// With bodies that hardly come, and take more than half of all that bodies may, those are given up, and not the others.
#[tokio::test]
async fn bodies_that_hardly_come_make_room_for_others() {
    let mut setup = Setup::default();
    setup.http.limits.bodies_bytes = 4 << 20;
    let node = Node::alone(setup).await;
    let mut stuck = Vec::new();
    for _ in 0..3 {
        let mut stream = begin(&node, 2 << 20, false).await;
        stream.write_all(&vec![b' '; 1 << 20]).await.unwrap();
        stuck.push(stream);
    }
    let large = json!({"large": "v".repeat(900 << 10), "too": "v".repeat(900 << 10)});
    let taken = async || {
        let reply = node.set("", large.clone(), &[]).await;
        assert!(reply.status == 200 || reply.problem() == "overloaded", "{reply:?}");
        (reply.status == 200).then_some(())
    };
    until(taken, async || "who sends slowly keeps out those who don't".to_owned()).await;
    let mut given_up = 0;
    for mut stream in stuck {
        let mut beginning = [0; 12];
        if timeout(Duration::from_millis(10), stream.read_exact(&mut beginning)).await.is_ok() {
            assert_eq!(&beginning, b"HTTP/1.1 408");
            given_up += 1;
        }
    }
    assert!(given_up > 0);
}

const MIB: usize = 1 << 20;

/// A node with eight keys of a MiB, all of which one answer can show.
async fn with_large_values(answers_bytes: usize) -> Node {
    let mut setup = Setup::default();
    setup.http.limits.answers_bytes = answers_bytes;
    setup.http.limits.answer_bytes = 16 * MIB;
    let node = Node::alone(setup).await;
    for key in 0..8 {
        node.put(&format!("{key}"), &"v".repeat(MIB)).await;
    }
    node
}

async fn ask_for_all(node: &Node) -> TcpStream {
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let body = json!({"keys": (0..8).map(|key| key.to_string()).collect::<Vec<_>>()}).to_string();
    let head = "POST /read HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    stream
}

#[tokio::test]
async fn answers_that_are_not_taken_are_bounded_and_keep_nobody_from_small_ones() {
    let node = with_large_values(25 * MIB).await;
    // Two fit; the third is refused, however long the others take.
    let mut slow = vec![ask_for_all(&node).await, ask_for_all(&node).await];
    let keys = json!((0..8).map(|key| key.to_string()).collect::<Vec<_>>());
    let refused = node.read_many("", keys.clone()).await;
    assert_eq!((refused.status.as_u16(), &*refused.problem()), (503, "overloaded"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    for round in 0..20 {
        node.put("small", &round.to_string()).await;
        assert_eq!(node.get("/read?key=small").await.body, round.to_string());
    }
    // It heals when one of them goes away.
    slow.pop();
    let taken = async || (node.read_many("", keys.clone()).await.status == 200).then_some(());
    until(taken, async || "what was not taken is held for ever".to_owned()).await;
}

/// The fingerprints of a bucket's keys can be as large as other answers.
#[tokio::test]
async fn fingerprints_count_as_answers_that_are_not_taken() {
    let node = with_large_values(8 * MIB).await;
    let is_in_first_bucket = |key: &String| xxh3_64(key.as_bytes()) >> 56 == 0;
    let keys = (0..).map(|number| format!("{number:01000}")).filter(is_in_first_bucket);
    let values = keys.take(100).map(|key| (key, json!("")));
    assert_eq!(node.set("", values.collect(), &[]).await.status, 200);
    let slow = ask_for_all(&node).await;
    let refused = node.get("/fingerprint?bucket=0").await;
    assert_eq!((refused.status.as_u16(), &*refused.problem()), (503, "overloaded"));
    assert_eq!(node.get("/fingerprint").await.status, 200, "of all keys it is short");
    drop(slow);
    let taken = async || (node.get("/fingerprint?bucket=0").await.status == 200).then_some(());
    until(taken, async || "what was not taken is held for ever".to_owned()).await;
}

/// Answers for many keys are made a few at a time; more than may wait for their turn are refused, and nobody else waits.
#[tokio::test]
async fn requests_for_many_keys_take_turns_and_leave_the_rest_alone() {
    const MANY: usize = 400;
    let (node, storage) = Node::with_faults(Setup::default()).await;
    node.put("key", "value").await;
    storage.hold_snapshots.store(true, Ordering::SeqCst);
    let asking: Vec<_> = (0..MANY).map(|_| tokio::spawn(Reply::of(node.request(Method::GET, "/keys")))).collect();
    // While they wait, writes don't.
    for _ in 0..10 {
        node.put("key", "changed").await;
    }
    let refused = async || {
        node.put("key", "changed again").await;
        (asking.iter().filter(|asked| asked.is_finished()).count() >= MANY - 264).then_some(())
    };
    until(refused, async || "nobody is refused".to_owned()).await;
    storage.hold_snapshots.store(false, Ordering::SeqCst);
    let mut counts = [0, 0];
    for asked in asking {
        let reply = asked.await.unwrap();
        match reply.status.as_u16() {
            200 => counts[0] += 1,
            _ => {
                assert_eq!((&*reply.problem(), reply.header("retry-after")), ("overloaded", Some("1")));
                counts[1] += 1;
            }
        }
    }
    assert!(counts[0] >= 8 && counts[1] >= MANY - 264, "{counts:?}");
}
