//! The console of a node that wants tokens.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::driver::{Browser, Key};
use crate::support::api::send;
use crate::support::process::{Launch, Process};
use crate::support::tokens::{Issued, issue, write};
use crate::support::{free_ports, until};

const ALL_SCOPES: &str = "read,write,status,admin";
/// What the browser itself notes of a call that was refused.
const REFUSED: [&str; 2] = ["401 (Unauthorized)", "403 (Forbidden)"];
const IS_HIDDEN: &str = "return document.querySelector('#token').hidden";

/// A node that wants tokens, and one that may do anything.
struct Locked {
    node: Process,
    root: Issued,
    path: PathBuf,
    _directory: TempDir,
}

impl Locked {
    /// Whose file has these besides.
    async fn start(others: &[&Issued]) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("tokens");
        let root = issue(&["root", "--scope", ALL_SCOPES]);
        write(&path, &[&[&root], others].concat());
        let [port] = free_ports();
        let launch = Launch::by_arguments(directory.path(), 0, port, &[port]);
        let node = launch.with("CAUSEWAY_TOKENS_FILE", path.to_str().unwrap()).start_ready().await;
        Self { node, root, path, _directory: directory }
    }

    /// Writes a key, and gives the write's name.
    async fn set(&self, key: &str, value: &str) -> String {
        let answer = send(self.node.api.patch("", &json!({ key: value })).bearer_auth(&self.root.token)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["dot"].as_str().unwrap().to_owned()
    }

    async fn read(&self, key: &str) -> String {
        let request = self.node.api.request(reqwest::Method::GET, &format!("/read?key={key}"));
        send(request.bearer_auth(&self.root.token)).await.unwrap().body
    }

    /// Makes its file hold these and root's, and waits until the node goes by it.
    async fn exchange(&self, others: &[&Issued]) {
        let times = || self.node.log().matches("tokens of clients were read anew").count();
        let before = times();
        write(&self.path, &[&[&self.root], others].concat());
        until(async || (times() > before).then_some(()), async || self.node.log()).await;
    }
}

/// Waits until a token is asked for, and gives one.
async fn give(browser: &Browser, token: &str) {
    browser.until("#token h2", "This node wants a token").await;
    browser.run("document.querySelector('#token-field').focus()", &[]).await;
    browser.keys(token).await;
    browser.press(Key::Enter).await;
}

async fn until_let_in(browser: &Browser) {
    let is_hidden = async || browser.run(IS_HIDDEN, &[]).await.as_bool()?.then_some(());
    until(is_hidden, async || browser.text().await).await;
}

/// As by its button; the page is loaded anew.
async fn forget(browser: &Browser) {
    browser.click("#forget", "Forget the token").await;
    browser.until("#token h2", "This node wants a token").await;
    assert_eq!(browser.run("return sessionStorage.length", &[]).await, 0);
}

/// The token is where it was meant to be, and nowhere else.
async fn assert_kept_in_the_tab(browser: &Browser, locked: &Locked, token: &str) {
    let kept = browser.run("return { ...sessionStorage }", &[]).await;
    assert_eq!(kept, json!({ "causeway-token": token }));
    let elsewhere = "return JSON.stringify([location.href, document.referrer, document.title, document.cookie, { ...localStorage }, \
                     history.state, document.documentElement.outerHTML, [...document.querySelectorAll('input, textarea')].map(({ value }) => value), \
                     performance.getEntries().map(({ name }) => name)])";
    let elsewhere = browser.run(elsewhere, &[]).await;
    let elsewhere = elsewhere.as_str().unwrap();
    assert!(elsewhere.contains("All is well") && !elsewhere.contains(token), "{elsewhere}");
    let requested = browser.requested().await;
    assert!(requested.iter().any(|url| url.ends_with("/cluster/events")), "{requested:?}");
    assert!(!requested.iter().any(|url| url.contains(token)), "{requested:?}");
    assert!(!locked.node.log().contains(token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_kept_in_the_tab_and_forgotten() {
    let Some(browser) = Browser::start().await else { return };
    let locked = Locked::start(&[]).await;
    let token = &locked.root.token;
    browser.open(&locked.node, "/#/feed").await;
    browser.until("#token", "What the parts of this page need of its scopes:").await;
    browser.until("#liveness", "no token").await;
    let field = "const at = document.activeElement; return [at.id, at.type, at.autocomplete, at.labels[0].innerText]";
    assert_eq!(browser.run(field, &[]).await, json!(["token-field", "password", "off", "Token"]));
    browser.pictures("token").await;

    for (wrong, told) in [("causeway_wrong", "does not know that token"), ("two words", "has no blanks")] {
        give(&browser, wrong).await;
        browser.until("#token-problem", told).await;
        browser.run("document.querySelector('#token-field').value = ''", &[]).await;
    }
    assert_eq!(browser.run("return sessionStorage.length", &[]).await, 0, "only what is good is kept");

    give(&browser, token).await;
    until_let_in(&browser).await;
    assert_eq!(browser.run("return document.activeElement.tagName", &[]).await, "H1");
    browser.until("#verdict", "All is well. This is the only node; nothing waits.").await;
    browser.until("#liveness", "live").await;
    browser.until(".view", "Nothing yet.").await;
    locked.set("parcel", "sent").await;
    browser.until(".feed li", "parcel = sent").await;
    browser.click("nav a", "Cluster").await;
    browser.until("[aria-labelledby=nodes-title] tbody td[data-label=Keys]", "1").await;
    locked.set("letter", "sent").await;
    browser.until("[aria-labelledby=nodes-title] tbody td[data-label=Keys]", "2").await;
    browser.pictures("token-used").await;
    assert_kept_in_the_tab(&browser, &locked, token).await;

    browser.run("location.reload()", &[]).await;
    browser.until("#verdict", "All is well").await;
    assert_eq!(browser.run(IS_HIDDEN, &[]).await, true, "the tab has it");
    forget(&browser).await;
    assert!(!browser.text().await.contains("All is well"), "what was seen by it is gone");
    browser.assert_no_errors_but(&REFUSED).await;
    give(&browser, token).await;
    browser.until("#verdict", "All is well").await;
    browser.new_tab().await;
    browser.open(&locked.node, "/").await;
    browser.until("#token h2", "This node wants a token").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_is_not_for_is_told_where_it_is_missing() {
    let Some(browser) = Browser::start().await else { return };
    let reader = issue(&["reader", "--scope", "read"]);
    let ops = issue(&["ops", "--scope", "status"]);
    let shop = issue(&["shop", "--scope", "read,write", "--prefix", "cart/"]);
    let locked = Locked::start(&[&reader, &ops, &shop]).await;
    locked.set("cart/1", "apples").await;
    let dot = locked.set("private", "diary").await;

    browser.open(&locked.node, "/#/keys?key=private").await;
    give(&browser, &reader.token).await;
    browser
        .until(
            "#verdict",
            "No news of the cluster. The token is not for that: the token 'reader' has not the scope 'status'.",
        )
        .await;
    browser.until("ul.keys", "cart/1").await;
    browser.until(".held", "diary").await;
    browser.click(".one button", "Save").await;
    browser.until(".one .problem", "the token 'reader' has not the scope 'write'").await;
    browser.pictures("token-forbidden").await;
    locked.set("private", "letters").await;
    browser.until(".held", "letters").await;
    browser.click("nav a", "Feed").await;
    browser.until(".view", "Nothing yet.").await;
    locked.set("cart/1", "pears").await;
    browser.until(".feed li", "cart/1 = pears").await;
    browser.run(&format!("location.hash = '#/write/{dot}'"), &[]).await;
    browser.until(".view", "It is on this node, the only one.").await;

    forget(&browser).await;
    give(&browser, &ops.token).await;
    browser.until("#verdict", "All is well").await;
    browser.until(".view .problem", "the token 'ops' has not the scope 'read'").await;
    for view in ["Keys", "Conflicts", "Feed"] {
        browser.click("nav a", view).await;
        browser.until(".view h1", view).await;
        browser.until(".view .problem", "the token 'ops' has not the scope 'read'").await;
    }

    forget(&browser).await;
    give(&browser, &shop.token).await;
    browser.until(".view .problem", "'shop' is not for all keys with the prefix ''. Ask for keys that begin as").await;
    browser.run("document.querySelector('#feed-prefix').value = 'cart/'; document.querySelector('#feed-prefix').form.requestSubmit()", &[]).await;
    browser.until(".view", "Nothing yet.").await;
    browser.click("nav a", "Keys").await;
    browser.until(".view .problem", "'shop' is not for all keys with the prefix ''").await;
    browser.run("location.hash = '#/keys?prefix=cart/&key=cart/1'", &[]).await;
    browser.until("ul.keys", "cart/1").await;
    browser.until(".held", "pears").await;
    browser.run("const field = document.querySelector('#key-value'); field.focus(); field.select()", &[]).await;
    browser.keys("plums").await;
    browser.click(".one button", "Save").await;
    browser.until("#announcement", "Saved cart/1").await;
    assert_eq!(locked.read("cart/1").await, "plums");
    browser.click("#announcement a.dot", "0.").await;
    browser.until(".view .problem", "the token 'shop' is for some keys only").await;
    browser.assert_no_errors_but(&REFUSED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_exchanged_while_the_page_is_open() {
    let Some(browser) = Browser::start().await else { return };
    let old = issue(&["desk", "--scope", ALL_SCOPES]);
    let next = issue(&["desk", "--scope", ALL_SCOPES]);
    let locked = Locked::start(&[&old]).await;
    locked.set("cart", "apples").await;
    browser.open(&locked.node, "/#/feed").await;
    give(&browser, &old.token).await;
    browser.until(".view", "Nothing yet.").await;
    locked.set("cart", "pears").await;
    browser.until(".feed li", "cart = pears").await;
    browser.click(".feed a.key", "cart").await;
    browser.until(".held", "pears").await;
    browser.run("window.loaded = 'once'; document.querySelector('#key-value').focus(); document.querySelector('#key-value').select()", &[]).await;
    browser.keys("plums").await;

    locked.exchange(&[&next]).await;
    browser.click(".one button", "Save").await;
    browser.until("#token-problem", "does not know the token any more that this page had").await;
    browser.until("#liveness", "no token").await;
    browser.until("#verdict", "Last known: All is well.").await;
    assert_eq!(
        browser.run("return document.querySelector('#key-value').value", &[]).await,
        "plums",
        "what was typed stays"
    );
    assert_eq!(locked.read("cart").await, "pears");
    browser.pictures("token-exchanged").await;

    give(&browser, &old.token).await;
    browser.until("#token-problem", "does not know that token").await;
    browser.run("document.querySelector('#token-field').value = ''", &[]).await;
    give(&browser, &next.token).await;
    browser.until("#announcement", "Saved cart").await;
    browser.until(".held", "plums").await;
    assert_eq!(locked.read("cart").await, "plums", "what was asked for is done with the new one");
    browser.until("#verdict", "All is well").await;
    browser.until("#liveness", "live").await;
    locked.set("cart", "cherries").await;
    browser.until(".held", "cherries").await;
    browser.click("nav a", "Feed").await;
    browser.until(".feed li", "cart = cherries").await;
    let fed = browser.texts(".feed li .entry bdi.value").await;
    assert_eq!(fed, ["cherries", "plums", "pears"], "nothing is missing and nothing is there twice");
    assert_eq!(browser.run("return window.loaded", &[]).await, "once", "it was loaded anew");
    let kept: Value = browser.run("return { ...sessionStorage }", &[]).await;
    assert_eq!(kept, json!({ "causeway-token": next.token }));
    browser.assert_no_errors_but(&REFUSED).await;
}
