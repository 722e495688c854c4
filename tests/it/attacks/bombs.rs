//! Requests that are small to send and are to cost a lot: heads of many headers, bodies without an end, JSON that is deep, long or
//! strange, what is compressed. Each is refused as it is documented, memory stays bounded, and nothing is stored.

use std::process::Command;

use causeway::peers::{CALL, FACTS_CALL, HELLO_CALL, STATE_CALL};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{SECRET, file};
use crate::support::process::{Launch, Process};
use crate::support::{PATIENCE, free_ports};

const MIB: usize = 1 << 20;

/// The largest body, and what all may take together.
const BODY_BYTES: usize = 16 * MIB;
const BODIES_BYTES: usize = 32 * MIB;

/// How often each is thrown at once when it is about memory.
const TIMES: usize = 4;

/// What all of that may add to a node's memory, a fifth of what is thrown: bodies, whose room doubles while they grow, with the
/// old beside the new; and texts that are unescaped, by as many as parse at a time.
const MOST_GROWTH: usize = 6 * BODIES_BYTES;

/// A request and its answer.
struct Bomb {
    name: &'static str,
    head: String,
    body: Body,
    status: u16,
    /// The last part of its problem's type; none where it does not get that far.
    problem: &'static str,
}

#[derive(Clone)]
enum Body {
    Of(String),
    Bytes(Vec<u8>),
    /// This again and again.
    Endless(String),
}

fn bomb(name: &'static str, head: &str, body: Body, status: u16, problem: &'static str) -> Bomb {
    Bomb { name, head: head.to_owned(), body, status, problem }
}

const SET: &str = "PATCH /set HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n";
const READ: &str = "POST /read HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n";
const CHUNKED: &str = "transfer-encoding: chunked\r\n\r\n";

/// The first line of a request, and what all others need.
fn line(line: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n")
}

/// Heads, on any path of any port.
fn heads(path: &str) -> Vec<Bomb> {
    let post = line(&format!("POST {path}"));
    let none = Body::Of(String::new());
    let many: String = (0..10_000).map(|number| format!("x{number}: y\r\n")).collect();
    vec![
        bomb("10,000 headers", &format!("{post}{many}\r\n"), none.clone(), 431, ""),
        bomb("10,000 times one header", &format!("{post}{}\r\n", "a: b\r\n".repeat(10_000)), none.clone(), 431, ""),
        bomb("a header of a MiB", &format!("{post}x: {}\r\n\r\n", "y".repeat(MIB)), none.clone(), 431, ""),
        bomb("a name of a MiB", &format!("{post}{}: y\r\n\r\n", "x".repeat(MIB)), none.clone(), 431, ""),
        bomb("a head without an end", &post, Body::Endless("x: y\r\n".into()), 431, ""),
        bomb("a path of a MiB", &format!("{}\r\n", line(&format!("POST {path}?{}", "x".repeat(MIB)))), none, 431, ""),
    ]
}

/// Bodies that are refused for how they come.
fn framing() -> Vec<Bomb> {
    let none = Body::Of(String::new());
    let of = |header: &str| format!("{SET}{header}\r\n");
    let large = "request-too-large";
    let zip = zipped();
    let zip_length = format!("content-length: {}\r\n", zip.len());
    let zipped = Body::Bytes(zip);
    let chunks = |text: &str| Body::Endless(format!("{:x}\r\n{text}\r\n", text.len()));
    vec![
        bomb("a body without an end", &format!("{SET}{CHUNKED}"), chunks(&" ".repeat(10_000)), 413, large),
        bomb("keys without an end", &format!("{READ}{CHUNKED}"), chunks(&"\"key\",".repeat(1000)), 413, large),
        bomb("a length of 16 EiB", &of("content-length: 18446744073709551615\r\n"), none.clone(), 431, ""),
        bomb("a length of 8 EiB", &of("content-length: 9223372036854775807\r\n"), none.clone(), 413, large),
        bomb("a length of 17 MiB", &of("content-length: 17825792\r\n"), none, 413, large),
        bomb(
            "a chunk with an extension without an end",
            &format!("{SET}{CHUNKED}1;x="),
            Body::Endless("y".repeat(1000)),
            400,
            "bad-body",
        ),
        bomb(
            "trailers without an end",
            &format!("{SET}{CHUNKED}2\r\n{{}}\r\n0\r\n"),
            Body::Endless("x: y\r\n".repeat(100)),
            400,
            "bad-body",
        ),
        bomb(
            "zeros, compressed",
            &of(&format!("content-encoding: gzip\r\n{zip_length}")),
            zipped.clone(),
            415,
            "unsupported-content-encoding",
        ),
        bomb(
            "the same on its way",
            &of("transfer-encoding: gzip, chunked\r\n"),
            Body::Endless("2\r\n{}\r\n".into()),
            415,
            "unsupported-content-encoding",
        ),
        bomb("the same without saying so", &of(&zip_length), zipped, 422, "bad-utf8"),
    ]
}

/// 64 MiB of zeros in 64 KiB.
fn zipped() -> Vec<u8> {
    let output = Command::new("sh").args(["-c", "head -c 67108864 /dev/zero | gzip -9"]).output().unwrap();
    assert!(output.status.success() && (1_000..MIB).contains(&output.stdout.len()), "{output:?}");
    output.stdout
}

/// JSON that is as large as it may be.
fn json() -> Vec<Bomb> {
    let set = |name, body: String, status, problem| {
        bomb(name, &format!("{SET}content-length: {}\r\n\r\n", body.len()), Body::Of(body), status, problem)
    };
    let value = |value: String| format!("{{\"values\": {{\"key\": {value}}}}}");
    let values = |entries: String| format!("{{\"values\": {{\"first\": null{entries}}}}}");
    let fill = |unit: &str| unit.repeat((BODY_BYTES - 100) / unit.len());
    let many = |count: usize| (0..count).map(|number| format!(",\"{number}\":null")).collect::<String>();
    let half = BODY_BYTES / 2 - 100;
    let deep = value(format!("{}{}", "[".repeat(half), "]".repeat(half)));
    let keys: String = (0..1_000_000).map(|number| format!(",\"{number}\"")).collect();
    let read = format!("{{\"keys\": [\"first\"{keys}]}}");
    vec![
        set("arrays in arrays", deep, 422, "wrong-type"),
        set("arrays that are not closed", value(fill("[")), 400, "not-json"),
        set("objects in objects", value(fill("{\"\":")), 400, "not-json"),
        set("a million keys", values(many(1_000_000)), 413, "too-many-entries"),
        set("a million times one key", values(",\"a\":null".repeat(1_000_000)), 413, "too-many-entries"),
        set("as many times one key as there may be keys", values(",\"a\":null".repeat(9_999)), 422, "duplicate-key"),
        set("a million fields", format!("{{\"a\": 1{}}}", many(1_000_000)), 422, "unknown-field"),
        set("a field that is twice as long", format!("{{\"{}\": 1}}", fill("a")), 422, "unknown-field"),
        set("a number with millions of digits", value(fill("7")), 422, "wrong-type"),
        set("a fraction with millions of digits", value(format!("0.{}", fill("7"))), 422, "wrong-type"),
        set("a number with an exponent", value(format!("1e{}", fill("9"))), 422, "wrong-type"),
        set("a key of escapes", format!("{{\"values\": {{\"{}\": null}}}}", fill("\\u0000")), 413, "key-too-long"),
        set("a value of escapes", value(format!("\"{}\"", fill("\\n"))), 413, "value-too-long"),
        set("blanks", fill(" "), 400, "not-json"),
        bomb(
            "a read of a million keys",
            &format!("{READ}content-length: {}\r\n\r\n", read.len()),
            Body::Of(read),
            413,
            "too-many-entries",
        ),
    ]
}

/// What comes to the port of peers, from somebody who does not know the secret.
fn to_peers() -> Vec<Bomb> {
    let none = Body::Of(String::new());
    let mut bombs = heads(CALL);
    for path in [CALL, STATE_CALL, FACTS_CALL, HELLO_CALL] {
        let post = format!("{}content-type: application/vnd.causeway.replication\r\n", line(&format!("POST {path}")));
        let refused = |name, headers: &str, body| {
            bomb(name, &format!("{post}{headers}\r\n"), body, 401, "peer-not-authenticated")
        };
        bombs.extend([
            // Of which nothing comes: so nobody waits for it.
            refused("64 MiB", "content-length: 67108864\r\n", none.clone()),
            refused("8 EiB", "content-length: 9223372036854775807\r\n", none.clone()),
            refused("chunks without an end", "transfer-encoding: chunked\r\n", Body::Endless("1\r\nx\r\n".repeat(100))),
            refused("zeros, compressed", "content-encoding: gzip\r\ncontent-length: 65536\r\n", Body::Bytes(zipped())),
        ]);
    }
    bombs
}

/// Throws it; the status and the body of the answer. What can be sent of it is sent meanwhile.
async fn throw(port: u16, head: String, body: Body) -> (u16, String) {
    let (mut reader, mut writer) = TcpStream::connect(("127.0.0.1", port)).await.unwrap().into_split();
    let sending = tokio::spawn(async move {
        writer.write_all(head.as_bytes()).await?;
        match body {
            Body::Of(text) => writer.write_all(text.as_bytes()).await?,
            Body::Bytes(bytes) => writer.write_all(&bytes).await?,
            Body::Endless(piece) => {
                let piece = piece.repeat(100_000 / piece.len() + 1);
                loop {
                    writer.write_all(piece.as_bytes()).await?;
                }
            }
        }
        std::io::Result::Ok(writer)
    });
    let mut answer = Vec::new();
    // A reset after the answer still leaves what was read before it.
    let _ = timeout(PATIENCE, reader.read_to_end(&mut answer)).await.expect("an answer, and the end");
    // It may have been cut off in the middle.
    let _ = sending.await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

struct Target {
    node: Process,
    clients: u16,
    peers: u16,
    _directory: TempDir,
}

impl Target {
    async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let secret = file(directory.path(), "secret", &[SECRET]);
        let [clients, peers] = free_ports();
        let launch = Launch::by_environment(directory.path(), 0, clients, &[(0, peers)])
            .with("CAUSEWAY_PEER_LISTEN", &format!("127.0.0.1:{peers}"))
            .with("CAUSEWAY_SECRET_FILE", secret.to_str().unwrap())
            .with("CAUSEWAY_MAX_REQUEST_BYTES", &BODY_BYTES.to_string())
            .with("CAUSEWAY_MAX_BODIES_BYTES", &BODIES_BYTES.to_string());
        let node = launch.start_ready().await;
        node.api.set("kept", "as it is").await;
        Self { node, clients, peers, _directory: directory }
    }

    /// Everything that there is, and how far the log is.
    async fn state(&self) -> (Value, String, String, Option<f64>) {
        let api = &self.node.api;
        let (keys, kept) = (api.get("/keys").await.body, api.get("/read?key=kept&resolve=all").await.body);
        (api.status().await["vector"].clone(), keys, kept, api.metric("causeway_log_ops").await)
    }

    /// Throws each alone, which gets its own answer; then all of them at once, which may also get that there are too many.
    async fn withstands(&self, port: u16, bombs: Vec<Bomb>) {
        let (before, memory) = (self.state().await, self.node.most_memory());
        for Bomb { name, head, body, status, problem } in &bombs {
            let answer = throw(port, head.clone(), body.clone()).await;
            assert_eq!(answer.0, *status, "{name}: {}", answer.1);
            assert!(answer.1.len() < 16 << 10, "{name}: {}", answer.1);
            if !problem.is_empty() {
                let found: Value = serde_json::from_str(&answer.1).unwrap();
                assert_eq!(found["type"], format!("/problems/{problem}"), "{name}: {}", answer.1);
            }
        }
        let mut thrown = JoinSet::new();
        for Bomb { name, head, body, status, .. } in bombs.iter().flat_map(|bomb| std::iter::repeat_n(bomb, TIMES)) {
            let (name, status, thrown_one) = (*name, *status, throw(port, head.clone(), body.clone()));
            thrown.spawn(async move { (name, status, thrown_one.await) });
        }
        while let Some(answer) = thrown.join_next().await {
            let (name, status, (found, body)) = answer.unwrap();
            let overloaded = body.contains("/problems/overloaded") || body.contains("/problems/body-too-slow");
            assert!(found == status || overloaded, "{name}: {found} {body}");
        }
        // The kernel counts roughly: it can be less.
        let grown = self.node.most_memory().saturating_sub(memory);
        assert!(grown < MOST_GROWTH, "{} MiB more", grown / MIB);
        assert_eq!(self.state().await, before, "something has changed");
        self.node.api.set("kept", "as it is").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_at_the_port_of_clients_are_refused_and_cost_bounded_memory() {
    let target = Target::start().await;
    target.withstands(target.clients, heads("/read?key=kept")).await;
    target.withstands(target.clients, framing()).await;
    target.withstands(target.clients, json()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_at_the_port_of_peers_are_refused_by_their_heads() {
    let target = Target::start().await;
    target.withstands(target.peers, to_peers()).await;
    let refused = target.node.api.metric("causeway_peer_refusals_total{reason=\"secret-missing\"}").await;
    assert_eq!(refused, Some(16.0 * (1 + TIMES) as f64));
}
