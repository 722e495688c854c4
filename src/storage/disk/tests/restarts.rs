//! A store of nodes that were restarted very often.

use super::*;
use crate::causality::{Dot, Parents};
use crate::replica::Append;

/// The first ops of so many lives of three nodes in turn, in commits of a thousand.
fn restarted(store: &DiskStorage, log: &mut Log, lives: u64) {
    // Names that don't tell the order.
    let life = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for group in (1..=lives).collect::<Vec<_>>().chunks(334) {
        let ops = group.iter().flat_map(|number| (0..3).map(move |node| (node, *number)));
        let appends: Vec<Append> = ops
            .map(|(node, number)| {
                let before: Option<Dot> = (number > 1).then(|| origin(node, life(number - 1)).dot(1));
                let parents: Parents = before.into_iter().collect();
                let key = format!("k{node}");
                log.append_child(store, origin(node, life(number)).dot(1), parents, &[(&key, Some("v"))])
            })
            .collect();
        store.commit(&appends, &log.checkpoint).unwrap();
    }
}

/// What is known of their incarnations is read, or done again from the log, and the log's ends are checked against it.
#[test]
fn a_store_of_many_restarts_is_opened_as_it_was_closed() {
    let directory = OnDisk::new();
    let mut log = Log::default();
    let (store, _) = directory.open();
    restarted(&store, &mut log, 10_000);
    drop(store);
    for _ in 0..2 {
        let (store, recovered) = directory.open();
        assert_eq!(recovered.checkpoint, log.checkpoint);
        assert_eq!(recovered.ancestry, log.ancestry);
        assert_eq!(recovered.checkpoint.vector.len(), 3, "{}", recovered.checkpoint.vector);
        assert_eq!(recovered.ancestry.incarnations(&recovered.checkpoint.vector, NodeId(2)), 10_000);
        drop(store);
    }
}
