//! `causeway verify`: of nodes that are equal, that differ, and that can't be compared.

use std::path::Path;
use std::sync::Arc;

use causeway::causality::{Hlc, Incarnation, NodeId, Origin};
use causeway::replica::{Append, Checkpoint, Entry, Op, Sibling, Siblings, Totals};
use causeway::storage::{DiskStorage, Identity, Storage};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Run, alone, run};
use crate::support::cluster::Cluster;
use crate::support::free_ports;
use crate::support::process::{Launch, Process};

/// Of all these nodes.
fn verify(ports: &[u16], arguments: &[&str]) -> Run {
    let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    run(&[&["verify", "--node", &ports], arguments].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_on_their_way_are_waited_for() {
    let cluster = Cluster::linked().await;
    let ports: Vec<u16> = cluster.launches.iter().map(|launch| launch.port).collect();
    for key in 0..50 {
        cluster.api(key % 3).set(&format!("key{key}"), "value").await;
    }
    let text = verify(&ports, &["--wait", "30"]).printed();
    assert!(text.starts_with("equal: 3 nodes, 50 keys, fingerprint "), "{text}");

    let report: Value = serde_json::from_str(&verify(&ports, &["--json"]).printed()).unwrap();
    assert_eq!((&report["result"], &report["differences"]), (&json!("equal"), &json!([])));
    assert_eq!(report["nodes"][2]["node"], 2);
    assert_eq!(report["nodes"][2]["url"], format!("http://127.0.0.1:{}", ports[2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_other_ops_are_not_compared() {
    let cluster = Cluster::linked().await;
    let ports: Vec<u16> = cluster.launches.iter().map(|launch| launch.port).collect();
    cluster.links.values().for_each(|link| link.cut());
    cluster.api(0).set("key", "value").await;
    let message = verify(&ports, &["--wait", "0.3"]).failed(3);
    assert!(message.contains("different ops") && message.contains("causeway status"), "{message}");
    let run = verify(&ports, &["--wait", "0", "--json"]);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((run.code, &report["result"]), (Some(3), &json!("not-compared")), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_answer_or_is_named_twice_is_told() {
    let (_node, port, _directory) = alone().await;
    let [nobody] = free_ports();
    let message = verify(&[port, nobody], &[]).failed(3);
    assert!(message.contains(&format!("no answer from http://127.0.0.1:{nobody}")), "{message}");
    let message = run(&["verify", "--node", &format!("{port},localhost:{port}")]).failed(3);
    assert!(message.contains("are both node 0"), "{message}");
}

/// A directory with one op that wrote these keys.
fn store(directory: &Path, node: u32, values: &[(String, String)]) {
    let identity = Identity { cluster: "causeway".to_owned(), node: NodeId(node) };
    let (storage, _) = DiskStorage::open(directory, &identity).unwrap();
    let dot = Origin::new(NodeId(7), Incarnation(0xc0ffee)).dot(1);
    let hlc = Hlc(1 << 40);
    let entries = values.iter().map(|(key, value)| Entry {
        key: (**key).into(),
        value: Some((**value).into()),
        replaces: Vec::new(),
    });
    let states = values.iter().map(|(key, value)| {
        let sibling = Sibling { dot, hlc, arrival: 1, value: (**value).into() };
        ((**key).into(), Siblings::new(vec![sibling]))
    });
    let op = Op {
        dot,
        parents: Default::default(),
        deps: Vec::new(),
        hlc,
        entries: entries.collect(),
        trace: None,
        idempotency_key: None,
    };
    let append = Append { position: 1, op: Arc::new(op), states: states.collect() };
    let count = values.len() as u64;
    let totals = Totals { keys: count, conflicts: 0, siblings: count };
    let checkpoint = Checkpoint { vector: [dot].into_iter().collect(), position: 1, hlc, totals };
    storage.commit(&[append], &checkpoint).unwrap();
}

/// A node that knows no other, on a directory that was filled before.
async fn on(directory: &TempDir, node: u32, values: &[(String, String)]) -> (Process, u16) {
    let [port] = free_ports();
    let data = directory.path().join(node.to_string());
    store(&data, node, values);
    let launch = Launch::by_environment(directory.path(), node, port, &[(node, port)]);
    (launch.with("CAUSEWAY_DATA_DIR", data.to_str().unwrap()).start_ready().await, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_differ_where_the_ops_are_the_same_are_named() {
    let directory = TempDir::new().unwrap();
    let whole: Vec<_> = (0..300).map(|key| (format!("key{key}"), "value".to_owned())).collect();
    let mut damaged = whole.clone();
    damaged[7].1 = "valve".to_owned();
    damaged.remove(200);
    let (_first, first) = on(&directory, 0, &whole).await;
    let (_second, second) = on(&directory, 1, &damaged).await;
    let (_third, third) = on(&directory, 2, &whole).await;

    let run = verify(&[first, second, third], &[]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(lines.len(), 4, "{run:?}");
    assert_eq!(lines[0], format!("differ: http://127.0.0.1:{first} and http://127.0.0.1:{second}"));
    assert!(lines[2..].iter().any(|line| line.starts_with("at both") && line.ends_with("  key7")), "{run:?}");
    let missing = format!("only at http://127.0.0.1:{first}  key200");
    assert!(lines[2..].contains(&&*missing), "{run:?}");

    let run = verify(&[first, second], &["--json"]);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((run.code, &report["result"]), (Some(1), &json!("differ")));
    let difference = &report["differences"][0];
    let keys = difference["keys"].as_array().unwrap();
    assert!(keys.contains(&json!({"key": "key7", "found": "both"})), "{report}");
    assert!(keys.contains(&json!({"key": "key200", "found": "first"})), "{report}");
    assert_eq!((keys.len(), &difference["buckets_left_out"]), (2, &json!(0)), "{report}");
    // The whole ones are equal all the same.
    assert!(verify(&[first, third], &[]).printed().starts_with("equal: 2 nodes, 300 keys"));
}
