//! For as long as one likes: clients read and write, nodes are cut off, paused, killed, stopped, made anew, and wiped, logs
//! are trimmed and states transferred. What clients see goes to the checker, and what each node takes of its machine does not
//! grow.
//!
//! `CAUSEWAY_TEST_SOAK_SECONDS` says for how long; docs/testing.md has the command for two hours.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use causeway_checker::history::{NodeId, Volume, What};

use super::cluster::{ALL, Cluster, NODES, docker};
use crate::support::api::{Api, reading, send};
use crate::support::history::Recorder;
use crate::support::load::{Load, Plan};
use crate::support::random::Random;
use crate::support::until;

/// What a log may take, as short-logs.yml has it.
const LOG_BYTES: f64 = (4 << 20) as f64;

/// How many samples are taken of each node, and how far apart they are at least.
const SAMPLES: u32 = 240;
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// What a node takes of its machine.
#[derive(Clone, Copy, Debug)]
struct Taken {
    name: &'static str,
    metric: &'static str,
    /// How many of them are written as one.
    unit: f64,
    /// By how much the last third of a soak may have more than the first but one at most: so many, and such a part.
    more: f64,
    part: f64,
}

const TAKEN: [Taken; 6] = [
    Taken { name: "memory MiB", metric: "process_resident_memory_bytes", unit: MIB, more: 48.0, part: 0.25 },
    Taken { name: "open files", metric: "process_open_fds", unit: 1.0, more: 20.0, part: 0.25 },
    Taken { name: "threads", metric: "process_threads", unit: 1.0, more: 8.0, part: 0.25 },
    Taken { name: "tasks", metric: "causeway_tasks", unit: 1.0, more: 20.0, part: 0.25 },
    Taken { name: "disk MiB", metric: "causeway_disk_bytes", unit: MIB, more: 24.0, part: 0.25 },
    Taken { name: "log MiB", metric: "causeway_log_bytes", unit: MIB, more: 8.0, part: 0.25 },
];

/// How long a node is cut off at most, in a soak of several minutes.
const LONGEST: Duration = Duration::from_secs(30);

const MIB: f64 = 1_048_576.0;

/// What is taken when: seconds since the beginning, the node, and the values of [`TAKEN`].
type Sample = (f64, usize, [f64; TAKEN.len()]);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_grows_and_nothing_is_broken_however_long_nodes_come_and_go() {
    let Some(cluster) = Cluster::with_short_logs() else { return };
    let seconds = std::env::var("CAUSEWAY_TEST_SOAK_SECONDS").map_or(60, |text| text.parse().unwrap());
    let (began, time) = (Instant::now(), Duration::from_secs(seconds));
    let seed = Random::seed("compose::soak");
    let recorder = Recorder::new();
    let nodes: Vec<(NodeId, Api)> = ALL.map(|node| (node as NodeId, Api::new(8000 + node as u16))).into();
    for (node, api) in &nodes {
        until_ready(*node, api).await;
        recorder.node(*node, What::Up(Volume::Empty));
    }
    let think = Duration::from_millis(60);
    let plan = Plan { seed, sessions: 9, keys: 300, value_digits: 2_000, think, requests: usize::MAX, nodes };
    let load = Load::start(&plan, &recorder);
    let samples = tokio::spawn(sample(plan.nodes.clone(), began, time));

    let (nodes, random, longest) = (plan.nodes.clone(), Random::new(!seed), LONGEST.min(time / 8));
    let mut faults = Faults { cluster, nodes, random, longest, done: Vec::new() };
    while began.elapsed() < time {
        faults.next(&recorder).await;
    }
    load.stop().await;
    let samples = samples.await.unwrap();
    eprintln!("soak: {} s; faults: {}", began.elapsed().as_secs(), faults.told());
    let told = write(&samples);
    recorder.finals(&plan.nodes).await;
    recorder.judge("compose-soak");
    for (node, api) in &plan.nodes {
        api.until_trimmed(LOG_BYTES as u64).await;
        let crashes = docker(&["inspect", "-f", "{{.RestartCount}} {{.State.OOMKilled}}", NODES[*node as usize]]);
        assert_eq!(crashes, "0 false", "node{node} ended by itself");
    }
    let grown = grown(&samples);
    assert!(grown.is_empty(), "{}\n{told}", grown.join("\n"));
}

async fn until_ready(node: NodeId, api: &Api) {
    until(async || api.is_ready().await.then_some(()), async || format!("node{node} is not ready")).await;
}

/// What is done to the nodes, one thing after the other.
struct Faults {
    cluster: Cluster,
    nodes: Vec<(NodeId, Api)>,
    random: Random,
    /// How long a node is cut off at most.
    longest: Duration,
    done: Vec<&'static str>,
}

impl Faults {
    async fn next(&mut self, recorder: &Recorder) {
        let node = self.random.below(3) as usize;
        let kinds: [&str; 8] = ["cut", "cut", "cut two", "pause", "kill", "stop", "made anew", "wiped"];
        let kind = kinds[self.random.below(kinds.len() as u64) as usize];
        self.done.push(kind);
        match kind {
            "cut" | "cut two" => {
                let cut = BTreeSet::from([node, if kind == "cut" { node } else { (node + 1) % 3 }]);
                cut.iter().for_each(|node| self.cluster.disconnect(*node));
                self.moment(self.longest).await;
                cut.iter().for_each(|node| self.cluster.connect(*node));
            }
            _ => self.away(recorder, node, kind).await,
        }
        self.moment(self.longest / 6).await;
    }

    /// A node does not answer for a while.
    async fn away(&mut self, recorder: &Recorder, node: usize, kind: &str) {
        let (id, api) = self.nodes[node].clone();
        recorder.node(id, What::Down);
        let name = NODES[node];
        match kind {
            "made anew" | "wiped" => {
                self.cluster.remove(node, kind == "wiped");
                if kind == "wiped" {
                    // What it answers from its start on, also before it is seen to be ready, is of this volume.
                    recorder.node(id, What::Up(Volume::Empty));
                    recorder.node(id, What::Down);
                }
                self.moment(self.longest / 6).await;
                self.cluster.create(node);
                docker(&["start", name]);
            }
            _ => {
                docker(&[kind, name]);
                self.moment(self.longest / 3).await;
                docker(&[if kind == "pause" { "unpause" } else { "start" }, name]);
            }
        }
        until_ready(id, &api).await;
        recorder.node(id, What::Up(Volume::Kept));
    }

    async fn moment(&mut self, most: Duration) {
        tokio::time::sleep(Duration::from_millis(self.random.below(most.as_millis() as u64))).await;
    }

    fn told(&self) -> String {
        let kinds: BTreeSet<_> = self.done.iter().collect();
        let told = kinds.iter().map(|kind| format!("{} {kind}", self.done.iter().filter(|done| done == kind).count()));
        told.collect::<Vec<_>>().join(", ")
    }
}

/// Looks from time to time at what the nodes take, as far as they answer.
async fn sample(nodes: Vec<(NodeId, Api)>, began: Instant, time: Duration) -> Vec<Sample> {
    let mut samples = Vec::new();
    let every = (time / SAMPLES).max(SAMPLE_EVERY);
    while began.elapsed() < time {
        for (node, api) in &nodes {
            let Ok(shown) = send(api.request(reqwest::Method::GET, "/metrics")).await else { continue };
            let values = TAKEN.map(|taken| Some(reading(&shown.body, taken.metric)? / taken.unit));
            if values.iter().all(Option::is_some) {
                samples.push((began.elapsed().as_secs_f64(), *node as usize, values.map(Option::unwrap)));
            }
        }
        tokio::time::sleep(every).await;
    }
    samples
}

/// Keeps the samples in a file, and says what they are altogether.
fn write(samples: &[Sample]) -> String {
    let mut lines = format!("seconds,node,{}\n", TAKEN.map(|taken| taken.name).join(","));
    for (at, node, values) in samples {
        writeln!(lines, "{at:.0},{node},{}", values.map(|value| format!("{value:.1}")).join(",")).unwrap();
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak.csv");
    fs::write(&path, lines).unwrap();
    let mut told = format!("{} samples in {}\n", samples.len(), path.display());
    for node in ALL {
        for (index, taken) in TAKEN.iter().enumerate() {
            let [first, last] = thirds(samples, node, index).map(median);
            let most =
                samples.iter().filter(|sample| sample.1 == node).map(|sample| sample.2[index]).fold(0.0, f64::max);
            writeln!(
                told,
                "{} {:10} {first:.0} in the second third, {last:.0} in the last; at most {most:.0}",
                NODES[node], taken.name
            )
            .unwrap();
        }
    }
    eprint!("{told}");
    told
}

/// What a node took in the second and in the last third: in the first, caches fill.
fn thirds(samples: &[Sample], node: usize, index: usize) -> [Vec<f64>; 2] {
    let values: Vec<f64> = samples.iter().filter(|sample| sample.1 == node).map(|sample| sample.2[index]).collect();
    let third = values.len() / 3;
    [values[third..2 * third].to_vec(), values[2 * third..].to_vec()]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// What has grown by more than it may.
fn grown(samples: &[Sample]) -> Vec<String> {
    let mut grown = Vec::new();
    for node in ALL {
        for (index, Taken { name, more, part, .. }) in TAKEN.into_iter().enumerate() {
            let [first, last] = thirds(samples, node, index).map(median);
            if last > first * (1.0 + part) + more {
                grown.push(format!("{}: {name} went from {first:.0} to {last:.0}", NODES[node]));
            }
        }
    }
    grown
}
