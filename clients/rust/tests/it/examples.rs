//! The examples do what they say, as programs, against three nodes.

use std::process::{Output, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::nodes::{Cluster, built};

fn example(name: &str, arguments: &[&str]) -> Command {
    let program = built().join("examples").join(name);
    assert!(program.exists(), "{} is not there: cargo build --examples -p causeway-client", program.display());
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs an example, and gives the line that it prints.
async fn run(name: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = example(name, arguments).output().await.unwrap();
    assert!(status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap().trim().to_owned()
}

/// An example that goes on, and what it prints.
struct Following {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Following {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let mut child = example(name, arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { lines, _child: child }
    }

    async fn line(&mut self) -> String {
        self.lines.next_line().await.unwrap().expect("it goes on")
    }
}

#[tokio::test]
async fn a_cart_survives_a_partition() {
    let cluster = Cluster::start().await;
    let [here, there, far] = [0, 1, 2].map(|node| cluster.url(node));
    let cart = async |arguments: &[&str]| run("shopping_cart", arguments).await;
    assert_eq!(cart(&["show", here]).await, "nothing");
    cart(&["add", "tea", here, there, far]).await;
    assert_eq!(cart(&["add", "milk", here]).await, "milk, tea");
    cluster.until_equal().await;
    cluster.cut_off(0);
    // What is removed on the one side is what is seen there: not the milk that the other side adds.
    cart(&["remove", "tea", here]).await;
    cart(&["remove", "milk", here]).await;
    assert_eq!(cart(&["add", "jam", here]).await, "jam");
    cart(&["add", "bread", there]).await;
    assert_eq!(cart(&["add", "milk", there]).await, "bread, milk, milk, tea");
    cluster.heal(0);
    cluster.until_equal().await;
    for node in [here, far] {
        assert_eq!(cart(&["show", node]).await, "bread, jam, milk");
    }
    // Whoever changes it next settles it.
    assert_eq!(cart(&["remove", "bread", far]).await, "jam, milk");
    cluster.until_equal().await;
    assert_eq!(cart(&["show", there]).await, "jam, milk");
}

#[tokio::test]
async fn presence_is_told() {
    let cluster = Cluster::start().await;
    let [here, there, far] = [0, 1, 2].map(|node| cluster.url(node));
    let mut lines = Following::start("presence", &["follow", far]);
    assert_eq!(lines.line().await, "there: nobody");
    run("presence", &["say", "ada", here]).await;
    assert_eq!(lines.line().await, "ada is there");
    run("presence", &["say", "grace", there, far]).await;
    assert_eq!(lines.line().await, "grace is there");
    assert_eq!(run("presence", &["who", far]).await, "ada, grace");
    run("presence", &["leave", "ada", far]).await;
    assert_eq!(lines.line().await, "ada leaves");
    assert_eq!(run("presence", &["who", far]).await, "grace");
}

#[tokio::test]
async fn flags_follow_and_off_wins() {
    let cluster = Cluster::start().await;
    let [here, there, far] = [0, 1, 2].map(|node| cluster.url(node));
    let mut lines = Following::start("feature_flags", &["follow", far]);
    let set = async |name: &str, value: &str, node: &str| run("feature_flags", &["set", name, value, node]).await;
    assert_eq!(lines.line().await, "on: none");
    set("checkout", "on", here).await;
    assert_eq!(lines.line().await, "on: checkout");
    set("search", "on", far).await;
    assert_eq!(lines.line().await, "on: checkout, search");
    // Also node0 must have it, or its own would stay beside.
    cluster.until_equal().await;
    cluster.cut_off(0);
    set("checkout", "off", here).await;
    set("checkout", "on", there).await;
    assert_eq!(lines.line().await, "on: checkout, search");
    cluster.heal(0);
    assert_eq!(lines.line().await, "on: search");
    set("checkout", "on", far).await;
    assert_eq!(lines.line().await, "on: checkout, search");
}
