//! Chromium through chromedriver, by the few calls of WebDriver that are needed: one browser a test.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::support::api::client;
use crate::support::process::Process;
use crate::support::{free_ports, until};

/// A page as wide as most screens, and a phone.
const DESK: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);

/// The field in which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser. Dropped, it is closed.
pub(super) struct Browser {
    client: Client,
    port: u16,
    /// Its name; empty while it is being made.
    session: String,
    _driver: Driver,
}

/// A key that types nothing, as WebDriver writes it.
#[derive(Clone, Copy)]
pub(super) enum Key {
    Tab = 0xe004,
    Enter = 0xe007,
    Down = 0xe015,
}

/// How a page is looked at.
#[derive(Clone, Copy)]
pub(super) enum Look {
    Light,
    Dark,
    Phone,
}

impl Browser {
    /// A new one; `None`, with the reason printed, when these tests are not asked for.
    pub(super) async fn start() -> Option<Self> {
        if std::env::var_os("CAUSEWAY_TEST_BROWSER").is_none() {
            eprintln!("skipped: set CAUSEWAY_TEST_BROWSER=1 to test in Chromium");
            return None;
        }
        let driver = Driver::start().await;
        let port = driver.port;
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"];
        let options = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        });
        let client = client(&[]).build().unwrap();
        let mut browser = Self { client, port, session: String::new(), _driver: driver };
        let made = browser.call(Method::POST, "/session", json!({ "capabilities": { "alwaysMatch": options } })).await;
        browser.session = made["sessionId"].as_str().unwrap().to_owned();
        browser.look(Look::Light).await;
        Some(browser)
    }

    /// Opens a view of a node's page, such as `/#/keys`, from nothing: another fragment alone would not load it anew.
    pub(super) async fn open(&self, node: &Process, path: &str) {
        self.command("url", json!({ "url": "about:blank" })).await;
        self.command("url", json!({ "url": node.api.url(path) })).await;
    }

    /// What a script returns; `arguments` are its `arguments`.
    pub(super) async fn run(&self, script: &str, arguments: &[&str]) -> Value {
        self.command("execute/sync", json!({ "script": script, "args": arguments })).await
    }

    /// Runs a script until it calls its one argument.
    pub(super) async fn run_until_done(&self, script: &str) {
        self.command("execute/async", json!({ "script": script, "args": [] })).await;
    }

    /// The text of everything that matches, as it is shown.
    pub(super) async fn texts(&self, selector: &str) -> Vec<String> {
        let script = "return [...document.querySelectorAll(arguments[0])].map((found) => \
                      found.checkVisibility() ? found.innerText ?? found.textContent : '')";
        let found = self.run(script, &[selector]).await;
        // Units don't break from their numbers.
        let texts =
            found.as_array().unwrap().iter().map(|text| text.as_str().unwrap_or_default().replace('\u{a0}', " "));
        texts.collect()
    }

    /// The text of the whole page.
    pub(super) async fn text(&self) -> String {
        self.texts("body").await.join("")
    }

    /// Waits until a text that matches the selector contains `part`; gives it.
    pub(super) async fn until(&self, selector: &str, part: &str) -> String {
        let found = async || self.texts(selector).await.into_iter().find(|text| text.contains(part));
        until(found, async || format!("no {selector} shows '{part}'; the page:\n{}", self.text().await)).await
    }

    /// Waits until nothing matches the selector with this text.
    pub(super) async fn until_gone(&self, selector: &str, part: &str) {
        let gone = async || self.texts(selector).await.iter().all(|text| !text.contains(part)).then_some(());
        until(gone, async || format!("a {selector} still shows '{part}'; the page:\n{}", self.text().await)).await;
    }

    /// Clicks on the first that matches and shows `part`.
    pub(super) async fn click(&self, selector: &str, part: &str) {
        let script = "const found = [...document.querySelectorAll(arguments[0])].find((found) => found.innerText.includes(arguments[1])); \
                      found?.click(); return Boolean(found)";
        let clicked = async || self.run(script, &[selector, part]).await.as_bool()?.then_some(());
        until(clicked, async || format!("no {selector} shows '{part}'; the page:\n{}", self.text().await)).await;
    }

    /// Types, into what has the focus.
    pub(super) async fn keys(&self, text: &str) {
        let active = self.call(Method::GET, &format!("/session/{}/element/active", self.session), json!({})).await;
        let element = active[ELEMENT].as_str().unwrap();
        self.command(&format!("element/{element}/value"), json!({ "text": text })).await;
    }

    pub(super) async fn press(&self, key: Key) {
        self.keys(&char::from_u32(key as u32).unwrap().to_string()).await;
    }

    /// Goes on by the tab key until what has the focus is as the script says of `at`; everything on the way must show
    /// that it has it.
    pub(super) async fn tab_until(&self, wanted: &str) {
        for _ in 0..60 {
            self.press(Key::Tab).await;
            let script = format!(
                "const at = document.activeElement; const style = getComputedStyle(at); \
                 return [Boolean({wanted}), style.outlineStyle !== 'none' && style.outlineWidth !== '0px', at.outerHTML]"
            );
            let found = self.run(&script, &[]).await;
            assert_eq!(found[1], true, "the focus can't be seen on {}", found[2]);
            if found[0] == true {
                return;
            }
        }
        panic!("the tab key does not lead to {wanted}; the page:\n{}", self.text().await);
    }

    /// Sets the theme of the system, and the size of the screen.
    pub(super) async fn look(&self, look: Look) {
        let (width, height) = if matches!(look, Look::Phone) { PHONE } else { DESK };
        let scheme = if matches!(look, Look::Dark) { "dark" } else { "light" };
        let phone = matches!(look, Look::Phone);
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone }),
        )
        .await;
        self.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }),
        )
        .await;
    }

    /// Keeps a picture of the whole page under this name.
    pub(super) async fn picture(&self, name: &str) {
        let shot = self.devtools("Page.captureScreenshot", json!({ "captureBeyondViewport": true })).await;
        let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, shot["data"].as_str().unwrap()).unwrap();
        fs::write(kept(&format!("{name}.png")), bytes).unwrap();
    }

    /// Pictures in the light, in the dark, and on a phone, where nothing may be wider than the screen.
    pub(super) async fn pictures(&self, name: &str) {
        for (look, suffix) in [(Look::Light, "light"), (Look::Dark, "dark"), (Look::Phone, "phone")] {
            self.look(look).await;
            self.picture(&format!("{name}-{suffix}")).await;
        }
        let widths = self.run("return [document.documentElement.scrollWidth, innerWidth]", &[]).await;
        assert!(widths[0].as_u64() <= widths[1].as_u64(), "{name} is wider than a phone: {widths}");
        self.look(Look::Light).await;
    }

    /// Goes on in a new tab, with nothing in it.
    pub(super) async fn new_tab(&self) {
        let made = self.command("window/new", json!({ "type": "tab" })).await;
        self.command("window", json!({ "handle": made["handle"] })).await;
    }

    /// From now on every page runs this before anything of its own.
    pub(super) async fn run_in_every_page(&self, script: &str) {
        self.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await;
    }

    /// Fails when the browser's console has an error, such as a breach of the page's policy or a script that failed.
    pub(super) async fn assert_no_errors(&self) {
        self.assert_no_errors_but(&[]).await;
    }

    /// The same, of errors in which none of these texts occurs.
    pub(super) async fn assert_no_errors_but(&self, expected: &[&str]) {
        let mut errors = self.log("browser").await;
        errors.retain(|entry| {
            let message = entry["message"].as_str().unwrap();
            entry["level"] == "SEVERE" && !expected.iter().any(|expected| message.contains(expected))
        });
        assert!(errors.is_empty(), "{errors:?}");
    }

    /// The addresses that were asked for since this was called last.
    pub(super) async fn requested(&self) -> Vec<String> {
        let entries = self.log("performance").await.into_iter();
        let events = entries.map(|entry| serde_json::from_str::<Value>(entry["message"].as_str().unwrap()).unwrap());
        let requests = events.filter(|event| event["message"]["method"] == "Network.requestWillBeSent");
        requests.map(|event| event["message"]["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        self.command("se/log", json!({ "type": kind })).await.as_array().unwrap().clone()
    }

    async fn devtools(&self, name: &str, parameters: Value) -> Value {
        self.command("goog/cdp/execute", json!({ "cmd": name, "params": parameters })).await
    }

    /// A command to the browser.
    async fn command(&self, path: &str, body: Value) -> Value {
        self.call(Method::POST, &format!("/session/{}/{path}", self.session), body).await
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let answer =
            self.client.request(method, url).body(body.to_string()).send().await.unwrap().text().await.unwrap();
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Also when the test failed: a driver that ends leaves its browser behind.
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else { return };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
        let request =
            format!("DELETE /session/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", self.session);
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read(&mut [0; 256]);
    }
}

/// A running chromedriver.
struct Driver {
    child: Child,
    port: u16,
}

impl Driver {
    async fn start() -> Self {
        let [port] = free_ports::<1>();
        let log =
            fs::File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chromedriver-{port}.log"))).unwrap();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().expect("chromedriver can be started: Debian's package chromium-driver has it");
        let driver = Self { child, port };
        let began = Instant::now();
        let ready = async || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok().map(drop);
        until(ready, async || format!("no chromedriver after {:?}", began.elapsed())).await;
        driver
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path of a file that is kept for whoever runs the tests.
pub(super) fn kept(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("console");
    fs::create_dir_all(&directory).unwrap();
    directory.join(name)
}
