//! How long after its acknowledgement a write is visible on another node.
//!
//! While a load of writes comes in at a given rate, a client makes single writes, and with the context of each answer
//! a read on another node: that read is answered when the write is visible there. So a measurement is one request
//! long, which is the least it can show.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;

use super::nodes::NODES;
use crate::bench::Bench;
use crate::load::{Amount, Connection, Keys, Pace, Protocol, Template, Workload, histogram, run};
use crate::report::Row;
use crate::systems::Shape;
use crate::systems::causeway::writes;
use crate::systems::cluster::Cluster;

const CLIENTS: usize = 64;
/// Between two probes.
const PAUSE: Duration = Duration::from_millis(2);

pub(super) fn run_all(bench: &mut Bench) -> Result<()> {
    let directory = bench.directory()?;
    let cluster = Cluster::start(&directory, NODES, &bench.options.binary)?;
    let shape = Shape::of(bench.keys());
    let load = writes(&cluster.ports()[..1], shape, 1, Keys::Uniform(shape.keys));
    let capacity = capacity(bench, &cluster, &load)?;
    let rates = [
        ("no other writes".to_owned(), None),
        ("10 % of capacity".to_owned(), Some(capacity * 0.1)),
        ("2,000 a second".to_owned(), Some(2000.0)),
        ("50 % of capacity".to_owned(), Some(capacity * 0.5)),
    ];
    let mut rows = Vec::new();
    for (name, rate) in rates {
        let mut row = Row::new(&name);
        for _ in 0..bench.options.rounds {
            one(bench, &cluster, &load, rate, &mut row)?;
            cluster.settle()?;
        }
        rows.push(row);
    }
    bench.report.add(&format!("writes on one of {NODES} nodes, read on another"), rows);
    Ok(())
}

/// Writes a second that three nodes take, until all have them.
fn capacity(bench: &Bench, cluster: &Cluster, load: &Workload) -> Result<f64> {
    let began = Instant::now();
    let outcome = run(load, CLIENTS, Pace::Closed, Amount::Time(bench.slice()))?;
    cluster.settle()?;
    Ok(outcome.requests as f64 / began.elapsed().as_secs_f64())
}

fn one(bench: &Bench, cluster: &Cluster, load: &Workload, rate: Option<f64>, row: &mut Row) -> Result<()> {
    let amount = Amount::Time(bench.slice());
    let (loaded, probed) = thread::scope(|scope| {
        let loading = rate.map(|rate| scope.spawn(move || run(load, CLIENTS, Pace::Open(rate), amount)));
        let probed = probe(cluster.nodes[0].port, cluster.nodes[1].port, bench.slice());
        (loading.map(|loading| loading.join().expect("a load ends with an error, not with a panic")), probed)
    });
    let visible = probed?;
    if let Some(loaded) = loaded.transpose()? {
        row.add("ops/s", loaded.per_second());
        row.add("write p50 ms", loaded.latency_ms(0.5));
        row.add("write p99 ms", loaded.latency_ms(0.99));
    }
    for (metric, quantile) in [("visible p50 ms", 0.5), ("visible p99 ms", 0.99)] {
        row.add(metric, visible.value_at_quantile(quantile) as f64 / 1e6);
    }
    row.add("probes", visible.len() as f64);
    Ok(())
}

/// Writes on one node and reads on another with the write's context, one after the other.
fn probe(write_to: u16, read_from: u16, time: Duration) -> Result<Histogram<u64>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut writer = Connection::open(write_to, Protocol::Http).await?;
        let mut reader = Connection::open(read_from, Protocol::Http).await?;
        let mut write = Template::http("PATCH", "/set", r#"{"values":{"probe":"value"}}"#);
        let mut visible = histogram();
        let began = Instant::now();
        while began.elapsed() < time {
            let written = writer.exchange(write.with(std::iter::empty())).await?;
            let acknowledged = Instant::now();
            ensure!(written.status == 200, "a write is answered {}", written.status);
            let context = writer.header("causal-context").context("a write without a context")?;
            let request = format!(
                "GET /read?key=probe HTTP/1.1\r\nHost: bench\r\nCausal-Context: {context}\r\nPrefer: wait=30\r\n\r\n"
            );
            let read = reader.exchange(request.as_bytes()).await?;
            ensure!(read.status == 200, "a session's read is answered {}", read.status);
            visible.saturating_record(acknowledged.elapsed().as_nanos() as u64);
            tokio::time::sleep(PAUSE).await;
        }
        Ok(visible)
    })
}
