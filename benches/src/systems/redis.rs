//! Redis, with every write on disk before it is answered.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Shape, System, installed};
use crate::load::{Amount, Keys, Pace, Protocol, Request, Right, Template, Workload, run};
use crate::process::{Process, free_ports};

/// Starts it, if it is installed, with these keys in it.
pub fn start(directory: &Path, shape: Shape) -> Result<Option<System>> {
    let Some(program) = installed("redis-server") else { return Ok(None) };
    let port = free_ports(1)?[0];
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]);
    let mut process = Process::start("redis", directory, &command)?;
    process.until("ready", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    let keys = shape.keys_a_request();
    let fill = workload(port, vec![write(shape, keys, Keys::fresh(0))]);
    run(&fill, 8, Pace::Closed, Amount::Requests(shape.keys.div_ceil(keys as u64)))?;
    Ok(Some(System { name: "redis", processes: vec![process], ports: vec![port] }))
}

/// A load of one kind or several.
pub fn workload(port: u16, requests: Vec<Request>) -> Workload {
    Workload { protocol: Protocol::Resp, ports: vec![port], requests }
}

/// `SET`, or `MSET` for several keys.
pub fn write(shape: Shape, keys: usize, choice: Keys) -> Request {
    let mut words = vec![if keys == 1 { "SET".to_owned() } else { "MSET".to_owned() }];
    words.extend((0..keys).flat_map(|_| [shape.key(), shape.value()]));
    Request { share: 1, template: command(&words), keys: choice, right: Right { status: 200, body: None } }
}

/// `GET`.
pub fn read(shape: Shape, choice: Keys) -> Request {
    let template = command(&["GET".to_owned(), shape.key()]);
    Request { share: 1, template, keys: choice, right: Right { status: 200, body: Some(shape.value_bytes) } }
}

fn command(words: &[String]) -> Template {
    let words_text: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    Template::new(&format!("*{}\r\n{words_text}", words.len()))
}
