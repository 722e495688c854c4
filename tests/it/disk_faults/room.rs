//! A small disk of which some is kept free: writes are refused while less is, and nothing fails.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::support::api::{Answer, Api, send};
use crate::support::cluster::Cluster;
use crate::support::namespace::{SmallDisk, enter_mounts};
use crate::support::until;

const SIZE: u64 = 64 << 20;
const MIN_FREE: u64 = 16 << 20;
/// Leaves a few MiB to write.
const BALLAST: usize = 40 << 20;
/// More writes than fit.
const TOO_MANY: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_refuses_writes_and_heals_without_a_restart() {
    if !enter_mounts("disk_faults::room::a_disk_without_room_refuses_writes_and_heals_without_a_restart") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let mounted_at = directory.path().join("mounted");
    let (data, ballast) = (mounted_at.join("data"), mounted_at.join("ballast"));
    let _small = SmallDisk::mount(&mounted_at, SIZE);
    let cluster = Cluster::mesh_with(|id, launch| match id {
        0 => launch
            .with("CAUSEWAY_DATA_DIR", data.to_str().unwrap())
            .with("CAUSEWAY_MIN_FREE_BYTES", &MIN_FREE.to_string()),
        _ => launch,
    });
    let cluster = cluster.await;
    let [full, other, third] = [0, 1, 2].map(|node| cluster.api(node));
    full.set("first", "value").await;
    cluster.until_equal(1).await;
    cluster.until_acknowledged().await;
    let before = cluster.nodes[1].log().len();

    put(&ballast, BALLAST);
    let written = write_until_refused(full).await;
    // A smaller write might still have fitted.
    put(&ballast, 2 << 20);
    until_not_ready(full).await;
    refused(&try_write(full, "small", "value").await);
    until(async || said(&cluster, "no room for writes").then_some(()), async || cluster.nodes[0].log()).await;

    // Nothing failed: it reads, and its own writes have gone to the others.
    assert_eq!(full.status().await["read_only"], false);
    assert_eq!(full.get("/livez").await.status, 200);
    assert_eq!(full.read("first").await.as_deref(), Some("value"));
    let last = format!("large-{written}");
    let value = full.read(&last).await.unwrap();
    third.until_reads(&last, &value).await;

    // What others write waits for it with them, and it is not taken for away.
    other.set("meanwhile", "value").await;
    third.until_reads("meanwhile", "value").await;
    until(async || has_been_turned_away(other).await.then_some(()), async || other.get("/metrics").await.body).await;
    assert_eq!(full.read("meanwhile").await, None);
    let status = other.status().await;
    let peer = status["peers"].as_array().unwrap().iter().find(|peer| peer["node"] == 0).unwrap();
    assert_eq!((&peer["up_to_date"], &peer["ops_to_ship"]), (&false.into(), &1.into()), "{status}");
    assert!(!cluster.nodes[1].log()[before..].contains("is away"), "{}", cluster.nodes[1].log());

    fs::remove_file(&ballast).unwrap();
    until(async || full.is_ready().await.then_some(()), async || full.get("/readyz").await.body).await;
    full.set("after", "value").await;
    full.until_reads("meanwhile", "value").await;
    cluster.until_equal(written + 3).await;
    cluster.until_acknowledged().await;
    for number in 1..=written {
        assert!(third.read(&format!("large-{number}")).await.is_some(), "write {number} is lost");
    }
    assert_eq!(third.read("small").await, None, "what was refused was not written");
    until(async || said(&cluster, "there is room for writes again").then_some(()), async || cluster.nodes[0].log())
        .await;
    let log = cluster.nodes[0].log();
    assert_eq!(log.matches("room for writes").count(), 2, "one line a change:\n{log}");
}

/// Adds to a file.
fn put(path: &Path, bytes: usize) {
    let mut file: File = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(&vec![1; bytes]).unwrap();
}

async fn try_write(api: &Api, key: &str, value: &str) -> Answer {
    send(api.patch("", &json!({ key: value }))).await.unwrap()
}

/// Writes until a write is refused; says how many were not.
async fn write_until_refused(api: &Api) -> u64 {
    let value = "value".repeat(20_000);
    for number in 1..=TOO_MANY as u64 {
        let answer = try_write(api, &format!("large-{number}"), &value).await;
        if answer.status != 200 {
            refused(&answer);
            assert!(number > 1, "there was room for some");
            return number - 1;
        }
    }
    panic!("nothing is refused");
}

/// Whether a write was refused for lack of room, and as documented.
fn refused(answer: &Answer) {
    let problem = answer.json();
    assert_eq!((answer.status, &problem["type"]), (507, &"/problems/insufficient-storage".into()), "{problem}");
    assert_eq!(problem["limit"], MIN_FREE);
    assert!(problem["free"].as_u64().unwrap() < SIZE, "{problem}");
    assert_eq!(answer.header("retry-after"), Some("10"));
}

async fn until_not_ready(api: &Api) {
    let not_ready = async || {
        let answer = api.get("/readyz").await;
        (answer.status != 200).then(|| refused(&answer))
    };
    until(not_ready, async || "it is ready".to_owned()).await;
}

/// Whether node 0 has logged this.
fn said(cluster: &Cluster, part: &str) -> bool {
    cluster.nodes[0].log().contains(part)
}

/// Whether a peer of this node has taken none of its ops.
async fn has_been_turned_away(api: &Api) -> bool {
    let metrics = api.get("/metrics").await.body;
    metrics.lines().any(|line| line.starts_with("causeway_pushes_total") && line.contains("\"unavailable\""))
}
