//! Pages in the browser of somebody who can reach a node: they see nothing of it, and change nothing.

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use causeway::format::message;
use causeway::peers::CALL;

use crate::local;
use crate::support::api::{Answer, send};
use crate::support::free_ports;
use crate::support::process::{Launch, Process};

const JSON: &str = "application/json";
const WRITE: &str = r#"{"values": {"kept": "changed", "new": "value"}}"#;

/// What a page makes its reader's browser send.
struct Attack {
    name: &'static str,
    call: (&'static str, &'static str),
    /// Its own name, which leads to the node; else it uses the node's.
    host: Option<&'static str>,
    origin: Option<&'static str>,
    body: Option<(&'static str, &'static str)>,
    expected: (u16, &'static str),
}

const READ: (&str, &str) = ("GET", "/read?key=kept");
const SET: (&str, &str) = ("PATCH", "/set");
const DRAIN: (&str, &str) = ("PUT", "/draining");
const EVIL: &str = "evil.example:8000";
const EVIL_PAGE: &str = "http://evil.example:8000";

const fn attack(name: &'static str, call: (&'static str, &'static str), expected: (u16, &'static str)) -> Attack {
    Attack { name, call, host: None, origin: None, body: None, expected }
}

fn attacks() -> Vec<Attack> {
    let wrong_host = (421, "wrong-host");
    let cross_origin = (403, "cross-origin");
    let wrong_type = (415, "unsupported-content-type");
    let json = Some((JSON, WRITE));
    let rebound = |name, call| Attack { host: Some(EVIL), ..attack(name, call, wrong_host) };
    let rebound_write = |name, call, body| Attack { origin: Some(EVIL_PAGE), body, ..rebound(name, call) };
    let foreign = |name, call, body| Attack { origin: Some(EVIL_PAGE), body, ..attack(name, call, cross_origin) };
    let typed = |name, call, body| Attack { body: Some(body), ..attack(name, call, wrong_type) };
    vec![
        rebound("DNS rebinding: a read", READ),
        rebound("DNS rebinding: the keys", ("GET", "/keys")),
        rebound("DNS rebinding: a watch", ("GET", "/watch?prefix=")),
        rebound("DNS rebinding: a backup", ("GET", "/backup")),
        rebound("DNS rebinding: the status", ("GET", "/status")),
        rebound_write("DNS rebinding: a write", SET, json),
        rebound_write("DNS rebinding: a drain", DRAIN, Some((JSON, r#"{"draining": true}"#))),
        rebound_write("DNS rebinding: many keys", ("POST", "/read"), Some((JSON, r#"{"keys": ["kept"]}"#))),
        foreign("a write across origins", SET, json),
        foreign("the question whether that may be", ("OPTIONS", "/set"), None),
        foreign("a drain across origins", DRAIN, Some((JSON, r#"{"draining": true}"#))),
        Attack { origin: Some("null"), ..foreign("a write from a sandbox", SET, json) },
        Attack { origin: Some("http://127.0.0.1:1"), ..foreign("a write from another port", SET, json) },
        foreign("a form", ("POST", "/set"), Some(("application/x-www-form-urlencoded", "values=x"))),
        foreign("a form that is read as JSON", ("POST", "/read"), Some(("text/plain", r#"{"keys": ["kept"]}"#))),
        typed("a simple type, of a browser that names no origin", SET, ("text/plain", WRITE)),
        typed("a form's type", SET, ("application/x-www-form-urlencoded", WRITE)),
        typed("a form with files", SET, ("multipart/form-data; boundary=x", WRITE)),
        typed("a type that only begins as JSON's", SET, ("application/jsonx", WRITE)),
        typed("a type beside another", SET, ("text/plain, application/json", WRITE)),
        typed("a drain of a simple type", DRAIN, ("text/plain", r#"{"draining": true}"#)),
        Attack { expected: cross_origin, ..rebound_write("DNS rebinding: as a peer", ("POST", CALL), None) },
        foreign("as a peer, across origins", ("POST", CALL), Some((message::CONTENT_TYPE, ""))),
        Attack { origin: Some("http://localhost"), ..foreign("as a peer, from any page", ("POST", CALL), None) },
    ]
}

async fn run(node: &Process, attack: &Attack) -> Answer {
    let method = Method::from_bytes(attack.call.0.as_bytes()).unwrap();
    let mut request = node.api.request(method, attack.call.1);
    for (name, value) in [("host", attack.host), ("origin", attack.origin)] {
        request = value.into_iter().fold(request, |request, value| request.header(name, value));
    }
    if let Some((kind, body)) = attack.body {
        request = request.header("content-type", kind).body(body);
    }
    send(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_others_see_nothing_and_change_nothing() {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let node = Launch::by_arguments(directory.path(), 0, port, &[port]).start_ready().await;
    node.api.set("kept", "as it is").await;
    let document = local::document().await;
    for attack in attacks() {
        let name = attack.name;
        let answer = run(&node, &attack).await;
        let (status, kind) = attack.expected;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert_eq!(answer.json()["type"], format!("/problems/{kind}"), "{name}");
        assert!(!answer.body.contains("as it is"), "{name}");
        assert!(!answer.headers.keys().any(|header| header.as_str().starts_with("access-control-")), "{name}");
        let path = attack.call.1.split('?').next().unwrap();
        document.check(attack.call.0, path, status, |name| answer.header(name).map(str::to_owned), &answer.body);
    }
    assert_eq!(node.api.read("kept").await.as_deref(), Some("as it is"));
    assert_eq!(node.api.read("new").await, None);
    assert_eq!(node.api.status().await["draining"], Value::Null);
    for (reason, count) in [("wrong-host", 8.0), ("cross-origin", 7.0)] {
        let series = format!("causeway_client_refusals_total{{reason=\"{reason}\"}}");
        assert_eq!(node.api.metric(&series).await, Some(count), "{reason}");
    }
}

/// A page names an answer as its script; with that a browser sends no `Origin`. What is in a key or a value is the attacker's.
#[tokio::test(flavor = "multi_thread")]
async fn no_browser_takes_an_answer_for_a_script() {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let node = Launch::by_arguments(directory.path(), 0, port, &[port]).start_ready().await;
    node.api.set("script", "stolen = 1").await;
    for path in ["/read?key=script", "/read?key=none", "/read", "/keys", "/status", "/metrics", "/nothing", "/"] {
        let answer = node.api.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}: {answer:?}");
        assert_ne!(answer.header("content-type"), Some("text/javascript; charset=utf-8"), "{path}");
    }
}

/// A node is called by whatever leads to it, and its own page writes.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_meant_for_a_node_are_answered_to() {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let launch =
        Launch::by_arguments(directory.path(), 0, port, &[port]).with("CAUSEWAY_HOSTS", "kv.example.com,.edge");
    let node = launch.start_ready().await;
    for (host, origin) in [
        (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}")),
        (format!("localhost:{port}"), format!("http://localhost:{port}")),
        ("node0:8000".to_owned(), "http://node0:8000".to_owned()),
        ("node0.edge:8000".to_owned(), "http://node0.edge:8000".to_owned()),
        ("kv.example.com".to_owned(), "https://kv.example.com".to_owned()),
        ("node0:8000".to_owned(), "https://kv.example.com".to_owned()),
    ] {
        let write = node.api.patch("", &json!({"key": &host})).header("host", &host);
        assert_eq!(send(write.header("origin", &origin)).await.unwrap().status, 200, "{host}");
        let read = send(node.api.request(Method::GET, "/read?key=key").header("host", &host)).await.unwrap();
        assert_eq!((read.status, &read.body), (200, &host));
    }
}
