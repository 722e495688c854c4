//! Three nodes: writes count when all nodes have them. Beside etcd, whose writes count when its members agree.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::bench::Bench;
use crate::load::{Amount, Keys, Pace, Workload, run};
use crate::process::{PATIENCE, cpu_seconds};
use crate::report::Row;
use crate::systems::causeway::writes;
use crate::systems::cluster::Cluster;
use crate::systems::{Shape, System, etcd};

pub(super) const NODES: usize = 3;

pub(super) fn run_all(bench: &mut Bench) -> Result<()> {
    let shape = Shape::of(bench.keys());
    let directory = bench.directory()?;
    let cluster = Cluster::start(&directory, NODES, &bench.options.binary)?;
    let etcd = etcd::start(&directory, NODES)?;
    for clients in [64, 256] {
        for writing in [1, NODES] {
            let mut rows = vec![Row::new("causeway")];
            rows.extend(etcd.iter().map(|_| Row::new("etcd")));
            for _ in 0..bench.options.rounds {
                let ports = &cluster.ports()[..writing];
                let before = cluster.nodes[0].ops()?;
                let load = writes(ports, shape, 1, Keys::Uniform(shape.keys));
                let ops = one(bench, &load, clients, &cluster.ids(), &mut rows[0], || cluster.settle())?;
                cluster.check(before, ops)?;
                if let Some(etcd) = &etcd {
                    let load = etcd::writes(&etcd.ports[..writing], shape, 1, Keys::Uniform(shape.keys));
                    one(bench, &load, clients, &etcd.ids(), &mut rows[1], || settle_etcd(etcd))?;
                }
            }
            let where_to = if writing == 1 { "on one node" } else { "on all nodes" };
            bench.report.compare(&format!("{clients} clients write {where_to}"), rows);
        }
    }
    Ok(())
}

/// Writes for a while and waits until the rest is everywhere, too.
pub(super) fn one(
    bench: &Bench,
    load: &Workload,
    clients: usize,
    processes: &[u32],
    row: &mut Row,
    settle: impl Fn() -> Result<()>,
) -> Result<u64> {
    let cpu = cpu_seconds(processes)?;
    let began = Instant::now();
    let outcome = run(load, clients, Pace::Closed, Amount::Time(bench.slice()))?;
    settle()?;
    let seconds = began.elapsed().as_secs_f64();
    row.add("ops/s", outcome.requests as f64 / seconds);
    row.add("acknowledged ops/s", outcome.per_second());
    row.add("the last everywhere after ms", (seconds - outcome.seconds) * 1e3);
    row.add("p50 ms", outcome.latency_ms(0.5));
    row.add("p99 ms", outcome.latency_ms(0.99));
    row.add("CPU µs/op", (cpu_seconds(processes)? - cpu) * 1e6 / outcome.requests as f64);
    Ok(outcome.requests)
}

fn settle_etcd(etcd: &System) -> Result<()> {
    let began = Instant::now();
    loop {
        let revisions = etcd.ports.iter().map(|port| etcd::revision(*port)).collect::<Result<Vec<_>>>()?;
        if revisions.iter().all(|revision| *revision == revisions[0]) {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "the members of etcd differ: {revisions:?}");
    }
}
