//! The command `simulate`: many seeds, or one with all that happened in it.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use causeway_simulation::coverage::Coverage;
use causeway_simulation::schedule::{Schedule, generate};
use causeway_simulation::{judge, shrink, violations, world};
use clap::{Parser, Subcommand};

/// Simulates whole clusters, each from one seed, and checks what their clients saw.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Plays the schedules of many seeds; fails when one breaks a promise, or when a kind of fault never occurred.
    Run {
        /// How many.
        #[arg(default_value_t = 1_000)]
        schedules: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// At how many threads.
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// Don't fail for faults that never occurred (a few schedules don't have them all).
        #[arg(long)]
        few: bool,
        /// Don't look for a smaller schedule when one fails.
        #[arg(long)]
        no_shrink: bool,
    },
    /// Plays one schedule and prints who sent what to whom and what became visible where.
    Show {
        /// Its seed.
        seed: u64,
        /// The places of the steps that are played, with commas between; all without it.
        #[arg(long, value_delimiter = ',')]
        only: Option<Vec<usize>>,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { schedules, first, threads, few, no_shrink } => {
            let totals = play_all(first, schedules, threads);
            if let Some(seed) = totals.failing {
                explain(seed, !no_shrink);
                return ExitCode::FAILURE;
            }
            succeed(&totals, schedules, few)
        }
        Command::Show { seed, only } => show(seed, only.as_deref()),
    }
}

/// What all schedules of a run came to.
#[derive(Default)]
struct Totals {
    coverage: Coverage,
    checked: std::collections::BTreeMap<&'static str, u64>,
    events: u64,
    requests: u64,
    faults: u64,
    simulated_micros: u64,
    seconds: f64,
    failing: Option<u64>,
}

/// Plays the schedules of these seeds, up to the first that fails.
fn play_all(first: u64, schedules: u64, threads: usize) -> Totals {
    let began = std::time::Instant::now();
    let next = AtomicU64::new(first);
    let totals = Mutex::new(Totals::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| play_some(&next, first + schedules, &totals));
        }
    });
    let mut totals = totals.into_inner().expect("no thread panicked");
    totals.seconds = began.elapsed().as_secs_f64();
    totals
}

fn play_some(next: &AtomicU64, end: u64, totals: &Mutex<Totals>) {
    let mut own = Totals::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            break;
        }
        let record = world::play(&generate(seed), false);
        let report = judge(&record);
        own.coverage.add(&record.coverage);
        for (property, count) in &report.checked {
            *own.checked.entry(property).or_default() += count;
        }
        own.events += record.events;
        own.requests += record.requests;
        own.faults += record.faults;
        own.simulated_micros += record.length;
        if !report.violations.is_empty() {
            own.failing = Some(seed);
            // The others stop at their next seed.
            next.store(end, Ordering::Relaxed);
            break;
        }
    }
    let mut all = totals.lock().expect("no thread panicked");
    all.coverage.add(&own.coverage);
    for (property, count) in own.checked {
        *all.checked.entry(property).or_default() += count;
    }
    all.events += own.events;
    all.requests += own.requests;
    all.faults += own.faults;
    all.simulated_micros += own.simulated_micros;
    all.failing = [all.failing, own.failing].into_iter().flatten().min();
}

/// Says what was played; a run that left out a kind of fault is no success.
fn succeed(totals: &Totals, schedules: u64, few: bool) -> ExitCode {
    print_totals(totals, schedules);
    let missing = totals.coverage.missing();
    if !missing.is_empty() && !few {
        println!("these never occurred: {}", missing.join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn print_totals(totals: &Totals, schedules: u64) {
    let seconds = totals.seconds;
    let hours = totals.simulated_micros as f64 / 3.6e9;
    println!("{schedules} schedules, {hours:.1} simulated cluster-hours, in {seconds:.1} s: no violation");
    println!(
        "{} client requests, {} faults, {} events ({:.0} a second)",
        totals.requests,
        totals.faults,
        totals.events,
        totals.events as f64 / seconds
    );
    println!("checked:");
    for (property, count) in &totals.checked {
        println!("  {count:>12}  {property}");
    }
    println!("occurred:");
    for (what, count) in totals.coverage.iter() {
        println!("  {count:>12}  {what}");
    }
}

/// Says what a failing seed breaks, and how to see it happen with as few steps as possible.
fn explain(seed: u64, shrinks: bool) {
    let schedule = generate(seed);
    let found = violations(&schedule);
    let Some(first) = found.first() else {
        println!("seed {seed} failed once and not again: the simulation is not deterministic");
        return;
    };
    println!("seed {seed} breaks '{}': {}", first.property, first.message);
    if !shrinks {
        return;
    }
    // It would be said at each try.
    std::panic::set_hook(Box::new(|_| {}));
    let fails = |fewer: &Schedule| violations(fewer).iter().any(|other| other.property == first.property);
    let places = shrink::shrink(&schedule, fails);
    let list: Vec<String> = places.iter().map(usize::to_string).collect();
    println!("{} of its {} steps are enough. To see it happen:", places.len(), schedule.steps.len());
    println!("  cargo run --release -p causeway-simulation -- show {seed} --only {}", list.join(","));
}

fn show(seed: u64, places: Option<&[usize]>) -> ExitCode {
    let schedule = generate(seed);
    let schedule = places.map_or_else(|| schedule.clone(), |places| shrink::only(&schedule, places));
    let record = world::play(&schedule, true);
    println!("seed {seed}: {:?}", schedule.settings);
    print!("{}", record.trace);
    let report = judge(&record);
    for violation in &report.violations {
        println!("breaks '{}': {}", violation.property, violation.message);
    }
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
