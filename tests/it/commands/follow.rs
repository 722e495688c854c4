//! Commands that go on: `status --watch` and `watch`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{alone, ask};
use crate::support::cluster::Cluster;
use crate::support::process::{Launch, causeway};
use crate::support::{free_ports, until};

/// A command that runs until this is dropped.
struct Following {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Following {
    fn start(port: u16, arguments: &[&str]) -> Self {
        let mut command = causeway();
        command.args(arguments).args(["--node", &port.to_string()]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let read = lines.clone();
        thread::spawn(move || {
            for line in out.lines() {
                read.lock().unwrap_or_else(PoisonError::into_inner).push(line.unwrap());
            }
        });
        Self { child, lines }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the lines so far are as wanted.
    async fn until(&self, wanted: impl Fn(&[String]) -> bool) {
        let holds = async || wanted(&self.lines()).then_some(());
        until(holds, async || format!("not what was wanted:\n{}", self.lines().join("\n"))).await;
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The fields of the rows of a table, below a head that starts with `head`.
fn rows(text: &str, head: &str) -> Vec<Vec<String>> {
    let rows = text.lines().skip_while(|line| !line.starts_with(head)).skip(1).take_while(|line| !line.is_empty());
    let fields = |row: &str| {
        row.split("  ").map(|field| field.trim().to_owned()).filter(|field| !field.is_empty()).collect::<Vec<_>>()
    };
    rows.map(fields).collect()
}

/// What the table says of the way from one node to another.
fn way(text: &str, from: &str, to: &str) -> String {
    let ways = rows(text, "FROM");
    ways.iter().find(|way| way[0] == from && way[1] == to).map(|way| way[2].clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_shows_every_node_and_every_way() {
    let cluster = Cluster::linked().await;
    let ports: Vec<u16> = cluster.launches.iter().map(|launch| launch.port).collect();
    cluster.api(0).set("key", "value").await;
    cluster.until_equal(1).await;
    let status = || ask(ports[2], &["status"]).printed();
    let all_up = async || {
        let text = status();
        let ways = rows(&text, "FROM");
        (ways.len() == 6 && ways.iter().all(|way| way[2] == "up")).then_some(text)
    };
    let text = until(all_up, async || status()).await;
    assert!(text.starts_with("cluster 'causeway' as node 2 knows it, 20"), "{text}");
    let nodes = rows(&text, "NODE");
    assert_eq!(nodes.len(), 3, "{text}");
    for node in nodes {
        assert_eq!((&*node[1], &*node[3], &*node[4]), ("up", "1", "0"), "{text}");
    }
    let json: Value = serde_json::from_str(&ask(ports[1], &["status", "--json"]).printed()).unwrap();
    assert_eq!((&json["node"], json["nodes"].as_array().unwrap().len()), (&1.into(), 3));

    // A way that is cut in one direction only.
    cluster.links[&(0, 2)].cut();
    cluster.api(0).set("key", "another").await;
    let one_way = async || {
        let text = status();
        let is_told = way(&text, "0", "2").starts_with("away ") && way(&text, "2", "0") == "up, one way";
        is_told.then_some(())
    };
    until(one_way, async || status()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_is_watched_shows_a_cut_and_its_end() {
    let cluster = Cluster::linked().await;
    let port = cluster.launches[0].port;
    let (json, text) =
        (Following::start(port, &["status", "--watch", "--json"]), Following::start(port, &["status", "--watch"]));
    let is_away = |line: &String| {
        let cluster: Value = serde_json::from_str(line).unwrap();
        let links = &cluster["nodes"][0]["facts"]["links"];
        links.as_array().unwrap().iter().any(|link| link["to"] == 2 && !link["away_since"].is_null())
    };
    json.until(|lines| lines.len() > 1 && !is_away(&lines[lines.len() - 1])).await;
    cluster.links.iter().filter(|((from, to), _)| *from == 2 || *to == 2).for_each(|(_, link)| link.cut());
    json.until(|lines| is_away(&lines[lines.len() - 1])).await;
    text.until(|lines| lines.iter().any(|line| line.contains("away "))).await;
    cluster.links.values().for_each(|link| link.heal());
    json.until(|lines| !is_away(&lines[lines.len() - 1])).await;
    assert!(text.lines().iter().all(|line| !line.contains('\u{1b}')), "it is no terminal: {:?}", text.lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_where_a_node_that_crashed_left_off() {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let launch = Launch::by_arguments(directory.path(), 0, port, &[port]);
    let node = launch.start_ready().await;
    let text = Following::start(port, &["watch", "user/", "--after", "0"]);
    let all = Following::start(port, &["watch", "--json", "--after", "0"]);
    ask(port, &["set", "user/1=ann", "other=x"]).printed();
    ask(port, &["set", "user/1", "an\nn"]).printed();
    ask(port, &["set", "--delete", "user/1"]).printed();
    text.until(|lines| lines.len() == 3).await;
    all.until(|lines| lines.len() == 3).await;

    node.kill();
    let _node = launch.start_ready().await;
    ask(port, &["set", "user/2", "bob"]).printed();
    text.until(|lines| lines.len() > 3).await;
    all.until(|lines| lines.len() > 3).await;
    let shown: Vec<String> = text.lines().iter().map(|line| line.splitn(3, "  ").last().unwrap().to_owned()).collect();
    assert_eq!(shown, ["user/1 = ann", r"user/1 = an\nn", "user/1 deleted", "user/2 = bob"]);

    let changes: Vec<Value> = all.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(changes[0]["entries"].as_array().unwrap().len(), 2, "a write is one change");
    assert_eq!(changes[1]["entries"][0]["value"], "an\nn");
    // From any of them on, by its cursor.
    let cursor = changes[1]["cursor"].as_str().unwrap();
    let rest = Following::start(port, &["watch", "--json", "--after", cursor]);
    rest.until(|lines| lines.len() == 2).await;
    assert_eq!(rest.lines(), all.lines()[2..]);
    assert_eq!(changes[2]["entries"], json!([{"key": "user/1", "value": null, "replaces": [changes[1]["dot"]]}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_the_node_does_not_have_ends_a_watch() {
    let (_node, port, _directory) = alone().await;
    let message = ask(port, &["watch", "--after", "7-3.00c0ffee00c0ffee.7-0123456789abcdef"]).failed(3);
    assert!(message.contains("/watch answered 410: "), "{message}");
    let message = ask(port, &["watch", "--after", "here"]).failed(3);
    assert!(message.contains("/watch answered 400: "), "{message}");
}
