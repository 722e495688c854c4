//! A node that was away comes back: how fast it gets what it missed, and what reads notice of that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use super::nodes::NODES;
use crate::bench::Bench;
use crate::load::{Amount, Keys, Pace, Workload, histogram, run};
use crate::process::cpu_seconds;
use crate::report::Row;
use crate::systems::Shape;
use crate::systems::causeway::{reads, writes};
use crate::systems::cluster::{Cluster, context, until_included};

/// Clients that write while the node is away, one key a request.
pub(super) const WRITERS: usize = 256;
/// Reads a second on each of two nodes, meanwhile.
pub(super) const READS: f64 = 1000.0;
pub(super) const READERS: usize = 8;

pub(super) fn run_all(bench: &mut Bench) -> Result<()> {
    let directory = bench.directory()?;
    let mut cluster = Cluster::start(&directory, NODES, &bench.options.binary)?;
    let (shape, ops) = (Shape::of(bench.keys()), bench.options.ops);
    cluster.nodes[0].write(&shape.key().replace('#', "0"), &shape.value(), &[])?;
    cluster.settle()?;
    let before = cluster.nodes[0].ops()?;
    let reading = |port: u16| reads(&[port], shape, Keys::One(0));
    let (source, target) = (cluster.nodes[0].port, cluster.nodes[NODES - 1].port);
    let quiet = run(&reading(source), READERS, Pace::Open(READS), Amount::Time(bench.slice()))?;
    let quiet_target = run(&reading(target), READERS, Pace::Open(READS), Amount::Time(bench.slice()))?;

    cluster.nodes.pop().context("there are three")?.process.stop()?;
    let load = writes(&[source], shape, 1, Keys::Uniform(shape.keys));
    let written = run(&load, WRITERS, Pace::Closed, Amount::Requests(ops))?;
    cluster.settle()?;
    let wanted = context(source)?;
    let cpu = cpu_seconds(&cluster.ids())?;

    let began = Instant::now();
    cluster.nodes.push(cluster.launches[NODES - 1].start(&bench.options.binary)?);
    let ready = began.elapsed();
    let (during, during_target) =
        while_reading(&reading(source), &reading(target), || until_included(target, &wanted))?;
    let caught_up = began.elapsed();
    cluster.settle()?;
    cluster.check(before, ops)?;

    let cpu = cpu_seconds(&cluster.ids())? - cpu;
    let row = Row::new("causeway")
        .with("missed ops", ops as f64)
        .with("written at ops/s", written.per_second())
        .with("start ms", ready.as_secs_f64() * 1e3)
        .with("caught up s", (caught_up - ready).as_secs_f64())
        .with("ops/s", ops as f64 / (caught_up - ready).as_secs_f64())
        .with("CPU µs/op", cpu * 1e6 / ops as f64);
    bench.report.add("a node comes back; CPU of all three", vec![row]);
    report_reads(bench, [&quiet.latency, &during], [&quiet_target.latency, &during_target]);
    Ok(())
}

/// How long reads took before and during it, at a node that sends and at the one that catches up.
pub(super) fn report_reads(bench: &mut Bench, source: [&Histogram<u64>; 2], target: [&Histogram<u64>; 2]) {
    let quantiles = |name: &str, latency: &Histogram<u64>| {
        let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1e6;
        Row::new(name).with("p50 ms", ms(0.5)).with("p99 ms", ms(0.99)).with("max ms", ms(1.0))
    };
    let rows = vec![
        quantiles("a node that sends, before", source[0]),
        quantiles("a node that sends, during", source[1]),
        quantiles("the node that catches up, before", target[0]),
        quantiles("the node that catches up, during", target[1]),
    ];
    bench.report.add("reads at 1,000 a second beside it", rows);
}

/// Reads from two nodes until `work` is done; the latencies of both.
pub(super) fn while_reading(
    first: &Workload,
    second: &Workload,
    work: impl FnOnce() -> Result<()>,
) -> Result<(Histogram<u64>, Histogram<u64>)> {
    let done = AtomicBool::new(false);
    let read = |load| -> Result<Histogram<u64>> {
        let mut latency = histogram();
        // At least once, however short the work is.
        loop {
            let outcome = run(load, READERS, Pace::Open(READS), Amount::Time(Duration::from_millis(100)))?;
            latency.add(&outcome.latency)?;
            if done.load(Ordering::Relaxed) {
                return Ok(latency);
            }
        }
    };
    thread::scope(|scope| {
        let readers = [scope.spawn(move || read(first)), scope.spawn(move || read(second))];
        let worked = work();
        done.store(true, Ordering::Relaxed);
        let [first, second] = readers.map(|reader| reader.join().expect("a load ends with an error, not a panic"));
        worked?;
        Ok((first?, second?))
    })
}
