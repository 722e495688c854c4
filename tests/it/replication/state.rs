//! State transfer between nodes in this process, over real connections: what people and clients see of it, and what becomes
//! of it when the way is cut or one of them is started again.

use std::num::NonZeroU64;

use causeway::storage::{MemoryStorage, Storage};
use reqwest::Method;
use serde_json::Value;
use tokio::time::timeout;

use super::node::{Node, Plan, set_traced};
use crate::otlp::Collector;
use crate::support::sse::{Event, Events};
use crate::support::{PATIENCE, until};

const KEYS: usize = 200;
const VALUE_BYTES: usize = 2 << 10;

/// Two nodes, not started. The first has written keys, and its log does not have most of that any more; pieces go at a pace
/// that leaves time to look, of the whole some two seconds.
pub(super) async fn plan() -> Plan {
    let mut plan = Plan::of(2, true).await;
    for setup in &mut plan.setups {
        setup.memory = Some(MemoryStorage::new());
        setup.senders.state_bytes_per_second = NonZeroU64::new(((KEYS * VALUE_BYTES) / 2) as u64);
    }
    let node = plan.start_one(0).await;
    for key in 0..KEYS {
        node.api.set(&format!("key{key:03}"), &"v".repeat(VALUE_BYTES)).await;
    }
    node.stop().await;
    let storage = plan.setups[0].memory.clone().unwrap();
    storage.trim(storage.log_runs().last().unwrap().last).unwrap();
    plan
}

/// Waits until a node has got so many keys of the other's state, and not all; what it says of that.
async fn until_filling(node: &Node, keys: u64) -> Value {
    let filling = async || {
        let status = node.api.status().await;
        status["catching_up"]["keys"].as_u64().filter(|found| *found >= keys).map(|_| status["catching_up"].clone())
    };
    until(filling, async || node.api.status().await.to_string()).await
}

/// Waits until both have the same, so many other keys included.
pub(super) async fn until_same(nodes: &[Node], others: u64) {
    let has_all = |node: &Node| node.handle.status().view.totals.keys == KEYS as u64 + others;
    let same = async || (nodes.iter().all(has_all) && nodes[0].vector() == nodes[1].vector()).then_some(());
    until(same, async || format!("{}\n{}", nodes[0].api.status().await, nodes[1].api.status().await)).await;
    let mut found = Vec::new();
    for node in nodes {
        let shown = node.api.get("/fingerprint").await.json();
        found.push((shown["keys"].clone(), shown["fingerprint"].clone()));
    }
    assert_eq!(found[0], found[1]);
    for key in ["key000", "key099", "key199"] {
        assert_eq!(nodes[1].api.read(key).await.map(|value| value.len()), Some(VALUE_BYTES), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lacks_what_no_log_has_gets_the_whole_state_while_both_go_on() {
    let plan = plan().await;
    let nodes = plan.start().await;
    let (giver, filled) = (&nodes[0], &nodes[1]);
    let found = until_filling(filled, 1).await;
    assert_eq!((&found["peer"], &found["all_keys"]), (&0.into(), &KEYS.into()), "{found}");
    assert!(found["left_seconds"].as_f64().unwrap() > 0.0, "{found}");
    let sending = &giver.api.status().await["peers"][0]["state_transfer"];
    assert_eq!(sending["peer"], 1, "{sending}");

    // Nothing of it is shown before all of it is; both take writes, and reads say what is going on.
    for (path, status) in [("/read?key=key000", 404), ("/keys", 200), ("/conflicts", 200)] {
        let answer = filled.api.get(path).await;
        assert_eq!((answer.status, answer.header("causeway-catching-up")), (status, Some("1")), "{path}");
        assert_eq!(giver.api.get(path).await.header("causeway-catching-up"), None, "{path}");
    }
    filled.api.set("there", "meanwhile").await;
    giver.api.set("here", "meanwhile").await;
    assert_eq!(filled.api.read("there").await.as_deref(), Some("meanwhile"));

    until_same(&nodes, 2).await;
    for node in &nodes {
        for key in ["there", "here"] {
            assert_eq!(node.api.read(key).await.as_deref(), Some("meanwhile"), "{key}");
        }
    }
    let answer = filled.api.get("/read?key=key001").await;
    assert_eq!((answer.status, answer.header("causeway-catching-up")), (200, None));
    assert_eq!(filled.api.status().await["catching_up"], Value::Null);
    let ended = async || giver.api.status().await["peers"][0]["state_transfer"].is_null().then_some(());
    until(ended, async || giver.api.status().await.to_string()).await;
    let (sent, received) = (giver.handle.status().moved, filled.handle.status().moved);
    assert_eq!((sent.sent_keys, received.received_keys), (KEYS as u64, KEYS as u64));
    assert_eq!((sent.sent_bytes, received.received_bytes), (received.received_bytes, sent.sent_bytes));
    // One transfer did it, and from then on ops go as ever.
    assert_eq!(filled.handle.status().view.adoptions, 1);
    giver.api.set("after", "it").await;
    filled.api.until_reads("after", "it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_is_cut_in_the_middle_loses_nothing() {
    let plan = plan().await;
    let nodes = plan.start().await;
    for keys in [1, 60, 120] {
        until_filling(&nodes[1], keys).await;
        plan.cut_off(0);
        nodes[0].until_away(0).await;
        plan.heal();
    }
    until_same(&nodes, 0).await;
    let moved = nodes[0].handle.status().moved;
    assert!(moved.sent_keys < 2 * KEYS as u64, "it went on where it was: {moved:?}");
    assert_eq!(nodes[1].handle.status().view.adoptions, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_started_again_in_the_middle_begins_again() {
    for started_again in [0, 1] {
        let plan = plan().await;
        let mut nodes = plan.start().await;
        until_filling(&nodes[1], 60).await;
        nodes.remove(started_again).stop().await;
        nodes.insert(started_again, plan.start_one(started_again).await);
        until_same(&nodes, 0).await;
    }
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_of_a_write_tells_that_it_went_over_with_the_state() {
    let collector = Collector::bind("127.0.0.1:0").await;
    let mut plan = plan().await;
    for setup in &mut plan.setups {
        setup.collector = Some(collector.endpoint());
        setup.senders.state_bytes_per_second = None;
    }
    let giver = plan.start_one(0).await;
    set_traced(&giver.api, "traced", "value", TRACE).await;
    let nodes = [giver, plan.start_one(1).await];
    until_same(&nodes, 1).await;
    let trace = collector.until_trace_has(PATIENCE, TRACE, &[("node0", "replicate node1")]).await;
    let span = trace.iter().find(|span| span.name == "replicate node1").unwrap();
    let last = span.events.iter().max_by_key(|event| event.at).unwrap();
    assert_eq!((&*last.name, last.at), ("state-transfer", span.end), "{span:#?}");
}

/// A watch of a node.
async fn watch(node: &Node, query: &str) -> Events {
    let request = node.api.request(Method::GET, &format!("/watch{query}")).timeout(3 * PATIENCE);
    Events::open(request).await.unwrap().unwrap()
}

async fn next(events: &mut Events) -> Option<Event> {
    timeout(PATIENCE, events.next()).await.expect("an event in time").unwrap()
}

async fn next_named(events: &mut Events, name: &str) -> Event {
    let event = next(events).await.unwrap_or_else(|| panic!("the end, not {name}"));
    assert_eq!(event.name, name, "{event:?}");
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_end_where_a_state_came_and_begin_anew_behind_it() {
    let plan = plan().await;
    let nodes = plan.start().await;
    let (giver, filled) = (&nodes[0], &nodes[1]);
    until_filling(filled, 1).await;
    filled.api.set("own", "1").await;
    let mut events = watch(filled, "").await;
    let old = next_named(&mut events, "start").await;
    let reset = next_named(&mut events, "reset").await;
    assert_eq!((reset.id.as_deref(), &*reset.data), (None, "{}"));
    assert_eq!(next(&mut events).await, None, "it is the last");

    // What a watch had before is good for nothing here any more.
    for cursor in ["0", old.cursor()] {
        let refused = filled.api.get(&format!("/watch?after={cursor}")).await;
        assert_eq!((refused.status, &refused.json()["type"]), (410, &"/problems/cursor-gone".into()), "{cursor}");
    }
    // A new one begins where the state is, also when nothing came behind it yet, and can go on from there.
    let mut events = watch(filled, "").await;
    let start = next_named(&mut events, "start").await;
    let context = start.json()["context"].as_str().unwrap().to_owned();
    let read = filled.api.request(Method::GET, "/read?key=key100").header("causal-context", context);
    assert_eq!(read.send().await.unwrap().status(), 200);
    giver.api.set("after", "it").await;
    for events in [&mut events, &mut watch(filled, &format!("?after={}", start.cursor())).await] {
        let mut change = next(events).await.unwrap();
        while change.name == "start" || change.json()["entries"][0]["key"] == "own" {
            change = next(events).await.unwrap();
        }
        assert_eq!(change.json()["entries"][0]["key"], "after", "{change:?}");
    }
    // The giver's own watches go on.
    assert_eq!(giver.handle.status().view.adoptions, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_a_place_without_an_op_is_good_until_its_node_is_started_again() {
    let plan = plan().await;
    let nodes = plan.start().await;
    until_same(&nodes, 0).await;
    let start = next_named(&mut watch(&nodes[1], "").await, "start").await;
    let query = format!("?after={}", start.cursor());
    next_named(&mut watch(&nodes[1], &query).await, "start").await;
    for (index, node) in nodes.into_iter().enumerate() {
        if index == 1 {
            node.stop().await;
        }
    }
    let again = plan.start_one(1).await;
    assert_eq!(again.api.get(&format!("/watch{query}")).await.status, 410);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_what_was_dropped_from_the_log_is_gone() {
    let mut plan = Plan::of(1, true).await;
    let storage = MemoryStorage::new();
    plan.setups[0].memory = Some(storage.clone());
    let node = plan.start_one(0).await;
    let mut events = watch(&node, "").await;
    let mut cursors = vec![next_named(&mut events, "start").await];
    for key in ["a", "b", "c", "d"] {
        node.api.set(key, "1").await;
        cursors.push(next_named(&mut events, "change").await);
    }
    storage.trim(storage.log_runs()[1].last).unwrap();
    let mut answers = Vec::new();
    for cursor in &cursors {
        let request = node.api.request(Method::GET, &format!("/watch?after={}", cursor.cursor()));
        answers.push(request.send().await.unwrap().status().as_u16());
    }
    assert_eq!(answers, [410, 410, 410, 200, 200], "what comes behind `b` is there, `b` itself is not");
    node.api.set("e", "1").await;
    assert_eq!(next_named(&mut events, "change").await.json()["entries"][0]["key"], "e", "who has come so far goes on");
}
