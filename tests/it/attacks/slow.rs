//! Connections on which next to nothing happens (*slowloris*): heads that come byte by byte, bodies that don't end, answers
//! that nobody takes. While there are fewer than there may be, nobody else notices; when there are as many, others are told
//! so, and peers with a port of their own go on.

use std::time::Duration;

use causeway::listen::raise_open_files;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::support::api::{Api, send};
use crate::support::process::{Launch, Process};
use crate::support::{PATIENCE, free_ports, skip, until};

const CONNECTIONS: usize = 2_000;

/// Of these, so many take nothing of their answers. Not more: what the node has handed to the kernel, which takes 2.5 MiB for
/// each of them here, is this machine's.
const NOT_TAKING: usize = 100;

/// What one of them may add to a node's memory.
const MOST_BYTES: usize = 80 << 10;

/// What both ends of the connections take, and some.
const FILES: u64 = 3_000;

/// What a client does with its connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// Its head never ends.
    Head,
    /// Its body has a length that it never reaches.
    Body,
    /// Its chunks never end.
    Chunks,
    /// It asks, and takes nothing.
    Answer,
}

/// All but the last.
const SENDING: [Way; 3] = [Way::Head, Way::Body, Way::Chunks];

impl Way {
    fn begin(self) -> String {
        let write = "PATCH /set HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
        match self {
            Self::Head => "GET /read?key=kept HTTP/1.1\r\nhost: x\r\nslow: ".to_owned(),
            Self::Body => format!("{write}content-length: 30000\r\n\r\n{{\"values\": {{\"slow\": \""),
            Self::Chunks => format!("{write}transfer-encoding: chunked\r\n\r\n"),
            Self::Answer => "GET /read?key=large HTTP/1.1\r\nhost: x\r\n\r\n".repeat(64),
        }
    }

    /// What comes of it from time to time.
    fn goes_on(self) -> &'static str {
        match self {
            Self::Head | Self::Body => "v",
            Self::Chunks => "1\r\nv\r\n",
            Self::Answer => "",
        }
    }
}

/// A client that is slow.
async fn slow(port: u16, way: Way) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    if way == Way::Answer {
        socket.set_recv_buffer_size(4096).unwrap();
    }
    let mut stream = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
    // Who is one too many may be gone already.
    let _ = stream.write_all(way.begin().as_bytes()).await;
    stream
}

/// Goes on with it once a second, until the node ends it: with which answer.
async fn until_ended(mut stream: TcpStream, way: Way) -> String {
    let mut answer = String::new();
    while timeout(Duration::from_secs(1), stream.readable()).await.is_err() {
        let _ = stream.write_all(way.goes_on().as_bytes()).await;
    }
    // A connection that was reset has none.
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

/// Some clients that write and read, one request after the other; each gets what it wrote.
async fn behave(api: &Api) {
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let api = api.clone();
        clients.spawn(async move {
            for round in 0..50 {
                let (key, value) = (format!("own{client}"), round.to_string());
                api.set(&key, &value).await;
                assert_eq!(api.read(&key).await, Some(value));
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

async fn open_connections(node: &Process) -> f64 {
    node.api.metric("causeway_connections{listener=\"clients\"}").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_slow_connections_hurt_nobody_else() {
    if raise_open_files() < FILES {
        return skip("a process may not open 3,000 files");
    }
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let node = Launch::by_arguments(directory.path(), 0, port, &[port]).start_ready().await;
    node.api.set("kept", "as it is").await;
    node.api.set("large", &"v".repeat(60 << 10)).await;
    behave(&node.api).await;
    let before = node.most_memory();

    let mut ended = Vec::new();
    let mut not_taking = Vec::new();
    for index in 0..CONNECTIONS {
        if index < NOT_TAKING {
            not_taking.push(slow(port, Way::Answer).await);
        } else {
            let way = SENDING[index % SENDING.len()];
            let stream = slow(port, way).await;
            ended.push((way, tokio::spawn(until_ended(stream, way))));
        }
    }
    assert!(open_connections(&node).await > CONNECTIONS as f64);
    behave(&node.api).await;
    assert!(open_connections(&node).await > (CONNECTIONS - NOT_TAKING) as f64, "they were not there all along");
    let grown = node.most_memory().saturating_sub(before);
    assert!(grown < CONNECTIONS * MOST_BYTES, "{} KiB more for each", (grown >> 10) / CONNECTIONS);

    // They are given half a minute.
    for (way, ended) in ended {
        let answer = timeout(2 * PATIENCE, ended).await.expect("it is ended by the node").unwrap();
        match way {
            Way::Head => assert_eq!(answer, ""),
            _ => assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("body-too-slow"), "{way:?}: {answer}"),
        }
    }
    assert_eq!(node.api.read("slow").await, None);
    assert_eq!(node.api.read("kept").await.as_deref(), Some("as it is"));
    drop(not_taking);
}

/// Two nodes, each with a port for its peer.
async fn pair(directory: &TempDir, max_connections: usize) -> ([Process; 2], u16) {
    let [client0, client1, peer0, peer1] = free_ports();
    let launch = |id: u32, port: u16, peer_port: u16| {
        let own = directory.path().join(id.to_string());
        Launch::by_environment(&own, id, port, &[(0, peer0), (1, peer1)])
            .with("CAUSEWAY_PEER_LISTEN", &format!("127.0.0.1:{peer_port}"))
            .with("CAUSEWAY_MAX_CONNECTIONS", &max_connections.to_string())
    };
    ([launch(0, client0, peer0).start_ready().await, launch(1, client1, peer1).start_ready().await], client0)
}

async fn one_more(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"GET /read?key=kept HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_connections_as_there_may_be_are_told_and_are_not_the_peers() {
    const MOST: usize = 50;
    let directory = TempDir::new().unwrap();
    let ([node0, node1], port) = pair(&directory, MOST).await;
    node0.api.set("kept", "as it is").await;
    node1.api.until_reads("kept", "as it is").await;
    let mut slow_ones: Vec<JoinHandle<String>> = Vec::new();
    for index in 0..MOST {
        let way = SENDING[index % SENDING.len()];
        slow_ones.push(tokio::spawn(until_ended(slow(port, way).await, way)));
    }
    let refused = one_more(port).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
    assert!(refused.ends_with('}') && refused.contains("/problems/overloaded"), "{refused}");
    let everywhere = node1.api.patch("?acks=all", &json!({"from": "a peer"})).header("prefer", "wait=10");
    assert_eq!(send(everywhere).await.unwrap().status, 200);

    slow_ones.iter().for_each(JoinHandle::abort);
    let served = async || one_more(port).await.ends_with("as it is").then_some(());
    until(served, async || "they are gone, and others are still refused".to_owned()).await;
    assert_eq!(node0.api.read("from").await.as_deref(), Some("a peer"));
}
