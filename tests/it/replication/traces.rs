//! One trace a write, across nodes, cuts and restarts, as a collector sees it.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::node::{Node, Plan, set_traced, until_equal};
use crate::otlp::{Collector, Span, WHOLE};
use crate::support::link::Link;
use crate::support::process::Launch;
use crate::support::{PATIENCE, free_ports, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

async fn plan(collector: &Collector) -> Plan {
    let mut plan = Plan::of(3, true).await;
    for setup in &mut plan.setups {
        setup.collector = Some(collector.endpoint());
        // Silence is noticed sooner, so that there are tries to see.
        setup.senders.progress_timeout = Duration::from_millis(500);
    }
    plan
}

fn one<'a>(trace: &'a [Span], service: &str, name: &str) -> &'a Span {
    let found: Vec<&Span> = trace.iter().filter(|span| span.service == service && span.name == name).collect();
    assert_eq!(found.len(), 1, "{service} {name} in {trace:#?}");
    found[0]
}

/// Checks what holds for every whole trace.
fn check_whole(trace: &[Span]) {
    let write = one(trace, "node0", "PATCH /set");
    let dot = &write.attributes["causeway.dot"];
    for (service, name) in &WHOLE[1..] {
        let span = one(trace, service, name);
        assert_eq!(span.parent_id, write.span_id, "{name} on {service} hangs below the write");
        assert_eq!(&span.attributes["causeway.dot"], dot);
    }
}

/// The tries that a `replicate` span names.
fn tries(span: &Span) -> Vec<&str> {
    let failed = span.events.iter().filter(|event| event.name == "try failed");
    failed.map(|event| &*event.attributes["error.type"]).collect()
}

async fn stop(nodes: Vec<Node>) {
    for node in nodes {
        assert!(node.stop().await, "all spans were exported");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_during_a_cut_is_one_trace() {
    let collector = Collector::bind("127.0.0.1:0").await;
    let plan = plan(&collector).await;
    let nodes = plan.start().await;
    nodes[1].api.set("first", "1").await;
    until_equal(&nodes, 1).await;
    plan.cut_off(0);
    nodes[0].until_away(0).await;
    nodes[0].until_away(1).await;
    let cut = Instant::now();
    set_traced(&nodes[0].api, "key", "value", TRACE).await;
    let failed = nodes[0].tries.failed().len();
    while nodes[0].tries.failed().len() < failed + 4 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let lasted = cut.elapsed();
    plan.heal();
    let trace = collector.until_trace_has(PATIENCE, TRACE, &WHOLE).await;

    check_whole(&trace);
    assert_eq!(one(&trace, "node0", "PATCH /set").parent_id, "00000000000000c1");
    for peer in ["replicate node1", "replicate node2"] {
        let span = one(&trace, "node0", peer);
        assert!(span.duration() + Duration::from_millis(10) >= lasted, "{peer} covers the cut");
        assert!(!tries(span).is_empty(), "{peer} names the tries that failed: {span:#?}");
        assert!(span.events.iter().all(|event| (span.start..=span.end).contains(&event.at)));
    }
    for push in trace.iter().filter(|span| span.name.starts_with("push") && span.is_error) {
        assert!(!push.attributes["error.type"].is_empty());
    }
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_links_to_all_the_writes_that_it_carries() {
    const OTHER: &str = "1af7651916cd43dd8448eb211c80319c";
    let collector = Collector::bind("127.0.0.1:0").await;
    let plan = plan(&collector).await;
    let nodes = plan.start().await;
    until_equal(&nodes, 0).await;
    plan.cut_off(0);
    nodes[0].until_away(0).await;
    set_traced(&nodes[0].api, "key", "value", TRACE).await;
    set_traced(&nodes[0].api, "other", "value", OTHER).await;
    plan.heal();
    until_equal(&nodes, 2).await;
    // The ops are there, and by the peer's own statement even acknowledged, before the push that brought them is
    // answered; a stop in between would end it.
    let is_push = |span: &Span| span.trace_id == TRACE && span.name == "push node1" && !span.is_error;
    collector.until(PATIENCE, |spans| spans.iter().any(is_push).then_some(())).await;
    stop(nodes).await;
    let write = one(&collector.trace(OTHER), "node0", "PATCH /set").span_id.clone();
    let pushes = collector.trace(TRACE).into_iter().filter(|span| span.name == "push node1" && !span.is_error);
    let links: Vec<_> = pushes.flat_map(|push| push.links).collect();
    assert_eq!(links, [(OTHER.to_owned(), write)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_writing_node_does_not_end_the_trace() {
    let collector = Collector::bind("127.0.0.1:0").await;
    let plan = plan(&collector).await;
    let mut nodes = plan.start().await;
    until_equal(&nodes, 0).await;
    plan.cut_off(0);
    let written = set_traced(&nodes[0].api, "key", "value", TRACE).await;
    assert!(nodes.remove(0).stop().await);
    nodes.insert(0, plan.start_one(0).await);
    nodes[0].until_away(0).await;
    nodes[0].until_away(1).await;
    plan.heal();
    let trace = collector.until_trace_has(PATIENCE, TRACE, &WHOLE).await;
    check_whole(&trace);
    assert_eq!(one(&trace, "node0", "PATCH /set").attributes["causeway.dot"], written.json()["dot"].as_str().unwrap());
    for peer in ["replicate node1", "replicate node2"] {
        assert!(!tries(one(&trace, "node0", peer)).is_empty(), "those since the restart");
    }
    stop(nodes).await;
}

/// The same with the real binary, configured by its environment, and a crash instead of a stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_writing_process_does_not_end_the_trace() {
    let collector = Collector::bind("127.0.0.1:0").await;
    let directory = TempDir::new().unwrap();
    let ports = free_ports::<2>();
    let way = Link::to(ports[1]).await;
    let launch = |id: u32, peers: &[(u32, u16)]| {
        Launch::by_environment(&directory.path().join(id.to_string()), id, ports[id as usize], peers)
            .with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
            .with("OTEL_SERVICE_NAME", &format!("node{id}"))
            .with("OTEL_BSP_SCHEDULE_DELAY", "50")
    };
    let writer = launch(0, &[(0, ports[0]), (1, way.port)]);
    let process = writer.start_ready().await;
    let other = launch(1, &[(0, ports[0]), (1, ports[1])]).start_ready().await;
    process.api.set("first", "1").await;
    other.api.until_reads("first", "1").await;
    way.cut();
    // Else the first process may already have sent it when it is killed, and the way delivers that after the heal.
    let is_away = async || process.api.status().await["peers"][0]["away_since"].is_string().then_some(());
    until(is_away, async || format!("node1 is not away: {}", process.api.status().await)).await;
    set_traced(&process.api, "key", "value", TRACE).await;
    collector.until_trace_has(PATIENCE, TRACE, &[("node0", "PATCH /set")]).await;
    process.kill();
    let process = writer.start_ready().await;
    way.heal();
    other.api.until_reads("key", "value").await;
    let whole = [("node0", "replicate node1"), ("node1", "apply")];
    let trace = collector.until_trace_has(PATIENCE, TRACE, &whole).await;
    let write = one(&trace, "node0", "PATCH /set");
    for (service, name) in whole {
        assert_eq!(one(&trace, service, name).parent_id, write.span_id);
    }
    let logged = async || {
        let log = process.log();
        (log.contains("peer node1 is away") && log.contains("peer node1 is back after")).then_some(())
    };
    until(logged, async || format!("not logged as away and back:\n{}", process.log())).await;
}

/// node0 and node2 can't reach each other; node1 passes it on.
#[tokio::test(flavor = "multi_thread")]
async fn an_op_that_came_through_a_third_node_stays_in_its_trace() {
    let collector = Collector::bind("127.0.0.1:0").await;
    let plan = plan(&collector).await;
    let nodes = plan.start().await;
    nodes[1].api.set("first", "1").await;
    until_equal(&nodes, 1).await;
    plan.way(0, 2).cut();
    plan.way(2, 0).cut();
    set_traced(&nodes[0].api, "key", "value", TRACE).await;
    let there = [("node0", "replicate node1"), ("node1", "apply"), ("node2", "apply")];
    let trace = collector.until_trace_has(PATIENCE, TRACE, &there).await;
    assert_eq!(one(&trace, "node2", "apply").attributes["causeway.from"], "1");
    plan.heal();
    check_whole(&collector.until_trace_has(PATIENCE, TRACE, &WHOLE).await);
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_does_not_record_has_no_spans() {
    let collector = Collector::bind("127.0.0.1:0").await;
    let plan = plan(&collector).await;
    let nodes = plan.start().await;
    let parent = format!("00-{TRACE}-00000000000000c1-00");
    let request = nodes[0].api.patch("", &serde_json::json!({"key": "value"})).header("traceparent", parent);
    assert_eq!(request.send().await.unwrap().status(), 200);
    until_equal(&nodes, 1).await;
    stop(nodes).await;
    assert!(collector.named("PATCH /set").is_empty() && collector.named("apply").is_empty());
    assert!(collector.trace(TRACE).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_collector_a_node_works_and_ends() {
    let collector = Collector::bind("127.0.0.1:0").await;
    let mut plan = plan(&collector).await;
    drop(collector);
    // Those of the write are still there when a node stops.
    plan.setups.iter_mut().for_each(|setup| setup.spans_delay = Duration::from_secs(60));
    let nodes = plan.start().await;
    set_traced(&nodes[0].api, "key", "value", TRACE).await;
    until_equal(&nodes, 1).await;
    for node in nodes {
        assert!(!node.stop_within(Duration::from_millis(200)).await, "says that spans are lost");
    }
}
