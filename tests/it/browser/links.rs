//! Links on the page: up, cut, cut one way.

use std::time::{Duration, Instant};

use super::driver::Browser;
use crate::support::cluster::Cluster;
use crate::support::namespace::{block, enter, heal};

/// What is promised to who looks at the page: so long after the network was cut, at most, it says so.
const SHOWN_WITHIN: Duration = Duration::from_secs(3);

/// The cut is made by iptables, as a network makes it: what is sent is not even acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_link_shows_within_three_seconds() {
    if std::env::var_os("CAUSEWAY_TEST_BROWSER").is_some()
        && !enter("browser::links::a_cut_link_shows_within_three_seconds")
    {
        return;
    }
    let Some(browser) = Browser::start().await else { return };
    let cluster = Cluster::mesh().await;
    browser.open(&cluster.nodes[0], "/").await;
    browser.until("#verdict", "All is well. 3 nodes, every link up, nothing waits.").await;
    browser.until("#liveness", "live").await;
    assert_eq!(browser.texts("svg.graph .node").await.len(), 3);
    assert_eq!(browser.texts("[aria-labelledby=links-title] tbody tr").await.len(), 6);
    browser.pictures("healthy").await;

    browser.run("window.loaded = 'once'", &[]).await;
    let port = cluster.launches[2].port;
    let cut = Instant::now();
    block(port);
    // Seen by the page itself, not by how often this test asks: the time of its first word of the cut.
    let script = "const done = arguments[0]; \
                  const look = () => document.querySelector('tr[data-key=\"0>2\"] .state.cut') && (observer.disconnect(), done(Date.now())); \
                  const observer = new MutationObserver(look); \
                  observer.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true }); \
                  look()";
    browser.run_until_done(script).await;
    let took = cut.elapsed();
    assert!(took <= SHOWN_WITHIN, "the cut showed after {took:?}");
    eprintln!("the cut showed after {took:?}");

    // What node2 sends still arrives: the port of node2 alone is blocked.
    browser.until("#verdict", "node2 can't be reached from here").await;
    browser.until("tr[data-key='0>2']", "one way only").await;
    browser.until("tr[data-key='2>0'] .state", "up").await;
    cluster.api(0).set("waiting", "for node2").await;
    browser.until(".statement.bad", "1 write (").await;
    browser.until("tr[data-key='0>2']", "1 write").await;
    browser.pictures("one-way").await;

    heal();
    browser.until("#verdict", "All is well. 3 nodes, every link up, nothing waits.").await;
    assert_eq!(browser.run("return window.loaded", &[]).await, "once", "it was loaded anew");
    browser.assert_no_errors().await;
}
