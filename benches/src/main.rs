//! The command `bench`: driver, load generator and reference servers.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use causeway_benches::bench::{Bench, Options};
use causeway_benches::scenarios::SCENARIOS;
use causeway_benches::{instructions, plot, process, references, requests};
use clap::{Parser, Subcommand};

/// Measures Causeway side by side with what HTTP and the disk allow. See docs/performance.md.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to measure; everything when none is named.
    scenarios: Vec<String>,
    /// Lists the scenarios.
    #[arg(long)]
    list: bool,
    /// Everything tiny: whether it works and every answer is right, not how fast.
    #[arg(long)]
    smoke: bool,
    /// How often each system is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each time.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Ops that a node misses in `catch-up`.
    #[arg(long, default_value_t = 1_000_000)]
    ops: u64,
    /// How many nodes the clusters of `fan-out` have.
    #[arg(long, value_delimiter = ',', default_value = "3,5,10,25,50")]
    nodes: Vec<usize>,
    /// The most keys of `keys`.
    #[arg(long, default_value_t = 10_000_000)]
    keys: u64,
    /// Writes every number to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The server under test [default: causeway, beside this binary].
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Where the data goes while it runs; must be on a disk [default: where this binary is].
    #[arg(long)]
    directory: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Counts the instructions of the core's pieces, with valgrind: the same on every machine, whatever else it does.
    Instructions {
        /// Only pieces whose name contains this.
        #[arg(default_value = "")]
        filter: String,
    },
    /// Counts the instructions of whole requests, with and without traces, with valgrind on the server itself.
    Requests {
        /// The server [default: causeway, beside this binary].
        binary: Option<PathBuf>,
    },
    /// Draws the curves of what was measured, as SVG.
    Plot {
        /// Where to.
        directory: PathBuf,
        /// What `--json` wrote.
        #[arg(required = true)]
        measured: Vec<PathBuf>,
    },
    /// Does one of the core's pieces so many times.
    #[command(hide = true)]
    Piece { name: String, prepared: usize, times: usize },
    /// A reference server: answers every read alike.
    #[command(hide = true)]
    ServeBare { plan: PathBuf },
    /// A reference server: reads a write's body, and forgets it.
    #[command(hide = true)]
    ServeParse { plan: PathBuf },
    /// A reference server: appends a write's body to a file and syncs.
    #[command(hide = true)]
    ServeDurable { plan: PathBuf },
    /// Takes traces and forgets them.
    #[command(hide = true)]
    ServeCollector { port: u16 },
    /// Becomes a program that ends when the driver does.
    #[command(hide = true)]
    Child {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Some(Command::ServeBare { plan } | Command::ServeParse { plan } | Command::ServeDurable { plan }) => {
            references::serve(serde_json::from_slice(&std::fs::read(plan)?)?)
        }
        Some(Command::Instructions { filter }) => instructions::count_all(&filter),
        Some(Command::Requests { binary }) => requests::count_all(&binary.map_or_else(server, Ok)?),
        Some(Command::Plot { directory, measured }) => plot::draw_all(&directory, &measured),
        Some(Command::Piece { name, prepared, times }) => instructions::play(&name, prepared, times),
        Some(Command::ServeCollector { port }) => references::collector::serve(port),
        Some(Command::Child { command }) => process::become_child(&command),
        None if arguments.list => {
            SCENARIOS.iter().for_each(|scenario| println!("{:12} {}", scenario.name, scenario.about));
            Ok(())
        }
        None => measure(arguments),
    }
}

/// Where the binary is.
fn beside() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.parent().context("a program without a directory")?.to_owned())
}

fn server() -> Result<PathBuf> {
    Ok(beside()?.join("causeway"))
}

fn measure(arguments: Arguments) -> Result<()> {
    let options = Options {
        smoke: arguments.smoke,
        rounds: if arguments.smoke { 1 } else { arguments.rounds },
        seconds: if arguments.smoke { 0.1 } else { arguments.seconds },
        ops: if arguments.smoke { 2_000 } else { arguments.ops },
        nodes: if arguments.smoke { vec![3, 5] } else { arguments.nodes },
        keys: if arguments.smoke { 1_000 } else { arguments.keys },
        binary: arguments.binary.map_or_else(server, Ok)?,
    };
    let chosen = arguments.scenarios.iter().map(|name| {
        let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
        found.with_context(|| format!("there is no scenario '{name}'; --list names them"))
    });
    let mut chosen = chosen.collect::<Result<Vec<_>>>()?;
    if chosen.is_empty() {
        chosen.extend(SCENARIOS);
    }
    let mut bench = Bench::new(options, &arguments.directory.map_or_else(beside, Ok)?)?;
    for scenario in chosen {
        bench.report.scenario = scenario.name.to_owned();
        (scenario.run)(&mut bench).with_context(|| scenario.name)?;
        bench.clear()?;
        if let Some(file) = &arguments.json {
            // After each, so that a run that is broken off has not been in vain.
            bench.report.write(file, serde_json::to_value(&bench.options)?)?;
        }
    }
    Ok(())
}
