//! What traces cost: none, of one request in a hundred, of all. The collector takes what comes and forgets it.

use std::process::Command;

use anyhow::Result;

use crate::bench::{Bench, fill};
use crate::comparison::{Contender, side_by_side};
use crate::load::Keys;
use crate::process::{Process, free_ports};
use crate::systems::Shape;
use crate::systems::causeway::{Launch, Node, reads, writes};

const CLIENTS: usize = 64;

pub(super) fn run_all(bench: &mut Bench) -> Result<()> {
    let shape = Shape::of(bench.size(10_000, 500));
    let directory = bench.directory()?;
    let port = free_ports(1)?[0];
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve-collector", &port.to_string()]);
    let mut collector = Process::start("collector", &directory, &command)?;
    collector.until("ready", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut nodes: Vec<(&str, Node)> = Vec::new();
    for (name, sampled) in [("no traces", None), ("1 % of requests", Some("0.01")), ("all requests", Some("1"))] {
        let mut launch = Launch::alone(&bench.directory()?)?;
        if let Some(sampled) = sampled {
            launch = launch
                .with("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
                .with("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
                .with("OTEL_TRACES_SAMPLER_ARG", sampled);
        }
        let node = launch.start(&bench.options.binary)?;
        fill(&node, shape)?;
        nodes.push((name, node));
    }
    for (case, load) in [
        ("reads", (|port, shape: Shape| reads(&[port], shape, Keys::Uniform(shape.keys))) as fn(u16, Shape) -> _),
        ("writes", |port, shape| writes(&[port], shape, 1, Keys::Uniform(shape.keys))),
    ] {
        let contenders: Vec<Contender> = nodes
            .iter()
            .map(|(name, node)| Contender::new(name, vec![node.process.id()], load(node.port, shape)))
            .collect();
        side_by_side(bench, case, CLIENTS, &contenders)?;
    }
    Ok(())
}
