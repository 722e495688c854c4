//! Clients of a node that asks for tokens: without the right one they see nothing and change nothing; and how tokens are
//! exchanged.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::local;
use crate::support::api::{Answer, Api, send};
use crate::support::process::{Launch, Process, causeway};
use crate::support::sse::{Event, Events};
use crate::support::tokens::{Issued, issue, write};
use crate::support::{PATIENCE, free_ports, until};

struct World {
    node: Process,
    shop: Issued,
    reader: Issued,
    ops: Issued,
    root: Issued,
    path: PathBuf,
    port: u16,
    _directory: TempDir,
}

impl World {
    async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("tokens");
        let shop = issue(&["shop", "--scope", "read,write", "--prefix", "cart/", "--prefix", "user/"]);
        let reader = issue(&["reader", "--scope", "read"]);
        let ops = issue(&["ops", "--scope", "status"]);
        let root = issue(&["root", "--scope", "read,write,status,admin"]);
        write(&path, &[&shop, &reader, &ops, &root]);
        let [port] = free_ports();
        let launch = Launch::by_arguments(directory.path(), 0, port, &[port]);
        let node = launch.with("CAUSEWAY_TOKENS_FILE", path.to_str().unwrap()).start_ready().await;
        let world = Self { node, shop, reader, ops, root, path, port, _directory: directory };
        let kept = json!({"cart/1": "in reach", "private": "out of reach"});
        assert_eq!(set(&world.node.api, Some(&world.root.token), &kept).await.status, 200);
        world
    }

    async fn ask(&self, token: Option<&str>, method: &str, path: &str, body: Option<&str>) -> Answer {
        ask(&self.node.api, token, method, path, body).await
    }
}

async fn ask(api: &Api, token: Option<&str>, method: &str, path: &str, body: Option<&str>) -> Answer {
    let mut request = api.request(Method::from_bytes(method.as_bytes()).unwrap(), path);
    request =
        token.into_iter().fold(request, |request, token| request.header("authorization", format!("Bearer {token}")));
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    send(request).await.unwrap()
}

async fn set(api: &Api, token: Option<&str>, values: &Value) -> Answer {
    ask(api, token, "PATCH", "/set", Some(&json!({ "values": values }).to_string())).await
}

const ONE_OUTSIDE: &str = r#"{"values": {"cart/2": "x", "private": "x"}}"#;
const CALLS: [(&str, &str); 18] = [
    ("GET", "/read?key=private"),
    ("POST", "/read"),
    ("PATCH", "/set"),
    ("GET", "/keys"),
    ("GET", "/watch"),
    ("GET", "/conflicts"),
    ("GET", "/fingerprint"),
    ("GET", "/backup"),
    ("GET", "/writes/0.00c0ffee00c0ffee.7"),
    ("GET", "/status"),
    ("GET", "/cluster"),
    ("GET", "/cluster/events"),
    ("GET", "/pending?peer=1"),
    ("GET", "/latency"),
    ("GET", "/metrics"),
    ("GET", "/draining"),
    ("PUT", "/draining"),
    ("DELETE", "/nothing"),
];

/// Whose it is, a token, a call with its body, the status that it gets, and a member that the problem has.
type Attack<'a> = (&'a str, Option<&'a str>, &'a str, &'a str, Option<&'a str>, u16, &'a str);

/// What who has no token tries.
fn without_a_token(world: &World) -> Vec<Attack<'_>> {
    let shop = &*world.shop.token;
    let hash = world.shop.line.rsplit(' ').next().unwrap();
    let cut = &shop[..shop.len() - 1];
    let mut attacks = Vec::new();
    for (method, path) in CALLS {
        let body = (method != "GET").then_some(ONE_OUTSIDE);
        for (name, token) in [("none", None), ("a wrong one", Some("x")), ("a hash", Some(hash)), ("cut", Some(cut))] {
            attacks.push((name, token, method, path, body, 401, ""));
        }
    }
    attacks
}

/// What who has a token tries that is not for that.
fn beyond_a_token(world: &World) -> Vec<Attack<'_>> {
    let (shop, reader, ops) = (&*world.shop.token, &*world.reader.token, &*world.ops.token);
    let mut attacks = Vec::new();
    let draining = Some(r#"{"draining": true}"#);
    let one_key = Some(r#"{"keys": ["private"]}"#);
    let two_keys = Some(r#"{"keys": ["cart/1", "private"]}"#);
    let mut attack =
        |token, method, path, body, member| attacks.push(("", Some(token), method, path, body, 403, member));
    attack(reader, "PATCH", "/set", Some(ONE_OUTSIDE), "scope");
    attack(ops, "GET", "/read?key=private", None, "scope");
    attack(ops, "POST", "/read", one_key, "scope");
    attack(ops, "GET", "/keys", None, "scope");
    attack(ops, "GET", "/pending?peer=1", None, "scope");
    attack(ops, "PUT", "/draining", draining, "scope");
    for (method, path, body) in [
        ("GET", "/status", None),
        ("GET", "/metrics", None),
        ("GET", "/cluster/events", None),
        ("GET", "/backup", None),
        ("PUT", "/draining", draining),
    ] {
        attack(reader, method, path, body, "scope");
        attack(shop, method, path, body, "scope");
    }
    attack(shop, "GET", "/read?key=private", None, "key");
    attack(shop, "HEAD", "/read?key=private", None, "");
    attack(shop, "POST", "/read", two_keys, "key");
    attack(shop, "PATCH", "/set", Some(r#"{"values": {"private": null}}"#), "key");
    attack(shop, "PATCH", "/set", Some(ONE_OUTSIDE), "key");
    for path in ["/keys", "/keys?prefix=c", "/keys?prefix=private", "/conflicts", "/watch", "/watch?prefix=cart"] {
        attack(shop, "GET", path, None, "prefix");
    }
    for path in ["/fingerprint", "/writes/0.00c0ffee00c0ffee.7", "/pending?peer=1"] {
        attack(shop, "GET", path, None, "");
    }
    attacks
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_token_nothing_is_seen_and_nothing_changed() {
    let world = World::start().await;
    let document = local::document().await;
    let (shop, ops) = (&*world.shop.token, &*world.ops.token);
    let attacks = without_a_token(&world).into_iter().chain(beyond_a_token(&world));
    for (name, token, method, path, body, status, member) in attacks {
        let answer = world.ask(token, method, path, body).await;
        let shown = format!("{name} {method} {path}: {answer:?}");
        assert_eq!(answer.status, status, "{shown}");
        assert_eq!(answer.header("www-authenticate"), (status == 401).then_some("Bearer"), "{shown}");
        assert!(!answer.body.contains(shop) && !answer.body.contains("reach"), "{shown}");
        document.check(
            method,
            path.split('?').next().unwrap(),
            status,
            |name| answer.header(name).map(str::to_owned),
            &answer.body,
        );
        if method != "HEAD" {
            let kind = if status == 401 { "not-authenticated" } else { "not-allowed" };
            assert_eq!(answer.json()["type"], format!("/problems/{kind}"), "{shown}");
            assert!(member.is_empty() || answer.json()[member].is_string(), "{shown}");
        }
    }
    let root = Some(&*world.root.token);
    let keys = world.ask(root, "GET", "/keys", None).await.json();
    assert_eq!(keys["keys"], json!([{"key": "cart/1", "siblings": 1}, {"key": "private", "siblings": 1}]));
    assert_eq!(world.ask(root, "GET", "/read?key=private", None).await.body, "out of reach");
    assert_eq!(world.ask(root, "GET", "/status", None).await.json()["draining"], Value::Null);
    let metrics = world.ask(Some(ops), "GET", "/metrics", None).await.body;
    assert!(metrics.contains("causeway_client_refusals_total{reason=\"not-authenticated\"} 72\n"), "{metrics}");
    for issued in [&world.shop, &world.reader, &world.ops, &world.root] {
        assert!(!world.node.log().contains(&issued.token) && !metrics.contains(&issued.token));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_right_token_everything_goes_on_as_without() {
    let world = World::start().await;
    let (shop, ops) = (Some(&*world.shop.token), Some(&*world.ops.token));
    let root = Some(&*world.root.token);
    assert_eq!(set(&world.node.api, shop, &json!({"cart/2": "x", "user/1": "y"})).await.status, 200);
    for (token, method, path, body) in [
        (None, "GET", "/livez", None),
        (None, "GET", "/readyz", None),
        (None, "GET", "/openapi.json", None),
        (None, "GET", "/", None),
        (shop, "GET", "/read?key=cart/2", None),
        (shop, "POST", "/read", Some(r#"{"keys": ["cart/1", "user/1"]}"#)),
        (shop, "GET", "/keys?prefix=cart/", None),
        (shop, "GET", "/conflicts?prefix=user/x", None),
        (ops, "GET", "/status", None),
        (ops, "GET", "/cluster", None),
        (ops, "GET", "/draining", None),
        (root, "GET", "/fingerprint", None),
        (root, "GET", "/backup", None),
        (root, "PUT", "/draining", Some(r#"{"draining": false}"#)),
    ] {
        let request = world.node.api.request(Method::from_bytes(method.as_bytes()).unwrap(), path);
        let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
        let request = body
            .into_iter()
            .fold(request.header("content-type", "application/json"), |request, body| request.body(body));
        assert_eq!(request.send().await.unwrap().status(), 200, "{method} {path}");
    }
    // Commands take it from their environment, or from a file that it names.
    let file = world.path.with_file_name("own");
    fs::write(&file, format!("{}\n", world.shop.token)).unwrap();
    for (name, value, code) in [
        ("CAUSEWAY_TOKEN", &*world.shop.token, 0),
        ("CAUSEWAY_TOKEN_FILE", file.to_str().unwrap(), 0),
        ("CAUSEWAY_TOKEN", "causeway_wrong", 3),
        ("CAUSEWAY_TOKEN", "", 3),
    ] {
        let mut command = causeway();
        command.args(["get", "cart/1", "--node", &world.port.to_string()]).env(name, value);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}: {output:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("causeway_wrong"), "{output:?}");
    }
}

/// A token is exchanged under load: while both are known none is refused, and then the old one is.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_exchanged_under_writes_without_one_that_fails() {
    let world = World::start().await;
    let next = issue(&["shop", "--scope", "read,write", "--prefix", "cart/"]);
    let token = Arc::new(std::sync::Mutex::new(Some(world.shop.token.clone())));
    let written = Arc::new(AtomicUsize::new(0));
    let writer = {
        let (api, token, written) = (world.node.api.clone(), token.clone(), written.clone());
        tokio::spawn(async move {
            loop {
                let Some(token) = token.lock().unwrap().clone() else { return };
                let number = written.load(Ordering::SeqCst);
                let answer = set(&api, Some(&token), &json!({"cart/load": number.to_string()})).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                written.store(number + 1, Ordering::SeqCst);
            }
        })
    };
    let goes_on = async || {
        let before = written.load(Ordering::SeqCst);
        let grown = async || (writer.is_finished() || written.load(Ordering::SeqCst) > before + 20).then_some(());
        until(grown, async || format!("{before} writes, and no more")).await;
    };
    let read_anew = async |times: usize| {
        let taken =
            async || (world.node.log().matches("tokens of clients were read anew").count() == times).then_some(());
        until(taken, async || world.node.log()).await;
    };
    goes_on().await;
    write(&world.path, &[&world.shop, &next, &world.root]);
    read_anew(1).await;
    goes_on().await;
    *token.lock().unwrap() = Some(next.token.clone());
    goes_on().await;
    write(&world.path, &[&next, &world.root]);
    read_anew(2).await;
    goes_on().await;
    assert_eq!(world.ask(Some(&world.shop.token), "GET", "/read?key=cart/1", None).await.status, 401);
    // What can't be used changes nothing, and is told.
    fs::write(&world.path, &next.token).unwrap();
    let said = "the file with the tokens of clients has other than the four parts";
    until(async || world.node.log().contains(said).then_some(()), async || world.node.log()).await;
    goes_on().await;
    *token.lock().unwrap() = None;
    writer.await.unwrap();
    assert!(!world.node.log().contains(&next.token) && !world.node.log().contains(&world.shop.token));
}

/// The events of a stream until it ends.
async fn all_of(mut events: Events) -> Vec<(String, String)> {
    let mut all = Vec::new();
    while let Some(Event { name, data, .. }) = timeout(PATIENCE, events.next()).await.expect("an end").unwrap() {
        all.push((name, data));
    }
    all
}

/// Who watches with a token that is taken away, or from which something is taken, is told nothing more.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_with_a_token_ends_with_it() {
    let world = World::start().await;
    let watch = async |path: &str, token: &str| {
        let request = world.node.api.request(Method::GET, path).bearer_auth(token);
        Events::open(request).await.unwrap().unwrap()
    };
    let of_shop = watch("/watch?prefix=cart/", &world.shop.token).await;
    let of_reader = watch("/watch?prefix=cart/", &world.reader.token).await;
    let of_ops = watch("/cluster/events", &world.ops.token).await;
    let mut of_root = watch("/watch?prefix=cart/", &world.root.token).await;
    let less = Issued { line: world.shop.line.replace("cart/,", ""), token: world.shop.token.clone() };
    assert_ne!(less.line, world.shop.line);
    write(&world.path, &[&less, &world.root]);
    let taken = async || world.node.log().contains("tokens of clients were read anew").then_some(());
    until(taken, async || world.node.log()).await;
    assert_eq!(set(&world.node.api, Some(&world.root.token), &json!({"cart/2": "secret"})).await.status, 200);
    let withdrawn = ("closed".to_owned(), r#"{"reason":"token-withdrawn"}"#.to_owned());
    for (events, first) in [(of_shop, "start"), (of_reader, "start"), (of_ops, "cluster")] {
        let all = all_of(events).await;
        assert_eq!((&*all[0].0, all.last()), (first, Some(&withdrawn)), "{all:?}");
        assert!(all.iter().all(|(_, data)| !data.contains("secret")), "{all:?}");
    }
    for name in ["start", "change"] {
        let event = timeout(PATIENCE, of_root.next()).await.expect("an event").unwrap().unwrap();
        assert_eq!(event.name, name);
    }
}
