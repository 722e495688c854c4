//! Many keys at once: `POST /read` and `GET /keys`.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::local::{Cluster, Node, Setup};

#[tokio::test]
async fn many_keys_come_from_one_instant_in_the_shape_of_a_write() {
    let node = Node::alone(Setup::default()).await;
    let nothing = node.get("/read?key=a").await.context();
    node.set("", json!({"a": "1", "b": "2"}), &[]).await;
    node.set("", json!({"a": "beside"}), &[("Causal-Context", &nothing)]).await;
    let reply = node.read_many("", json!(["b", "a", "none"])).await;
    assert_eq!(reply.status, 200);
    let answer = reply.json();
    assert_eq!(answer["values"], json!({"a": "beside", "b": "2", "none": null}));
    assert_eq!(answer["siblings"], json!({"a": 2}));
    assert_eq!(answer["context"], reply.context());
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert!(answer.get("left_out").is_none());
    let values = answer["values"].clone();

    let answer = node.read_many("?resolve=all", json!(["b", "a", "none"])).await.json();
    let keys = answer["keys"].as_array().unwrap();
    let shown = |index: usize| -> Vec<&str> {
        let siblings = keys[index]["siblings"].as_array().unwrap();
        siblings.iter().map(|sibling| sibling["value"].as_str().unwrap()).collect()
    };
    assert_eq!((shown(0), shown(1), shown(2)), (vec!["2"], vec!["beside", "1"], vec![]));
    // What was answered can be written back as it is.
    assert_eq!(node.set("", values, &[]).await.status, 200);
    assert_eq!(node.siblings("a").await, ["beside"]);
}

#[tokio::test]
async fn many_keys_resolve_as_one_does() {
    let cluster = Cluster::of(2).await;
    cluster.link(0, 1, false);
    let contexts = [cluster.nodes[0].put("key", "left").await, cluster.nodes[1].put("key", "right").await];
    cluster.link(0, 1, true);
    for context in contexts {
        cluster.all_reach(&context).await;
    }
    for node in &cluster.nodes {
        for resolve in ["arrival", "newest"] {
            let one = node.get(&format!("/read?key=key&resolve={resolve}")).await.body;
            let many = node.read_many(&format!("?resolve={resolve}"), json!(["key"])).await.json();
            assert_eq!(many["values"]["key"], one);
        }
    }
}

#[tokio::test]
async fn many_keys_that_are_too_large_are_named_instead() {
    let mut setup = Setup::default();
    setup.http.limits.answer_bytes = 25;
    let node = Node::alone(setup).await;
    for key in ["a", "b", "c", "d"] {
        node.put(key, &key.repeat(10)).await;
    }
    let answer = node.read_many("", json!(["a", "none", "b", "c", "also none", "d"])).await.json();
    assert_eq!(answer["values"], json!({"a": "aaaaaaaaaa", "none": null, "b": "bbbbbbbbbb"}));
    assert_eq!(answer["left_out"], json!(["c", "also none", "d"]));

    let nothing = Node::alone(Setup::default()).await.get("/read?key=a").await.context();
    node.set("", json!({"b": "beside"}), &[("Causal-Context", &nothing)]).await;
    let answer = node.read_many("?resolve=all", json!(["a", "b", "c"])).await.json();
    assert_eq!(answer["keys"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&answer["keys"][1]["siblings"][0]["value"], &answer["keys"][1]["left_out"]),
        (&json!("beside"), &json!(1))
    );
    assert_eq!(answer["left_out"], json!(["c"]));
}

async fn page(node: &Node, query: &str) -> (Vec<String>, Option<String>) {
    let answer = node.get(&format!("/keys?{query}")).await.json();
    let keys = answer["keys"].as_array().unwrap().iter().map(|key| key["key"].as_str().unwrap().to_owned());
    (keys.collect(), answer["next"].as_str().map(str::to_owned))
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).collect()
}

#[tokio::test]
async fn keys_come_in_pages_in_byte_order() {
    let node = Node::alone(Setup::default()).await;
    node.set("", json!({"b/2": "", "a": "", "b/1": "", "ü": "", "b": "", "Z": ""}), &[]).await;
    assert_eq!(page(&node, "").await.0, ["Z", "a", "b", "b/1", "b/2", "ü"]);
    assert_eq!(page(&node, "limit=6").await.1, None);
    assert_eq!(page(&node, "limit=2").await, (vec!["Z".to_owned(), "a".to_owned()], Some("a".to_owned())));
    assert_eq!(page(&node, "prefix=b&limit=2").await, (vec!["b".to_owned(), "b/1".to_owned()], Some("b/1".to_owned())));
    assert_eq!(page(&node, "prefix=b&after=b/1").await, (vec!["b/2".to_owned()], None));
    assert_eq!(page(&node, "after=a-key-that-is-not-there&limit=1").await.0, ["b"]);
    assert_eq!(page(&node, "prefix=none").await, (vec![], None));
}

/// Whatever the keys, the prefix and the size of the pages: all pages together are the keys, each once.
#[test]
fn pages_are_complete() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let node = runtime.block_on(Node::alone(Setup::default()));
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let input = (prop::collection::btree_set("[abü]{1,4}", 1..150), "[ab]{0,2}", 1..90_usize);
    let mut held: BTreeSet<String> = BTreeSet::new();
    let held = std::cell::RefCell::new(&mut held);
    let outcome = runner.run(&input, |(keys, prefix, limit)| {
        runtime.block_on(async {
            let values: serde_json::Map<String, Value> = keys.iter().map(|key| (key.clone(), json!("v"))).collect();
            prop_assert_eq!(node.set("", Value::Object(values), &[]).await.status.as_u16(), 200);
            held.borrow_mut().extend(keys);
            let mut found = Vec::new();
            let mut query = format!("prefix={prefix}&limit={limit}");
            loop {
                let (keys, next) = page(&node, &query).await;
                prop_assert!(keys.len() <= limit);
                found.extend(keys);
                let Some(next) = next else { break };
                query = format!("prefix={prefix}&limit={limit}&after={}", encode(&next));
            }
            let expected: Vec<String> = held.borrow().iter().filter(|key| key.starts_with(&prefix)).cloned().collect();
            prop_assert_eq!(found, expected);
            Ok(())
        })
    });
    outcome.unwrap();
}

/// Large values don't make a page of keys large.
#[tokio::test]
async fn keys_of_large_values_are_listed_in_smaller_steps() {
    let node = Node::alone(Setup::default()).await;
    let large = "x".repeat(1 << 20);
    for turn in 0..3 {
        let keys: serde_json::Map<String, Value> =
            (0..6).map(|index| (format!("{turn}/{index}"), json!(large))).collect();
        assert_eq!(node.set("", Value::Object(keys), &[]).await.status, 200);
    }
    let (keys, next) = page(&node, "limit=17").await;
    assert_eq!((keys.len(), next.as_deref()), (17, Some("2/4")));
}
