//! Backups of nodes that are used, and nodes restored from them while the others went on: what the others have since then
//! comes back, and nothing is doubled. As processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use causeway::format::backup::{BackupReader, Part};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands::{Run, ask};
use crate::support::api::{Api, send};
use crate::support::cluster::Cluster;
use crate::support::process::causeway;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn back_up(cluster: &Cluster, node: usize, to: &Path) {
    ask(cluster.launches[node].port, &["backup", text(to)]).printed();
}

/// Puts a backup in the place of a node's directory, and starts it.
async fn restore(cluster: &mut Cluster, node: usize, from: &Path) {
    let data = cluster.launches[node].data_dir(node as u32);
    fs::remove_dir_all(&data).unwrap();
    let mut command = causeway();
    command.args(["restore", text(from), "--data-dir", text(&data), "--node-id", &node.to_string()]);
    Run::of(command, b"").printed();
    cluster.nodes.insert(node, cluster.launches[node].start_ready().await);
}

/// Waits until all nodes have the same ops, and makes sure that they hold the same then, to the byte.
fn verify(cluster: &Cluster) {
    let ports: Vec<_> = cluster.launches.iter().map(|launch| launch.port.to_string()).collect();
    let mut command = causeway();
    command.args(["verify", "--wait", "30", "--node", &ports.join(",")]);
    let printed = Run::of(command, b"").printed();
    assert!(printed.starts_with("equal: 3 nodes"), "{printed}");
}

async fn values(api: &Api, key: &str) -> Vec<String> {
    api.siblings(key).await.into_iter().map(|(value, _)| value).collect()
}

async fn delete(api: &Api, key: &str) {
    let answer = send(api.patch("", &json!({ key: null }))).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// A key that these nodes write, none of which knows of the others.
async fn conflict(cluster: &Cluster, key: &str, nodes: &[usize]) {
    cluster.links.values().for_each(|link| link.cut());
    for node in nodes {
        cluster.api(*node).set(key, &format!("by {node}")).await;
    }
    cluster.links.values().for_each(|link| link.heal());
}

/// Writes pairs until told to stop: `a/N` on one node, and then, by who has seen it, `z/N` on another.
async fn write_pairs(first: Api, second: Api, stop: Arc<AtomicBool>) -> usize {
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            return number;
        }
        let answer = first.set(&format!("a/{number:06}"), "cause").await;
        let context = answer.header("causal-context").unwrap();
        let effect = second.patch("", &json!({format!("z/{number:06}"): "effect"}));
        let effect = effect.header("causal-context", context).header("prefer", "wait=20");
        assert_eq!(send(effect).await.unwrap().status, 200);
    }
    unreachable!()
}

/// The keys of a backup.
fn keys(file: &Path) -> BTreeSet<String> {
    let mut reader = BackupReader::default();
    reader.add(&fs::read(file).unwrap());
    let mut keys = BTreeSet::new();
    while let Some(part) = reader.next_part().unwrap() {
        if let Part::Keys(found) = part {
            keys.extend(found.into_iter().map(|(key, _)| key.to_string()));
        }
    }
    reader.check_whole().unwrap();
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn no_backup_has_an_effect_without_its_cause() {
    let cluster = Cluster::mesh().await;
    let directory = TempDir::new().unwrap();
    // What lies between the two, so that reading one and then the other takes time.
    for number in 0..30 {
        cluster.api(2).set(&format!("m/{number}"), &"v".repeat(256 << 10)).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn(write_pairs(cluster.api(0).clone(), cluster.api(1).clone(), stop.clone()));
    let (mut taken, mut last) = (Vec::new(), 0);
    while taken.len() < 8 {
        let file = directory.path().join(format!("{}", taken.len()));
        let (port, path) = (cluster.launches[taken.len() % 3].port, file.clone());
        tokio::task::spawn_blocking(move || ask(port, &["backup", text(&path)]).printed()).await.unwrap();
        let found = keys(&file);
        let effects: Vec<_> = found.iter().filter_map(|key| key.strip_prefix("z/")).collect();
        for number in &effects {
            assert!(found.contains(&format!("a/{number}")), "{number}");
        }
        // Later ones have more.
        if effects.len() > last {
            last = effects.len();
            taken.push(file);
        } else {
            fs::remove_file(&file).unwrap();
        }
    }
    stop.store(true, Ordering::SeqCst);
    assert!(writing.await.unwrap() >= last);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_restored_from_an_older_backup_gets_back_what_the_others_have_and_doubles_nothing() {
    let mut cluster = Cluster::linked().await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("backup");
    for (node, key) in ["kept", "changed", "gone"].into_iter().enumerate() {
        cluster.api(node).set(key, "before").await;
    }
    conflict(&cluster, "conflict", &[0, 1]).await;
    conflict(&cluster, "settled", &[1, 2]).await;
    cluster.until_equal(7).await;
    back_up(&cluster, 1, &file);

    // Since then: what it wrote itself and others got, what others wrote, and what only it had.
    cluster.api(1).set("by itself", "since").await;
    cluster.api(1).set("changed", "by itself").await;
    cluster.api(0).set("by another", "since").await;
    delete(cluster.api(2), "gone").await;
    cluster.until_equal(11).await;
    cluster.api(0).set("settled", "at last").await;
    cluster.until_equal(12).await;
    conflict(&cluster, "new conflict", &[0, 1, 2]).await;
    cluster.until_equal(15).await;
    cluster.nodes.remove(2).kill();
    cluster.nodes.remove(0).kill();
    cluster.api(0).set("unheard", "lost with the disk").await;
    cluster.nodes.remove(0).kill();
    for other in [0, 2] {
        cluster.nodes.push(cluster.launches[other].start_ready().await);
    }
    cluster.api(0).set("while it was away", "more").await;

    restore(&mut cluster, 1, &file).await;
    // At once, also before it has heard of the others, it takes writes: of a new incarnation.
    let dot = cluster.api(1).set("at once", "after").await.json()["dot"].clone();
    verify(&cluster);
    let known = cluster.api(0).get(&format!("/writes/{}", dot.as_str().unwrap())).await;
    assert_eq!(known.status, 200, "{}", known.body);
    for node in 0..3 {
        let api = cluster.api(node);
        for (key, value) in [
            ("kept", "before"),
            ("changed", "by itself"),
            ("by itself", "since"),
            ("by another", "since"),
            ("settled", "at last"),
            ("while it was away", "more"),
            ("at once", "after"),
        ] {
            assert_eq!(values(api, key).await, [value], "{key} at {node}");
        }
        assert_eq!(api.read("gone").await, None);
        assert_eq!(api.read("unheard").await, None);
        assert_eq!(values(api, "conflict").await, ["by 0", "by 1"]);
        assert_eq!(values(api, "new conflict").await, ["by 0", "by 1", "by 2"]);
        assert_eq!(api.status().await["twins"], json!([]));
    }
    // What it writes replaces what it sees, as ever.
    cluster.api(1).set("conflict", "settled").await;
    verify(&cluster);
    assert_eq!(values(cluster.api(0), "conflict").await, ["settled"]);
}

/// As little as can be set.
const LOG_BYTES: u64 = 4 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn also_what_has_left_all_logs_comes_back() {
    let mut cluster = Cluster::mesh_with(|_, launch| {
        launch.with("CAUSEWAY_LOG_MAX_BYTES", &LOG_BYTES.to_string()).with("CAUSEWAY_MIN_FREE_BYTES", "0")
    })
    .await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("backup");
    for key in ["kept", "changed", "gone"] {
        cluster.api(1).set(key, "before").await;
    }
    cluster.until_equal(3).await;
    // One of another node does as well.
    back_up(&cluster, 0, &file);
    cluster.api(1).set("by itself", "since").await;
    cluster.api(1).set("changed", "since").await;
    delete(cluster.api(0), "gone").await;
    cluster.until_equal(6).await;
    cluster.nodes.remove(1).kill();
    for number in 0..40 {
        cluster.api(0).set(&format!("large/{number}"), &"v".repeat(256 << 10)).await;
    }
    for api in [cluster.api(0), cluster.api(1)] {
        api.until_trimmed(LOG_BYTES).await;
    }
    restore(&mut cluster, 1, &file).await;
    cluster.api(1).set("at once", "after").await;
    verify(&cluster);
    for node in 0..3 {
        let api = cluster.api(node);
        for (key, value) in [("kept", "before"), ("changed", "since"), ("by itself", "since"), ("at once", "after")] {
            assert_eq!(values(api, key).await, [value], "{key} at {node}");
        }
        assert_eq!(api.read("gone").await, None);
    }
    // As a whole state: no log had it.
    let log = cluster.nodes[1].log();
    assert!(log.contains("a peer's state was merged into this node's"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_cluster_is_restored_from_one_backup() {
    let mut cluster = Cluster::linked().await;
    let directory = TempDir::new().unwrap();
    let file: PathBuf = directory.path().join("backup");
    cluster.api(0).set("key", "value").await;
    conflict(&cluster, "conflict", &[0, 2]).await;
    cluster.until_equal(3).await;
    back_up(&cluster, 0, &file);
    cluster.api(1).set("later", "forgotten").await;
    cluster.until_equal(4).await;
    let vector = |status: Value| status["vector"].clone();

    while let Some(node) = cluster.nodes.pop() {
        node.kill();
    }
    for node in 0..3 {
        restore(&mut cluster, node, &file).await;
    }
    verify(&cluster);
    let restored = vector(cluster.api(0).status().await);
    for node in 0..3 {
        assert_eq!(vector(cluster.api(node).status().await), restored);
        assert_eq!(cluster.api(node).read("later").await, None);
        assert_eq!(values(cluster.api(node), "conflict").await, ["by 0", "by 2"]);
    }
    for node in 0..3 {
        cluster.api(node).set(&format!("by {node}"), "after").await;
        cluster.api(node).set("turns", &format!("of {node}")).await;
        verify(&cluster);
    }
    for node in 0..3 {
        assert_eq!(values(cluster.api(node), "turns").await, ["of 2"]);
        assert_eq!(cluster.api(node).status().await["twins"], json!([]));
    }
}
