//! Bad input: whatever comes in, the answer is the documented one, and nothing changes.

mod cases;
mod good;
mod raw;

use std::collections::BTreeMap;
use std::time::Duration;

use causeway::http::{HttpOptions, Limits};
use causeway::listen::ListenOptions;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::local::{DEADLINE, Node, Setup, document};
use cases::Case;
use raw::Answer;

/// A node with small limits and something in it; a token of what it holds.
async fn node() -> (Node, String) {
    let limits = Limits {
        key_bytes: 64,
        value_bytes: 1000,
        request_bytes: 20_000,
        entries: 50,
        bodies_bytes: 1 << 20,
        ..Limits::default()
    };
    let http = HttpOptions { limits, body_timeout: Duration::from_millis(300), ..HttpOptions::default() };
    let listen = ListenOptions { head_timeout: Duration::from_secs(2), ..ListenOptions::default() };
    let node = Node::alone(Setup { http, listen, ..Setup::default() }).await;
    let used = [("Idempotency-Key", cases::USED_KEY)];
    assert_eq!(node.set("", json!({"kept": "as it is"}), &used).await.status, 200);
    let token = node.put("other", "too").await;
    (node, token)
}

/// All that a client can see of a node's state.
async fn state(node: &Node) -> (String, String) {
    let keys = node.get("/keys?limit=1000").await;
    let read = node.get("/read?key=kept&resolve=all").await;
    (keys.body, read.body)
}

/// `type` → status, as the documentation has it.
fn documented() -> BTreeMap<String, u16> {
    let text = include_str!("../../docs/http-api.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `/problems/"));
    rows.map(|row| {
        let (kind, rest) = row.split_once("` | ").unwrap();
        (kind.to_owned(), rest.split(' ').next().unwrap().parse().unwrap())
    })
    .collect()
}

fn check(case: &Case, answer: &Answer, documented: &BTreeMap<String, u16>) {
    let name = case.name;
    assert_eq!(answer.status, case.status, "{name}: {answer:?}");
    let Some(kind) = case.problem else {
        return;
    };
    assert_eq!(documented.get(kind), Some(&case.status), "{name}: docs/http-api.md says otherwise");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{name}: {answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{name}");
    if answer.body.is_empty() && case.method() == "HEAD" {
        return;
    }
    let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["type"], format!("/problems/{kind}"), "{name}: {problem}");
    assert_eq!(problem["status"], case.status, "{name}: {problem}");
    assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{name}: {problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{name}: {problem}");
    assert!(problem["detail"].as_str().unwrap().contains(case.says), "{name}: {problem}");
    for (member, value) in &case.members {
        assert_eq!(problem[member], *value, "{name}: {problem}");
    }
    for (header, value) in &case.headers_back {
        assert_eq!(answer.header(header), Some(*value), "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn every_bad_request_gets_its_documented_answer_and_changes_nothing() {
    let (node, token) = node().await;
    let documented = documented();
    let before = state(&node).await;
    let cases = cases::all(&token);
    assert!(cases.len() >= 60, "{}", cases.len());
    for case in &cases {
        let answer = raw::ask(node.address, &case.bytes).await;
        let answer = answer.unwrap_or_else(|| panic!("{}: no answer", case.name));
        check(case, &answer, &documented);
        answer.check_document(case, document().await);
        assert_eq!(state(&node).await, before, "{} changed something", case.name);
    }
}

/// Kinds that no request alone can bring about; `api.rs` has those that can be brought about otherwise.
const NOT_BY_INPUT: [&str; 13] = [
    "not-authenticated",
    "not-allowed",
    "too-many-siblings",
    "internal",
    "outcome-unknown",
    "storage-unreadable",
    "context-not-reached",
    "overloaded",
    "draining",
    "read-only",
    "too-many-incarnations",
    "stopping",
    "insufficient-storage",
];

#[tokio::test]
async fn every_documented_problem_has_a_case() {
    let (node, token) = node().await;
    drop(node);
    let cases = cases::all(&token);
    for kind in documented().keys() {
        let elsewhere = NOT_BY_INPUT.contains(&&**kind) || kind == "body-too-slow";
        assert!(elsewhere || cases.iter().any(|case| case.problem == Some(kind)), "{kind} has no case");
    }
}

/// Requests that look odd and are right.
#[tokio::test]
async fn odd_but_good_requests_are_taken() {
    let (node, token) = node().await;
    for case in good::good(&token) {
        let answer = raw::ask(node.address, &case.bytes).await.unwrap();
        assert_eq!(answer.status, case.status, "{}: {answer:?}", case.name);
        answer.check_document(&case, document().await);
    }
}

#[tokio::test]
async fn a_token_cut_anywhere_or_altered_anywhere_is_told() {
    let (node, token) = node().await;
    let before = state(&node).await;
    let mut tokens: Vec<String> = (0..token.len()).map(|end| token[..end].to_owned()).collect();
    for at in 0..token.len() {
        let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        tokens.push(format!("{}{other}{}", &token[..at], &token[at + 1..]));
    }
    for token in tokens {
        let reply = node.get_with("/read?key=kept", &[("Causal-Context", &token)]).await;
        assert_eq!((reply.status.as_u16(), &*reply.problem()), (400, "bad-context"), "{token}");
        let reply = node.set("", json!({"kept": "changed"}), &[("Causal-Context", &token)]).await;
        assert_eq!((reply.status.as_u16(), &*reply.problem()), (400, "bad-context"), "{token}");
    }
    assert_eq!(state(&node).await, before);
}

#[tokio::test]
async fn a_body_that_is_too_slow_is_told_and_the_connection_closed() {
    let (node, _) = node().await;
    let before = state(&node).await;
    for head in ["content-length: 40\r\n\r\n{\"values\"", "transfer-encoding: chunked\r\n\r\n3\r\n{\"v\r\n"] {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        let request = format!("PATCH /set HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{head}");
        stream.write_all(request.as_bytes()).await.unwrap();
        // Nothing more is sent, and the connection is kept open: only the server can end it.
        let answer = raw::read_to_end(&mut stream).await;
        assert_eq!((answer.status, documented()["body-too-slow"]), (408, 408), "{answer:?}");
        assert!(answer.body.contains("/problems/body-too-slow"), "{answer:?}");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert_eq!(state(&node).await, before);
}

/// A client that asks first whether it may send its body is told at once, or sends it.
#[tokio::test]
async fn expect_100_continue_is_honoured() {
    let (node, _) = node().await;
    let ask = |length: usize| {
        format!(
            "PATCH /set HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n\
             content-length: {length}\r\n\r\n"
        )
    };
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(ask(30_000).as_bytes()).await.unwrap();
    assert_eq!(raw::read_to_end(&mut stream).await.status, 413);

    let body = br#"{"values": {"asked": "first"}}"#;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(ask(body.len()).as_bytes()).await.unwrap();
    let mut line = [0; 25];
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(raw::read_to_end(&mut stream).await.status, 200);
    assert_eq!(node.get("/read?key=asked").await.body, "first");
}

#[tokio::test]
async fn what_is_not_http_costs_only_its_own_connection() {
    let (node, _) = node().await;
    let before = state(&node).await;
    let long_line = format!("GET /read?key={} HTTP/1.1\r\nhost: x\r\n\r\n", "k".repeat(70_000));
    let long_header = format!("GET /read?key=kept HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "v".repeat(200_000));
    let many_headers = format!("GET /read?key=kept HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    let broken: [(&str, &[u8], &[u16]); 12] = [
        ("no request at all", b"hello\r\n\r\n", &[400]),
        ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &[400]),
        ("HTTP/2 from the start", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400, 0]),
        ("a version that is none", b"GET /read?key=kept HTTP/9.9\r\nhost: x\r\n\r\n", &[400]),
        ("a space in the path", b"GET /read?key=a b HTTP/1.1\r\nhost: x\r\n\r\n", &[400]),
        ("a header without a colon", b"GET /read?key=kept HTTP/1.1\r\nhost x\r\n\r\n", &[400]),
        ("a zero byte in a header", b"GET /read?key=kept HTTP/1.1\r\nx: \0\r\n\r\n", &[400]),
        ("two lengths", b"PATCH /set HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}", &[400]),
        ("a length that is none", b"PATCH /set HTTP/1.1\r\ncontent-length: many\r\n\r\n{}", &[400]),
        ("a request line that is too long", long_line.as_bytes(), &[431]),
        ("a header that is too long", long_header.as_bytes(), &[431]),
        ("too many headers", many_headers.as_bytes(), &[431]),
    ];
    for (name, bytes, allowed) in broken {
        let answer = raw::ask(node.address, bytes).await;
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        assert!(allowed.contains(&status), "{name}: {answer:?}");
        assert_eq!(state(&node).await, before, "{name} changed something");
    }
}

/// A head that never ends, and a connection that never begins, are closed by the server.
#[tokio::test]
async fn a_head_that_is_too_slow_loses_its_connection() {
    let (node, _) = node().await;
    for beginning in ["", "GET /read?key=kept HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("closed by the server").unwrap();
        assert!(rest.is_empty(), "{rest:?}");
    }
}

/// A body that is far too large is refused while it is still being sent, and the refusal can be read.
#[tokio::test]
async fn an_oversized_body_gets_its_answer_while_it_is_still_sent() {
    let (node, _) = node().await;
    for length in [None, Some(3_000_000)] {
        let framing = length.map_or("transfer-encoding: chunked".to_owned(), |n: usize| format!("content-length: {n}"));
        let head = format!("PATCH /set HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{framing}\r\n\r\n");
        let (mut reader, mut writer) = TcpStream::connect(node.address).await.unwrap().into_split();
        let sending = tokio::spawn(async move {
            writer.write_all(head.as_bytes()).await?;
            for _ in 0..300 {
                let part = " ".repeat(10_000);
                let part = if length.is_none() { format!("{:x}\r\n{part}\r\n", part.len()) } else { part };
                writer.write_all(part.as_bytes()).await?;
            }
            std::io::Result::Ok(writer)
        });
        let answer = raw::read_to_end(&mut reader).await;
        assert_eq!(answer.status, 413, "{answer:?}");
        assert!(answer.body.contains("/problems/request-too-large"), "{answer:?}");
        // It may have been cut off in the middle; that is not what matters here.
        let _ = sending.await.unwrap();
    }
}
