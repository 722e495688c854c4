//! What it costs that every node gets every op, and what nodes cost that have nothing to do.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::bench::Bench;
use crate::load::{Amount, Keys, Pace, run};
use crate::process::cpu_seconds;
use crate::report::Row;
use crate::systems::Shape;
use crate::systems::causeway::writes;
use crate::systems::cluster::Cluster;

/// Enough that a commit, and with it a push, has at least 64 ops.
const CLIENTS: usize = 128;

pub(super) fn run_all(bench: &mut Bench) -> Result<()> {
    let mut rows = Vec::new();
    for nodes in bench.options.nodes.clone() {
        eprintln!("{nodes} nodes");
        rows.push(one(bench, nodes)?);
    }
    bench.report.add("writes on one node, until all have them", rows);
    Ok(())
}

fn one(bench: &mut Bench, nodes: usize) -> Result<Row> {
    let directory = bench.directory()?;
    let cluster = Cluster::start(&directory, nodes, &bench.options.binary)?;
    let ids = cluster.ids();
    let mut row = Row::new(&format!("{nodes} nodes"));

    let (cpu, bytes, began) = (cpu_seconds(&ids)?, loopback_bytes()?, Instant::now());
    std::thread::sleep(bench.slice() * 2);
    let seconds = began.elapsed().as_secs_f64();
    row.add("idle CPU ms/s, all", (cpu_seconds(&ids)? - cpu) * 1e3 / seconds);
    row.add("idle KB/s, all", (loopback_bytes()? - bytes) as f64 / 1e3 / seconds);

    let ops = bench.size(20_000, 500);
    let (before, received) = (cluster.nodes[0].ops()?, cluster.received()?);
    let load = writes(&cluster.ports()[..1], Shape::of(bench.keys()), 1, Keys::fresh(0));
    let (cpu, bytes, began) = (cpu_seconds(&ids)?, loopback_bytes()?, Instant::now());
    let outcome = run(&load, CLIENTS, Pace::Closed, Amount::Requests(ops))?;
    cluster.settle()?;
    let seconds = began.elapsed().as_secs_f64();
    let (cpu, bytes) = (cpu_seconds(&ids)? - cpu, loopback_bytes()? - bytes);
    cluster.check(before, ops)?;
    let (more, pushes) = cluster.received()?;
    let delivered = (ops * (nodes as u64 - 1)) as f64;
    row.add("ops/s", ops as f64 / seconds);
    row.add("deliveries/s", delivered / seconds);
    row.add("ops/push", (more - received.0) as f64 / (pushes - received.1) as f64);
    row.add("CPU µs/delivery", cpu * 1e6 / delivered);
    // Without what the clients sent and got; with the heads of packets.
    row.add("bytes/delivery", bytes.saturating_sub(outcome.bytes) as f64 / delivered);
    Ok(row)
}

/// Bytes that have gone over the loopback so far, of this machine's all.
fn loopback_bytes() -> Result<u64> {
    let devices = std::fs::read_to_string("/proc/net/dev")?;
    let line = devices.lines().find_map(|line| line.trim_start().strip_prefix("lo:")).context("no loopback")?;
    Ok(line.split_whitespace().next().context("no count of bytes")?.parse()?)
}
