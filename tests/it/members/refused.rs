//! Nodes that are not in the list of those they push to: removed ones are refused, unknown ones are not.

use std::collections::BTreeSet;

use causeway::format::facts::{self, Question};
use causeway::format::message;
use causeway::peers::FACTS_CALL;
use reqwest::Method;
use serde_json::{Value, json};

use super::group::{Config, Group};
use crate::commands::ask;
use crate::support::api::{Answer, Api};
use crate::support::until;

/// What a node knows of one of its peers.
async fn peer(api: &Api, id: u32) -> Value {
    let status = api.status().await;
    status["peers"].as_array().unwrap().iter().find(|peer| peer["node"] == id).cloned().unwrap_or_default()
}

/// What a node answers to a node that asks for its facts.
async fn asked_by(api: &Api, from: u32) -> Answer {
    let question = Question { cluster: "causeway".to_owned(), to: None, about: None, from: Some(from) };
    let request = api.request(Method::POST, FACTS_CALL).header("content-type", message::CONTENT_TYPE);
    let response = request.body(facts::encode_question(&question)).send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned() }
}

/// How many lines of a log say this.
fn lines(log: &str, text: &str) -> usize {
    log.lines().filter(|line| line.contains(text)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_refused_and_told_why_and_what_it_wrote_is_kept() {
    let mut group = Group::start(&[0, 1, 2]).await;
    group.api(2).set("drained", "value").await;
    assert!(ask(group.port(2), &["drain", "--wait", "30"]).printed().contains("node 2 is drained"));
    group.run(0, &Config::without(&[0, 1], &[2])).await;
    assert_eq!(group.api(0).read("drained").await.as_deref(), Some("value"));
    let answer = asked_by(group.api(0), 2).await;
    assert_eq!((answer.status, &*answer.body), (403, "node 0 names this node as removed"));
    assert_eq!(asked_by(group.api(0), 1).await.status, 200);
    // It was left running, and takes writes again.
    assert_eq!(ask(group.port(2), &["drain", "--undo"]).printed(), "node 2 takes writes\n");
    group.api(2).set("late", "value").await;
    group.api(0).until_reads("late", "value").await;

    let node2 = group.api(2).clone();
    let refusals = "causeway_pushes_total{outcome=\"removed\",peer=\"node0\"}";
    until(async || node2.metric(refusals).await.filter(|count| *count >= 5.0), async || group.log(2)).await;
    let told = async || (peer(&node2, 0).await["why"] == "node 0 names this node as removed").then_some(());
    until(told, async || node2.status().await.to_string()).await;
    let log = group.log(2);
    assert_eq!(lines(&log, "it takes nothing from this node any more"), 1, "{log}");
    let status = ask(group.port(2), &["status"]).printed();
    assert!(status.contains("node 0 names this node as removed"), "{status}");

    // With the other one gone, too, nothing of it arrives any more.
    group.run(1, &Config::without(&[0, 1], &[2])).await;
    let refused = async || (peer(&node2, 1).await["why"] == "node 1 names this node as removed").then_some(());
    until(refused, async || node2.status().await.to_string()).await;
    group.api(2).set("alone", "value").await;
    let run = ask(group.port(2), &["drain", "--wait", "1"]).failed(1);
    assert!(run.contains("node 0 (") && run.contains("lacks 1 op ") && run.contains("names this node"), "{run}");
    let kept = ["drained", "late"].map(str::to_owned).into();
    group.stop(2).await;
    group.until_equal(&kept).await;
    assert_eq!(group.api(0).read("alone").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_in_nobodys_list_is_taken_in_and_told_of() {
    let mut group = Group::start(&[0, 1, 2]).await;
    group.api(0).set("old", "value").await;
    group.run(3, &Config::of(&[0, 1, 2, 3])).await;
    group.api(3).set("new", "value").await;
    for id in 0..3 {
        group.api(id).until_reads("new", "value").await;
    }
    let status = group.api(0).status().await;
    assert_eq!((&status["unknown_members"][0]["node"], &status["members"]), (&json!(3), &json!(3)), "{status}");
    assert_eq!(group.api(0).metric("causeway_unknown_members").await, Some(1.0));
    let run = ask(group.port(0), &["members"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.out.contains("3, and nobody lists it") && run.err.contains("the nodes disagree"), "{run:?}");
    // It pushes on and on, and is told of once.
    let received = async || group.api(3).metric("causeway_pushes_total{outcome=\"ok\",peer=\"node0\"}").await;
    until(async || received().await.filter(|count| *count >= 5.0), async || group.log(3)).await;
    assert_eq!(lines(&group.log(0), "node 3 pushes to this node and is not in its CAUSEWAY_PEERS"), 1);
    assert_eq!(group.api(3).read("old").await, None, "nobody has it in his list yet");

    // One is enough for it to get everything.
    group.run(1, &Config::of(&[0, 1, 2, 3])).await;
    group.until_equal(&BTreeSet::from(["old".to_owned(), "new".to_owned()])).await;
    let port = group.port(1);
    let told =
        async || ask(port, &["members"]).out.contains("nodes 0 and 2 do not list 3, nodes 1 and 3 do").then_some(());
    until(told, async || ask(port, &["members"]).out).await;
    for id in [0, 2] {
        group.run(id, &Config::of(&[0, 1, 2, 3])).await;
    }
    let agreed = async || (ask(port, &["members"]).code == Some(0)).then_some(());
    until(agreed, async || ask(port, &["members"]).out).await;
    assert_eq!(group.api(0).status().await["unknown_members"], json!([]));
}
