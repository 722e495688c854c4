//! Keys, and the receipt of a write.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use super::driver::{Browser, Key};
use crate::support::api::send;
use crate::support::cluster::Cluster;
use crate::support::process::Launch;
use crate::support::{free_ports, until};

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

    // A field knows one end of a line only: that is nothing that somebody typed.
    cluster.api(0).set("tool/saw", "sharp\r\nand long\r").await;
    browser.run("location.hash = '#/keys?key=tool/saw'", &[]).await;
    browser.until(".held", "and long").await;
    cluster.api(0).set("tool/saw", "blunt").await;
    browser.until(".held", "blunt").await;
    assert_eq!(browser.run("return document.querySelector('#key-value').value", &[]).await, "blunt");
    browser.click("ul.keys a", "fruit/apple").await;
    browser.until(".held", "red").await;

    browser.run("document.querySelector('[data-key=delete]').focus()", &[]).await;
    browser.press(Key::Enter).await;
    browser.press(Key::Enter).await;
    browser.until(".one button", "Delete…").await;
    assert_eq!(cluster.api(0).read("fruit/apple").await.as_deref(), Some("red"), "a key pressed twice deletes nothing");
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

/// Keys that an address, a script or a page could take for something else.
#[tokio::test(flavor = "multi_thread")]
async fn any_key_can_be_found_and_written() {
    let Some(browser) = Browser::start().await else { return };
    let cluster = Cluster::mesh().await;
    let strange = ["a&key=b#c%20d+e/f?g", "__proto__", "two\nlines ", "\u{202e}evil\u{202c}", "</textarea><b>", "🦀 ü"];
    for key in strange {
        let written = send(cluster.api(0).patch("", &json!({ key: "old" }))).await.unwrap();
        assert_eq!(written.status, 200, "{}", written.body);
    }
    browser.open(&cluster.nodes[0], "/#/keys").await;
    let shown = "return [...document.querySelectorAll('ul.keys a.key')].map((link) => link.textContent)";
    let all = async || (browser.run(shown, &[]).await.as_array()?.len() == strange.len()).then_some(());
    until(all, async || browser.text().await).await;
    for key in strange {
        let open =
            "[...document.querySelectorAll('ul.keys a.key')].find((link) => link.textContent === arguments[0]).click()";
        browser.run(open, &[key]).await;
        let is_open = "return document.querySelector('.one h2')?.textContent === arguments[0] && \
                       document.querySelector('.held bdi')?.textContent";
        let open = async || (browser.run(is_open, &[key]).await == "old").then_some(());
        until(open, async || format!("{key:?} does not open:\n{}", browser.text().await)).await;
        browser.run("const field = document.querySelector('#key-value'); field.focus(); field.select()", &[]).await;
        browser.keys("new").await;
        browser.click(".one button", "Save").await;
        browser.until(".held", "new").await;
    }
    let read = send(
        cluster
            .api(0)
            .request(Method::POST, "/read")
            .header("content-type", "application/json")
            .body(json!({ "keys": strange }).to_string()),
    );
    let values = read.await.unwrap().json()["values"].clone();
    assert!(strange.iter().all(|key| values[*key] == "new"), "{values}");
    browser.assert_no_errors().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_leads_to_its_trace() {
    let Some(browser) = Browser::start().await else { return };
    let directory = TempDir::new().unwrap();
    let [port, collector] = free_ports::<2>();
    // Nobody listens there: that a write is traced does not depend on it.
    let node = Launch::by_environment(directory.path(), 0, port, &[(0, port)])
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://127.0.0.1:{collector}"))
        .with("CAUSEWAY_TRACES_URL", "http://traces.example/trace/{trace_id}")
        .start_ready()
        .await;
    let dot = node.api.set("traced", "write").await.json()["dot"].as_str().unwrap().to_owned();
    browser.open(&node, &format!("/#/write/{dot}")).await;
    browser.until(".facts a", "see its trace").await;
    let href = browser.run("return document.querySelector('.facts a[target]').href", &[]).await;
    let id = href.as_str().unwrap().strip_prefix("http://traces.example/trace/").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{href}");
    browser.until(".view", "It is on this node, the only one.").await;
    browser.assert_no_errors().await;
}
