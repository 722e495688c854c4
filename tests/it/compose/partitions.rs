//! Cuts, heals and kills.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::cluster::{ALL, Cluster, NODES, address, docker, iptables, median};

/// node0 is cut off ten times over. Every node goes on answering; the others get each other's writes; after the
/// heal everyone has everything, also when node0 comes back with another address.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_goes_on_and_catches_up() {
    let Some(cluster) = Cluster::up() else { return };
    let run = unique("cut");
    let (mut answers, mut heals, mut moved) = (Vec::new(), Vec::new(), 0);
    for round in 0..10 {
        let key = |name: &str| format!("{run}-{round}-{name}");
        let before = address("node0");
        cluster.disconnect(0);
        for node in ALL {
            let (_, took) = cluster.set(node, &key(NODES[node]), "value").await;
            answers.push(took);
            let began = Instant::now();
            assert_eq!(cluster.read(node, &key(NODES[node])).await, (Some("value".to_owned()), 1));
            answers.push(began.elapsed());
        }
        cluster.until_reads(2, &key("node1"), "value").await;
        cluster.until_reads(1, &key("node2"), "value").await;
        assert_eq!(cluster.read(0, &key("node1")).await.0, None, "node0 is cut off");
        assert_eq!(cluster.read(1, &key("node0")).await.0, None, "node0 is cut off");
        let squatter = (round % 2 == 1).then(Squatter::settle);
        let healed = Instant::now();
        cluster.connect(0);
        moved += usize::from(address("node0") != before);
        for node in ALL {
            for writer in NODES {
                cluster.until_reads(node, &key(writer), "value").await;
            }
        }
        heals.push(healed.elapsed());
        drop(squatter);
    }
    assert!(moved > 0, "node0 never came back with another address");
    let slowest = answers.iter().max().unwrap();
    println!(
        "requests while cut: slowest {slowest:?}; heal to everything everywhere: median {:?}, all {heals:?}; {moved} of 10 with another address",
        median(heals.clone())
    );
}

/// Takes the lowest free address, which is the one that the node had, so that the node comes back with another.
struct Squatter(String);

impl Squatter {
    fn settle() -> Self {
        let image = docker(&["inspect", "-f", "{{.Image}}", "node0"]);
        let name = "causeway-test-squatter".to_owned();
        docker(&["run", "-d", "--rm", "--name", &name, "--network", "replication", &image, "0", "8000", "8000"]);
        Self(name)
    }
}

impl Drop for Squatter {
    fn drop(&mut self) {
        docker(&["rm", "-f", &self.0]);
    }
}

/// The reference's scenario of equal keys, and what comes after it: a client settles the conflict.
#[tokio::test(flavor = "multi_thread")]
async fn equal_keys_become_siblings_that_a_context_settles() {
    let Some(cluster) = Cluster::up() else { return };
    let key = unique("equal");
    cluster.disconnect(0);
    cluster.set(1, &key, "value0").await;
    cluster.set(0, &key, "value1").await;
    cluster.connect(0);
    cluster.until_reads(0, &key, "value0").await;
    cluster.until_reads(1, &key, "value1").await;
    cluster.until_equal().await;
    assert_eq!(cluster.read(0, &key).await, (Some("value0".to_owned()), 2), "each shows what reached it last");
    assert_eq!(cluster.read(1, &key).await, (Some("value1".to_owned()), 2));
    let (siblings, context) = cluster.siblings(0, &key).await;
    assert_eq!(siblings.iter().map(|(value, _)| value.as_str()).collect::<Vec<_>>(), ["value0", "value1"]);
    for node in [1, 2] {
        assert_eq!(cluster.siblings(node, &key).await.0, siblings);
    }
    cluster.set_with(2, &key, "settled", Some(&context)).await;
    for node in ALL {
        cluster.until_reads(node, &key, "settled").await;
        assert_eq!(cluster.read(node, &key).await.1, 1);
    }
}

/// All three apart, a thousand writes on each (half of them to keys that all write), healed.
#[tokio::test(flavor = "multi_thread")]
async fn three_islands_with_a_thousand_writes_each_come_together() {
    let Some(cluster) = Cluster::up() else { return };
    let run = unique("islands");
    ALL.into_iter().for_each(|node| cluster.disconnect(node));
    let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in ALL {
        for index in 0..1_000 {
            let shared = index % 2 == 0;
            let key = if shared { format!("{run}-{index}") } else { format!("{run}-{index}-{}", NODES[node]) };
            let value = format!("{}-{index}", NODES[node]);
            cluster.set(node, &key, &value).await;
            expected.entry(key).or_default().insert(value);
        }
    }
    let healed = Instant::now();
    ALL.into_iter().for_each(|node| cluster.connect(node));
    cluster.until_equal().await;
    println!("3 × 1,000 writes apart: equal {:?} after the heal", healed.elapsed());
    for node in ALL {
        for (key, values) in &expected {
            let (siblings, _) = cluster.siblings(node, key).await;
            assert_eq!(
                &siblings.into_iter().map(|(value, _)| value).collect::<BTreeSet<_>>(),
                values,
                "{key} on {}",
                NODES[node]
            );
        }
    }
}

/// SIGKILL while clients write; started again *cut off*, the node has all that it acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_has_all_it_acknowledged_by_itself() {
    let Some(cluster) = Cluster::up() else { return };
    let run = unique("kill");
    cluster.disconnect(0);
    let before = cluster.status(0).await["keys"].as_u64().unwrap();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (http, url, run) = (cluster.http.clone(), cluster.url(0, "/set"), run.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for index in 0..100_000 {
                    let key = format!("{run}-{writer}-{index}");
                    let body = serde_json::json!({ "values": { &key: "v" } }).to_string();
                    let request = http.patch(&url).header("content-type", "application/json").body(body);
                    match request.send().await {
                        Ok(response) if response.status() == 200 => acknowledged.push(key),
                        _ => break,
                    }
                }
                acknowledged
            })
        })
        .collect();
    // Some hundred writes are in by then; nothing depends on how many.
    while cluster.status(0).await["keys"].as_u64().unwrap() < before + 500 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    docker(&["kill", "-s", "KILL", "node0"]);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    docker(&["start", "node0"]);
    until_answers(&cluster, 0).await;
    assert!(!acknowledged.is_empty());
    for key in &acknowledged {
        assert_eq!(cluster.read(0, key).await.0.as_deref(), Some("v"), "{key} was acknowledged");
    }
    println!("killed under load: {} acknowledged writes, all there", acknowledged.len());
    cluster.connect(0);
    cluster.until_equal().await;
    assert_eq!(cluster.read(2, &acknowledged[0]).await.0.as_deref(), Some("v"));
}

async fn until_answers(cluster: &Cluster, node: usize) {
    let began = Instant::now();
    while cluster.http.get(cluster.url(node, "/readyz")).send().await.is_err() {
        assert!(began.elapsed() < super::cluster::PATIENCE, "{} doesn't answer", NODES[node]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Only node0–node1 and node1–node2 can talk, by rules inside the containers' network namespaces.
#[tokio::test(flavor = "multi_thread")]
async fn writes_find_their_way_through_a_third_node() {
    let Some(cluster) = Cluster::up() else { return };
    let run = unique("chain");
    cluster.until_equal().await;
    let cut = Rules::between("node0", "node2");
    let mut times = Vec::new();
    for round in 0..10 {
        let key = format!("{run}-{round}");
        cluster.set(0, &key, "value").await;
        times.push(cluster.until_reads(2, &key, "value").await);
    }
    println!("through a third node: median {:?}, slowest {:?}", median(times.clone()), times.iter().max().unwrap());
    drop(cut);
    cluster.until_equal().await;
}

/// Drops what two containers send each other, for as long as it lives.
struct Rules(Vec<(&'static str, String)>);

impl Rules {
    fn between(left: &'static str, right: &'static str) -> Self {
        let rules = Self(vec![(left, address(right)), (right, address(left))]);
        rules.apply("-A");
        rules
    }

    fn apply(&self, action: &str) {
        for (container, other) in &self.0 {
            iptables(container, &[action, "INPUT", "-s", other, "-j", "DROP"]);
        }
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        self.apply("-D");
    }
}

/// In the healthy mesh ops come straight from their origin, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_mesh_sends_each_op_about_once() {
    let Some(cluster) = Cluster::up() else { return };
    let run = unique("mesh");
    cluster.until_equal().await;
    let received = |status: &serde_json::Value| {
        (status["received_ops"]["total"].as_u64().unwrap(), status["received_ops"]["redundant"].as_u64().unwrap())
    };
    let mut before = Vec::new();
    for node in ALL {
        before.push(received(&cluster.status(node).await));
    }
    for index in 0..1_000 {
        cluster.set(index % 3, &format!("{run}-{index}"), "v").await;
    }
    cluster.until_equal().await;
    for node in ALL {
        let (total, redundant) = received(&cluster.status(node).await);
        let (total, redundant) = (total - before[node].0, redundant - before[node].1);
        let copies = total as f64 / (total - redundant) as f64;
        println!("{}: {total} ops came, {redundant} of them again: {copies:.3} copies an op", NODES[node]);
        assert!(copies <= 1.05, "{copies} copies of an op arrived at {}", NODES[node]);
    }
}

/// Keys of one run of the tests: the volumes may hold those of earlier ones.
fn unique(name: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{name}-{}", now.as_nanos())
}
