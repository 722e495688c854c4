//! The replication endpoint, asked as a peer asks, and otherwise.

use std::sync::Arc;

use causeway::causality::{Ancestry, Dot, Hlc, Incarnation, NodeId, Origin, VersionVector, WallMs};
use causeway::format::state::{self, StateHead};
use causeway::format::{message, op, siblings};
use causeway::peers::{CALL, STATE_CALL};
use causeway::replica::{Entry, Op, Protocol, Push, Rejection, Sibling, Siblings, Statement};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder};

use super::node::{Node, Plan};

const ORIGIN: Origin = Origin { node: NodeId(1), incarnation: Incarnation(7) };

fn an_op(counter: u64, key: &str) -> Op {
    let entry = Entry { key: key.into(), value: Some("value".into()), replaces: Vec::new() };
    Op {
        dot: ORIGIN.dot(counter),
        parents: Vec::new(),
        deps: Vec::new(),
        hlc: Hlc::at(WallMs(1)),
        entries: vec![entry],
        trace: None,
        idempotency_key: None,
    }
}

fn a_push() -> Push {
    let vector = VersionVector::from_iter([ORIGIN.dot(1)]);
    let sender = Statement { node: NodeId(1), boot: 1, number: 1, vector, protocol: Protocol::OWN, wants_state: false };
    Push { cluster: Arc::from("test"), to: Some(NodeId(0)), sender, ops: Vec::new(), echo: None }
}

fn bytes(push: &Push, ops: &[Op]) -> Vec<u8> {
    message::encode_push(push, &ops.iter().map(op::encode).collect::<Vec<_>>())
}

async fn node() -> (Plan, Node) {
    let mut plan = Plan::of(2, true).await;
    plan.setups.truncate(1);
    let node = plan.start().await.remove(0);
    (plan, node)
}

fn request(node: &Node) -> RequestBuilder {
    node.api.request(Method::POST, CALL).header(CONTENT_TYPE, message::CONTENT_TYPE)
}

#[tokio::test]
async fn a_push_that_comes_twice_counts_once() {
    let (_plan, node) = node().await;
    for redundant in 0..2 {
        let response = request(&node).body(bytes(&a_push(), &[an_op(1, "key")])).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[CONTENT_TYPE], message::CONTENT_TYPE);
        let answer = message::decode_answer(&response.bytes().await.unwrap()).unwrap();
        assert_eq!(answer.redundant, redundant);
        assert_eq!(answer.receiver.vector.entries().collect::<Vec<Dot>>(), [ORIGIN.dot(1)]);
        assert_eq!(node.api.siblings("key").await.len(), 1);
    }
}

#[tokio::test]
async fn a_large_push_gets_in() {
    let (_plan, node) = node().await;
    let mut large = an_op(1, "key");
    large.entries[0].value = Some("v".repeat(20 << 20).into());
    let response = request(&node).body(bytes(&a_push(), &[large])).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(node.api.read("key").await.map(|value| value.len()), Some(20 << 20));
}

#[tokio::test]
async fn what_is_no_push_for_this_node_is_refused_and_changes_nothing() {
    let (_plan, node) = node().await;
    let ops = [an_op(1, "key")];
    let whole = bytes(&a_push(), &ops);
    let cut_short = whole[..whole.len() - 5].to_vec();
    let mut altered = whole.clone();
    altered[20] ^= 1;
    let stream = || reqwest::Body::wrap_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let cases: Vec<(&str, RequestBuilder, u16)> = vec![
        ("nothing", request(&node), 411),
        ("garbage", request(&node).body("garbage"), 400),
        ("cut short", request(&node).body(cut_short), 400),
        ("altered", request(&node).body(altered), 400),
        ("another type", node.api.request(Method::POST, CALL).body(whole.clone()), 415),
        ("no length", request(&node).body(stream()), 411),
        ("too long", request(&node).header(CONTENT_LENGTH, (64 << 20) + 1).body(stream()), 413),
        ("another method", node.api.request(Method::GET, CALL), 405),
    ];
    for (case, request, status) in cases {
        assert_eq!(request.send().await.unwrap().status(), status, "{case}");
    }
    let rejections = [
        (Push { cluster: Arc::from("other"), ..a_push() }, 403, Rejection::WrongCluster { actual: Arc::from("test") }),
        (Push { to: Some(NodeId(2)), ..a_push() }, 421, Rejection::Misdirected { actual: NodeId(0) }),
    ];
    for (push, status, expected) in rejections {
        let response = request(&node).body(bytes(&push, &ops)).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()[CONTENT_TYPE]),
            (status, &message::CONTENT_TYPE.parse().unwrap())
        );
        assert_eq!(message::decode_rejection(&response.bytes().await.unwrap()).unwrap(), expected);
    }
    assert_eq!(node.api.read("key").await, None);
    assert!(node.vector().is_empty());
}

fn a_piece(push: &Push, after: Option<&str>, keys: &[&str], is_last: bool) -> Vec<u8> {
    let head = StateHead { vector: push.sender.vector.clone(), ancestry: Ancestry::new(), keys: 1 };
    let sibling = Sibling { dot: ORIGIN.dot(1), hlc: Hlc::at(WallMs(1)), arrival: 1, value: "value".into() };
    let siblings = siblings::encode(&Siblings::new(vec![sibling]));
    let keys: Vec<_> = keys.iter().map(|key| ((*key).to_owned(), siblings.clone())).collect();
    let head = after.is_none().then_some(&head);
    state::encode_piece(push, 7, after, head, &keys, is_last)
}

#[tokio::test]
async fn what_is_no_piece_for_this_node_is_refused_and_changes_nothing() {
    let (_plan, node) = node().await;
    let request = || node.api.request(Method::POST, STATE_CALL).header(CONTENT_TYPE, message::CONTENT_TYPE);
    let whole = a_piece(&a_push(), None, &["a", "b"], true);
    let mut altered = whole.clone();
    altered[20] ^= 1;
    let stream = || reqwest::Body::wrap_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let strangers =
        [(Push { cluster: Arc::from("other"), ..a_push() }, 403), (Push { to: Some(NodeId(2)), ..a_push() }, 421)];
    let mut cases: Vec<(&str, RequestBuilder, u16)> = vec![
        ("nothing", request(), 411),
        ("a push", request().body(bytes(&a_push(), &[an_op(1, "key")])), 400),
        ("altered", request().body(altered), 400),
        ("unordered", request().body(a_piece(&a_push(), None, &["b", "a"], true)), 400),
        ("not behind where it begins", request().body(a_piece(&a_push(), Some("a"), &["a", "b"], true)), 400),
        ("another type", node.api.request(Method::POST, STATE_CALL).body(whole), 415),
        ("too long", request().header(CONTENT_LENGTH, (128 << 20) + 1).body(stream()), 413),
        ("another method", node.api.request(Method::GET, STATE_CALL), 405),
    ];
    cases.extend(
        strangers
            .iter()
            .map(|(push, status)| ("for another", request().body(a_piece(push, None, &["a", "b"], true)), *status)),
    );
    for (case, request, status) in cases {
        assert_eq!(request.send().await.unwrap().status(), status, "{case}");
    }
    assert_eq!(node.api.read("a").await, None);
    assert!(node.vector().is_empty());
}

#[tokio::test]
async fn an_op_that_can_not_be_is_named() {
    let (_plan, node) = node().await;
    let twice = Op { deps: vec![ORIGIN.dot(1)], ..an_op(2, "key") };
    let response = request(&node).body(bytes(&a_push(), &[twice])).send().await.unwrap();
    assert_eq!(response.status(), 400);
    let rejection = message::decode_rejection(&response.bytes().await.unwrap()).unwrap();
    assert!(matches!(rejection, Rejection::Malformed { dot, .. } if dot == ORIGIN.dot(2)), "{rejection}");
}
