//! `GET /backup`: what it answers, and that who does not take it is not waited for.

use std::sync::atomic::Ordering;
use std::time::Duration;

use causeway::format::backup::{BackupReader, CONTENT_TYPE, Part};
use causeway::http::HttpOptions;
use reqwest::Method;
use serde_json::{Value, json};

use crate::local::{Node, Setup};
use crate::support::until;

/// More than connections and their buffers hold.
async fn filled(setup: Setup) -> Node {
    let node = Node::alone(setup).await;
    for number in 0..60 {
        node.put(&format!("key{number:02}"), &"v".repeat(512 << 10)).await;
    }
    node
}

fn backup(node: &Node) -> reqwest::RequestBuilder {
    node.request(Method::GET, "/backup")
}

#[tokio::test]
async fn it_is_of_the_instant_at_which_it_was_asked_for() {
    let node = filled(Setup::default()).await;
    let mut response = backup(&node).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], CONTENT_TYPE);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let mut reader = BackupReader::default();
    reader.add(&response.chunk().await.unwrap().unwrap());
    // While it is under way, all is changed.
    let vector = node.get("/status").await.json()["vector"].clone();
    node.put("key", "later").await;
    node.set("", json!({"key00": null, "key59": "changed"}), &[]).await;
    let (mut head, mut keys) = (None, Vec::new());
    loop {
        while let Some(part) = reader.next_part().unwrap() {
            match part {
                Part::Head(found) => head = Some(found),
                Part::Keys(found) => keys.extend(found),
                Part::End(_) => {}
            }
        }
        let Some(more) = response.chunk().await.unwrap() else { break };
        reader.add(&more);
    }
    reader.check_whole().unwrap();
    let head = head.unwrap();
    assert_eq!((&*head.cluster, head.node.0, head.state.keys), ("test", 0, 60));
    let entries = head.state.vector.entries();
    let included: Value = entries.map(|dot| (dot.origin.to_string(), json!(dot.counter))).collect();
    assert_eq!(included, vector);
    assert_eq!(keys.len(), 60);
    for (number, (key, siblings)) in keys.iter().enumerate() {
        assert_eq!(**key, format!("key{number:02}"));
        assert!(siblings.len() == 1 && siblings.iter().all(|sibling| sibling.value.len() == 512 << 10), "{key}");
    }

    let reply = node.request(Method::HEAD, "/backup").send().await.unwrap();
    assert_eq!((reply.status().as_u16(), &reply.headers()["content-type"]), (200, &response.headers()["content-type"]));
    let reply = node.get("/backup?key=k").await;
    assert_eq!((reply.status.as_u16(), &*reply.problem()), (400, "unknown-parameter"));
}

#[tokio::test]
async fn there_are_two_at_once_and_who_goes_away_makes_room() {
    let node = filled(Setup::default()).await;
    let first = backup(&node).send().await.unwrap();
    let second = backup(&node).send().await.unwrap();
    let reply = node.get("/backup").await;
    assert_eq!((reply.status.as_u16(), &*reply.problem(), reply.header("retry-after")), (503, "overloaded", Some("1")));
    assert_eq!(reply.json()["limit"], 2);
    drop(first);
    let taken = async || (backup(&node).send().await.unwrap().status() == 200).then_some(());
    until(taken, async || "there is never room again".to_owned()).await;
    drop(second);
}

#[tokio::test]
async fn who_takes_nothing_is_cut_off_and_gets_no_end() {
    let http = HttpOptions { backup_patience: Duration::from_millis(100), ..HttpOptions::default() };
    let node = filled(Setup { http, ..Setup::default() }).await;
    let slow = [backup(&node).send().await.unwrap(), backup(&node).send().await.unwrap()];
    let room = async || (node.get("/backup").await.status == 200).then_some(());
    until(room, async || "who takes nothing is waited for".to_owned()).await;
    for response in slow {
        assert!(response.bytes().await.is_err(), "an end is missing, and that is an error");
    }
}

#[tokio::test]
async fn a_node_that_stops_does_not_wait_for_a_backup() {
    let node = filled(Setup::default()).await;
    let under_way = backup(&node).send().await.unwrap();
    let ended = tokio::spawn(under_way.bytes());
    // No connection has to be cut.
    node.stop().await;
    // It was whole by then, or is an error.
    if let Ok(bytes) = ended.await.unwrap() {
        let mut reader = BackupReader::default();
        reader.add(&bytes);
        while reader.next_part().unwrap().is_some() {}
        reader.check_whole().unwrap();
    }
}

#[tokio::test]
async fn what_can_not_be_read_is_no_backup() {
    let (node, storage) = Node::with_faults(Setup::default()).await;
    storage.damage_snapshots.store(true, Ordering::SeqCst);
    node.put("key", "value").await;
    let response = backup(&node).send().await.unwrap();
    assert!(response.bytes().await.is_err(), "a backup without what can't be read");
}
