//! A node was away for longer than logs go back: how fast it gets the whole state, what reads on both sides notice of that,
//! and what memory and disk the others take all along.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::catch_up::{READERS, READS, WRITERS, report_reads, while_reading};
use super::nodes::NODES;
use crate::bench::Bench;
use crate::client;
use crate::load::{Amount, Keys, Pace, run};
use crate::process::{PATIENCE, cpu_seconds, disk_bytes, memory};
use crate::report::Row;
use crate::systems::Shape;
use crate::systems::causeway::{Launch, Node, reads, writes};
use crate::systems::cluster::{Cluster, context, until_included};

/// What logs may take: much less than what the node misses.
const LOG_BYTES: u64 = 64 << 20;

/// A tiny one, for when only its working is looked at.
const SMOKE_LOG_BYTES: u64 = 4 << 20;

pub(super) fn run_all(bench: &mut Bench) -> Result<()> {
    let directory = bench.directory()?;
    let log_bytes = bench.size(LOG_BYTES, SMOKE_LOG_BYTES);
    let mut cluster = Cluster::start_with(&directory, NODES, &bench.options.binary, |launch| {
        launch.with("CAUSEWAY_LOG_MAX_BYTES", &log_bytes.to_string())
    })?;
    // Of each key, several writes: most of what is missed is not there any more.
    let ops = bench.size(bench.options.ops, 60_000);
    let shape = Shape::of((ops / 5).max(1_000));
    cluster.nodes[0].write(&shape.key().replace('#', "0"), &shape.value(), &[])?;
    cluster.settle()?;
    let before = cluster.nodes[0].ops()?;
    let reading = |port: u16| reads(&[port], shape, Keys::One(0));
    let (source, target) = (cluster.nodes[0].port, cluster.nodes[NODES - 1].port);
    let slice = Amount::Time(bench.slice());
    let quiet = run(&reading(source), READERS, Pace::Open(READS), slice)?;
    let quiet_target = run(&reading(target), READERS, Pace::Open(READS), slice)?;

    cluster.nodes.pop().context("there are three")?.process.stop()?;
    let load = writes(&[source], shape, 1, Keys::Uniform(shape.keys));
    let writing = || run(&load, WRITERS, Pace::Closed, Amount::Requests(ops));
    let (written, while_away) = watching(&cluster.nodes, &cluster.launches, writing)?;
    cluster.settle()?;
    until_trimmed(&cluster.launches[..NODES - 1], log_bytes)?;
    let wanted = context(source)?;
    let keys = cluster.nodes[0].keys()?;
    let cpu = cpu_seconds(&cluster.ids())?;

    let began = Instant::now();
    cluster.nodes.push(cluster.launches[NODES - 1].start(&bench.options.binary)?);
    let ready = began.elapsed();
    let catching_up = || while_reading(&reading(source), &reading(target), || until_included(target, &wanted));
    let ((during, during_target), while_sent) = watching(&cluster.nodes, &cluster.launches, catching_up)?;
    let took = (began.elapsed() - ready).as_secs_f64();
    cluster.settle()?;
    cluster.check(before, ops)?;
    let moved = received(&cluster.nodes[NODES - 1])?;
    ensure!(moved >= keys, "only {moved} of {keys} keys came with a state: the log was not trimmed");

    let cpu = cpu_seconds(&cluster.ids())? - cpu;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let row = Row::new("causeway")
        .with("missed ops", ops as f64)
        .with("written at ops/s", written.per_second())
        .with("keys", keys as f64)
        .with("caught up s", took)
        .with("keys/s", keys as f64 / took)
        .with("CPU µs/key", cpu * 1e6 / keys as f64);
    bench.report.add("a node gets the whole state; CPU of all three", vec![row]);
    let rows = [("while it is away", while_away), ("while it is caught up", while_sent)];
    let rows = rows.map(|(name, most)| {
        Row::new(name)
            .with("memory MiB", mib(most.memory))
            .with("disk MiB", mib(most.disk))
            .with("log MiB", mib(most.log))
    });
    bench.report.add("what a node takes at most", rows.into());
    report_reads(bench, [&quiet.latency, &during], [&quiet_target.latency, &during_target]);
    Ok(())
}

/// Waits until logs are about as short as they may be: they are looked at once a second, and wait for tables.
fn until_trimmed(launches: &[Launch], log_bytes: u64) -> Result<()> {
    let began = Instant::now();
    let is_longer = |launch: &Launch| Ok(disk_bytes(&log(launch))? > log_bytes / 4 * 5);
    while launches.iter().map(is_longer).collect::<Result<Vec<_>>>()?.contains(&true) {
        ensure!(began.elapsed() < PATIENCE, "the logs are not trimmed in time");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Where a node's log is.
fn log(launch: &Launch) -> PathBuf {
    launch.data().join("store").join("log")
}

/// How many keys came to a node with a state.
fn received(node: &Node) -> Result<u64> {
    let metrics = String::from_utf8(client::get(node.port, "/metrics")?.body)?;
    let line = metrics.lines().find_map(|line| line.strip_prefix("causeway_state_transfer_received_keys_total "));
    Ok(line.context("a metric is missing")?.trim().parse::<f64>()? as u64)
}

/// The most that a node took of each.
#[derive(Clone, Copy, Default)]
struct Most {
    memory: u64,
    disk: u64,
    log: u64,
}

/// Looks at nodes until `work` is done.
fn watching<T>(nodes: &[Node], launches: &[Launch], work: impl FnOnce() -> Result<T>) -> Result<(T, Most)> {
    let done = AtomicBool::new(false);
    let look = || -> Result<Most> {
        let mut most = Most::default();
        while !done.load(Ordering::Relaxed) {
            for (node, launch) in nodes.iter().zip(launches) {
                let now = memory(node.process.id())?;
                most.memory = most.memory.max(now.anonymous);
                most.disk = most.disk.max(disk_bytes(&launch.data())?);
                most.log = most.log.max(disk_bytes(&log(launch))?);
            }
            thread::sleep(Duration::from_millis(200));
        }
        Ok(most)
    };
    thread::scope(|scope| {
        let looking = scope.spawn(look);
        let worked = work();
        done.store(true, Ordering::Relaxed);
        let most = looking.join().expect("it ends with an error, not a panic");
        Ok((worked?, most?))
    })
}
