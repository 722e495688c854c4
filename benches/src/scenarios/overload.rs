//! Ten times what a node can take: what becomes of those that it takes, of those that it refuses, of its memory, and of
//! the time after it.
//!
//! Capacity is what so many clients get that send when they were answered. Then ten times as much is offered, by clients
//! that do not heed `Retry-After`. Latencies count from when a request was sent, in both. Both are played for twenty
//! times `--seconds`, so that `--seconds 3` is a minute. The node and its load have half of the processors each, in all three: a flood
//! takes what there is, and what the node would lack then is nothing that it could do anything about.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::bench::Bench;
use crate::client;
use crate::load::{Flood, Flooded, Keys, Pace, STEP, Template};
use crate::process::{Halves, memory};
use crate::report::Row;
use crate::systems::Shape;
use crate::systems::causeway::{Launch, Node};

/// How much more is offered than can be taken.
const TIMES: f64 = 10.0;

/// How much longer than capacity the flood is measured.
const LONGER: u32 = 20;

/// Keys that are written; few, so that what is merged in the background does not grow.
const KEYS: u64 = 256;

/// One way to ask for too much.
struct Case {
    name: &'static str,
    value_bytes: usize,
    asks_first: bool,
    /// At capacity.
    clients: usize,
    /// In the flood; with fewer connections than are let in there would be none to be refused. With many more, each is rarely
    /// the turn of a load generator that does all it can, and bodies that are waited for come late.
    flood: usize,
    /// Ten times as much can't be offered of small requests on the machine that serves them: then the clients of the
    /// flood send as soon as they were answered.
    is_open: bool,
}

const CASES: [Case; 4] = [
    Case {
        name: "64 KiB, head first",
        value_bytes: 64 << 10,
        asks_first: true,
        clients: 64,
        flood: 512,
        is_open: true,
    },
    Case { name: "1 MiB, head first", value_bytes: 1 << 20, asks_first: true, clients: 32, flood: 512, is_open: true },
    Case {
        name: "1 MiB, sent at once",
        value_bytes: 1 << 20,
        asks_first: false,
        clients: 32,
        flood: 512,
        is_open: true,
    },
    Case { name: "32 B, 4,000 clients", value_bytes: 32, asks_first: false, clients: 256, flood: 4000, is_open: false },
];

pub(super) fn run_all(bench: &mut Bench) -> Result<()> {
    for case in CASES {
        case.measure(bench)?;
    }
    Ok(())
}

impl Case {
    fn measure(&self, bench: &mut Bench) -> Result<()> {
        let directory = bench.directory()?;
        let halves = Halves::of_all()?;
        let launch = Launch::alone(&directory)?;
        let node = halves.start(|| launch.start(&bench.options.binary))?;
        // Once to warm up: memory grows until caches and buffers are full.
        self.flood(&node, self.clients, Pace::Closed, bench.slice()).run()?;
        let mut rows = [Row::new("capacity"), Row::new("flood"), Row::new("after it")];
        for _ in 0..bench.options.rounds {
            // As long as the flood: what is merged in the meantime makes some wait in both.
            let capacity = self.watched(&node, &mut rows[0], self.clients, Pace::Closed, LONGER * bench.slice())?;
            ensure!(capacity.refused.is_empty(), "{} are refused at capacity", capacity.refused.len());
            let pace = if self.is_open { Pace::Open(TIMES * capacity.accepted_per_second()) } else { Pace::Closed };
            let flood = self.watched(&node, &mut rows[1], self.flood, pace, LONGER * bench.slice())?;
            let after = self.watched(&node, &mut rows[2], self.clients, Pace::Closed, bench.slice())?;
            let p99 = |flooded: &Flooded| Flooded::ms(&flooded.accepted, 0.99);
            rows[1].add("p99 / capacity's", p99(&flood) / p99(&capacity));
            rows[1].add("accepted / capacity's", flood.accepted_per_second() / capacity.accepted_per_second());
            // What was offered and did not come, since the load generator could do no more, is no load.
            rows[1].add("came / capacity's", flood.came_per_second() / capacity.accepted_per_second());
            rows[2].add("full again after ms", full_after(&after.steps, capacity.accepted_per_second()));
        }
        bench.report.add(self.name, rows.into());
        Ok(())
    }

    fn flood(&self, node: &Node, clients: usize, pace: Pace, time: Duration) -> Flood {
        let shape = Shape { value_bytes: self.value_bytes, ..Shape::of(KEYS) };
        let body = format!("{{\"values\":{{\"{}\":\"{}\"}}}}", shape.key(), shape.value());
        let expect = if self.asks_first { "Expect: 100-continue\r\n" } else { "" };
        let head = format!(
            "PATCH /set HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n{expect}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let request = Template::new(&format!("{head}{body}"));
        let (port, keys, asks_first) = (node.port, Keys::Uniform(KEYS), self.asks_first);
        Flood { port, request, keys, asks_first, clients, pace, time }
    }

    /// Plays it and looks at the node's memory every second.
    fn watched(&self, node: &Node, row: &mut Row, clients: usize, pace: Pace, time: Duration) -> Result<Flooded> {
        let (before, waits_before) = (Refusals::of(node)?, waits(node)?);
        let (id, done) = (node.process.id(), AtomicBool::new(false));
        let (flooded, resident) = thread::scope(|scope| {
            let watching = scope.spawn(|| watch_memory(id, &done));
            let flooded = self.flood(node, clients, pace, time).run();
            done.store(true, Ordering::Relaxed);
            (flooded, watching.join().expect("it ends with an error, not with a panic"))
        });
        let (flooded, resident) = (flooded?, resident?);
        let refused = Refusals::of(node)?.since(before);
        let waits: Vec<_> = waits(node)?.iter().zip(waits_before).map(|(now, then)| (now.0, now.1 - then.1)).collect();
        let per_second = |count: u64| count as f64 / flooded.seconds;
        let mib = |bytes: Option<&u64>| bytes.map_or(0.0, |bytes| *bytes as f64 / 1_048_576.0);
        row.add("accepted/s", flooded.accepted_per_second());
        row.add("p50 ms", Flooded::ms(&flooded.accepted, 0.5));
        row.add("p99 ms", Flooded::ms(&flooded.accepted, 0.99));
        row.add("on the node p50 ms", quantile(&waits, 0.5) * 1e3);
        row.add("on the node p99 ms", quantile(&waits, 0.99) * 1e3);
        row.add("refused/s", per_second(flooded.refused.len()));
        row.add("lost/s", per_second(flooded.lost));
        if !flooded.refused.is_empty() {
            row.add("refusal p50 ms", Flooded::ms(&flooded.refused, 0.5));
            row.add("refusal p99 ms", Flooded::ms(&flooded.refused, 0.99));
            row.add("within 10 ms on the node", refused.quick / refused.all.max(1.0));
        }
        row.add("RSS MiB after 1/3", mib(resident.get(resident.len() / 3)));
        row.add("RSS MiB at the end", mib(resident.last()));
        row.add("RSS MiB most", mib(resident.iter().max()));
        Ok(flooded)
    }
}

/// After how many milliseconds of these steps a node does again what it can: nine tenths of its capacity.
fn full_after(steps: &[u64], capacity: f64) -> f64 {
    let wanted = 0.9 * capacity * STEP.as_secs_f64();
    let full = steps.iter().position(|step| *step as f64 >= wanted).unwrap_or(steps.len());
    full as f64 * STEP.as_secs_f64() * 1e3
}

/// What memory a process has, every second and at the end.
fn watch_memory(process: u32, done: &AtomicBool) -> Result<Vec<u64>> {
    const LOOK: Duration = Duration::from_millis(100);
    let mut resident = Vec::new();
    for look in 0.. {
        let is_done = done.load(Ordering::Relaxed);
        if is_done || look % 10 == 0 {
            resident.push(memory(process)?.resident);
        }
        if is_done {
            break;
        }
        thread::sleep(LOOK);
    }
    Ok(resident)
}

/// How many writes were durable within how many seconds of their acceptance, by the node's own metrics: without the way to it,
/// which in a flood is that through a load generator that has more to do than it can.
fn waits(node: &Node) -> Result<Vec<(f64, f64)>> {
    let text = String::from_utf8(client::get(node.port, "/metrics")?.body)?;
    let bucket = |line: &str| {
        let (bound, count) = line.strip_prefix("causeway_write_duration_seconds_bucket{le=\"")?.split_once("\"} ")?;
        Some((bound.parse().ok()?, count.parse().ok()?))
    };
    Ok(text.lines().filter_map(bucket).collect())
}

/// A quantile of what such counts are of, by the line between two of them.
fn quantile(counts: &[(f64, f64)], quantile: f64) -> f64 {
    let wanted = counts.last().map_or(0.0, |all| all.1) * quantile;
    let mut below = (0.0, 0.0);
    for (bound, count) in counts {
        if *count >= wanted && *count > below.1 {
            let part = (wanted - below.1) / (count - below.1);
            return if bound.is_finite() { below.0 + (bound - below.0) * part } else { below.0 };
        }
        below = (*bound, *count);
    }
    below.0
}

/// Refusals of writes by the node's own metrics: from when it had the head to the head of its answer.
#[derive(Clone, Copy)]
struct Refusals {
    all: f64,
    /// Of these, within 10 ms.
    quick: f64,
}

impl Refusals {
    fn of(node: &Node) -> Result<Self> {
        let text = client::get(node.port, "/metrics")?.body;
        let text = String::from_utf8(text)?;
        let value = |name: &str, with: &str| {
            let line = text.lines().find(|line| {
                line.starts_with(name) && ["PATCH", "/set", "5xx", with].iter().all(|part| line.contains(part))
            });
            line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok()).unwrap_or(0.0)
        };
        const NAME: &str = "causeway_http_request_duration_seconds";
        Ok(Self { all: value(&format!("{NAME}_count"), ""), quick: value(&format!("{NAME}_bucket"), "le=\"0.01\"") })
    }

    fn since(self, before: Self) -> Self {
        Self { all: self.all - before.all, quick: self.quick - before.quick }
    }
}
