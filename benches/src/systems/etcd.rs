//! etcd, by its HTTP gateway. Linearizable, which Causeway is not: it shows what that costs, too.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use super::{Shape, System, installed};
use crate::client;
use crate::load::{Keys, Protocol, Request, Right, Template, Workload};
use crate::process::{Process, free_ports};

/// Starts so many members, if it is installed. It starts empty.
pub fn start(directory: &Path, members: usize) -> Result<Option<System>> {
    let Some(program) = installed("etcd") else { return Ok(None) };
    let ports = free_ports(2 * members)?;
    let (clients, peers) = ports.split_at(members);
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let list: Vec<String> = (0..members).map(|id| format!("m{id}={}", url(peers[id]))).collect();
    let mut processes = Vec::new();
    for id in 0..members {
        let mut command = Command::new(&program);
        command.args(["--name", &format!("m{id}"), "--data-dir", &format!("m{id}"), "--log-level", "error"]);
        command.args(["--listen-client-urls", &url(clients[id]), "--advertise-client-urls", &url(clients[id])]);
        command.args(["--listen-peer-urls", &url(peers[id]), "--initial-advertise-peer-urls", &url(peers[id])]);
        command.args(["--initial-cluster", &list.join(","), "--quota-backend-bytes", "8589934592"]);
        processes.push(Process::start(&format!("etcd{id}"), directory, &command)?);
    }
    for (process, port) in processes.iter_mut().zip(clients) {
        process.until("ready", || client::json(*port, "/health").is_ok_and(|health| health["health"] == "true"))?;
    }
    Ok(Some(System { name: "etcd", processes, ports: clients.to_vec() }))
}

/// Writes of so many keys each: `put`, or a transaction of puts.
pub fn writes(ports: &[u16], shape: Shape, keys: usize, choice: Keys) -> Workload {
    // A key of digits and letters is base64 of something, and a different one for each number.
    let put = json!({ "key": shape.key(), "value": shape.value() });
    let template = if keys == 1 {
        Template::http("POST", "/v3/kv/put", &put.to_string())
    } else {
        let puts: Vec<_> = (0..keys).map(|_| json!({ "requestPut": put })).collect();
        Template::http("POST", "/v3/kv/txn", &json!({ "success": puts }).to_string())
    };
    let request = Request { share: 1, template, keys: choice, right: Right { status: 200, body: None } };
    Workload { protocol: Protocol::Http, ports: ports.to_vec(), requests: vec![request] }
}

/// How many writes a member has applied.
pub fn revision(port: u16) -> Result<u64> {
    let answer = client::send(port, "POST", "/v3/maintenance/status", &[], "{}")?;
    let status: serde_json::Value = serde_json::from_slice(&answer.body)?;
    let revision = status["header"]["revision"].as_str().context("a status without a revision")?;
    Ok(revision.parse()?)
}
