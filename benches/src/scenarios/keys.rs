//! More and more keys: what a node reads, holds in memory and on disk, and how soon it is back after a kill.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::bench::{Bench, fill};
use crate::comparison::{Contender, measure};
use crate::load::{Amount, Keys, Pace};
use crate::process::{disk_bytes, memory, until_idle};
use crate::report::Row;
use crate::systems::Shape;
use crate::systems::causeway::{Launch, reads};

const CLIENTS: usize = 64;

pub(super) fn run_all(bench: &mut Bench) -> Result<()> {
    let (mut rows, mut popular) = (Vec::new(), Vec::new());
    // Ten thousand and more; fewer only when no more are wanted.
    let least = bench.options.keys.min(10_000);
    let most = bench.options.keys;
    for keys in (0..).map(|power| least * 10u64.pow(power)).take_while(|keys| *keys <= most) {
        eprintln!("{keys} keys");
        let (row, of_popular) = one(bench, keys)?;
        rows.push(row);
        popular.push(of_popular);
    }
    bench.report.add("keys of 64 bytes with values of 32, all read alike", rows);
    bench.report.add("the same, popular ones read (zipf 0.99)", popular);
    Ok(())
}

/// What so many keys come to; and reads of the popular ones among them.
fn one(bench: &mut Bench, keys: u64) -> Result<(Row, Row)> {
    let shape = Shape { keys, key_bytes: 64, value_bytes: 32 };
    let launch = Launch::alone(&bench.directory()?)?;
    let mut node = launch.start(&bench.options.binary)?;
    let filled = fill(&node, shape)?;
    let mut row = Row::new(&format!("{keys} keys")).with("filled at keys/s", keys as f64 / filled.seconds);
    let memory_is = |when: &str, row: &mut Row, process| -> Result<()> {
        let memory = memory(process)?;
        row.add(&format!("{when}: RssAnon MB"), memory.anonymous as f64 / 1e6);
        row.add(&format!("{when}: RSS MB"), memory.resident as f64 / 1e6);
        Ok(())
    };
    memory_is("filled", &mut row, node.process.id())?;
    for _ in 0..bench.options.rounds {
        // Killed, as far as the node can tell.
        drop(node);
        let began = Instant::now();
        node = launch.start(&bench.options.binary)?;
        row.add("start ms", began.elapsed().as_secs_f64() * 1e3);
    }
    ensure!(node.keys()? == keys, "{} keys instead of {keys} after a kill", node.keys()?);
    row.add("disk MB", disk_bytes(&launch.data())? as f64 / 1e6);
    until_idle(&[node.process.id()])?;
    let mut popular = Row::new(&row.system);
    for (choice, row) in [(Keys::Uniform(keys), &mut row), (Keys::zipf(keys, 0.99), &mut popular)] {
        let contender = Contender::new("", vec![node.process.id()], reads(&[node.port], shape, choice));
        for _ in 0..bench.options.rounds {
            measure(&contender, CLIENTS, Pace::Closed, Amount::Time(bench.slice()), row)?;
        }
        memory_is("read", row, node.process.id())?;
    }
    Ok((row, popular))
}
