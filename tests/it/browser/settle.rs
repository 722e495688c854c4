//! A conflict comes, is settled by the form with the keyboard alone, and goes, on every node's page.

use super::driver::{Browser, Key};
use crate::support::cluster::Cluster;

/// Would say so if it were ever taken for markup.
const KEY: &str = "<script>document.title='run'</script>";
const VALUES: [&str; 2] = ["<img src=x onerror=\"document.title='run'\">", "plain & simple"];

/// Makes `key` hold `values[0]`, of node0, and `values[1]`, of node2.
pub(super) async fn conflict(cluster: &Cluster, key: &str, values: [&str; 2]) {
    cluster.links.values().for_each(|link| link.cut());
    cluster.api(0).set(key, values[0]).await;
    cluster.api(2).set(key, values[1]).await;
    cluster.links.values().for_each(|link| link.heal());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_settled_by_the_keyboard_alone() {
    let Some(browser) = Browser::start().await else { return };
    let cluster = Cluster::linked().await;
    browser.open(&cluster.nodes[1], "/").await;
    browser.until("#verdict", "All is well").await;
    conflict(&cluster, KEY, VALUES).await;
    browser.until("#verdict", "1 key has conflicting values.").await;
    browser.until(".statement.warn", "1 key has more than one value.").await;

    browser.tab_until("at.dataset.view === 'conflicts'").await;
    browser.press(Key::Enter).await;
    let card = browser.until(".card", KEY).await;
    for (value, node) in [(VALUES[0], "node0"), (VALUES[1], "node2")] {
        let option = browser.until(".card .option", value).await;
        assert!(option.contains(&format!("written on {node} at ")), "who wrote it is not said: {option}");
    }
    assert!(card.contains("replaces both values"), "{card}");
    browser.pictures("conflicts").await;

    // The first of a group of choices has the focus, the arrow takes the next.
    browser.tab_until("at.type === 'radio'").await;
    browser.press(Key::Down).await;
    let chosen = "const at = document.activeElement; return at.checked && at.closest('.option').querySelector('bdi').textContent";
    let chosen = browser.run(chosen, &[]).await;
    let chosen = chosen.as_str().unwrap();
    assert!(VALUES.contains(&chosen), "{chosen}");
    browser.tab_until("at.type === 'submit' && at.closest('.card')").await;
    browser.press(Key::Enter).await;
    browser.until("#announcement", "Settled ").await;
    browser.until_gone(".card", KEY).await;
    browser.until(".view", "No key has a conflict.").await;
    // What had the focus is gone; it is at a place from which one can go on.
    assert_eq!(browser.run("return document.activeElement.tagName", &[]).await, "H1");

    for node in &cluster.nodes {
        browser.open(node, "/#/conflicts").await;
        browser.until(".view", "No key has a conflict.").await;
        browser.until("#verdict", "All is well").await;
        browser.open(node, &format!("/#/keys?key={}", encoded(KEY))).await;
        browser.until(".held", chosen).await;
        assert_eq!(browser.texts(".held").await.len(), 1, "one value is left");
        browser.until(".one h2", KEY).await;
    }
    assert!(!browser.run("return document.title", &[]).await.as_str().unwrap().contains("run"), "a text became markup");
    browser.assert_no_errors().await;
}

/// Somebody writes the key while another looks at it: only what was seen is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_form_showed_is_replaced() {
    let Some(browser) = Browser::start().await else { return };
    let cluster = Cluster::linked().await;
    conflict(&cluster, "cart", ["pears", "apples"]).await;
    cluster.until_equal(2).await;
    browser.open(&cluster.nodes[0], "/#/conflicts").await;
    browser.until(".card", "apples").await;
    browser.click(".card .option label", "apples").await;
    // It does not replace what the page shows, but all that was there: so it is new to the page.
    cluster.api(1).set("cart", "plums").await;
    cluster.until_equal(3).await;
    browser.until(".card .notice", "meanwhile").await;
    assert_eq!(
        browser.texts(".card").await.iter().filter(|card| card.contains("apples")).count(),
        1,
        "what was shown stays"
    );
    browser.click(".card button[type=submit]", "Settle").await;
    browser.until("#announcement", "Settled ").await;
    cluster.until_equal(4).await;
    let left = cluster.api(2).siblings("cart").await;
    let left: Vec<&str> = left.iter().map(|(value, _)| value.as_str()).collect();
    assert_eq!(left, ["apples", "plums"], "plums were not seen, so they stay");
    browser.until(".card", "plums").await;
    browser.assert_no_errors().await;
}

pub(super) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
