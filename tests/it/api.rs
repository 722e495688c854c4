//! What the API does, asked over HTTP of nodes in this process, on real stores.

mod backup;
mod document;
mod draining;
mod faults;
mod fingerprint;
mod many;
mod repeats;
mod sessions;
mod siblings;
mod spans;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};

use super::local::{Node, Setup};
use causeway::http::HttpOptions;

#[tokio::test]
async fn a_key_without_a_value_is_a_plain_404() {
    let node = Node::alone(Setup::default()).await;
    let reply = node.get("/read?key=key1").await;
    assert_eq!((reply.status.as_u16(), &*reply.body), (404, "key not found"));
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("causeway-siblings"), Some("0"));
    assert!(reply.header("causal-context").is_some());
    // Also where siblings would be listed.
    let reply = node.get("/read?key=key1&resolve=all").await;
    assert_eq!((reply.status.as_u16(), &*reply.body), (404, "key not found"));
}

#[tokio::test]
async fn what_was_written_is_read_back_byte_for_byte() {
    let node = Node::alone(Setup::default()).await;
    let reply = node.set("", json!({"key1": "value1"}), &[]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let answer = reply.json();
    assert_eq!(answer["durable_on"], json!([0]));
    assert_eq!(answer["context"], reply.context());
    let dot: causeway::causality::Dot = answer["dot"].as_str().unwrap().parse().unwrap();
    assert_eq!((dot.origin.node.0, dot.counter), (0, 1));

    let reply = node.get("/read?key=key1").await;
    assert_eq!((reply.status.as_u16(), &*reply.body), (200, "value1"));
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(reply.header("content-length"), Some("6"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("causeway-siblings"), Some("1"));
    assert!(reply.context().len() <= 40, "{}", reply.context());
}

#[tokio::test]
async fn head_answers_what_get_does_without_the_body() {
    let node = Node::alone(Setup::default()).await;
    node.put("key1", "value1").await;
    for path in ["/read?key=key1", "/read?key=none", "/read?key=key1&resolve=all", "/keys", "/fingerprint"] {
        let get = node.get(path).await;
        let head = super::local::Reply::of(node.request(Method::HEAD, path)).await;
        assert_eq!((head.status, &*head.body), (get.status, ""), "{path}");
        for header in ["content-type", "content-length", "etag", "causal-context", "causeway-siblings"] {
            assert_eq!(head.header(header), get.header(header), "{path}: {header}");
        }
    }
}

#[tokio::test]
async fn a_write_is_all_or_nothing_and_null_deletes() {
    let node = Node::alone(Setup::default()).await;
    let reply = node.set("", json!({"a": "1", "b": "2", "never": null}), &[]).await;
    assert_eq!(reply.status, 200);
    // One bad entry, and none of the others is made.
    let reply = node.set("", json!({"a": "changed", "b": null, "c": 3}), &[]).await;
    assert_eq!((reply.status.as_u16(), &*reply.problem()), (422, "wrong-type"));
    assert_eq!(node.get("/read?key=a").await.body, "1");
    assert_eq!(node.get("/read?key=b").await.body, "2");

    node.set("", json!({"a": null, "c": ""}), &[]).await;
    assert_eq!(node.get("/read?key=a").await.status, 404);
    let empty = node.get("/read?key=c").await;
    assert_eq!((empty.status.as_u16(), &*empty.body), (200, ""));
    let keys = node.get("/keys").await.json()["keys"].clone();
    assert_eq!(keys, json!([{"key": "b", "siblings": 1}, {"key": "c", "siblings": 1}]));
}

#[tokio::test]
async fn a_tag_saves_the_body_as_long_as_it_is_the_same() {
    let node = Node::alone(Setup::default()).await;
    node.put("key", "value").await;
    let first = node.get("/read?key=key").await;
    let tag = first.header("etag").unwrap().to_owned();
    for given in [tag.clone(), "*".to_owned(), format!("\"other\", {tag}"), format!("W/{tag}")] {
        let reply = node.get_with("/read?key=key", &[("If-None-Match", &given)]).await;
        assert_eq!((reply.status.as_u16(), &*reply.body), (304, ""), "{given}");
        assert_eq!(reply.header("etag"), Some(&*tag));
        assert_eq!(reply.header("causeway-siblings"), Some("1"));
        assert!(reply.header("causal-context").is_some());
    }
    // The same value gives the same tag, another one another.
    node.put("key", "value").await;
    assert_eq!(node.get_with("/read?key=key", &[("If-None-Match", &tag)]).await.status, 304);
    node.put("key", "changed").await;
    let reply = node.get_with("/read?key=key", &[("If-None-Match", &tag)]).await;
    assert_eq!((reply.status.as_u16(), &*reply.body), (200, "changed"));
    // JSON and plain text never share one.
    let json = node.get_with("/read?key=key", &[("Accept", "application/json")]).await;
    assert_ne!(json.header("etag"), reply.header("etag"));
    assert_eq!(node.get_with("/read?key=none", &[("If-None-Match", "*")]).await.status, 404);
}

#[tokio::test]
async fn json_is_for_those_who_would_rather_have_it() {
    let node = Node::alone(Setup::default()).await;
    node.put("key", "value").await;
    let json = ["application/json", "Application/JSON; charset=utf-8", "text/plain;q=0.5, application/json"];
    let plain = [
        "*/*",
        "text/plain",
        "text/html",
        "application/json, text/plain, */*",
        "application/json;q=0.1, text/plain;q=0.2",
        "application/json;q=0",
    ];
    for accept in json {
        let reply = node.get_with("/read?key=key", &[("Accept", accept)]).await;
        assert_eq!(reply.header("content-type"), Some("application/json"), "{accept}");
        assert_eq!(reply.json()["siblings"][0]["value"], "value");
    }
    for accept in plain {
        assert_eq!(node.get_with("/read?key=key", &[("Accept", accept)]).await.body, "value", "{accept}");
    }
}

#[tokio::test]
async fn the_json_view_says_who_wrote_what_when() {
    let node = Node::alone(Setup::default()).await;
    let written = node.set("", json!({"key": "value"}), &[]).await.json();
    let reply = node.get("/read?key=key&resolve=all").await;
    let view = reply.json();
    assert_eq!((&view["key"], &view["context"]), (&json!("key"), &json!(reply.context())));
    let sibling = &view["siblings"][0];
    assert_eq!((&sibling["value"], &sibling["node"]), (&json!("value"), &json!(0)));
    assert_eq!((&sibling["dot"], &sibling["arrival"]), (&written["dot"], &json!(1)));
    let at = humantime::parse_rfc3339(sibling["written_at"].as_str().unwrap()).unwrap();
    assert!(at.elapsed().unwrap().as_secs() < 60, "{sibling}");
    assert!(view.get("left_out").is_none());
}

#[tokio::test]
async fn what_is_on_disk_outlives_the_node() {
    let node = Node::alone(Setup::default()).await;
    let context = node.put("key", "value").await;
    let directory = node.stop().await;
    let node = Node::on(directory, 0, 1, Setup::default()).await;
    let reply = node.get_with("/read?key=key", &[("Causal-Context", &context), ("Prefer", "wait=0")]).await;
    assert_eq!((reply.status.as_u16(), &*reply.body), (200, "value"));
    let status = node.get("/status").await.json();
    assert_eq!((&status["keys"], &status["siblings"], &status["conflicts"]), (&json!(1), &json!(1), &json!(0)));
}

#[tokio::test]
async fn the_node_says_how_it_is() {
    let http = HttpOptions { revision: Some("1234abc"), ..HttpOptions::default() };
    let node = Node::alone(Setup { http, ..Setup::default() }).await;
    for (path, body) in [("/livez", "ok"), ("/readyz", "ok")] {
        let reply = node.get(path).await;
        assert_eq!((reply.status.as_u16(), &*reply.body), (200, body));
    }
    node.put("key", "value").await;
    let status = node.get("/status").await.json();
    let expected = [
        ("node", json!(0)),
        ("cluster", json!("test")),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("revision", json!("1234abc")),
        ("protocol", json!({"oldest": 1, "newest": 2})),
        ("members", json!(1)),
        ("keys", json!(1)),
        ("read_only", json!(false)),
        ("waiting_requests", json!(0)),
        ("delivery_buffer", json!({"ops": 0, "waits_for": []})),
        ("received_ops", json!({"total": 0, "redundant": 0, "pushes": 0})),
        ("peers", json!([])),
        ("incarnations", json!({"0": 1})),
        ("ancestry", json!({})),
    ];
    for (field, value) in expected {
        assert_eq!(status[field], value, "{status}");
    }
    assert_eq!(status["vector"].as_object().unwrap().values().collect::<Vec<_>>(), [&json!(1)]);
    assert!(status["disk_bytes"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn the_node_says_what_its_vector_includes_of_earlier_starts() {
    let node = Node::alone(Setup::default()).await;
    node.put("key", "value").await;
    let first = node.put("key", "changed").await;
    let node = Node::on(node.stop().await, 0, 1, Setup::default()).await;
    node.put("key", "once more").await;
    let status = node.get("/status").await.json();
    // The second start's only op implies the two of the first.
    let first = causeway::format::token::decode(&first).unwrap().wait.entries().next().unwrap();
    let [second] = &status["vector"].as_object().unwrap().keys().collect::<Vec<_>>()[..] else { panic!("{status}") };
    assert_eq!(status["incarnations"], json!({"0": 2}));
    assert_eq!(status["ancestry"], json!({ *second: [first.to_string()] }));
}

/// Any text can be a key and a value.
#[test]
fn any_text_survives_the_way_in_and_out() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let node = runtime.block_on(Node::alone(Setup::default()));
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    let texts = ("\\PC{1,40}|.{1,40}|[\\x00-\\x1f]{1,8}", ".{0,200}|\\PC{0,200}");
    let outcome = runner.run(&texts, |(key, value)| {
        runtime.block_on(async {
            let reply = node.set("", json!({ &*key: value }), &[]).await;
            prop_assert_eq!(reply.status.as_u16(), 200, "{}", reply.body);
            let query: String =
                percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC).collect();
            let reply = node.get(&format!("/read?key={query}")).await;
            prop_assert_eq!(&reply.body, &value);
            let many = node.read_many("", json!([key])).await.json();
            prop_assert_eq!(&many["values"][&key], &Value::from(value.clone()));
            let view = node.get(&format!("/read?resolve=all&key={query}")).await.json();
            prop_assert_eq!(&view["siblings"][0]["value"], &Value::from(value));
            Ok(())
        })
    });
    outcome.unwrap();
}

#[tokio::test]
async fn a_plus_sign_in_the_query_is_a_space() {
    let node = Node::alone(Setup::default()).await;
    node.set("", json!({"a b": "space", "a+b": "plus"}), &[]).await;
    for (query, value) in [("a+b", "space"), ("a%20b", "space"), ("a%2Bb", "plus")] {
        assert_eq!(node.get(&format!("/read?key={query}")).await.body, value, "{query}");
    }
}
