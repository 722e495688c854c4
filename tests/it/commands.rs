//! The commands for people, as they are typed: what they print, where, and how they end.

mod backup;
mod follow;
mod verify;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;

use causeway::causality::Dot;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::cluster::Cluster;
use crate::support::free_ports;
use crate::support::process::{Launch, Process, causeway};

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn of(mut command: Command, input: &[u8]) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Who does not read its input has closed it.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let run = Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
        assert!(!run.out.contains('\u{1b}') && !run.err.contains('\u{1b}'), "it is no terminal: {run:?}");
        run
    }

    /// What it printed, when all went well and there was nothing else to say.
    #[track_caller]
    pub(crate) fn printed(self) -> String {
        assert_eq!((self.code, &*self.err), (Some(0), ""), "{self:?}");
        self.out
    }

    /// The one line that says why it ended with this code. Nothing else was printed.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!((self.code, &*self.out), (Some(code), ""), "{self:?}");
        assert!(self.err.starts_with("causeway: ") && self.err.lines().count() == 1, "{self:?}");
        self.err
    }
}

fn run(arguments: &[&str]) -> Run {
    run_with(arguments, b"")
}

fn run_with(arguments: &[&str], input: &[u8]) -> Run {
    let mut command = causeway();
    command.args(arguments);
    Run::of(command, input)
}

/// The same, of the node at a port of this machine.
pub(crate) fn ask(port: u16, arguments: &[&str]) -> Run {
    let mut command = causeway();
    command.args(arguments).args(["--node", &port.to_string()]);
    Run::of(command, b"")
}

/// A node alone, and the directory that goes with it.
async fn alone() -> (Process, u16, TempDir) {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let node = Launch::by_arguments(directory.path(), 0, port, &[port]).start_ready().await;
    (node, port, directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_is_what_get_prints() {
    let (node, port, _directory) = alone().await;
    let dot = ask(port, &["set", "greeting", "hello"]).printed();
    let dot: Dot = dot.strip_suffix('\n').unwrap().parse().unwrap();
    assert_eq!((dot.origin.node.0, dot.counter), (0, 1));
    assert_eq!(ask(port, &["get", "greeting"]).printed(), "hello", "nothing is added");

    ask(port, &["set", "a=1", "b=x=y", "--delete", "greeting"]).printed();
    assert_eq!(node.api.read("b").await.as_deref(), Some("x=y"));
    let message = ask(port, &["get", "greeting"]).failed(1);
    assert_eq!(message, "causeway: key not found: 'greeting'\n");

    let url = format!("127.0.0.1:{port}");
    let bytes = "two\nlines, ü\n\n".as_bytes();
    run_with(&["set", "--node", &url, "text", "-"], bytes).printed();
    assert_eq!(run(&["get", "text", "--node", &format!("http://{url}/")]).printed().as_bytes(), bytes);

    let named = ["set", "a", "3", "--idempotency-key", "order-4711"];
    let dot = ask(port, &named).printed();
    let again = ask(port, &named);
    assert_eq!((again.code, again.out), (Some(0), dot));
    assert!(again.err.contains("was made before"), "{}", again.err);

    let json: Value = serde_json::from_str(&ask(port, &["set", "a", "2", "--json"]).printed()).unwrap();
    assert_eq!(json["durable_on"], json!([0]));
    let read: Value = serde_json::from_str(&ask(port, &["get", "a", "--json"]).printed()).unwrap();
    assert_eq!(read["siblings"][0]["dot"], json["dot"]);
    assert_eq!(read["siblings"][0]["value"], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn siblings_are_told_of_and_shown() {
    let cluster = Cluster::linked().await;
    let ports: Vec<u16> = cluster.launches.iter().map(|launch| launch.port).collect();
    cluster.links.values().for_each(|link| link.cut());
    ask(ports[0], &["set", "key", "first\n\u{1b}[2J"]).printed();
    ask(ports[1], &["set", "key", "second"]).printed();
    cluster.links.values().for_each(|link| link.heal());
    cluster.until_equal(2).await;

    let plain = ask(ports[0], &["get", "key"]);
    assert_eq!((plain.code, &*plain.out), (Some(0), "second"));
    assert!(plain.err.contains("the key has 2 siblings") && plain.err.contains("--all"), "{plain:?}");

    let all = ask(ports[0], &["get", "key", "--all"]).printed();
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 3, "{all}");
    assert!(lines[0].starts_with("WRITTEN AT") && lines[0].ends_with("VALUE"), "{all}");
    assert!(lines[1].ends_with("  second") && lines[2].ends_with(r"  first\n\u{1b}[2J"), "{all}");

    let newest = |port: u16| ask(port, &["get", "key", "--newest"]).out;
    assert_eq!(newest(ports[0]), "second");
    assert_eq!(newest(ports[1]), "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_file_makes_a_session_across_nodes() {
    let cluster = Cluster::linked().await;
    let ports: Vec<u16> = cluster.launches.iter().map(|launch| launch.port).collect();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("context");
    let file = file.to_str().unwrap();
    for turn in 0..6 {
        let value = turn.to_string();
        ask(ports[turn % 3], &["set", "key", &value, "--context-file", file]).printed();
        let there = ["get", "key", "--context-file", file, "--wait", "20"];
        assert_eq!(ask(ports[(turn + 1) % 3], &there).printed(), value);
    }
    cluster.until_equal(6).await;
    // The same as a token; of a node that can't have it, the refusal says so.
    cluster.links.values().for_each(|link| link.cut());
    ask(ports[0], &["set", "key", "unheard", "--context-file", file]).printed();
    let token = std::fs::read_to_string(file).unwrap();
    let message = ask(ports[1], &["get", "key", "--context", token.trim(), "--wait", "0.1"]).failed(3);
    assert!(message.contains("answered 503") && message.contains("without the context"), "{message}");
    assert!(message.contains("of origin 0.") && message.contains("can still come"), "{message}");
    assert!(message.contains("--wait"), "{message}");
    // Cut, as by a disk that was full.
    std::fs::write(file, &token[..token.len() / 2]).unwrap();
    let message = ask(ports[0], &["get", "key", "--context-file", file]).failed(3);
    assert!(message.contains("answered 400") && message.contains(file), "{message}");
    assert_eq!(ask(ports[1], &["get", "key"]).printed(), "5", "without it every node answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_acknowledgements_are_told_beside_the_dot() {
    let directory = TempDir::new().unwrap();
    let ports = free_ports::<2>();
    let _node = Launch::by_arguments(directory.path(), 0, ports[0], &ports).start_ready().await;
    let run = ask(ports[0], &["set", "key", "value", "--acks", "all", "--wait", "0.1"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.out.trim_end().parse::<Dot>().is_ok(), "{run:?}");
    assert!(run.err.contains("on disk at node 0"), "{run:?}");
    assert_eq!(ask(ports[0], &["get", "key"]).printed(), "value");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_asked_is_the_one_named_or_the_one_of_the_environment() {
    let (_node, port, _directory) = alone().await;
    let [nobody] = free_ports();
    // The first that can be reached.
    ask(port, &["set", "key", "value"]).printed();
    assert_eq!(run(&["get", "key", "--node", &format!("{nobody},{port}")]).printed(), "value");
    assert_eq!(run(&["get", "key", "--node", &nobody.to_string(), "--node", &port.to_string()]).printed(), "value");
    let by_variable = |name: &str, value: String| {
        let mut command = causeway();
        command.args(["get", "key"]).env(name, value);
        Run::of(command, b"")
    };
    assert_eq!(by_variable("CAUSEWAY_NODE", format!("http://127.0.0.1:{port}")).printed(), "value");
    assert_eq!(by_variable("CAUSEWAY_LISTEN", format!("0.0.0.0:{port}")).printed(), "value");

    let message = ask(nobody, &["get", "key"]).failed(3);
    assert!(message.contains(&format!("no answer from http://127.0.0.1:{nobody}: ")), "{message}");
    assert!(message.contains("refused") && message.contains("--node"), "{message}");
    let message = by_variable("CAUSEWAY_LISTEN", "nowhere".to_owned());
    assert_eq!(message.code, Some(2), "{message:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_with_what_the_node_says() {
    let (_node, port, _directory) = alone().await;
    let message = ask(port, &["set", &format!("{}=value", "k".repeat(2000))]).failed(3);
    assert!(message.contains(&format!("http://127.0.0.1:{port}/set answered 413: A key is too long: ")), "{message}");
    assert!(message.contains("1024"), "{message}");
    let message = ask(port, &["get", "key", "--context", "nonsense"]).failed(3);
    assert!(message.contains("answered 400: Not a causal context: "), "{message}");
    let message = ask(port, &["set", "key", "value", "--acks", "9"]).failed(3);
    assert!(message.contains("answered 422: "), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_would_make_too_many_siblings_is_told_with_the_way_out() {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let launch = Launch::by_arguments(directory.path(), 0, port, &[port]).with("CAUSEWAY_MAX_SIBLINGS", "2");
    let _node = launch.start_ready().await;
    let file = directory.path().join("session");
    let file = file.to_str().unwrap();
    ask(port, &["set", "other=x", "--context-file", file]).printed();
    let old = std::fs::read_to_string(file).unwrap();
    for value in ["1", "2"] {
        ask(port, &["set", "key", value, "--context", old.trim()]).printed();
    }
    let message = ask(port, &["set", "key=3", "--context-file", file]).failed(3);
    assert!(message.contains("answered 409") && message.contains("--context-file"), "{message}");
    // As it says.
    assert_eq!(ask(port, &["get", "key", "--context-file", file]).out, "2");
    ask(port, &["set", "key=3", "--context-file", file]).printed();
    assert_eq!(ask(port, &["get", "key"]).printed(), "3");
}

#[test]
fn a_wrong_command_line_is_told_before_anything_is_asked() {
    for (arguments, why) in [
        (&["get", "key", "--node", "ftp://node1"][..], "nodes speak http"),
        (&["get", "key", "--node", "https://node1"], "--ca-file or CAUSEWAY_TLS_CA_FILE"),
        (&["set", "key"], "'key' is not KEY=VALUE"),
        (&["set", "a=1", "a=2"], "'a' is given twice"),
        (&["get", "key", "--context", "a b"], "not a context"),
        (&["verify", "--node", "8000"], "at least two"),
        (&["get", ""], "a key is empty"),
        (&["set", "=value"], "a key is empty"),
        (&["set", "--delete", ""], "a key is empty"),
        (&["set", "a=1", "--replaces", "seen"], "--context-file"),
        (&["set", "a=1", "--replaces", "seen", "--context-file", "/nowhere/at/all"], "--context-file"),
        (&["verify", "--node", "8000,8001,http://127.0.0.1:8000/"], "the same node twice: http://127.0.0.1:8000;"),
    ] {
        let message = run(arguments).failed(2);
        assert!(message.contains(why), "{arguments:?}: {message}");
    }
    for arguments in [
        &["get"][..],
        &["set"],
        &["get", "key", "--wait", "-1"],
        &["completions", "cmd"],
        &["get", "a", "b"],
        &["set", "a=1", "--acks", "most"],
        &["set", "a=1", "--acks", "0"],
    ] {
        let run = run(arguments);
        assert_eq!((run.code, &*run.out), (Some(2), ""), "{arguments:?}: {run:?}");
    }
    let run = run_with(&["set", "key", "-"], b"\xff");
    assert!(run.failed(2).contains("not UTF-8"));
}

#[test]
fn a_mistyped_command_is_told_as_that() {
    for (arguments, word, tip) in [
        (&["statsu"][..], "statsu", Some("status")),
        (&["gett", "key", "--node", "8000"], "gett", Some("get")),
        (&["frobnicate", "a", "b"], "frobnicate", None),
    ] {
        let Run { code, out, err } = run(arguments);
        assert_eq!((code, &*out), (Some(2), ""), "{arguments:?}: {err}");
        assert!(err.contains(&format!("there is no command '{word}'")) && !err.contains("<PEER_PORTS>\n"), "{err}");
        assert_eq!(tip.is_some(), err.contains("tip: "), "{err}");
        assert!(tip.is_none_or(|tip| err.contains(&format!("'{tip}'"))), "{err}");
    }
    assert_eq!(run(&["help", "get"]).code, Some(0));
}

/// Answers every request alike, as something does that is no node.
fn stranger(head: &'static str, body: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head_in = BufReader::new(stream.try_clone().unwrap()).lines();
            while head_in.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let length = body.len();
            write!(stream, "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        }
    });
    port
}

#[test]
fn what_answers_and_is_no_node_is_told() {
    let page = stranger("200 OK\r\ncontent-type: text/html", "<!doctype html>\n");
    for arguments in [
        &["get", "key"][..],
        &["get", "key", "--all"],
        &["set", "a=1"],
        &["status", "--json"],
        &["status", "--watch"],
        &["watch"],
    ] {
        let message = ask(page, arguments).failed(3);
        assert!(message.contains("not the answer of a node: "), "{arguments:?}: {message}");
    }
    let nothing = stranger("404 Not Found\r\ncauseway-siblings: 0", "");
    assert!(ask(nothing, &["get", "key"]).failed(3).contains("not the answer of a node: "));
}

#[test]
fn shells_get_their_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]).printed();
        for part in ["causeway", "verify", "context-file"] {
            assert!(script.contains(part), "{shell}: {part}");
        }
    }
}

#[test]
fn every_command_says_how_it_ends() {
    for command in ["get", "set", "status", "members", "drain", "watch", "verify"] {
        let help = run(&[command, "--help"]).printed();
        assert!(help.contains("Exit codes: 0 ") && help.contains("CAUSEWAY_NODE"), "{help}");
    }
}
