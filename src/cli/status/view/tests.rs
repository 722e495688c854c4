#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn link(to: u32, away_since: Option<&str>, ops: u64) -> Value {
    json!({
        "to": to, "address": format!("http://node{to}:7000"), "away_since": away_since,
        "why": away_since.map(|_| "refused"), "heard": "2026-11-24T14:00:00.000Z", "up_to_date": ops == 0,
        "ops_to_ship": ops, "bytes_to_ship": ops * 2_000,
        "oldest_waiting": (ops > 0).then_some("2026-11-24T14:05:00.000Z"),
        "latency_ms": (ops == 0).then(|| json!({"p50": 1.25, "p99": 3.5, "max": 9.0, "ops": 7})),
    })
}

fn facts(links: &[Value]) -> Value {
    json!({
        "version": "0.1.0", "started": "2026-11-24T13:00:00.000Z", "keys": 12, "siblings": 13, "conflicts": 1,
        "disk_bytes": 1_572_864, "read_only": false, "waiting_requests": 0, "delivery_buffer": 0, "log_ops": 40,
        "vector": {}, "links": links,
    })
}

/// node2 was never there. The way between node0 and node1 is cut: from node1 only, since `way_back`; or both.
fn tables(way_back: Option<&str>) -> Vec<String> {
    let away = Some("2026-11-24T14:09:23.000Z");
    let (there, age_ms) = if way_back.is_some() { (link(1, None, 0), 20) } else { (link(1, away, 12), 37_400) };
    let back = link(0, way_back, if way_back.is_some() { 12 } else { 0 });
    let cluster = json!({
        "node": 0, "cluster": "causeway", "at": "2026-11-24T14:10:00.000Z", "traces_url": null, "nodes": [
            {"node": 0, "address": null, "self": true, "age_ms": 0,
             "facts": facts(&[there, link(2, away, 1)])},
            {"node": 1, "address": "http://node1:7000", "self": false, "age_ms": age_ms,
             "facts": facts(&[back])},
            {"node": null, "address": "http://node2:7000", "self": false, "age_ms": null, "facts": null},
        ],
    });
    let cluster: Cluster = serde_json::from_value(cluster).unwrap();
    let text = anstream::adapter::strip_str(&cluster.to_string()).to_string();
    text.lines()
        .map(|line| line.split("  ").filter(|part| !part.is_empty()).map(str::trim).collect::<Vec<_>>())
        .map(|parts| parts.join("|"))
        .collect()
}

#[test]
fn a_line_each_node_and_a_line_each_link() {
    let expected = [
        "cluster 'causeway' as node 0 knows it, 2026-11-24T14:10:00.000Z",
        "",
        "NODE|STATE|VERSION|KEYS|CONFLICTS|DISK|BUFFER|REQUESTS|FACTS|ADDRESS",
        "0|up|0.1.0|12|1|1.5 MiB|0 ops|0|now|(this one)",
        "1|away 37 s|0.1.0|12|1|1.5 MiB|0 ops|0|37 s ago|http://node1:7000",
        "?|away 37 s|-|-|-|-|-|-|never|http://node2:7000",
        "",
        "FROM|TO|STATE|TO SHIP|OLDEST|LATENCY p50 / p99|FACTS|WHY",
        "0|1|away 37 s|12 ops, 23.4 KiB|5 min|-|now|refused",
        "0|2|away 37 s|1 op, 2.0 KiB|5 min|-|now|refused",
        "1|0|was up|-|-|1.2 / 3.5 ms|37 s ago",
    ];
    assert_eq!(tables(None), expected);
}

#[test]
fn a_way_that_is_cut_in_one_direction_only_is_told_as_that() {
    let shown = tables(Some("2026-11-24T14:09:23.000Z"));
    assert_eq!(shown[4], "1|up|0.1.0|12|1|1.5 MiB|0 ops|0|now|http://node1:7000");
    assert_eq!(shown[8], "0|1|up, one way|-|-|1.2 / 3.5 ms|now");
    assert_eq!(shown[10], "1|0|away 37 s|12 ops, 23.4 KiB|5 min|-|now|refused");
}

#[test]
fn a_state_on_its_way_is_told_where_it_comes_from_and_where_it_goes() {
    let transfer = |peer: u32, left: Option<f64>| {
        json!({
            "peer": peer, "began": "2026-11-24T14:09:00.000Z", "keys": 250, "bytes": 9_000, "all_keys": 1_000,
            "left_seconds": left,
        })
    };
    let mut way = link(1, None, 12);
    way["state_transfer"] = transfer(1, Some(90.4));
    let mut filled = facts(&[]);
    filled["catching_up"] = transfer(0, None);
    let cluster = json!({
        "node": 0, "cluster": "causeway", "at": "2026-11-24T14:10:00.000Z", "traces_url": null, "nodes": [
            {"node": 0, "address": null, "self": true, "age_ms": 0, "facts": facts(&[way])},
            {"node": 1, "address": "http://node1:7000", "self": false, "age_ms": 20, "facts": filled},
        ],
    });
    let cluster: Cluster = serde_json::from_value(cluster).unwrap();
    let text = anstream::adapter::strip_str(&cluster.to_string()).to_string();
    assert!(text.contains("  catching up from 0, 25 %  "), "{text}");
    assert!(text.contains("  whole state, 25 %, 90 s left  "), "{text}");
}

#[test]
fn why_a_peer_that_answers_can_not_get_what_it_lacks_is_shown() {
    let mut way = link(1, None, 12);
    way["why"] = json!("upgrade it");
    let cluster = json!({
        "node": 0, "cluster": "causeway", "at": "2026-11-24T14:10:00.000Z", "traces_url": null, "nodes": [
            {"node": 0, "address": null, "self": true, "age_ms": 0, "facts": facts(&[way])},
        ],
    });
    let cluster: Cluster = serde_json::from_value(cluster).unwrap();
    let text = anstream::adapter::strip_str(&cluster.to_string()).to_string();
    assert!(text.trim_end().ends_with("  upgrade it"), "{text}");
}

#[test]
fn damage_is_told_in_a_line_each_node() {
    let damaged = |keys: bool, log: bool| {
        let mut facts = facts(&[]);
        facts["damage"] = json!({"keys": keys, "log": log});
        facts
    };
    let mut whole = facts(&[]);
    whole["damage"] = Value::Null;
    let cluster = json!({
        "node": 0, "cluster": "causeway", "at": "2026-11-24T14:10:00.000Z", "traces_url": null, "nodes": [
            {"node": 0, "address": null, "self": true, "age_ms": 0, "facts": damaged(true, false)},
            {"node": 1, "address": "http://node1:7000", "self": false, "age_ms": 20, "facts": damaged(true, true)},
            {"node": 2, "address": "http://node2:7000", "self": false, "age_ms": 20, "facts": whole},
            {"node": 3, "address": "http://node3:7000", "self": false, "age_ms": 20, "facts": facts(&[])},
        ],
    });
    let cluster: Cluster = serde_json::from_value(cluster).unwrap();
    let text = anstream::adapter::strip_str(&cluster.to_string()).to_string();
    let told: Vec<&str> = text.lines().filter(|line| line.contains("DAMAGED")).collect();
    assert_eq!(
        told,
        [
            "node 0 is DAMAGED: reads of some keys fail until a peer's whole state has taken their place",
            "node 1 is DAMAGED: reads of some keys fail until a peer's whole state has taken their place; its log is \
             given up to where it can't be read",
        ]
    );
}

#[test]
fn an_id_that_two_processes_have_is_shown_whoever_knows_of_it() {
    let mut knows = facts(&[link(0, None, 0)]);
    knows["twins"] = json!([0]);
    let cluster = json!({
        "node": 0, "cluster": "causeway", "at": "2026-11-24T14:10:00.000Z", "traces_url": null, "nodes": [
            {"node": 0, "address": null, "self": true, "age_ms": 0, "facts": facts(&[link(1, None, 0)])},
            {"node": 1, "address": "http://node1:7000", "self": false, "age_ms": 20, "facts": knows},
        ],
    });
    let states = |cluster: &Value| {
        let cluster: Cluster = serde_json::from_value(cluster.clone()).unwrap();
        let text = anstream::adapter::strip_str(&cluster.to_string()).to_string();
        let state = |line: &str| line.split("  ").filter(|part| !part.is_empty()).nth(1).unwrap().trim().to_owned();
        text.lines().skip(3).take(2).map(state).collect::<Vec<_>>()
    };
    assert_eq!(states(&cluster), ["two processes", "up"]);
    let mut old = cluster;
    old["nodes"][1]["age_ms"] = json!(60_000);
    assert_eq!(states(&old), ["up", "up"], "who says so has not been heard for long");
}

#[test]
fn sizes_and_times_are_short() {
    assert_eq!([0, 1_023, 1_024, 5 << 30].map(bytes), ["0 B", "1023 B", "1.0 KiB", "5.0 GiB"]);
    let shown = [0, 119, 120, 7_200, 172_800].map(|seconds| duration(Duration::from_secs(seconds)));
    assert_eq!(shown, ["0 s", "119 s", "2 min", "2 h", "2 d"]);
}
