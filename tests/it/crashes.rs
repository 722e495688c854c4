//! `kill -9`, again and again: while clients write, and while the node is still starting.
//!
//! Everything acknowledged must be there after each start, with no peer to get it from. `CAUSEWAY_TEST_KILLS` says
//! how many kills under load there are, `CAUSEWAY_TEST_SEED` repeats what is random.

use std::process::Command;
use std::time::{Duration, Instant};

use causeway_checker::history::{Volume, What};
use tempfile::TempDir;

use crate::support::api::Api;
use crate::support::history::Recorder;
use crate::support::load::{Load, Plan, read_all};
use crate::support::process::Launch;
use crate::support::random::Random;
use crate::support::{free_ports, until};

/// How many kills there are when nothing else is said.
const KILLS: u64 = 10;
/// As many as must meet every state of a node at least once.
const MANY: u64 = 50;
/// After so many of them, one more meets the node that recovers.
const KILLS_PER_RECOVERY: u64 = 3;
/// A kill comes at a random moment of so long after the node was ready.
const UNDER_LOAD: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_acknowledged() {
    let kills = std::env::var("CAUSEWAY_TEST_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let seed = Random::seed("crashes");
    let mut random = Random::new(seed);
    let directory = TempDir::new().unwrap();
    // Nobody ever listens on the other two.
    let ports = free_ports::<3>();
    let launch = Launch::by_arguments(directory.path(), 0, ports[0], &ports);
    let mut node = launch.start_ready().await;
    let recorder = Recorder::new();
    recorder.node(0, What::Up(Volume::Empty));
    let nodes = vec![(0, node.api.clone())];
    let plan = Plan {
        seed,
        sessions: 6,
        keys: 100,
        value_digits: 1,
        think: Duration::from_millis(2),
        requests: usize::MAX,
        nodes,
    };
    let load = Load::start(&plan, &recorder);

    let (mut in_recovery, mut ready_after) = (0, Duration::ZERO);
    for kill in 1..=kills {
        tokio::time::sleep(below(&mut random, UNDER_LOAD)).await;
        recorder.node(0, What::Down);
        node.kill();
        if kill % KILLS_PER_RECOVERY == 0 {
            let starting = launch.start();
            tokio::time::sleep(below(&mut random, ready_after)).await;
            in_recovery += u64::from(!starting.api.is_ready().await);
            starting.kill();
        }
        let began = Instant::now();
        node = launch.start_ready().await;
        ready_after = began.elapsed();
        recorder.node(0, What::Up(Volume::Kept));
        assert!(read_all(&plan, &recorder, 0, &node.api).await, "no answer after kill {kill}");
    }
    load.stop().await;
    recorder.finals(&plan.nodes).await;
    eprintln!("crashes: {kills} kills under load, {in_recovery} while starting");
    let written = recorder.outcomes().get("written").copied().unwrap_or_default();
    assert!(written as u64 > kills, "too little was written: {written}");
    // A start may be over before its kill; of many starts not all are.
    assert!(kills < MANY || in_recovery > 0, "no kill met a starting node");
    recorder.judge("crashes");
}

/// A test that can't fail proves nothing: here a node has lost what it acknowledged, and nobody said so.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_lost_writes_is_found() {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let (data, copy) = (directory.path().join("data"), directory.path().join("copy"));
    let launch = Launch::by_arguments(directory.path(), 0, port, &[port]);
    let launch = launch.with("CAUSEWAY_DATA_DIR", data.to_str().unwrap());
    let recorder = Recorder::new();
    let nodes = vec![(0, Api::new(port))];
    let plan =
        Plan { seed: 0, sessions: 2, keys: 10, value_digits: 1, think: Duration::ZERO, requests: usize::MAX, nodes };
    for (volume, finished) in [(Volume::Empty, false), (Volume::Kept, false), (Volume::Kept, true)] {
        let node = launch.start_ready().await;
        recorder.node(0, What::Up(volume));
        let load = Load::start(&plan, &recorder);
        let events = recorder.len();
        until(async || (recorder.len() > events + 50).then_some(()), async || "too few requests".to_owned()).await;
        load.stop().await;
        assert!(read_all(&plan, &recorder, 0, &node.api).await);
        if finished {
            recorder.finals(&plan.nodes).await;
        }
        recorder.node(0, What::Down);
        node.kill();
        if copy.exists() {
            std::fs::remove_dir_all(&data).unwrap();
            std::fs::rename(&copy, &data).unwrap();
        } else {
            let copied = Command::new("cp").arg("-a").args([&data, &copy]).status().unwrap();
            assert!(copied.success());
        }
    }
    let violations = recorder.report().violations;
    let lost = |violation: &causeway_checker::Violation| violation.property == "durability";
    assert!(violations.iter().any(lost), "{violations:?}");
}

fn below(random: &mut Random, most: Duration) -> Duration {
    Duration::from_micros(random.below(most.as_micros() as u64 + 1))
}
