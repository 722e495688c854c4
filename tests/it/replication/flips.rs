//! A way that flips bits: what comes over it damaged is refused and sent again, whichever message it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::Response;
use causeway::peers::{CALL, FACTS_CALL, STATE_CALL};
use tokio::net::TcpListener;

use super::node::Node;
use super::state::{plan, until_same};
use crate::support::api::client;
use crate::support::until;

/// So many requests of each kind come damaged, then so many answers.
const FLIPS: usize = 5;

/// How many of each call went over.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<BTreeMap<String, usize>>>);

impl Calls {
    /// The place of this one among those of its kind.
    fn count(&self, path: &str) -> usize {
        let mut calls = self.0.lock().unwrap();
        let count = calls.entry(path.to_owned()).or_default();
        *count += 1;
        *count - 1
    }

    /// Whether all that were to be damaged were.
    fn is_over(&self) -> bool {
        let calls = self.0.lock().unwrap();
        [CALL, STATE_CALL, FACTS_CALL].iter().all(|path| calls.get(*path).is_some_and(|count| *count >= 2 * FLIPS))
    }
}

/// These bytes with one bit flipped, at another place for every `nth`.
fn flip(bytes: &Bytes, nth: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if !bytes.is_empty() {
        let at = (nth * bytes.len() / FLIPS + nth) % bytes.len();
        bytes[at] ^= 1 << (nth % 8);
    }
    bytes
}

/// A way to a node that damages what goes over it at first; where it begins.
async fn damaging(node: &Node, calls: Calls) -> u16 {
    let target = node.port;
    let carry = move |request: Request| async move {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let nth = calls.count(&path);
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = if nth < FLIPS { flip(&body, nth) } else { body.to_vec() };
        let endpoint = format!("http://127.0.0.1:{target}{path}");
        let passed = client(&[]).build().unwrap().post(endpoint).headers(head.headers).body(body).send().await.unwrap();
        let mut answer = Response::builder().status(passed.status());
        for (name, value) in passed.headers() {
            answer = answer.header(name, value);
        }
        let body = passed.bytes().await.unwrap();
        let damage = (FLIPS..2 * FLIPS).contains(&nth);
        let body = if damage { flip(&body, nth - FLIPS) } else { body.to_vec() };
        answer.body(Body::from(body)).unwrap()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(carry)).await });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_damaged_is_refused_and_sent_again() {
    let plan = plan().await;
    let calls = Calls::default();
    plan.way(0, 1).cut();
    let nodes = plan.start().await;
    plan.way(0, 1).lead_to(damaging(&nodes[1], calls.clone()).await);
    plan.heal();
    let mut written = 0;
    let all_kinds = async || {
        // Of these come pushes with ops, and questions for facts.
        nodes[0].api.set(&format!("written{written}"), &"w".repeat(100)).await;
        nodes[0].api.get("/cluster").await;
        written += 1;
        calls.is_over().then_some(())
    };
    until(all_kinds, async || format!("{:?}", calls.0.lock().unwrap())).await;
    until_same(&nodes, written).await;
    for number in 0..written {
        nodes[1].api.until_reads(&format!("written{number}"), &"w".repeat(100)).await;
    }
}
