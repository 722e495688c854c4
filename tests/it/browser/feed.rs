//! The feed: what becomes visible, as it does.

use std::fs;

use tempfile::TempDir;

use super::driver::Browser;
use crate::support::cluster::Cluster;
use crate::support::free_ports;
use crate::support::process::Launch;

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_shows_what_becomes_visible() {
    let Some(browser) = Browser::start().await else { return };
    let cluster = Cluster::mesh().await;
    browser.open(&cluster.nodes[1], "/#/feed").await;
    browser.until(".view", "Nothing yet.").await;
    cluster.api(0).set("parcel", "<b>fragile</b>").await;
    let told = browser.until(".feed li", "parcel = <b>fragile</b>").await;
    assert!(told.contains(" on node0, "), "{told}");
    cluster.api(1).set("letter", "thin").await;
    browser.until(".feed li", "letter = thin").await;
    assert_eq!(browser.texts(".feed a.key").await, ["letter", "parcel"], "the newest is first");
    browser.pictures("feed").await;

    browser.click("button", "Pause").await;
    browser.until(".view", "Paused.").await;
    cluster.api(2).set("parcel", "delivered").await;
    cluster.until_equal(3).await;
    assert_eq!(browser.texts(".feed li").await.len(), 2, "it is paused");
    browser.click("button", "Go on").await;
    browser.until(".feed li", "parcel = delivered").await;
    assert_eq!(browser.texts(".feed li").await.len(), 3, "nothing is missing and nothing is there twice");

    browser.run("document.querySelector('#feed-prefix').value = 'let'; document.querySelector('#feed-prefix').form.requestSubmit()", &[]).await;
    browser.until(".view", "Nothing yet.").await;
    cluster.api(2).set("parcel", "gone").await;
    cluster.api(2).set("letter", "thick").await;
    browser.until(".feed li", "letter = thick").await;
    assert_eq!(browser.texts(".feed li").await.len(), 1, "only what begins so");

    browser.click(".feed a.dot", "2.").await;
    browser.until(".view", "All 3 nodes have it.").await;
    browser.assert_no_errors().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_goes_on_where_it_was() {
    let Some(browser) = Browser::start().await else { return };
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let launch = Launch::by_arguments(directory.path(), 0, port, &[port]);
    let node = launch.start_ready().await;
    browser.open(&node, "/#/feed").await;
    browser.until(".view", "Nothing yet.").await;
    node.api.set("parcel", "packed").await;
    browser.until(".feed li", "parcel = packed").await;

    node.kill();
    browser.until("#liveness", "no connection").await;
    let node = launch.start_ready().await;
    node.api.set("parcel", "sent").await;
    node.api.set("parcel", "delivered").await;
    browser.until(".feed li", "parcel = delivered").await;
    let values = browser.texts(".feed bdi.value").await;
    assert_eq!(values, ["delivered", "sent", "packed"], "nothing is missing and nothing is there twice");

    // Of another log, the place is none.
    node.kill();
    fs::remove_dir_all(launch.data_dir(0)).unwrap();
    let node = launch.start_ready().await;
    browser.until(".view", "What came meanwhile is too long ago to be shown").await;
    browser.until("#liveness", "live").await;
    browser.until(".view", "3 writes since the feed began").await;
    node.api.set("parcel", "lost").await;
    browser.until(".feed li", "parcel = lost").await;
}
