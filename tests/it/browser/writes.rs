//! Keys, and the receipt of a write.

use std::collections::BTreeSet;

use super::driver::Browser;
use crate::support::cluster::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_found_written_and_deleted() {
    let Some(browser) = Browser::start().await else { return };
    let cluster = Cluster::mesh().await;
    let long = "long ".repeat(2_000);
    cluster.api(0).set("fruit/apple", "green").await;
    cluster.api(0).set("fruit/pear", &long).await;
    cluster.api(0).set("tool/saw", "sharp").await;
    browser.open(&cluster.nodes[0], "/#/keys?prefix=fruit").await;
    browser.until("ul.keys", "fruit/apple").await;
    assert!(!browser.text().await.contains("tool/saw"), "it does not begin so");
    browser.click("ul.keys a", "fruit/pear").await;
    let cut = browser.until(".held", "all 10,000 characters").await;
    assert!(cut.len() < 500, "{cut}");
    browser.click(".held summary", "all 10,000").await;
    browser.until(".held .all", &long[..9_990]).await;

    browser.click("ul.keys a", "fruit/apple").await;
    browser.until(".held", "green").await;
    browser
        .run("document.querySelector('#key-value').focus(); document.querySelector('#key-value').select()", &[])
        .await;
    browser.keys("red").await;
    browser.click(".one button", "Save").await;
    browser.until("#announcement", "Saved fruit/apple").await;
    browser.until(".held", "red").await;
    cluster.api(2).until_reads("fruit/apple", "red").await;
    browser.pictures("keys").await;

    browser.click(".one button", "Delete…").await;
    browser.click(".one button.danger", "Delete").await;
    browser.until("#announcement", "Deleted fruit/apple").await;
    browser.until(".one", "It has no value.").await;
    browser.until_gone("ul.keys", "fruit/apple").await;
    assert_eq!(cluster.api(0).read("fruit/apple").await, None);
    browser.assert_no_errors().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_followed_to_every_node() {
    let Some(browser) = Browser::start().await else { return };
    let cluster = Cluster::linked().await;
    cluster.api(0).set("before", "the cut").await;
    cluster.until_equal(1).await;
    cluster.cut_off(2);
    let dot = cluster.api(0).set("parcel", "<b>fragile</b>").await.json()["dot"].as_str().unwrap().to_owned();
    cluster.api(1).until_reads("parcel", "<b>fragile</b>").await;
    browser.open(&cluster.nodes[1], "/#/keys?key=parcel").await;
    browser.until(".held", "<b>fragile</b>").await;
    browser.click(".held a.dot", "0.").await;
    browser.until(".facts", &dot).await;
    browser.until(".timeline [data-key='0']", "accepted it at ").await;
    browser.until(".timeline [data-key='1']", "has it since ").await;
    browser.until(".timeline [data-key='2']", "lacks it").await;
    browser.until(".timeline [data-key='2']", "can't be reached since ").await;
    browser.until(".view", "2 of 3 nodes are known to have it.").await;
    browser.pictures("receipt").await;

    cluster.links.values().for_each(|link| link.heal());
    browser.until(".view", "All 3 nodes have it.").await;
    browser.until(".timeline [data-key='2']", "has it since ").await;
    let names: BTreeSet<String> = browser.texts(".timeline li.has b").await.into_iter().collect();
    assert_eq!(names, ["node0", "node1", "node2"].map(String::from).into());
    browser.assert_no_errors().await;
}
