//! `GET /watch`, asked over HTTP of nodes in this process; of processes, under faults, in [`faults`].

mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use causeway::causality::Dot;
use causeway::format::token;
use causeway::http::{HttpOptions, Limits};
use causeway::listen::ListenOptions;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::local::{Cluster, DEADLINE, Node, Reply, Setup};
use super::support::sse::{Event, Events};
use super::support::until;

/// A watch of a test.
struct Watch(Events);

impl Watch {
    /// With this query, which starts with `?` or is empty.
    async fn open(node: &Node, query: &str) -> Self {
        Self::open_with(node, query, None).await
    }

    async fn open_with(node: &Node, query: &str, last_event_id: Option<&str>) -> Self {
        let mut request = node.request(Method::GET, &format!("/watch{query}")).timeout(3 * DEADLINE);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        match Events::open(request).await.unwrap() {
            Ok(events) => Self(events),
            Err(response) => panic!("{response:?}"),
        }
    }

    /// The next event, of this name.
    async fn next(&mut self, name: &str) -> Event {
        let event = timeout(DEADLINE, self.0.next()).await.expect("an event in time").unwrap();
        let event = event.unwrap_or_else(|| panic!("the end, not {name}"));
        assert_eq!(event.name, name, "{event:?}");
        event
    }

    async fn end(&mut self) {
        assert_eq!(timeout(DEADLINE, self.0.next()).await.expect("an end in time").unwrap(), None);
    }
}

/// A node whose watches speak up when there is nothing else to say for this long.
async fn keeping_alive(keep_alive: Duration) -> Node {
    let http = HttpOptions { watch_keep_alive: keep_alive, ..HttpOptions::default() };
    Node::alone(Setup { http, ..Setup::default() }).await
}

/// Behind this op, at this place of a node's log.
fn cursor(node: &Node, position: u64, dot: &str) -> String {
    format!("{position}-{dot}-{}", node.handle.log_id())
}

async fn dot(node: &Node, values: Value) -> String {
    let reply = node.set("", values, &[]).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["dot"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_watch_begins_now_and_tells_what_its_prefix_becomes() {
    let node = Node::alone(Setup::default()).await;
    let before = node.set("", json!({"a/1": "before"}), &[]).await.json();
    let first = before["dot"].as_str().unwrap();
    let mut watch = Watch::open(&node, "?prefix=a/").await;
    let start = watch.next("start").await;
    assert_eq!(start.json(), json!({"node": 0, "context": before["context"]}));
    assert_eq!(start.cursor(), cursor(&node, 1, first));

    let second = dot(&node, json!({"a/1": "changed"})).await;
    let change = watch.next("change").await;
    let written_at = node.get("/read?key=a/1&resolve=all").await.json()["siblings"][0]["written_at"].clone();
    let entry = json!({"key": "a/1", "value": "changed", "replaces": [first]});
    let expected = json!({"dot": second, "node": 0, "written_at": written_at, "trace_id": null, "entries": [entry]});
    assert_eq!(change.json(), expected);
    assert_eq!(change.cursor(), cursor(&node, 2, &second));

    // Of several keys those of the prefix, and nothing of those that have none.
    dot(&node, json!({"b": "x", "a": "x"})).await;
    let several = dot(&node, json!({"a/2": "2", "b": "y", "a/1": null, "a/3": ""})).await;
    let change = watch.next("change").await;
    let entries = json!([
        {"key": "a/1", "value": null, "replaces": [second]},
        {"key": "a/2", "value": "2", "replaces": []},
        {"key": "a/3", "value": "", "replaces": []},
    ]);
    assert_eq!((&change.json()["dot"], &change.json()["entries"]), (&json!(several), &entries));
    assert_eq!(change.cursor(), cursor(&node, 4, &several));
}

#[tokio::test]
async fn a_change_names_what_it_replaces_and_the_trace_it_is_of() {
    let node = Node::alone(Setup::default()).await;
    let mut watch = Watch::open(&node, "").await;
    assert_eq!(watch.next("start").await.cursor(), "0");
    let empty = node.get("/read?key=k").await.context();
    let mut siblings = Vec::new();
    for value in ["one", "two"] {
        let reply = node.set("", json!({"k": value}), &[("causal-context", &empty)]).await;
        siblings.push(reply.json()["dot"].clone());
        assert_eq!(watch.next("change").await.json()["entries"][0]["replaces"], json!([]));
    }
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let traced = [("traceparent", &*format!("00-{trace}-b7ad6b7169203331-01"))];
    node.set("", json!({"k": "\"both\"\nline\u{2028}\r"}), &traced).await;
    let change = watch.next("change").await.json();
    assert_eq!(change["entries"][0]["replaces"], json!(siblings));
    assert_eq!(change["entries"][0]["value"], "\"both\"\nline\u{2028}\r");
    assert_eq!(change["trace_id"], trace);
    let not_recorded = [("traceparent", &*format!("00-{trace}-b7ad6b7169203331-00"))];
    let reply = node.set("", json!({"k": "v"}), &not_recorded).await;
    assert_eq!(watch.next("change").await.json()["trace_id"], Value::Null);
    let path = format!("/writes/{}", reply.json()["dot"].as_str().unwrap());
    assert_eq!(node.get(&path).await.json()["trace_id"], Value::Null);
}

#[tokio::test]
async fn a_watch_is_resumed_where_it_was_also_after_a_restart() {
    let mut node = Node::alone(Setup::default()).await;
    let mut watch = Watch::open(&node, "?prefix=k").await;
    let mut ids = vec![watch.next("start").await.cursor().to_owned()];
    let mut told = Vec::new();
    for number in 0..6 {
        dot(&node, json!({ format!("k{number}"): "v", "other": "v" })).await;
        let change = watch.next("change").await;
        ids.push(change.cursor().to_owned());
        told.push(change);
    }
    for restarted in [false, true] {
        for (index, id) in ids.iter().enumerate() {
            let by_query = Watch::open(&node, &format!("?prefix=k&after={id}")).await;
            let by_header = Watch::open_with(&node, "?prefix=k", Some(id)).await;
            let by_both = Watch::open_with(&node, "?prefix=k&after=0", Some(id)).await;
            for mut watch in [by_query, by_header, by_both] {
                assert_eq!(watch.next("start").await.cursor(), id);
                for expected in &told[index..] {
                    assert_eq!(watch.next("change").await, *expected, "after {id}, restarted: {restarted}");
                }
            }
        }
        drop(Watch::open(&node, "").await);
        node = Node::on(node.stop().await, 0, 1, Setup::default()).await;
    }
}

/// More than is kept decoded, so the beginning is read from the log.
#[tokio::test]
async fn all_of_a_long_log_is_told_and_then_what_comes() {
    let node = Node::alone(Setup::default()).await;
    let key = |number: u64| format!("{}{number}", if number.is_multiple_of(7) { "k" } else { "other" });
    let write = async |number| (dot(&node, json!({ key(number): "v" })).await.parse::<Dot>().unwrap(), key(number));
    let mut written = Vec::new();
    for first in (0..1500).step_by(100) {
        written.extend(join_all((first..first + 100).map(write)).await);
    }
    written.sort();
    let (mut all, mut some) = (Watch::open(&node, "?after=0").await, Watch::open(&node, "?after=0&prefix=k").await);
    let mut new = Watch::open(&node, "?prefix=k").await;
    for watch in [&mut all, &mut some, &mut new] {
        watch.next("start").await;
    }
    for number in 1500..1530 {
        written.push(write(number).await);
    }
    for (watch, prefix, from) in [(&mut all, "", 0), (&mut some, "k", 0), (&mut new, "k", 1500)] {
        for (dot, key) in written[from..].iter().filter(|(_, key)| key.starts_with(prefix)) {
            let change = watch.next("change").await.json();
            assert_eq!((&change["dot"], &change["entries"][0]["key"]), (&json!(dot.to_string()), &json!(key)));
        }
    }
}

#[tokio::test]
async fn who_watches_what_does_not_change_is_told_how_far_it_is() {
    let node = keeping_alive(Duration::from_millis(20)).await;
    let mut watch = Watch::open(&node, "?prefix=k").await;
    watch.next("start").await;
    let silent = watch.next("cursor").await;
    assert_eq!((silent.cursor(), &*silent.data), ("0", "{}"));
    let last = dot(&node, json!({"other": "v"})).await;
    let cursor = cursor(&node, 1, &last);
    while watch.next("cursor").await.cursor() != cursor {}
    // So it need not look at that again.
    dot(&node, json!({"k": "v"})).await;
    let mut resumed = Watch::open(&node, &format!("?prefix=k&after={cursor}")).await;
    assert_eq!(resumed.next("start").await.cursor(), cursor);
    assert!(resumed.next("change").await.cursor().starts_with("2-"));
}

#[tokio::test]
async fn head_answers_at_once_and_counts_for_nothing() {
    let http = HttpOptions { limits: Limits { watchers: 1, ..Limits::default() }, ..HttpOptions::default() };
    let node = Node::alone(Setup { http, ..Setup::default() }).await;
    for _ in 0..3 {
        let head = Reply::of(node.request(Method::HEAD, "/watch?prefix=k")).await;
        assert_eq!((head.status.as_u16(), head.header("content-type")), (200, Some("text/event-stream")));
        assert_eq!((head.header("cache-control"), head.header("content-length")), (Some("no-store"), None));
    }
    Watch::open(&node, "").await.next("start").await;
}

#[tokio::test]
async fn past_the_limit_a_watch_is_refused_until_another_ends() {
    let limits = Limits { watchers: 2, ..Limits::default() };
    let http = HttpOptions { limits, watch_keep_alive: Duration::from_millis(10), ..HttpOptions::default() };
    let node = Node::alone(Setup { http, ..Setup::default() }).await;
    let (mut kept, dropped) = (Watch::open(&node, "").await, Watch::open(&node, "").await);
    let refused = node.get("/watch").await;
    assert_eq!((refused.status.as_u16(), &*refused.problem()), (503, "overloaded"));
    assert_eq!((&refused.json()["limit"], refused.header("retry-after")), (&json!(2), Some("1")));
    drop(dropped);
    // It is noticed when something is sent to it.
    let request = || node.request(Method::GET, "/watch").timeout(DEADLINE);
    let opened = until(async || Events::open(request()).await.unwrap().ok(), async || "no room".to_owned()).await;
    assert_eq!(Watch(opened).next("start").await.cursor(), kept.next("start").await.cursor());
}

#[tokio::test]
async fn a_cursor_that_is_not_of_this_log_is_gone() {
    let node = Node::alone(Setup::default()).await;
    let first = dot(&node, json!({"k": "1"})).await;
    let other = Node::on_disk(1, 1, Setup::default()).await;
    let of_other = dot(&other, json!({"k": "1"})).await;
    let mut gone: Vec<String> = [2, 3, u64::MAX].map(|position| cursor(&node, position, &first)).into();
    gone.extend([cursor(&node, 1, &of_other), cursor(&other, 1, &of_other), cursor(&other, 1, &first)]);
    for cursor in gone {
        let reply = node.get(&format!("/watch?after={cursor}")).await;
        assert_eq!((reply.status.as_u16(), &*reply.problem()), (410, "cursor-gone"), "{cursor}");
        let reply = node.get_with("/watch?after=0", &[("last-event-id", &cursor)]).await;
        assert_eq!((reply.status.as_u16(), &*reply.problem()), (410, "cursor-gone"), "{cursor}");
    }
    // The same with a volume that was restored, and went another way since.
    let directory = node.stop().await;
    let copy = tempfile::tempdir().unwrap();
    let status = Command::new("cp").arg("-r").arg(directory.path().join(".")).arg(copy.path()).status().unwrap();
    assert!(status.success());
    let node = Node::on(directory, 0, 1, Setup::default()).await;
    let lost = dot(&node, json!({"k": "2"})).await;
    node.stop().await;
    let node = Node::on(copy, 0, 1, Setup::default()).await;
    let known = format!("/watch?after={}", cursor(&node, 2, &lost));
    assert_eq!(node.get(&known).await.problem(), "cursor-gone");
    dot(&node, json!({"k": "other"})).await;
    assert_eq!(node.get(&known).await.problem(), "cursor-gone");
    Watch::open(&node, &format!("?after={}", cursor(&node, 1, &first))).await.next("start").await;
}

/// Each got its own write first and then that of a third, which so has the same place in both.
#[tokio::test]
async fn a_cursor_of_another_node_is_gone_even_where_it_has_the_same_op_at_that_place() {
    let cluster = Cluster::of(3).await;
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        cluster.link(one, other, false);
    }
    cluster.nodes[0].put("a", "v").await;
    cluster.nodes[1].put("b", "v").await;
    let reply = cluster.nodes[2].set("", json!({"k": "v"}), &[]).await;
    let same = reply.json()["dot"].as_str().unwrap().to_owned();
    let context = token::decode(&reply.context()).unwrap();
    let mut cursors = Vec::new();
    for to in [0, 1] {
        let node = &cluster.nodes[to];
        cluster.link(2, to, true);
        node.handle.reached(&context.wait, DEADLINE).await.unwrap();
        cluster.link(2, to, false);
        let mut watch = Watch::open(node, "?after=0&prefix=k").await;
        watch.next("start").await;
        let cursor = watch.next("change").await.cursor().to_owned();
        assert!(cursor.starts_with(&format!("2-{same}")), "{cursor}");
        cursors.push(cursor);
    }
    for (node, cursor) in [(0, &cursors[1]), (1, &cursors[0])] {
        let reply = cluster.nodes[node].get(&format!("/watch?after={cursor}")).await;
        assert_eq!((reply.status.as_u16(), &*reply.problem()), (410, "cursor-gone"), "{cursor} at {node}");
        let own = &cursors[node];
        assert_eq!(Watch::open(&cluster.nodes[node], &format!("?after={own}")).await.next("start").await.cursor(), own);
    }
}

#[tokio::test]
async fn a_stop_ends_watches_at_once_and_says_so() {
    let listen = ListenOptions { stop_grace: DEADLINE, ..ListenOptions::default() };
    let node = Node::alone(Setup { listen, ..Setup::default() }).await;
    let mut watches = Vec::new();
    for _ in 0..5 {
        let mut watch = Watch::open(&node, "").await;
        watch.next("start").await;
        watches.push(watch);
    }
    // It would wait for them, and find them not cut.
    let stopped = tokio::spawn(node.stop());
    for watch in &mut watches {
        let closed = watch.next("closed").await;
        assert_eq!((closed.json(), closed.id), (json!({"reason": "stopping"}), None));
        watch.end().await;
    }
    stopped.await.unwrap();
}

/// So many events of almost two MiB are more than all buffers on the way take.
const VALUES: usize = 8;

#[tokio::test]
async fn who_does_not_take_what_there_is_is_told_that_it_is_too_slow() {
    let http = HttpOptions { watch_patience: Duration::from_millis(20), ..HttpOptions::default() };
    let node = Node::alone(Setup { http, ..Setup::default() }).await;
    // In JSON each byte of it takes six.
    let value = "\u{1}".repeat(300 << 10);
    for number in 0..VALUES {
        node.put(&number.to_string(), &value).await;
    }
    let mut pause = Duration::from_millis(200);
    loop {
        let mut watch = Watch::open(&node, "?after=0").await;
        tokio::time::sleep(pause).await;
        let start = watch.next("start").await;
        let (mut told, mut last) = (0, start.cursor().to_owned());
        let mut closed = None;
        while let (true, Some(event)) = (closed.is_none() && told < VALUES, watch.0.next().await.unwrap()) {
            match &*event.name {
                "change" => (told, last) = (told + 1, event.cursor().to_owned()),
                "closed" => closed = Some(event),
                other => panic!("{other}"),
            }
        }
        let Some(closed) = closed else {
            // It was not slow enough.
            pause *= 2;
            assert!(pause < DEADLINE);
            continue;
        };
        assert_eq!(closed.json(), json!({"reason": "too-slow"}));
        watch.end().await;
        // It goes on from there, and misses nothing.
        let key = told.to_string();
        let mut resumed = Watch::open(&node, &format!("?prefix={key}&after={last}")).await;
        resumed.next("start").await;
        assert_eq!(resumed.next("change").await.json()["entries"][0]["key"], key);
        return;
    }
}

/// What a client keeps of a prefix: key → dot → value.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mirror(BTreeMap<String, BTreeMap<String, String>>);

impl Mirror {
    /// All that a node holds, in a state that includes a context.
    async fn read(node: &Node, prefix: &str, context: &str) -> Self {
        let page = node.get_with(&format!("/keys?limit=1000&prefix={prefix}"), &[("causal-context", context)]).await;
        let mut mirror = Self::default();
        for key in page.json()["keys"].as_array().unwrap() {
            let key = key["key"].as_str().unwrap();
            let read = node.get_with(&format!("/read?resolve=all&key={key}"), &[("causal-context", context)]).await;
            let siblings = read.json()["siblings"].as_array().unwrap().clone();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let siblings = siblings.iter().map(|sibling| (text(&sibling["dot"]), text(&sibling["value"])));
            mirror.0.insert(key.to_owned(), siblings.collect());
        }
        mirror
    }

    fn apply(&mut self, change: &Value) {
        for entry in change["entries"].as_array().unwrap() {
            let key = entry["key"].as_str().unwrap();
            let siblings = self.0.entry(key.to_owned()).or_default();
            for replaced in entry["replaces"].as_array().unwrap() {
                siblings.remove(replaced.as_str().unwrap());
            }
            if let Some(value) = entry["value"].as_str() {
                siblings.insert(change["dot"].as_str().unwrap().to_owned(), value.to_owned());
            }
            if siblings.is_empty() {
                self.0.remove(key);
            }
        }
    }
}

/// What the documentation tells clients to do: watch, then read with the context of the start, then apply.
#[tokio::test]
async fn a_first_read_and_a_watch_make_a_copy_that_keeps_up() {
    let cluster = Cluster::of(2).await;
    let [node, other] = &cluster.nodes[..] else { panic!("two nodes") };
    let write = async |number: u32| {
        for (node, name) in [(node, "here"), (other, "there")] {
            let value = (number % 5 != 4).then(|| format!("{name}{number}"));
            let reply = node.set("", json!({ format!("k{}", number % 3): value, "other": "v" }), &[]).await;
            assert_eq!(reply.status, 200);
        }
    };
    let mut context = String::new();
    for number in 0..10 {
        cluster.link(0, 1, number % 4 < 2);
        write(number).await;
    }
    let mut watch = Watch::open(node, "?prefix=k").await;
    let start = watch.next("start").await;
    let began = start.json()["context"].as_str().unwrap().to_owned();
    // What is read may be later than where the watch begins: the changes between come again.
    for number in 10..20 {
        cluster.link(0, 1, number % 4 < 2);
        write(number).await;
    }
    let mut mirror = Mirror::read(node, "k", &began).await;
    for number in 20..30 {
        cluster.link(0, 1, number % 4 < 2);
        write(number).await;
    }
    cluster.link(0, 1, true);
    for node in [node, other] {
        context = node.set("", json!({"kend": format!("{}", node.address)}), &[]).await.context();
        cluster.all_reach(&context).await;
    }
    let mut dots = BTreeSet::new();
    while !mirror.0.get("kend").is_some_and(|end| end.values().any(|value| *value == other.address.to_string())) {
        let change = watch.next("change").await.json();
        assert!(dots.insert(change["dot"].to_string()), "twice: {change}");
        mirror.apply(&change);
    }
    let held = Mirror::read(node, "k", &context).await;
    assert_eq!(mirror, held);
    assert!(held.0.values().any(|siblings| siblings.len() > 1), "no siblings: {held:?}");
}
