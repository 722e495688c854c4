//! What processes of the real binary show at `/metrics`, and the lines that they log when a state changes.

mod logs;
mod scrape;

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;

use crate::support::api::{Api, send};
use crate::support::cluster::Cluster;
use crate::support::until;
use scrape::Scrape;

async fn scrape(api: &Api) -> Scrape {
    let answer = api.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    Scrape::parse(&answer.body)
}

/// Waits until a node shows what is wanted; the scrape that does.
async fn until_shows(api: &Api, wanted: impl Fn(&Scrape) -> bool) -> Scrape {
    let shows = async || Some(scrape(api).await).filter(&wanted);
    until(shows, async || api.get("/metrics").await.body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_and_peers_do_is_counted() {
    let cluster = Cluster::linked().await;
    for key in ["a", "b", "c"] {
        cluster.api(0).set(key, "value").await;
        cluster.api(0).read(key).await;
    }
    cluster.api(0).read("none").await;
    send(cluster.api(0).request(Method::DELETE, "/nowhere/at/all")).await.unwrap();
    cluster.until_equal(3).await;

    let shown = until_shows(cluster.api(0), |shown| {
        ["node1", "node2"]
            .iter()
            .all(|peer| shown.get("causeway_acknowledgement_latency_seconds_count", &[("peer", peer)]) == 3.0)
    })
    .await;
    let requests = |method, route, status| {
        let labels = [("method", method), ("route", route), ("status", status)];
        shown.get("causeway_http_request_duration_seconds_count", &labels)
    };
    assert_eq!(requests("PATCH", "/set", "2xx"), 3.0);
    assert_eq!(requests("GET", "/read", "2xx"), 3.0);
    assert_eq!(requests("GET", "/read", "4xx"), 1.0);
    assert_eq!(requests("other", "other", "4xx"), 1.0);
    assert_eq!(shown.sum("causeway_write_duration_seconds_count"), 3.0);
    assert_eq!(shown.sum("causeway_commit_ops_sum"), 3.0);
    assert_eq!(shown.sum("causeway_commit_duration_seconds_count"), shown.sum("causeway_commit_ops_count"));
    assert_eq!(shown.sum("causeway_keys"), 3.0);
    assert_eq!(shown.sum("causeway_siblings"), 3.0);
    assert_eq!(shown.sum("causeway_log_ops"), 3.0);
    assert!(shown.sum("causeway_disk_bytes") >= shown.sum("causeway_log_bytes"));
    assert!(shown.sum("causeway_disk_free_bytes") <= shown.sum("causeway_disk_size_bytes"));
    let build = [("node", "0"), ("version", env!("CARGO_PKG_VERSION")), ("revision", "unknown")];
    assert_eq!(shown.get("causeway_build_info", &build), 1.0);
    for peer in ["node1", "node2"] {
        assert!(shown.get("causeway_pushes_total", &[("peer", peer), ("outcome", "ok")]) >= 1.0);
        assert!(shown.get("causeway_pushed_ops_total", &[("peer", peer)]) >= 3.0);
        assert_eq!(shown.get("causeway_peer_to_ship_ops", &[("peer", peer)]), 0.0);
        assert_eq!(shown.get("causeway_peer_away", &[("peer", peer)]), 0.0);
    }

    let shown = scrape(cluster.api(1)).await;
    assert_eq!(shown.sum("causeway_apply_latency_seconds_count"), 3.0);
    assert_eq!(shown.sum("causeway_received_ops_total") - shown.sum("causeway_redundant_ops_total"), 3.0);
    assert!(shown.sum("causeway_received_pushes_total") >= 1.0);
    assert_eq!(shown.sum("causeway_commit_ops_sum"), 3.0);
    assert_eq!(shown.sum("causeway_write_duration_seconds_count"), 0.0, "those of clients only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_shows_as_long_as_it_lasts() {
    let cluster = Cluster::linked().await;
    cluster.api(0).set("key", "before").await;
    cluster.until_equal(1).await;
    let away = [("peer", "node2")];
    until_shows(cluster.api(0), |shown| shown.get("causeway_acknowledgement_latency_seconds_count", &away) == 1.0)
        .await;

    let ways = cluster.links.iter().filter(|((from, to), _)| *from == 2 || *to == 2).map(|(_, way)| way);
    ways.clone().for_each(|way| way.cut());
    cluster.api(0).set("key", "here").await;
    cluster.api(2).set("key", "there").await;
    let is_away = |shown: &Scrape| {
        shown.get("causeway_peer_away", &away) == 1.0
            && shown.get("causeway_peer_to_ship_ops", &away) == 1.0
            && shown.get("causeway_peer_to_ship_oldest_seconds", &away) >= 0.5
    };
    let shown = until_shows(cluster.api(0), is_away).await;
    assert!(shown.get("causeway_peer_to_ship_bytes", &away) > 10.0);
    assert!(shown.get("causeway_peer_since_heard_seconds", &away) >= 0.5);
    assert!(
        shown.get("causeway_pushes_total", &away)
            > shown.get("causeway_pushes_total", &[("peer", "node2"), ("outcome", "ok")])
    );
    assert_eq!(shown.get("causeway_acknowledgement_latency_seconds_count", &away), 1.0);
    assert_eq!(shown.get("causeway_peer_away", &[("peer", "node1")]), 0.0);

    ways.for_each(|way| way.heal());
    cluster.until_equal(3).await;
    let is_back = |shown: &Scrape| {
        shown.get("causeway_peer_away", &away) == 0.0
            && shown.get("causeway_peer_to_ship_ops", &away) == 0.0
            && shown.get("causeway_acknowledgement_latency_seconds_count", &away) == 2.0
    };
    let shown = until_shows(cluster.api(0), is_back).await;
    assert_eq!(shown.get("causeway_peer_to_ship_oldest_seconds", &away), 0.0);
    assert!(
        shown.get("causeway_acknowledgement_latency_seconds_sum", &away) >= 0.5,
        "it took as long as the cut lasted"
    );
    assert_eq!(shown.sum("causeway_conflicts"), 1.0);
}

/// Whatever clients send, the series are those of closed sets, and keys are in none of them.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_client_chose_is_a_label() {
    let cluster = Cluster::mesh().await;
    let api = cluster.api(0);
    let ask = async |round: usize| {
        api.set(&format!("private-{round}"), "hidden").await;
        api.get(&format!("/read?key=private-{round}")).await;
        for method in ["GET", "PUT", "BREW"] {
            let method: Method = method.parse().unwrap();
            send(api.request(method, &format!("/private-{round}"))).await.unwrap();
        }
        let odd = format!("PRIVATE{round}").parse().unwrap();
        send(api.request(odd, "/set")).await.unwrap();
        api.get("/metrics").await;
    };
    ask(0).await;
    let before = scrape(api).await;
    for round in 1..50 {
        ask(round).await;
    }
    let after = scrape(api).await;
    assert_eq!(before.series(), after.series());
    let text = api.get("/metrics").await.body.to_lowercase();
    assert!(!text.contains("private") && !text.contains("hidden"), "{text}");
}

/// docs/metrics.md lists what is shown, with its type and labels, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_about_metrics_is_complete_and_true() {
    let cluster = Cluster::mesh().await;
    cluster.api(0).set("key", "value").await;
    cluster.until_equal(1).await;
    let shown = scrape(cluster.api(0)).await;

    let mut listed: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    for line in include_str!("../../docs/metrics.md").lines() {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", names, kind, labels, meaning, ""] = columns[..] else { continue };
        if !["gauge", "counter", "histogram"].contains(&kind) {
            continue;
        }
        assert!(meaning.len() > 5, "{line}");
        for name in scrape::code(names) {
            listed.insert(name, (kind.to_owned(), scrape::code(labels).collect()));
        }
    }
    assert!(listed.len() > 30, "{listed:?}");
    for (name, (kind, labels)) in &listed {
        assert_eq!(shown.kinds.get(name), Some(kind), "{name} of docs/metrics.md");
        assert_eq!(&shown.labels_of(name), labels, "{name} of docs/metrics.md");
    }
    let unlisted: Vec<&String> = shown.kinds.keys().filter(|name| !listed.contains_key(*name)).collect();
    assert!(unlisted.is_empty(), "not in docs/metrics.md: {unlisted:?}");
}

/// What alerts are made of is there; each has its section in docs/operations.md.
#[test]
fn every_alert_has_a_section_and_is_about_metrics_that_are_listed() {
    let alerts = include_str!("../../deploy/prometheus/alerts.yml");
    let (metrics, operations) = (include_str!("../../docs/metrics.md"), include_str!("../../docs/operations.md"));
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in &names {
        assert!(operations.contains(&format!("\n## {name}\n")), "{name} has no section in docs/operations.md");
        assert!(alerts.contains(&format!("runbook: docs/operations.md#{}\n", name.to_lowercase())), "{name}");
    }
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    for text in [alerts, operations] {
        for word in text.split(|letter| !is_part(letter)).filter(|word| word.starts_with("causeway_")) {
            let name = word.strip_suffix("_bucket").unwrap_or(word);
            assert!(metrics.contains(&format!("`{name}`")), "{name} is not in docs/metrics.md");
        }
    }
}
