//! Instructions of whole requests, counted by valgrind on the release binary: what traces add to them.
//!
//! The server runs twice and answers so many requests of one connection, and three times as many. The difference is
//! theirs; what runs beside them (ticks, a sync) is in it, too, and makes the last digits vary.

use std::fs;
use std::net::TcpStream;
use std::path::Path;

use anyhow::{Context, Result};

use crate::client;
use crate::instructions::{COUNTING, instructions_in};
use crate::systems::causeway::Launch;

const TIMES: u64 = 1_000;

/// How traces are set up: by which settings.
const TRACES: [(&str, &[(&str, &str)]); 2] = [
    ("no traces", &[]),
    (
        "1 % of requests",
        &[
            // Nobody listens there: spans are made, queued and given up.
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.01"),
        ],
    ),
];

const READ: &str = "GET /read?key=k HTTP/1.1\r\nHost: bench\r\n\r\n";
const WRITE: &str = "PATCH /set HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
                     Content-Length: 24\r\n\r\n{\"values\":{\"k\":\"value\"}}";

/// One line a kind of request.
pub fn count_all(binary: &Path) -> Result<()> {
    println!("\n| request | traces | instructions | of those without |\n| --- | --- | ---: | ---: |");
    for (name, request) in [("read", READ), ("write", WRITE)] {
        let mut without = None;
        for (traces, settings) in TRACES {
            let more = count(binary, settings, request, 3 * TIMES)?;
            let less = count(binary, settings, request, TIMES)?;
            let instructions = more.saturating_sub(less) / (2 * TIMES);
            let base = *without.get_or_insert(instructions);
            println!("| {name} | {traces} | {instructions} | {:.3} |", instructions as f64 / base as f64);
        }
    }
    Ok(())
}

/// All instructions of a server that answers a request so often.
fn count(binary: &Path, settings: &[(&str, &str)], request: &str, times: u64) -> Result<u64> {
    let directory = tempfile::tempdir_in(binary.parent().context("a program without a directory")?)?;
    let said = directory.path().join("valgrind.log");
    let mut launch = Launch::alone(directory.path())?.with("CAUSEWAY_LOG", "error").with_all(settings);
    launch.under = COUNTING.map(str::to_owned).to_vec();
    launch.under.push(format!("--log-file={}", said.display()));
    let node = launch.start(binary)?;
    node.write("k", "value", &[])?;
    let mut stream = TcpStream::connect(("127.0.0.1", node.port))?;
    for _ in 0..times {
        client::exchange(&mut stream, request)?;
    }
    drop(stream);
    node.process.stop()?;
    instructions_in(&fs::read_to_string(said)?)
}
