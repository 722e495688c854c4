//! Sessions: what a client has seen holds wherever it goes next.

use std::time::{Duration, Instant};

use causeway::causality::{CausalContext, Incarnation, NodeId, Origin};
use causeway::format::token;
use serde_json::json;

use crate::local::{Cluster, DEADLINE, Node, Setup};

#[tokio::test]
async fn a_client_reads_its_own_write_at_another_node() {
    let cluster = Cluster::of(2).await;
    let patient = format!("wait={}", DEADLINE.as_secs());
    for turn in 0..20 {
        let (here, there) = (&cluster.nodes[turn % 2], &cluster.nodes[(turn + 1) % 2]);
        let value = turn.to_string();
        let context = here.put("key", &value).await;
        let headers = [("Causal-Context", &*context), ("Prefer", &*patient)];
        assert_eq!(there.get_with("/read?key=key", &headers).await.body, value);
        assert_eq!(there.get_with("/keys", &headers).await.json()["keys"][0]["key"], "key");
    }
}

#[tokio::test]
async fn a_node_that_lacks_what_the_client_saw_waits_and_then_says_what_it_lacks() {
    let cluster = Cluster::of(2).await;
    cluster.link(0, 1, false);
    let context = cluster.nodes[0].put("key", "value").await;
    let node = &cluster.nodes[1];
    let headers = [("Causal-Context", &*context), ("Prefer", "wait=0.3")];
    let started = Instant::now();
    for reply in [
        node.get_with("/read?key=key", &headers).await,
        node.get_with("/keys", &headers).await,
        node.set("", json!({"key": "other"}), &headers).await,
        node.set("?replaces=held", json!({"key": "other"}), &headers).await,
    ] {
        assert_eq!((reply.status.as_u16(), &*reply.problem()), (503, "context-not-reached"));
        assert_eq!(reply.header("retry-after"), Some("1"));
        let lacking = reply.json()["lacking"].clone();
        assert_eq!(lacking.as_array().unwrap().len(), 1, "{lacking}");
        assert_eq!((&lacking[0]["wanted"], &lacking[0]["have"]), (&json!(1), &json!(0)));
        assert_eq!(lacking[0]["obtainable"], true, "node 0 has not been heard of since");
        assert!(lacking[0]["origin"].as_str().unwrap().starts_with("0."));
    }
    assert!(started.elapsed() >= Duration::from_millis(4 * 300));
    // Without the context it answers at once, and nothing was written by the refused ones.
    assert_eq!(node.get("/read?key=key").await.status, 404);

    cluster.link(0, 1, true);
    let patient = format!("wait={}", DEADLINE.as_secs());
    let reply = node.get_with("/read?key=key", &[("Causal-Context", &context), ("Prefer", &patient)]).await;
    assert_eq!(reply.body, "value");
}

#[tokio::test]
async fn a_wait_ends_as_soon_as_the_context_is_reached() {
    let cluster = Cluster::of(2).await;
    cluster.link(0, 1, false);
    let context = cluster.nodes[0].put("key", "value").await;
    let patient = format!("wait={}", DEADLINE.as_secs());
    let headers = [("Causal-Context", &*context), ("Prefer", &*patient)];
    let (reply, ()) = tokio::join!(cluster.nodes[1].get_with("/read?key=key", &headers), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cluster.link(0, 1, true);
    });
    assert_eq!((reply.status.as_u16(), &*reply.body), (200, "value"));
}

#[tokio::test]
async fn what_no_node_has_any_more_is_said_to_be_lost() {
    let cluster = Cluster::of(2).await;
    let lost = Origin::new(NodeId(1), Incarnation(0xdead)).dot(7);
    let context = token::encode(&CausalContext::of_state([lost].into_iter().collect()));
    let node = &cluster.nodes[0];
    let deadline = Instant::now() + DEADLINE;
    loop {
        let reply = node.get_with("/read?key=key", &[("Causal-Context", &context), ("Prefer", "wait=0")]).await;
        assert_eq!((reply.status.as_u16(), &*reply.problem()), (503, "context-not-reached"));
        let problem = reply.json();
        assert_eq!(problem["lacking"][0]["origin"], "1.000000000000dead");
        // Only once the other node was heard is it known that it doesn't have it either.
        if problem["lacking"][0]["obtainable"] == false {
            assert!(problem["detail"].as_str().unwrap().contains("can supply"), "{problem}");
            break;
        }
        assert!(Instant::now() < deadline, "{problem}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_context_of_the_future_is_only_not_reached() {
    let node = Node::alone(Setup::default()).await;
    let context = token::decode(&node.put("key", "value").await).unwrap();
    let last = context.wait.entries().next().unwrap();
    let future = token::encode(&CausalContext::of_state([last.origin.dot(last.counter + 1)].into_iter().collect()));
    let headers = [("Causal-Context", &*future), ("Prefer", "wait=0")];
    let reply = node.get_with("/read?key=key", &headers).await;
    assert_eq!((reply.status.as_u16(), &*reply.problem()), (503, "context-not-reached"));
    assert_eq!(reply.json()["lacking"][0]["have"], 1);
}

/// The wait a client may ask for has an end.
#[tokio::test]
async fn a_wait_is_cut_down_to_the_longest_allowed() {
    let mut setup = Setup::default();
    setup.http.max_wait = Duration::from_millis(50);
    let node = Node::alone(setup).await;
    let lost = Origin::new(NodeId(9), Incarnation(9)).dot(9);
    let context = token::encode(&CausalContext::of_state([lost].into_iter().collect()));
    let headers = [("Causal-Context", &*context), ("Prefer", "wait=86400")];
    assert_eq!(node.get_with("/read?key=key", &headers).await.status, 503);
}
