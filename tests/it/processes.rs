//! Nodes as processes: how they start, stop and crash.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::support::api::{Api, send};
use crate::support::process::{Launch, causeway};
use crate::support::{PATIENCE, free_ports, until};

/// How long a graceful stop may take in all.
const STOP: Duration = Duration::from_secs(5);

/// Writes one key after the other until the node is gone; returns those that were acknowledged.
async fn write_until_gone(api: Api, writer: usize, gone: Arc<AtomicBool>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for count in 0.. {
        let key = format!("key-{writer}-{count}");
        match send(api.patch("", &json!({ &key: format!("value of {key}") }))).await {
            Ok(answer) if answer.status == 200 => acknowledged.push(key),
            // Unknown: it may be there or not.
            _ if gone.load(Ordering::Relaxed) => break,
            Ok(answer) => panic!("{key}: {} {}", answer.status, answer.body),
            Err(error) => panic!("{key}: {error}"),
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill_without_any_peer() {
    let directory = TempDir::new().unwrap();
    // Nobody ever listens on the other two.
    let ports = free_ports::<3>();
    let launch = Launch::by_arguments(directory.path(), 0, ports[0], &ports);
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let node = launch.start_ready().await;
        let gone = Arc::new(AtomicBool::new(false));
        let start = 8 * round;
        let writers: Vec<_> = (start..start + 8)
            .map(|writer| tokio::spawn(write_until_gone(node.api.clone(), writer, gone.clone())))
            .collect();
        let enough = async || (node.api.status().await["keys"].as_u64()? > 400 * (round as u64 + 1)).then_some(());
        until(enough, async || "too few writes".to_owned()).await;
        gone.store(true, Ordering::Relaxed);
        node.kill();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
    }
    let node = launch.start_ready().await;
    assert!(acknowledged.len() > 400, "{}", acknowledged.len());
    for key in &acknowledged {
        assert_eq!(node.api.read(key).await, Some(format!("value of {key}")));
    }
    let peers = node.api.status().await["peers"].clone();
    assert!(peers.as_array().unwrap().iter().all(|peer| peer["heard"].is_null()), "{peers}");
}

/// A write with an idempotency key, sent until it is answered; its dot, and whether it had been made before.
async fn write_once(api: &Api, key: &str, nothing_seen: &str) -> (String, bool) {
    let began = Instant::now();
    loop {
        let request = api.patch("", &json!({ key: format!("value of {key}") }));
        let request = request.header("Idempotency-Key", format!("of-{key}")).header("Causal-Context", nothing_seen);
        match send(request).await {
            Ok(answer) if answer.status == 200 => {
                let dot = answer.json()["dot"].as_str().unwrap().to_owned();
                return (dot, answer.header("idempotency-replayed").is_some());
            }
            other => assert!(began.elapsed() < PATIENCE, "{key}: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_sent_until_it_is_answered_is_made_once_whatever_is_killed() {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let launch = Launch::by_arguments(directory.path(), 0, port, &[port]);
    let mut node = launch.start_ready().await;
    // With it, a write replaces nothing: a second one of the same key would stand beside the first.
    let nothing_seen = node.api.get("/read?key=none").await.header("causal-context").unwrap().to_owned();
    let mut answered = Vec::new();
    for round in 0..4 {
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (api, stop, nothing_seen) = (node.api.clone(), stop.clone(), nothing_seen.clone());
                tokio::spawn(async move {
                    let mut made = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let key = format!("key-{round}-{writer}-{}", made.len());
                        let (dot, _) = write_once(&api, &key, &nothing_seen).await;
                        made.push((key, dot));
                    }
                    made
                })
            })
            .collect();
        let enough = async || (node.api.status().await["keys"].as_u64()? > 200 * (round + 1)).then_some(());
        until(enough, async || "too few writes".to_owned()).await;
        node.kill();
        node = launch.start_ready().await;
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            answered.extend(writer.await.unwrap());
        }
    }
    node.kill();
    let node = launch.start_ready().await;
    assert!(answered.len() > 400, "{}", answered.len());
    for (key, dot) in &answered {
        assert_eq!(write_once(&node.api, key, &nothing_seen).await, (dot.clone(), true), "{key}");
        let siblings = node.api.siblings(key).await;
        assert_eq!(siblings, [(format!("value of {key}"), dot.clone())].into(), "made twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_a_directory_is_refused() {
    let directory = TempDir::new().unwrap();
    let [first, second] = free_ports();
    let node = Launch::by_arguments(directory.path(), 0, first, &[first]).start_ready().await;
    let mut intruder = Launch::by_arguments(directory.path(), 0, second, &[second]).start();
    let (status, _) = intruder.ended().await;
    assert_eq!(status.code(), Some(1), "{}", intruder.log());
    assert!(intruder.log().contains("in use by another process"), "{}", intruder.log());
    node.api.set("key", "the first goes on").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_another_node_is_refused() {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let data = directory.path().join("data");
    let launch = |id: u32| {
        let launch = Launch::by_arguments(directory.path(), id, port, &[port]);
        launch.with("CAUSEWAY_DATA_DIR", data.to_str().unwrap())
    };
    let node = launch(0).start_ready().await;
    node.api.set("key", "value").await;
    node.kill();

    let other_cluster = launch(0).with("CAUSEWAY_CLUSTER", "elsewhere");
    for (wrong, why) in
        [(launch(1), "not of node 1 of cluster"), (other_cluster, "not of node 0 of cluster 'elsewhere'")]
    {
        let mut process = wrong.start();
        let (status, _) = process.ended().await;
        assert_eq!(status.code(), Some(1), "{}", process.log());
        assert!(process.log().contains(why), "{}", process.log());
    }
    assert_eq!(launch(0).start_ready().await.api.read("key").await.as_deref(), Some("value"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    let directory = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut node = Launch::by_arguments(directory.path(), 0, port, &[port]).start();
    let (status, _) = node.ended().await;
    assert_eq!(status.code(), Some(1));
    assert!(node.log().contains(&format!("127.0.0.1:{port}")), "{}", node.log());
}

fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn all_problems_of_a_configuration_are_listed_at_once() {
    let variables = [
        ("CAUSEWAY_NODE_ID", "seven"),
        ("CAUSEWAY_LISTEN", "here"),
        ("CAUSEWAY_CLUSTR", "x"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "there"),
    ];
    let (code, text) = run(causeway().envs(variables));
    assert_eq!(code, Some(2));
    for part in [
        "5 problems in the configuration",
        "OTEL_EXPORTER_OTLP_ENDPOINT is 'there': expected http://HOST:PORT",
        "CAUSEWAY_CLUSTR is not a setting; did you mean CAUSEWAY_CLUSTER?",
        "CAUSEWAY_NODE_ID is 'seven': expected a whole number",
        "CAUSEWAY_LISTEN is 'here': expected an IP address and a port",
        "CAUSEWAY_PEERS is not set",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let (code, text) = run(causeway().args(["zero", "8000", "8000,x"]));
    assert_eq!(code, Some(2));
    assert!(text.contains("ID is 'zero'") && text.contains("PEER_PORTS is 'x'"), "{text}");
}

#[test]
fn help_and_version() {
    let (code, text) = run(causeway().arg("--help"));
    assert_eq!(code, Some(0));
    for part in ["ID", "PORT", "PEER_PORTS", "healthcheck", "CAUSEWAY_PEERS", "CAUSEWAY_CONFIG", "Exit codes"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(run(causeway().arg("--version")), (Some(0), format!("causeway {}\n", env!("CARGO_PKG_VERSION"))));
    assert_eq!(run(causeway().arg("0")).0, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_says_whether_the_node_is_ready() {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let check = || run(causeway().arg("healthcheck").env("CAUSEWAY_LISTEN", format!("0.0.0.0:{port}")));
    let (code, text) = check();
    assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
    let _node = Launch::by_arguments(directory.path(), 0, port, &[port]).start_ready().await;
    assert_eq!(check().0, Some(0));
}

/// Peers are served on a port of their own, by a name of one of this machine's addresses.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_for_peers_is_closed_to_clients() {
    let directory = TempDir::new().unwrap();
    let [client0, client1, peer0, peer1] = free_ports();
    let peers = [(0, peer0), (1, peer1)];
    let launch = |id: u32, port: u16, peer_port: u16| {
        let own = directory.path().join(id.to_string());
        Launch::by_environment(&own, id, port, &peers).with("CAUSEWAY_PEER_LISTEN", &format!("localhost:{peer_port}"))
    };
    let node0 = launch(0, client0, peer0).start_ready().await;
    let node1 = launch(1, client1, peer1).start_ready().await;
    node0.api.set("key", "value").await;
    node1.api.until_reads("key", "value").await;

    const PUSH: &str = "/replication/v1/push";
    assert_eq!(send(node0.api.request(Method::POST, PUSH)).await.unwrap().status, 404, "there are no peers here");
    assert_eq!(Api::new(peer0).get("/read?key=key").await.status, 404, "there are no clients here");
    // `localhost` is 127.0.0.1: who comes in elsewhere is not even listened to.
    let mut elsewhere = TcpStream::connect(("127.0.0.2", peer0)).unwrap();
    let mut heard = Vec::new();
    let _ = elsewhere.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let _ = elsewhere.read_to_end(&mut heard);
    assert_eq!(heard, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_requests_finish() {
    let directory = TempDir::new().unwrap();
    let ports = free_ports::<2>();
    // A collector that never answers must not hold up the end.
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let collector_url = format!("http://{}", collector.local_addr().unwrap());
    let launch =
        Launch::by_arguments(directory.path(), 0, ports[0], &ports).with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector_url);
    let node = launch.start_ready().await;
    // Waits for a peer that isn't there, with the write on disk already.
    let slow = node.api.patch("?acks=all", &json!({ "slow": "value" })).header("prefer", "wait=2");
    let slow = tokio::spawn(send(slow));
    node.api.until_reads("slow", "value").await;
    let (status, took) = node.terminate().await;
    assert_eq!(slow.await.unwrap().unwrap().status, 202, "the request under way was answered");
    assert_eq!(status.code(), Some(0));
    assert!(took < STOP, "{took:?}");
    assert_eq!(launch.start_ready().await.api.read("slow").await.as_deref(), Some("value"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_not_held_up_and_a_second_signal_ends_at_once() {
    let directory = TempDir::new().unwrap();
    let ports = free_ports::<2>();
    let launch = Launch::by_arguments(directory.path(), 0, ports[0], &ports);
    for signals in [1, 2] {
        let mut node = launch.start_ready().await;
        let key = format!("key{signals}");
        // Waits for longer than a stop may take.
        let slow = node.api.patch("?acks=all", &json!({ &key: "value" })).header("prefer", "wait=30");
        let slow = tokio::spawn(send(slow));
        node.api.until_reads(&key, "value").await;
        node.signal("TERM");
        if signals == 2 {
            let stopping = async || node.log().contains("stopping").then_some(());
            until(stopping, async || node.log()).await;
            node.signal("TERM");
        }
        let (status, took) = node.ended().await;
        assert!(took < STOP, "{took:?}");
        assert_eq!(status.code(), Some(1), "a request was cut off: {}", node.log());
        assert!(slow.await.unwrap().is_err());
    }
    let node = launch.start_ready().await;
    assert_eq!(node.api.read("key1").await.as_deref(), Some("value"));
    assert_eq!(node.api.read("key2").await.as_deref(), Some("value"));
}
