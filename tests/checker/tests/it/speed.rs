//! How fast checking is. The long ones only print; run them with
//! `cargo test --release -p causeway-checker -- --ignored --nocapture`.

use std::time::Instant;

use causeway_checker::check;
use causeway_checker::history::Event;

use crate::cluster::Cluster;
use crate::random::assert_passes;
use crate::synthetic::{Size, history};

#[test]
fn a_longer_history_passes() {
    assert_passes(&history(1, Size { requests: 20_000, nodes: 4, keys: 100, sessions: 20 }));
}

#[test]
#[ignore = "takes seconds, and is for release builds"]
fn a_million_events() {
    for size in [
        Size { requests: 1_000_000, nodes: 5, keys: 10_000, sessions: 100 },
        Size { requests: 1_000_000, nodes: 10, keys: 100, sessions: 100 },
    ] {
        let events = history(2, size);
        let start = Instant::now();
        let report = check(&events);
        println!("{} events of {} nodes: {:?}", events.len(), size.nodes, start.elapsed());
        assert!(report.violations.is_empty(), "{:#?}", report.violations);
    }
}

#[test]
#[ignore = "takes seconds, and is for release builds"]
fn short_histories() {
    let of_cluster: Vec<Vec<Event>> = (0..20).map(|seed| Cluster::history(seed, 550, None)).collect();
    let size = Size { requests: 300, nodes: 3, keys: 10, sessions: 6 };
    let synthetic: Vec<Vec<Event>> = (0..20).map(|seed| history(seed, size)).collect();
    for (name, histories) in [("of a cluster with restarts", of_cluster), ("without restarts", synthetic)] {
        let events: usize = histories.iter().map(Vec::len).sum();
        let start = Instant::now();
        for _ in 0..100 {
            histories.iter().for_each(|events| assert!(check(events).violations.is_empty()));
        }
        println!("{} events each, {name}: {:?} a history", events / 20, start.elapsed() / 2000);
    }
}

#[test]
#[ignore = "takes minutes"]
fn many_seeds() {
    let mut failed = 0;
    for seed in 1_000_000..1_200_000 {
        let events = Cluster::history(seed, 100 + (seed as usize % 5) * 100, None);
        let report = check(&events);
        if !report.violations.is_empty() {
            println!("seed {seed}: {:?}", report.violations[0]);
            failed += 1;
        }
    }
    assert_eq!(failed, 0);
}
