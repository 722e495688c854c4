//! Floods, against a process: what memory it takes, and who is still served.

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::api::send;
use crate::support::process::{Launch, Process};
use crate::support::{PATIENCE, free_ports, until};

const MIB: usize = 1 << 20;

/// What all bodies, and all answers, may take in these tests.
const LIMIT: usize = 32 * MIB;

/// What a node takes besides: its caches (16 MiB here), five write buffers of 32 MiB, 64 MiB of what waits for the disk, the end
/// of the log, read buffers of the connections, pieces on their way, and itself.
const BESIDES: usize = 352 * MIB;

async fn start(directory: &TempDir) -> (Process, u16) {
    let [port] = free_ports();
    let launch = Launch::by_arguments(directory.path(), 0, port, &[port])
        .with("CAUSEWAY_MAX_BODIES_BYTES", &LIMIT.to_string())
        .with("CAUSEWAY_MAX_ANSWERS_BYTES", &LIMIT.to_string())
        .with("CAUSEWAY_CACHE_BYTES", "16777216");
    (launch.start_ready().await, port)
}

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

fn head(bytes: usize) -> String {
    format!("PATCH /set HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\r\n")
}

/// Clients that ask for large answers and take nothing of them.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_takes_cost_bounded_memory() {
    let directory = TempDir::new().unwrap();
    let (process, port) = start(&directory).await;
    for key in 0..7 {
        process.api.set(&key.to_string(), &"v".repeat(MIB - 1)).await;
    }
    let body = json!({"keys": (0..7).map(|key| key.to_string()).collect::<Vec<_>>()}).to_string();
    let head = "POST /read HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let (mut slow, mut statuses) = (Vec::new(), Vec::new());
    // 560 MiB, would they all get it.
    for _ in 0..80 {
        let mut stream = connect(port).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        statuses.push(status[9]);
        slow.push(stream);
    }
    let refused = statuses.iter().filter(|status| **status == b'5').count();
    assert!(refused > 40 && refused < 80, "{refused} of 80 were refused");
    let memory = process.most_memory();
    assert!(memory < LIMIT + BESIDES, "{} MiB", memory / MIB);
    // Others are served.
    for key in 10..20 {
        process.api.set(&key.to_string(), "value").await;
        assert_eq!(process.api.read(&key.to_string()).await.as_deref(), Some("value"));
    }
    drop(slow);
}

/// Clients that send most of large bodies, and then no more.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_end_cost_bounded_memory() {
    let directory = TempDir::new().unwrap();
    let (process, port) = start(&directory).await;
    let mut stuck = JoinSet::new();
    for _ in 0..60 {
        stuck.spawn(async move {
            let mut stream = connect(port).await;
            stream.write_all(head(8 * MIB).as_bytes()).await.unwrap();
            // Who is refused can't send all of it.
            let _ = stream.write_all(&vec![b' '; 7 * MIB]).await;
            let mut status = [0; 12];
            let answered = timeout(PATIENCE, stream.read_exact(&mut status)).await;
            answered.is_ok_and(|read| read.is_ok()).then(|| String::from_utf8_lossy(&status[9..]).into_owned())
        });
    }
    // Others get through: at once, or as soon as the slow ones were given up.
    let write = async || send(process.api.patch("", &json!({"key": "value"}))).await.ok();
    until(async || write().await.filter(|answer| answer.status == 200), async || process.log()).await;
    let mut answers = Vec::new();
    while let Some(answer) = stuck.join_next().await {
        answers.extend(answer.unwrap());
    }
    assert!(answers.iter().all(|status| status == "503" || status == "408"), "{answers:?}");
    assert!(answers.iter().any(|status| status == "503"), "{answers:?}");
    let memory = process.most_memory();
    assert!(memory < LIMIT + BESIDES, "{} MiB", memory / MIB);
}

/// Many more writes at once than may wait: each is done or told to come again, and what is done is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_large_writes_costs_bounded_memory_and_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let (process, _) = start(&directory).await;
    let mut writing = JoinSet::new();
    for client in 0..100 {
        let api = process.api.clone();
        writing.spawn(async move {
            let mut done = Vec::new();
            for round in 0..3 {
                let key = format!("{client}-{round}");
                let answer = api.patch("", &json!({ &key: "v".repeat(MIB / 2) })).timeout(PATIENCE).send().await;
                // Who is refused before all was sent may find the connection closed.
                let Ok(answer) = answer else { continue };
                match answer.status().as_u16() {
                    200 => done.push(key),
                    503 => assert_eq!(answer.headers()["retry-after"], "1"),
                    other => panic!("{other}"),
                }
            }
            done
        });
    }
    let mut done = Vec::new();
    while let Some(keys) = writing.join_next().await {
        done.extend(keys.unwrap());
    }
    assert!(!done.is_empty() && done.len() < 300, "{} of 300", done.len());
    let memory = process.most_memory();
    assert!(memory < LIMIT + BESIDES, "{} MiB", memory / MIB);
    for key in &done {
        assert_eq!(process.api.read(key).await.map(|value| value.len()), Some(MIB / 2), "{key}");
    }
}

/// A process may often open only some hundred files unless it asks for more, and every connection is one.
#[tokio::test(flavor = "multi_thread")]
async fn connections_do_not_take_the_files_that_the_data_needs() {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let lower = ["sh", "-c", "ulimit -S -n 100; exec \"$0\" \"$@\""].map(str::to_owned);
    let launch = Launch::by_arguments(directory.path(), 0, port, &[port]).under(lower.to_vec());
    let process = launch.start_ready().await;
    let mut open = Vec::new();
    for _ in 0..300 {
        open.push(connect(port).await);
    }
    for key in 0..10 {
        process.api.set(&key.to_string(), "value").await;
    }
    drop(open);
}

/// Where no more files may be opened than there are connections wanted, there are fewer connections.
#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_there_can_be_files_are_told_to_come_again() {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let lower = ["sh", "-c", "ulimit -n 600; exec \"$0\" \"$@\""].map(str::to_owned);
    let launch = Launch::by_arguments(directory.path(), 0, port, &[port]).under(lower.to_vec());
    let process = launch.start_ready().await;
    assert!(process.log().contains("88 connections may be open at once"), "{}", process.log());
    process.api.set("key", "value").await;
    let mut open = Vec::new();
    for _ in 0..120 {
        open.push(connect(port).await);
    }
    let mut one_more = connect(port).await;
    one_more.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, one_more.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1\r\n"), "{answer}");
    // Its own connection is one of the first.
    process.api.set("key", "changed").await;
    drop(open);
}
