//! Siblings: how they come about, how they show, how they are settled.

use serde_json::json;

use crate::local::{Cluster, DEADLINE, Node, Setup};

/// Two nodes that both wrote `key` while they could not hear each other, and hear each other again.
async fn conflict() -> Cluster {
    let cluster = Cluster::of(2).await;
    cluster.link(0, 1, false);
    let left = cluster.nodes[0].put("key", "left").await;
    let right = cluster.nodes[1].put("key", "right").await;
    cluster.link(0, 1, true);
    cluster.all_reach(&left).await;
    cluster.all_reach(&right).await;
    cluster
}

#[tokio::test]
async fn after_a_partition_each_node_shows_the_other_sides_write_and_says_so() {
    let cluster = conflict().await;
    for (node, shown, other) in [(0, "right", "left"), (1, "left", "right")] {
        let reply = cluster.nodes[node].get("/read?key=key").await;
        assert_eq!((&*reply.body, reply.header("causeway-siblings")), (shown, Some("2")));
        assert_eq!(cluster.nodes[node].siblings("key").await, [shown, other]);
    }
}

#[tokio::test]
async fn newest_is_the_same_everywhere() {
    let cluster = conflict().await;
    let mut shown = Vec::new();
    for node in &cluster.nodes {
        let reply = node.get("/read?key=key&resolve=newest").await;
        assert_eq!(reply.header("causeway-siblings"), Some("2"));
        // As JSON it comes first.
        let view = node.get_with("/read?key=key&resolve=newest", &[("Accept", "application/json")]).await.json();
        assert_eq!(view["siblings"][0]["value"], reply.body);
        shown.push(reply.body);
    }
    assert_eq!(shown[0], shown[1]);
}

#[tokio::test]
async fn a_write_with_the_context_of_a_read_settles_it_everywhere() {
    let cluster = conflict().await;
    let seen = cluster.nodes[0].get("/read?key=key").await.context();
    let reply = cluster.nodes[0].set("", json!({"key": "settled"}), &[("Causal-Context", &seen)]).await;
    assert_eq!(reply.status, 200);
    cluster.all_reach(&reply.context()).await;
    for node in &cluster.nodes {
        assert_eq!(node.siblings("key").await, ["settled"]);
    }
}

#[tokio::test]
async fn a_write_without_a_context_replaces_all_that_its_node_holds() {
    let cluster = conflict().await;
    let context = cluster.nodes[1].put("key", "plain").await;
    cluster.all_reach(&context).await;
    for node in &cluster.nodes {
        assert_eq!(node.siblings("key").await, ["plain"]);
    }
}

#[tokio::test]
async fn a_context_limits_what_is_replaced_and_held_lifts_that() {
    let node = Node::alone(Setup::default()).await;
    let nothing = node.get("/read?key=key").await.context();
    node.put("key", "unseen").await;
    let with_nothing = [("Causal-Context", &*nothing)];
    node.set("", json!({"key": "beside"}), &with_nothing).await;
    assert_eq!(node.siblings("key").await, ["beside", "unseen"]);
    node.set("?replaces=seen", json!({"key": "also beside"}), &with_nothing).await;
    assert_eq!(node.siblings("key").await, ["also beside", "beside", "unseen"]);
    node.set("?replaces=held", json!({"key": "all gone"}), &with_nothing).await;
    assert_eq!(node.siblings("key").await, ["all gone"]);
}

/// A client that passes on what its writes return never piles up siblings of its own, and never replaces what
/// it did not see.
#[tokio::test]
async fn the_context_of_a_write_covers_that_write_and_no_more() {
    let node = Node::alone(Setup::default()).await;
    let mut mine = node.get("/read?key=key").await.context();
    node.put("key", "someone else's").await;
    for turn in 0..20 {
        let reply = node.set("", json!({"key": format!("mine {turn}")}), &[("Causal-Context", &mine)]).await;
        assert_eq!(reply.status, 200);
        mine = reply.context();
    }
    assert_eq!(node.siblings("key").await, ["mine 19", "someone else's"]);
}

#[tokio::test]
async fn a_delete_removes_what_it_has_seen_and_loses_to_what_it_has_not() {
    let node = Node::alone(Setup::default()).await;
    node.put("key", "seen").await;
    let seen = node.get("/read?key=key").await.context();
    let nothing_more = [("Causal-Context", &*seen)];
    node.set("", json!({"key": "beside"}), &[("Causal-Context", &*seen)]).await;
    assert_eq!(node.siblings("key").await, ["beside"], "it replaced what was seen");
    node.set("", json!({"key": null}), &nothing_more).await;
    assert_eq!(node.siblings("key").await, ["beside"], "the delete did not know of it");
    node.set("", json!({"key": null}), &[]).await;
    assert_eq!(node.siblings("key").await, Vec::<String>::new());
}

#[tokio::test]
async fn one_sibling_too_many_is_refused_with_a_way_out() {
    let node = Node::alone(Setup { max_siblings: 2, ..Setup::default() }).await;
    let nothing = node.get("/read?key=key").await.context();
    let with_nothing = [("Causal-Context", &*nothing)];
    for value in ["one", "two"] {
        assert_eq!(node.set("", json!({"key": value}), &with_nothing).await.status, 200);
    }
    let reply = node.set("", json!({"key": "three"}), &with_nothing).await;
    assert_eq!((reply.status.as_u16(), &*reply.problem()), (409, "too-many-siblings"));
    let problem = reply.json();
    assert_eq!((&problem["key"], &problem["siblings"], &problem["limit"]), (&json!("key"), &json!(2), &json!(2)));
    assert_eq!(node.siblings("key").await, ["two", "one"]);

    let seen = node.get("/read?key=key").await.context();
    assert_eq!(node.set("", json!({"key": "settled"}), &[("Causal-Context", &seen)]).await.status, 200);
    assert_eq!(node.siblings("key").await, ["settled"]);
}

#[tokio::test]
async fn a_view_that_would_be_too_large_says_what_it_left_out() {
    let mut setup = Setup::default();
    setup.http.limits.answer_bytes = 25;
    let node = Node::alone(setup).await;
    let nothing = node.get("/read?key=key").await.context();
    for letter in ["a", "b", "c", "d"] {
        node.set("", json!({"key": letter.repeat(10)}), &[("Causal-Context", &nothing)]).await;
    }
    let view = node.get("/read?key=key&resolve=all").await.json();
    let values: Vec<_> = view["siblings"].as_array().unwrap().iter().map(|sibling| &sibling["value"]).collect();
    assert_eq!(values, ["dddddddddd", "cccccccccc"]);
    assert_eq!(view["left_out"], 2);
    // The first value is there however large it is.
    node.put("large", &"x".repeat(1000)).await;
    assert_eq!(node.siblings("large").await, ["x".repeat(1000)]);
}

#[tokio::test]
async fn arrival_order_survives_a_restart() {
    let node = Node::alone(Setup::default()).await;
    let nothing = node.get("/read?key=key").await.context();
    for value in ["first", "second", "third"] {
        node.set("", json!({"key": value}), &[("Causal-Context", &nothing)]).await;
    }
    let before = node.get("/read?key=key&resolve=all").await.json()["siblings"].clone();
    let directory = node.stop().await;
    let node = Node::on(directory, 0, 1, Setup::default()).await;
    assert_eq!(node.get("/read?key=key").await.body, "third");
    assert_eq!(node.get("/read?key=key&resolve=all").await.json()["siblings"], before);
}

#[tokio::test]
async fn acknowledgements_are_waited_for_as_long_as_asked() {
    let cluster = Cluster::of(3).await;
    let node = &cluster.nodes[0];
    let wait = format!("wait={}", DEADLINE.as_secs());
    let patient = [("Prefer", &*wait)];
    let reply = node.set("?acks=all", json!({"key": "everywhere"}), &patient).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["durable_on"]), (200, &json!([0, 1, 2])));

    cluster.link(0, 2, false);
    cluster.link(1, 2, false);
    let reply = node.set("?acks=majority", json!({"key": "on two"}), &patient).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["durable_on"]), (200, &json!([0, 1])));
    let reply = node.set("?acks=2", json!({"key": "on two"}), &patient).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["durable_on"]), (200, &json!([0, 1])));

    // It is told as soon as the time is up, and goes on replicating.
    let reply = node.set("?acks=all", json!({"key": "late"}), &[("Prefer", "wait=0.3")]).await;
    assert_eq!(reply.status, 202);
    assert_eq!(reply.json()["durable_on"].as_array().unwrap()[0], 0);
    assert!(reply.json()["durable_on"].as_array().unwrap().len() < 3);
    assert_eq!(reply.json()["context"], reply.context());
    assert_eq!(node.get("/read?key=key").await.body, "late");
    cluster.link(0, 2, true);
    cluster.all_reach(&reply.context()).await;
    assert_eq!(cluster.nodes[2].get("/read?key=key").await.body, "late");

    let reply = node.set("?acks=4", json!({"key": "nowhere"}), &[]).await;
    assert_eq!((reply.status.as_u16(), &*reply.problem()), (422, "too-many-acks"));
    assert_eq!(reply.json()["limit"], 3);
}
