//! What a partition looks like to who watches: the cluster, receipts of writes, what waits, which keys conflict.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::local::{Node, Setup};
use crate::support::api::{Api, send};
use crate::support::cluster::Cluster;
use crate::support::sse::Events;
use crate::support::until;

/// Waits until an answer is as wanted, and gives it.
async fn until_shows(api: &Api, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let look = async || {
        let answer = api.get(path).await;
        (answer.status == 200).then(|| answer.json()).filter(|body| wanted(body))
    };
    until(look, async || api.get(path).await.body).await
}

fn node(cluster: &Value, id: usize) -> &Value {
    &cluster["nodes"][id]
}

fn link(cluster: &Value, from: usize, to: u32) -> &Value {
    let links = node(cluster, from)["facts"]["links"].as_array().unwrap();
    links.iter().find(|link| link["to"] == to).unwrap()
}

/// Cuts a node off in both directions.
fn set_cut(cluster: &Cluster, node: usize, cut: bool) {
    for ((from, to), link) in &cluster.links {
        if *from == node || *to == node {
            if cut { link.cut() } else { link.heal() }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_cluster_is_seen_from_every_node() {
    let cluster = Cluster::linked().await;
    cluster.api(0).set("k", "v").await;
    cluster.until_equal(1).await;
    for api in [0, 1, 2].map(|id| cluster.api(id)) {
        let all_well = |seen: &Value| {
            (0..3).all(|id| {
                let facts = &node(seen, id)["facts"];
                let links = facts["links"].as_array().cloned().unwrap_or_default();
                facts["keys"] == 1 && links.len() == 2 && links.iter().all(|link| link["up_to_date"] == true)
            })
        };
        let seen = until_shows(api, "/cluster", all_well).await;
        assert_eq!(seen["nodes"].as_array().unwrap().len(), 3);
        assert_eq!(seen["nodes"].as_array().unwrap().iter().filter(|node| node["self"] == true).count(), 1);
    }
    let latency = until_shows(cluster.api(0), "/latency", |body| {
        body["peers"].as_array().is_some_and(|peers| peers.iter().all(|peer| peer["points"][0]["ops"] == 1))
    });
    assert_eq!(latency.await["step_ms"], 5000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_seen_with_what_waits_and_what_a_heal_would_bring() {
    let cluster = Cluster::linked().await;
    cluster.api(0).set("before", "v").await;
    cluster.until_equal(1).await;
    until_shows(cluster.api(0), "/cluster", |seen| node(seen, 2)["facts"]["keys"] == 1).await;
    set_cut(&cluster, 2, true);
    let dot = cluster.api(0).set("during", "v").await.json()["dot"].as_str().unwrap().to_owned();
    cluster.api(0).set("during", "again").await;
    cluster.api(2).set("during", "there").await;

    let seen = until_shows(cluster.api(0), "/cluster", |seen| {
        !link(seen, 0, 2)["away_since"].is_null() && link(seen, 0, 2)["ops_to_ship"] == 2
    });
    let seen = seen.await;
    assert!(link(&seen, 0, 2)["why"].is_string(), "{seen}");
    assert!(link(&seen, 0, 1)["away_since"].is_null(), "{seen}");
    assert!(!link(&seen, 0, 2)["oldest_waiting"].is_null() && link(&seen, 0, 2)["bytes_to_ship"].as_u64().unwrap() > 0);
    let seen =
        until_shows(cluster.api(0), "/cluster", |seen| node(seen, 2)["age_ms"].as_u64().is_some_and(|age| age > 1_000));
    assert_eq!(node(&seen.await, 2)["facts"]["keys"], 1, "what it told last, and how old that is");

    let pending = cluster.api(0).get("/pending?peer=2").await.json();
    assert_eq!((&pending["ops"], &pending["keys"][0]["key"]), (&json!(2), &json!("during")));
    assert_eq!(pending["keys"].as_array().unwrap().len(), 1);

    let receipt =
        until_shows(cluster.api(1), &format!("/writes/{dot}"), |receipt| node(receipt, 1)["has"] == true).await;
    assert_eq!((&receipt["node"], &receipt["keys"]), (&json!(0), &json!(["during"])));
    assert!(node(&receipt, 0)["visible_at"].is_string() && node(&receipt, 1)["visible_at"].is_string(), "{receipt}");
    assert_eq!((&node(&receipt, 2)["has"], &node(&receipt, 2)["blocked_by"]["kind"]), (&json!(false), &json!("away")));

    set_cut(&cluster, 2, false);
    cluster.until_equal(4).await;
    let path = format!("/writes/{dot}");
    let receipt = until_shows(cluster.api(1), &path, |receipt| node(receipt, 2)["visible_at"].is_string()).await;
    assert!(node(&receipt, 2)["blocked_by"].is_null());
    for id in 0..3 {
        let conflicts = cluster.api(id).get("/conflicts").await.json();
        assert_eq!(conflicts["keys"].as_array().unwrap().len(), 1, "{conflicts}");
        assert_eq!((&conflicts["keys"][0]["key"], &conflicts["next"]), (&json!("during"), &Value::Null));
        assert_eq!(conflicts["keys"][0]["siblings"].as_array().unwrap().len(), 2);
    }
    // Settled with the context of what was seen, it is gone everywhere.
    let seen = cluster.api(1).get("/conflicts").await;
    let write = cluster.api(1).patch("?acks=all", &json!({"during": "settled"}));
    let settled = send(write.header("causal-context", seen.header("causal-context").unwrap())).await.unwrap();
    assert_eq!(settled.status, 200);
    for id in 0..3 {
        assert_eq!(cluster.api(id).get("/conflicts").await.json()["keys"], json!([]));
    }
}

#[tokio::test]
async fn a_receipt_names_keys_of_any_length() {
    let mut setup = Setup::default();
    setup.http.limits.key_bytes = 4096;
    let node = Node::alone(setup).await;
    let keys = ["a", "b"].map(|end| "k".repeat(2000) + end);
    let write = node.set("", json!({&keys[0]: "v", &keys[1]: "v"}), &[]).await.json();
    let receipt = node.get(&format!("/writes/{}", write["dot"].as_str().unwrap())).await.json();
    let named: BTreeSet<&str> = receipt["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    assert_eq!(named, keys.iter().map(String::as_str).collect());
}

#[tokio::test]
async fn the_last_page_of_conflicts_says_so_also_when_it_is_full() {
    let mut setup = Setup::default();
    setup.http.limits.answer_bytes = 100;
    let node = Node::alone(setup).await;
    let empty = node.get("/read?key=k").await.context();
    for value in ["a", "b"] {
        node.set("", json!({"k": value.repeat(60)}), &[("causal-context", &empty)]).await;
    }
    let page = node.get("/conflicts").await.json();
    assert_eq!((&page["keys"][0]["left_out"], &page["next"]), (&json!(1), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_is_cut_in_one_direction_only_is_told_apart() {
    let cluster = Cluster::linked().await;
    cluster.until_equal(0).await;
    cluster.links[&(0, 1)].cut();
    let one_way = |seen: &Value| !link(seen, 0, 1)["away_since"].is_null() && link(seen, 1, 0)["away_since"].is_null();
    // node2 hears both.
    until_shows(cluster.api(2), "/cluster", |seen| {
        (0..3).all(|id| node(seen, id)["facts"].is_object()) && one_way(seen)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_of_a_cut_and_of_its_end() {
    let cluster = Cluster::linked().await;
    let request = cluster.api(0).request(Method::GET, "/cluster/events").timeout(Duration::from_secs(60));
    let mut events = Events::open(request).await.unwrap().unwrap();
    for cut in [false, true, false] {
        set_cut(&cluster, 1, cut);
        loop {
            let event = tokio::time::timeout(Duration::from_secs(20), events.next()).await.expect("an event in time");
            let event = event.unwrap().expect("it goes on");
            assert_eq!(event.name, "cluster");
            let seen = event.json();
            let away = !link(&seen, 0, 1)["away_since"].is_null();
            if node(&seen, 1)["node"] == 1 && away == cut {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_cut_off_says_whom_it_could_not_ask_for_a_write() {
    let cluster = Cluster::linked().await;
    cluster.api(0).set("before", "v").await;
    cluster.until_equal(1).await;
    set_cut(&cluster, 2, true);
    let dot = cluster.api(0).set("during", "v").await.json()["dot"].as_str().unwrap().to_owned();
    let answer = cluster.api(2).get(&format!("/writes/{dot}")).await;
    assert_eq!((answer.status, &answer.json()["type"]), (404, &json!("/problems/unknown-write")));
    assert_eq!(answer.json()["not_asked"].as_array().unwrap().len(), 2, "{}", answer.body);
    set_cut(&cluster, 2, false);
    until_shows(cluster.api(2), &format!("/writes/{dot}"), |receipt| node(receipt, 2)["has"] == true).await;
    let (origin, _) = dot.rsplit_once('.').unwrap();
    let answer = cluster.api(2).get(&format!("/writes/{origin}.999")).await;
    assert_eq!((answer.status, &answer.json()["not_asked"]), (404, &json!([])), "{}", answer.body);
}
