//! When a node may say that an op can't be had any more.

use super::*;
use crate::causality::{Incarnation, Origin, WallMs};
use crate::replica::LinkView;

fn view_of_peer(heard: u64, vector: &[Dot]) -> View {
    let vector = Some(vector.iter().copied().collect());
    let link = LinkView { node: Some(NodeId(1)), heard: Some(WallMs(heard)), vector, ..LinkView::default() };
    View { links: vec![link], ..View::default() }
}

const LOST: Dot = Dot { origin: Origin { node: NodeId(0), incarnation: Incarnation(1) }, counter: 9 };

#[test]
fn a_peer_that_was_not_heard_since_may_have_it_by_now() {
    let asked = view_of_peer(1_000, &[]);
    assert!(obtainable(&asked, &asked, LOST), "the op may be younger than what is known of the peer");
    assert!(!obtainable(&asked, &view_of_peer(1_500, &[]), LOST));
}

#[test]
fn a_peer_with_an_incarnation_that_is_not_known_here_may_have_it_by_implication() {
    let asked = view_of_peer(1_000, &[]);
    let later = Origin::new(LOST.origin.node, Incarnation(2)).dot(1);
    assert!(obtainable(&asked, &view_of_peer(1_500, &[later]), LOST));
}
