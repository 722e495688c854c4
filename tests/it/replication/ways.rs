//! Addresses that go dark, swap, belong to strangers, or fall silent.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::routing::post;
use causeway::causality::NodeId;
use causeway::peers::CALL;
use causeway::storage::BatchLimit;
use tokio::net::TcpListener;

use super::node::{Node, Plan, until_equal};
use crate::support::api::client;
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn every_node_gets_what_every_node_wrote() {
    let plan = Plan::of(3, true).await;
    let nodes = plan.start().await;
    for (index, node) in nodes.iter().enumerate() {
        node.api.set(&format!("key{index}"), &format!("value{index}")).await;
        node.api.set("shared", &format!("value{index}")).await;
    }
    until_equal(&nodes, 6).await;
    for node in &nodes {
        node.api.until_reads("key0", "value0").await;
        assert_eq!(node.api.siblings("shared").await, nodes[0].api.siblings("shared").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_address_went_dark_gets_all_of_it_when_it_is_back() {
    let plan = Plan::of(3, true).await;
    let nodes = plan.start().await;
    nodes[0].api.set("before", "1").await;
    until_equal(&nodes, 1).await;
    plan.cut_off(2);
    nodes[0].until_away(1).await;
    nodes[2].until_away(0).await;
    for index in 0..100 {
        nodes[0].api.set(&format!("on0-{index}"), "v").await;
        nodes[2].api.set(&format!("on2-{index}"), "v").await;
    }
    nodes[1].api.until_reads("on0-99", "v").await;
    assert_eq!(nodes[2].api.read("on0-0").await, None, "it is cut off");
    plan.heal();
    until_equal(&nodes, 201).await;
    let back = async || nodes[0].link(1).away_since.is_none().then_some(());
    until(back, async || format!("{:?}", nodes[0].link(1))).await;
}

/// Only the way *to* a node counts: what it could fetch over its own connections it does not get.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_can_only_call_out_gets_nothing() {
    let plan = Plan::of(2, true).await;
    let nodes = plan.start().await;
    nodes[1].api.set("first", "1").await;
    until_equal(&nodes, 1).await;
    plan.way(0, 1).cut();
    nodes[0].until_away(0).await;
    nodes[0].api.set("key", "value").await;
    nodes[1].api.set("called", "out").await;
    nodes[0].api.until_reads("called", "out").await;
    assert_eq!(nodes[1].api.read("key").await, None);
    plan.way(0, 1).heal();
    nodes[1].api.until_reads("key", "value").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_given_as_a_bare_port_says_who_it_is() {
    let plan = Plan::of(2, false).await;
    let nodes = plan.start().await;
    nodes[0].api.set("key", "value").await;
    nodes[1].api.until_reads("key", "value").await;
    assert_eq!(nodes[0].link(0).node, Some(NodeId(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_clusters_node_is_refused() {
    let mut plan = Plan::of(2, false).await;
    plan.setups[1].cluster = "other";
    let nodes = plan.start().await;
    nodes[0].api.set("key", "value").await;
    nodes[0].until_failed("wrong-cluster").await;
    nodes[1].until_failed("wrong-cluster").await;
    nodes[0].until_away(0).await;
    assert_eq!(nodes[1].api.read("key").await, None);
}

/// node0's ways to two others swap, as containers' addresses do when they are reconnected in the other order.
fn swap(plan: &Plan, first: &Node, second: &Node) {
    plan.way(0, 1).lead_to(first.port);
    plan.way(0, 2).lead_to(second.port);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_swap_addresses_never_get_each_others_ops_and_are_found_again() {
    let mut plan = Plan::of(3, true).await;
    // node1 and node2 can't pass anything on.
    plan.setups[1].peers.clear();
    plan.setups[2].peers.clear();
    let nodes = plan.start().await;
    nodes[0].api.set("first", "1").await;
    until_equal(&nodes, 1).await;
    swap(&plan, &nodes[2], &nodes[1]);
    nodes[0].api.set("second", "2").await;
    nodes[0].until_failed("misdirected").await;
    nodes[0].until_away(0).await;
    nodes[0].until_away(1).await;
    assert_eq!(nodes[1].api.read("second").await, None);
    assert_eq!(nodes[2].api.read("second").await, None);
    swap(&plan, &nodes[1], &nodes[2]);
    until_equal(&nodes, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_ports_that_swap_are_learnt_anew() {
    let mut plan = Plan::of(3, false).await;
    plan.setups[1].peers.clear();
    plan.setups[2].peers.clear();
    let nodes = plan.start().await;
    nodes[0].api.set("first", "1").await;
    until_equal(&nodes, 1).await;
    swap(&plan, &nodes[2], &nodes[1]);
    nodes[0].api.set("second", "2").await;
    until_equal(&nodes, 2).await;
    assert_eq!([nodes[0].link(0).node, nodes[0].link(1).node], [Some(NodeId(2)), Some(NodeId(1))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_fell_silent_is_thrown_away() {
    let plan = Plan::of(2, true).await;
    let nodes = plan.start().await;
    nodes[0].api.set("first", "1").await;
    until_equal(&nodes, 1).await;
    plan.way(0, 1).break_connections();
    nodes[0].api.set("second", "2").await;
    nodes[1].api.until_reads("second", "2").await;
    assert!(nodes[0].tries.failed().contains(&"timeout"), "{:?}", nodes[0].tries.failed());
}

/// A way on which only small pushes get through in time: at full size each would be given up, for ever.
#[tokio::test(flavor = "multi_thread")]
async fn pushes_shrink_until_they_get_through() {
    const WIDTH_BYTES: usize = 20_000;
    let mut plan = Plan::of(2, true).await;
    plan.setups[0].senders.progress_timeout = Duration::from_millis(100);
    plan.setups[0].senders.batch = BatchLimit { ops: 1_000, bytes: 1 << 20 };
    plan.setups[1].peers.clear();
    plan.way(0, 1).cut();
    let nodes = plan.start().await;
    let endpoint = format!("http://127.0.0.1:{}{CALL}", nodes[1].port);
    let narrow = Router::new().route(
        CALL,
        post(move |request: Request| async move {
            let (head, body) = request.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            if body.len() > WIDTH_BYTES {
                std::future::pending::<()>().await;
            }
            let passed =
                client(&[]).build().unwrap().post(endpoint).headers(head.headers).body(body).send().await.unwrap();
            let answer = axum::http::Response::builder()
                .status(passed.status())
                .header("content-type", passed.headers()["content-type"].clone());
            answer.body(Body::from(passed.bytes().await.unwrap())).unwrap()
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    plan.way(0, 1).lead_to(listener.local_addr().unwrap().port());
    tokio::spawn(async move { axum::serve(listener, narrow).await });
    let value = "v".repeat(1_000);
    for index in 0..200 {
        nodes[0].api.set(&format!("key{index}"), &value).await;
    }
    plan.heal();
    until_equal(&nodes, 200).await;
}
