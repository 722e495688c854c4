//! Lists that change, node by node, with writes going on.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::group::{Config, Group};
use super::traffic::{Traffic, until_more};
use crate::commands::ask;
use crate::support::random::Random;
use crate::support::until;

/// The numbers in an order that the seed decides.
fn shuffled(ids: &[u32], random: &mut Random) -> Vec<u32> {
    let mut left = ids.to_vec();
    (0..ids.len()).map(|_| left.swap_remove(random.below(left.len() as u64) as usize)).collect()
}

/// Runs every node of the list with it, in some order, with a cut between some of them in the middle.
async fn change(group: &mut Group, order: &[u32], config: &Config, random: &mut Random) {
    let cut = shuffled(&config.list, random)[..2].to_vec();
    for (step, id) in order.iter().enumerate() {
        match step {
            1 => group.cut(&cut),
            step if step + 1 == order.len() => group.heal(),
            _ => {}
        }
        group.run(*id, config).await;
        // Ways that are new since the cut are cut, too.
        if (1..order.len() - 1).contains(&step) {
            group.cut(&cut);
        }
        until_more(group.api(*id), 20).await;
    }
    group.heal();
}

fn drain(port: u16) -> String {
    tokio::task::block_in_place(|| ask(port, &["drain", "--wait", "30"]).printed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_grows_and_shrinks_while_clients_write_and_ways_are_cut() {
    let seed = Random::seed("a_cluster_grows_and_shrinks");
    let mut random = Random::new(seed);
    let mut group = Group::start(&[0, 1, 2]).await;
    let traffic = Traffic::start(&group.doors, seed);
    until_more(group.api(0), 20).await;

    let five = [0, 1, 2, 3, 4];
    let order = shuffled(&five, &mut random);
    change(&mut group, &order, &Config::of(&five), &mut random).await;

    let order = shuffled(&five, &mut random);
    let (removed, left) = order.split_at(2);
    // Both are drained before either is stopped: the one has to get what the other has, too.
    for id in removed {
        group.close(*id).await;
        assert!(drain(group.port(*id)).contains("it can be stopped and removed"));
    }
    for id in removed {
        group.stop(*id).await;
    }
    let mut list = left.to_vec();
    list.sort();
    change(&mut group, left, &Config::without(&list, removed), &mut random).await;

    let written = traffic.stop().await;
    group.until_equal(&written).await;
    assert!(written.len() > 200, "{}", written.len());
    let port = group.port(list[0]);
    let agreed = async || {
        let run = tokio::task::block_in_place(|| ask(port, &["members"]));
        (run.code == Some(0)).then_some(run.out)
    };
    let shown = until(agreed, async || format!("{:?}", ask(port, &["members"]))).await;
    let ids = list.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    assert_eq!(shown.matches(&ids).count(), 3, "{shown}");
    assert!(shown.contains("nodes agree"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_is_replaced_by_one_of_another_id() {
    let mut group = Group::start(&[0, 1, 2]).await;
    group.api(2).set("of-the-old-one", "value").await;
    let traffic = Traffic::start(&group.doors, 7);
    until_more(group.api(2), 20).await;
    group.close(2).await;
    drain(group.port(2));
    group.stop(2).await;
    for id in [1, 3, 0] {
        group.run(id, &Config::without(&[0, 1, 3], &[2])).await;
        until_more(group.api(id), 20).await;
    }
    let mut written = traffic.stop().await;
    written.insert("of-the-old-one".to_owned());
    group.until_equal(&written).await;
    assert_eq!(group.api(3).read("of-the-old-one").await.as_deref(), Some("value"));
    let answer = group.api(3).patch("?acks=all", &json!({"key": "value"})).header("prefer", "wait=20");
    assert_eq!(answer.send().await.unwrap().status(), 200, "of the three that there are now");
}

/// The documented end of it: every op reaches every node that some way leads to, lists stay as they were configured, and it
/// is said where they differ.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_sides_of_a_partition_change_their_lists_differently() {
    let mut group = Group::start(&[0, 1, 2, 3]).await;
    group.api(3).set("before", "value").await;
    group.until_equal(&BTreeSet::from(["before".to_owned()])).await;
    group.cut(&[0, 1]);
    let traffic = Traffic::start(&group.doors, 7);
    let here = Config::without(&[0, 1, 2, 4], &[3]);
    let there = Config::of(&[0, 1, 2, 3, 5]);
    for (id, config) in [(0, &here), (4, &here), (3, &there), (5, &there), (1, &here), (2, &there)] {
        group.run(id, config).await;
        group.cut(&[0, 1, 4]);
    }
    for id in [4, 5] {
        until_more(group.api(id), 20).await;
    }
    group.heal();
    for id in 0..6 {
        until_more(group.api(id), 20).await;
    }
    let mut written = traffic.stop().await;
    written.insert("before".to_owned());
    group.until_equal(&written).await;

    let port = group.port(2);
    let members = async || {
        let run = tokio::task::block_in_place(|| ask(port, &["members", "--json"]));
        let report: Value = serde_json::from_str(&run.out).unwrap();
        let told: Vec<String> =
            report["disagreements"].as_array()?.iter().map(|text| text.as_str().unwrap().to_owned()).collect();
        let expected = [
            "nodes 0 and 1 do not list 3, nodes 2, 3 and 5 do",
            "nodes 0 and 1 name 3 as removed, and it is still listed",
            "nodes 2, 3 and 5 do not list 4, nodes 0 and 1 do",
            "nodes 0 and 1 do not list 5, nodes 2, 3 and 5 do",
        ];
        (told == expected && run.code == Some(1)).then_some(())
    };
    until(members, async || format!("{:?}", ask(port, &["members"]))).await;
    let status = group.api(0).status().await;
    assert_eq!(status["unknown_members"][0]["node"], 5, "{status}");
    assert_eq!((&status["removed"], &status["members"]), (&json!([3]), &json!(4)));
}
