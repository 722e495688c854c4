//! A node that is being drained.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::group::{Config, Group};
use crate::commands::ask;
use crate::support::api::send;
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_takes_no_writes_and_does_everything_else() {
    let mut group = Group::start(&[0, 1, 2]).await;
    group.api(0).set("own", "value").await;
    assert_eq!(group.api(0).get("/draining").await.json(), json!({"node": 0, "draining": false, "drain": null}));
    let printed = ask(group.port(0), &["drain"]).printed();
    assert!(printed.starts_with("node 0 is drained: ") && printed.lines().count() == 1, "{printed}");

    let node0 = group.api(0).clone();
    let refused = send(node0.patch("", &json!({"key": "value"}))).await.unwrap();
    assert_eq!((refused.status, refused.json()["type"].as_str()), (503, Some("/problems/draining")));
    assert_eq!(refused.header("retry-after"), Some("1"));
    let ready = node0.get("/readyz").await;
    assert_eq!((ready.status, ready.json()["type"].as_str()), (503, Some("/problems/draining")));
    assert_eq!(node0.get("/livez").await.status, 200);
    assert_eq!(node0.read("own").await.as_deref(), Some("value"));
    group.api(1).set("of-another", "value").await;
    node0.until_reads("of-another", "value").await;
    let status = node0.status().await;
    assert_eq!((&status["draining"]["done"], &status["draining"]["behind"]), (&json!(true), &json!([])), "{status}");
    // What another node was told just before is shown again for a moment.
    let port = group.port(1);
    let shown = async || {
        let shown = ask(port, &["status"]).printed();
        shown.lines().any(|line| line.starts_with("0     draining")).then_some(())
    };
    until(shown, async || ask(port, &["status"]).out).await;

    group.run(0, &Config::of(&[0, 1, 2])).await;
    group.api(0).set("again", "value").await;
    assert_eq!(group.api(0).status().await["draining"], Value::Null, "a restart ends it");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lacks_what_is_told_until_all_have_it() {
    let mut group = Group::start(&[0, 1, 2]).await;
    group.api(0).set("before", "value").await;
    group.until_equal(&BTreeSet::from(["before".to_owned()])).await;
    group.cut(&[2]);
    group.api(0).set("while", "it is cut").await;
    let port = group.port(0);
    let away = async || {
        let told = ask(port, &["drain", "--wait", "0.1"]).failed(1);
        (told.contains("node 2 (") && told.contains("lacks 1 op and has not answered since")).then_some(told)
    };
    let told = until(away, async || ask(port, &["drain", "--wait", "0"]).err).await;
    assert!(told.contains("It still takes no writes") && !told.contains("node 1 ("), "{told}");
    let json: Value = serde_json::from_str(&ask(port, &["drain", "--wait", "0", "--json"]).out).unwrap();
    assert_eq!((&json["drain"]["behind"][0]["node"], &json["drain"]["done"]), (&json!(2), &json!(false)), "{json}");
    group.heal();
    ask(port, &["drain", "--wait", "30"]).printed();
    assert_eq!(ask(port, &["drain", "--undo"]).printed(), "node 0 takes writes\n");
    group.api(0).set("after", "value").await;

    // One that had all and went away may have lost its disk.
    group.until_equal(&BTreeSet::from(["after".to_owned()])).await;
    group.stop(1).await;
    let away = async || {
        let told = ask(port, &["drain", "--wait", "0"]).err;
        told.contains("node 1 (").then_some(told)
    };
    let told = until(away, async || group.api(0).status().await.to_string()).await;
    assert!(told.contains("had all of it and has not answered since"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_is_never_drained() {
    let mut group = Group::start(&[0]).await;
    group.api(0).set("only", "here").await;
    let told = ask(group.port(0), &["drain"]).failed(1);
    assert!(told.contains("nobody else has what it has"), "{told}");
    let request = group.api(0).request(Method::PUT, "/draining").header("content-type", "application/json");
    let answer = send(request.body("{\"draining\": false}")).await.unwrap();
    assert_eq!(answer.json(), json!({"node": 0, "draining": false, "drain": null}));
    let several = ask(group.port(0), &["drain", "--node", "1"]).failed(2);
    assert!(several.contains("name one"), "{several}");
}
