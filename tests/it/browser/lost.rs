//! The page's own node goes away, and comes back.

use super::driver::Browser;
use crate::support::cluster::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_when_it_has_lost_its_node_and_finds_it_again() {
    let Some(browser) = Browser::start().await else { return };
    let mut cluster = Cluster::mesh().await;
    browser.open(&cluster.nodes[0], "/").await;
    browser.until("#verdict", "All is well").await;
    // It takes connections, and says nothing.
    cluster.nodes[0].signal("STOP");
    browser.until("#lost", "This page has lost node0.").await;
    cluster.nodes[0].signal("CONT");
    browser.until("#announcement", "node0 answers again.").await;
    browser.click("#announcement button", "OK").await;
    browser.until("#verdict", "All is well").await;

    cluster.nodes.remove(0).kill();
    let told = browser.until("#lost", "This page has lost node0.").await;
    assert!(told.contains("It has not answered since ") && told.contains("Trying again"), "{told}");
    browser.until("#liveness", "no connection").await;
    browser.until("#verdict", "Last known: All is well.").await;
    browser.picture("lost").await;

    let node0 = cluster.launches[0].start_ready().await;
    cluster.nodes.insert(0, node0);
    browser.until("#liveness", "live").await;
    browser.until("#announcement", "node0 answers again.").await;
    browser.until("#verdict", "All is well").await;
    assert_eq!(browser.texts("#lost").await, [""], "it is not shown");
}
