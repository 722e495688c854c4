//! Causeway itself: the release binary, as an operator would start it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Shape;
use crate::client;
use crate::load::{Keys, Protocol, Request, Right, Template, Workload};
use crate::process::{Process, free_ports};
use crate::references::Canned;

/// What a cluster knows of its ops: origin → counter.
pub type Vector = BTreeMap<String, u64>;

/// How a node is started; can be started again.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its id.
    pub id: usize,
    /// The ports of all nodes.
    pub ports: Vec<u16>,
    /// Its own place on disk.
    pub directory: PathBuf,
    /// Settings.
    pub environment: Vec<(String, String)>,
    /// A command that runs it, such as a debugger's; empty: none.
    pub under: Vec<String>,
}

impl Launch {
    /// Node 0 of one.
    pub fn alone(directory: &Path) -> Result<Self> {
        let mut nodes = Self::cluster(directory, 1)?;
        nodes[0].directory = directory.to_owned();
        Ok(nodes.remove(0))
    }

    /// All nodes of a cluster, each with a directory below this one.
    pub fn cluster(directory: &Path, nodes: usize) -> Result<Vec<Self>> {
        let ports = free_ports(nodes)?;
        let launch = |id| {
            let directory = directory.join(format!("node{id}"));
            Self { id, ports: ports.clone(), directory, environment: Vec::new(), under: Vec::new() }
        };
        Ok((0..nodes).map(launch).collect())
    }

    /// With one more setting.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With more settings.
    pub fn with_all(self, settings: &[(&str, &str)]) -> Self {
        settings.iter().fold(self, |launch, (name, value)| launch.with(name, value))
    }

    /// Where its data is.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Starts it and waits until it takes requests.
    pub fn start(&self, binary: &Path) -> Result<Node> {
        let port = self.ports[self.id];
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        let binary = fs::canonicalize(binary)?;
        let mut command = match self.under.split_first() {
            None => Command::new(binary),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary);
                command
            }
        };
        command.args([self.id.to_string(), port.to_string(), ports.join(",")]);
        command.env("CAUSEWAY_DATA_DIR", self.data()).envs(self.environment.iter().cloned());
        let mut process = Process::start("causeway", &self.directory, &command)?;
        process.until("ready", || client::get(port, "/readyz").is_ok_and(|answer| answer.status == 200))?;
        Ok(Node { process, port })
    }
}

/// A running node.
pub struct Node {
    /// Its process.
    pub process: Process,
    /// Its port.
    pub port: u16,
}

impl Node {
    /// Its version vector.
    pub fn vector(&self) -> Result<Vector> {
        let status = client::json(self.port, "/status")?;
        Ok(serde_json::from_value(status["vector"].clone())?)
    }

    /// How many ops are visible on it, as long as no node was restarted.
    pub fn ops(&self) -> Result<u64> {
        Ok(self.vector()?.values().sum())
    }

    /// How many ops it has received from other nodes, and in how many pushes.
    pub fn received(&self) -> Result<(u64, u64)> {
        let received = client::json(self.port, "/status")?["received_ops"].take();
        let count = |name: &str| received[name].as_u64().context("a status without what was received");
        Ok((count("total")?, count("pushes")?))
    }

    /// How many keys it holds.
    pub fn keys(&self) -> Result<u64> {
        client::json(self.port, "/status")?["keys"].as_u64().context("a status without keys")
    }

    /// Makes a write for its answer.
    pub fn write(&self, key: &str, value: &str, headers: &[(&str, &str)]) -> Result<client::Answer> {
        let body = serde_json::json!({ "values": { key: value } }).to_string();
        let headers = [&[("Content-Type", "application/json")], headers].concat();
        let answer = client::send(self.port, "PATCH", "/set", &headers, &body)?;
        ensure!(answer.status == 200, "a write is answered {}: {:?}", answer.status, String::from_utf8(answer.body));
        Ok(answer)
    }
}

/// What a server must answer to look like this answer.
pub fn canned(answer: client::Answer) -> Result<Canned> {
    // These come from every server itself.
    let own = ["content-length", "date", "connection"];
    let headers = answer.headers.into_iter().filter(|(name, _)| !own.contains(&name.as_str())).collect();
    Ok(Canned { status: answer.status, headers, body: String::from_utf8(answer.body)? })
}

/// Reads of keys that are there.
pub fn reads(ports: &[u16], shape: Shape, keys: Keys) -> Workload {
    workload(ports, vec![read_with("", shape, keys)])
}

/// Reads of keys that are there, with more headers, each a line with its end.
pub fn read_with(headers: &str, shape: Shape, keys: Keys) -> Request {
    let right = Right { status: 200, body: Some(shape.value_bytes) };
    let template = Template::http_with("GET", &format!("/read?key={}", shape.key()), headers, "");
    Request { share: 1, template, keys, right }
}

/// Reads of one path.
pub fn read(path: &str, keys: Keys, right: Right) -> Request {
    Request { share: 1, template: Template::http("GET", path, ""), keys, right }
}

/// Writes of so many keys each.
pub fn writes(ports: &[u16], shape: Shape, keys: usize, choice: Keys) -> Workload {
    workload(ports, vec![write(shape, keys, choice)])
}

/// A write of so many keys.
pub fn write(shape: Shape, keys: usize, choice: Keys) -> Request {
    write_with("", shape, keys, choice)
}

/// The same with more headers, each a line with its end.
pub fn write_with(headers: &str, shape: Shape, keys: usize, choice: Keys) -> Request {
    let template = Template::http_with("PATCH", "/set", headers, &body(shape, keys));
    Request { share: 1, template, keys: choice, right: Right { status: 200, body: None } }
}

/// A load of one kind or several.
pub fn workload(ports: &[u16], requests: Vec<Request>) -> Workload {
    Workload { protocol: Protocol::Http, ports: ports.to_vec(), requests }
}

fn body(shape: Shape, keys: usize) -> String {
    let value = Value::from(shape.value());
    let entries: Vec<String> = (0..keys).map(|_| format!("\"{}\":{value}", shape.key())).collect();
    format!("{{\"values\":{{{}}}}}", entries.join(","))
}
