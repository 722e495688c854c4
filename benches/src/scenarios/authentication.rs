//! What it costs to know who somebody is: nodes each other by a secret, a node its clients by tokens.

use anyhow::Result;

use super::nodes::{NODES, one};
use crate::bench::{Bench, fill};
use crate::comparison::{Contender, side_by_side};
use crate::load::Keys;
use crate::report::Row;
use crate::systems::Shape;
use crate::systems::causeway::{Launch, read_with, workload, write_with, writes};
use crate::systems::cluster::Cluster;
use crate::systems::credentials::{with_secret, with_token};

const CLIENTS: usize = 64;

pub(super) fn run_all(bench: &mut Bench) -> Result<()> {
    peers(bench)?;
    clients(bench)
}

/// Three nodes, written to at one, until all have everything.
fn peers(bench: &mut Bench) -> Result<()> {
    let (without, with) = (bench.directory()?, bench.directory()?);
    let binary = bench.options.binary.clone();
    let secret = |launch: Launch| with_secret(launch).expect("there is a place for it beside the node's data");
    let clusters = [
        ("no secret", Cluster::start(&without, NODES, &binary)?),
        ("a secret", Cluster::start_with(&with, NODES, &binary, secret)?),
    ];
    // What is hashed matters for large values.
    for (value_bytes, clients, keys) in [(32, CLIENTS, 100_000), (4 << 10, CLIENTS, 10_000), (64 << 10, 16, 1_000)] {
        let shape = Shape { value_bytes, ..Shape::of(bench.size(keys, 100)) };
        let mut rows = clusters.each_ref().map(|(name, _)| Row::new(name));
        // The first round is to warm up.
        for round in 0..=bench.options.rounds {
            for ((_, cluster), row) in clusters.iter().zip(&mut rows) {
                let before = cluster.nodes[0].ops()?;
                let load = writes(&cluster.ports()[..1], shape, 1, Keys::Uniform(shape.keys));
                let mut of_round = Row::new("");
                let ops = one(bench, &load, clients, &cluster.ids(), &mut of_round, || cluster.settle())?;
                cluster.check(before, ops)?;
                if round > 0 {
                    row.add_all(&of_round);
                }
            }
        }
        bench.report.compare(&format!("three nodes, values of {value_bytes} B"), rows.into());
    }
    Ok(())
}

fn clients(bench: &mut Bench) -> Result<()> {
    let shape = Shape::of(bench.size(10_000, 500));
    let binary = bench.options.binary.clone();
    let mut nodes = Vec::new();
    for asks in [false, true] {
        let launch = Launch::alone(&bench.directory()?)?;
        // Without tokens at first: what fills a node has none.
        let node = launch.start(&binary)?;
        fill(&node, shape)?;
        node.process.stop()?;
        let (name, (launch, header)) = match asks {
            true => ("a token", with_token(launch, &binary)?),
            false => ("no token", (launch, String::new())),
        };
        nodes.push((name, launch.start(&binary)?, header));
    }
    let keys = Keys::Uniform(shape.keys);
    let reads = |header: &str| read_with(header, shape, keys.clone());
    let writes = |header: &str| write_with(header, shape, 1, keys.clone());
    for (case, request) in [("reads", &reads as &dyn Fn(&str) -> _), ("writes", &writes)] {
        let contenders: Vec<Contender> = nodes
            .iter()
            .map(|(name, node, header)| {
                Contender::new(name, vec![node.process.id()], workload(&[node.port], vec![request(header)]))
            })
            .collect();
        side_by_side(bench, case, CLIENTS, &contenders)?;
    }
    Ok(())
}
