//! Side by side: every system gets the same load in turn, round after round.

use anyhow::Result;

use crate::bench::Bench;
use crate::load::{Amount, Outcome, Pace, Workload, run};
use crate::process::{cpu_seconds, own_cpu_seconds};
use crate::report::Row;

/// A system and what it is asked.
pub struct Contender {
    /// Its name.
    pub name: String,
    /// The processes that do the work.
    pub processes: Vec<u32>,
    /// What it is asked.
    pub workload: Workload,
}

impl Contender {
    /// These processes under this load.
    pub fn new(name: &str, processes: Vec<u32>, workload: Workload) -> Self {
        Self { name: name.to_owned(), processes, workload }
    }
}

/// Measures all in turn; the first is the one that the others are compared with. Returns how many requests each
/// has answered, all told.
pub fn side_by_side(bench: &mut Bench, case: &str, connections: usize, contenders: &[Contender]) -> Result<Vec<u64>> {
    let mut rows: Vec<Row> = contenders.iter().map(|contender| Row::new(&contender.name)).collect();
    let mut answered = vec![0; contenders.len()];
    for _ in 0..bench.options.rounds {
        for ((contender, row), answered) in contenders.iter().zip(&mut rows).zip(&mut answered) {
            let warm_up = run(&contender.workload, connections, Pace::Closed, Amount::Time(bench.slice() / 10))?;
            let measured = measure(contender, connections, Pace::Closed, Amount::Time(bench.slice()), row)?;
            *answered += warm_up.requests + measured.requests;
        }
    }
    bench.report.compare(case, rows);
    Ok(answered)
}

/// Measures one system once and adds what came of it to its row.
pub fn measure(
    contender: &Contender,
    connections: usize,
    pace: Pace,
    amount: Amount,
    row: &mut Row,
) -> Result<Outcome> {
    let (cpu, own) = (cpu_seconds(&contender.processes)?, own_cpu_seconds()?);
    let outcome = run(&contender.workload, connections, pace, amount)?;
    let per_request = 1e6 / outcome.requests as f64;
    let cpu = (cpu_seconds(&contender.processes)? - cpu) * per_request;
    row.add("ops/s", outcome.per_second());
    row.add("p50 ms", outcome.latency_ms(0.5));
    row.add("p99 ms", outcome.latency_ms(0.99));
    row.add("CPU µs/op", cpu);
    row.add("load's CPU µs/op", (own_cpu_seconds()? - own) * per_request);
    Ok(outcome)
}
