//! The feed: what becomes visible, as it does.

use super::driver::Browser;
use crate::support::cluster::Cluster;

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
