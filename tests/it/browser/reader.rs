//! For somebody who has never seen the page: pictures of a partition, questions, and the answers by what was done.

use std::fs;

use serde_json::Value;

use super::driver::{Browser, kept};
use super::settle::conflict;
use crate::support::cluster::Cluster;
use crate::support::until;

const QUESTIONS: &str = "\
Look at reader-cluster.png, reader-heal.png and reader-conflicts.png: three pictures of one page, made one after the other.
Answer from them alone.

1. Which node is cut off?
2. Since when?
3. How much waits for it, from the node whose page this is?
4. Which keys hold conflicting values?
5. Who wrote each of these values?
";

const CONFLICTS: [(&str, [&str; 2]); 2] =
    [("cart/4711", ["2 apples, 1 pear", "3 apples"]), ("flags/new-checkout", ["on", "off"])];

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_for_a_reader() {
    let Some(browser) = Browser::start().await else { return };
    let cluster = Cluster::linked().await;
    for (key, values) in CONFLICTS {
        conflict(&cluster, key, values).await;
    }
    cluster.until_equal(2 * CONFLICTS.len() as u64).await;
    cluster.until_acknowledged().await;
    browser.open(&cluster.nodes[0], "/").await;
    browser.until("#verdict", "Every link is up. 2 keys have conflicting values.").await;
    browser.until("[aria-labelledby=nodes-title] tr[data-key='1']", "now").await;
    cluster.cut_off(1);
    for number in 0..128 {
        cluster.api(0).set(&format!("order/{}", 5_000 + number), "paid, to be sent").await;
    }
    let to_node1 = async || {
        let status = cluster.api(0).status().await;
        let peer = status["peers"].as_array()?.iter().find(|peer| peer["node"] == 1)?.clone();
        (peer["away_since"].is_string() && peer["ops_to_ship"] == 128).then_some(peer)
    };
    let peer = until(to_node1, async || cluster.api(0).status().await.to_string()).await;

    browser.until("#verdict", "node1 can't be reached from here. 2 keys have conflicting values.").await;
    browser.until(".statement.bad", "128 writes (").await;
    browser.until(".statement.bad", "node2 can't reach it either.").await;
    browser.picture("reader-cluster").await;
    browser.pictures("partition").await;
    browser.click(".heal summary", "What would node1 get").await;
    let heal = browser.until(".heal", "order/5000").await;
    assert!(heal.contains("128 writes, "), "{heal}");
    browser.picture("reader-heal").await;
    browser.click("nav a", "Conflicts").await;
    for (key, _) in CONFLICTS {
        browser.until(".card", key).await;
    }
    browser.picture("reader-conflicts").await;
    fs::write(kept("questions.txt"), QUESTIONS).unwrap();
    fs::write(kept("answers.txt"), answers(&peer)).unwrap();
    browser.assert_no_errors().await;
}

fn answers(peer: &Value) -> String {
    let mut text = format!(
        "1. node1\n2. {} (UTC; shown in the time zone of the browser)\n3. 128 writes, {} bytes\n4. {}\n5. ",
        peer["away_since"].as_str().unwrap(),
        peer["bytes_to_ship"],
        CONFLICTS.map(|(key, _)| key).join(", "),
    );
    for (key, [of_node0, of_node2]) in CONFLICTS {
        text += &format!("{key}: '{of_node0}' node0, '{of_node2}' node2. ");
    }
    text.trim_end().to_owned() + "\n"
}
