//! Who may push: members, unknown ids of the same cluster, and not those named as removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::causality::{Hlc, Incarnation, NodeId, Origin, VersionVector, WallMs};
use crate::replica::*;

/// A store without keys.
struct Empty;

impl KeyStates for Empty {
    fn siblings(&self, _: &str) -> Result<Siblings, Unreadable> {
        Ok(Siblings::default())
    }
}

/// Node 0, whose list has node 1 besides, and which names node 9 as removed.
fn replica(peers: Vec<Option<NodeId>>) -> Replica {
    let options =
        ReplicaOptions { removed: BTreeSet::from([NodeId(9)]), ..ReplicaOptions::new("test", NodeId(0), peers) };
    Replica::new(options, Seed { boot: 1, random: 1 }, Recovered::default())
}

fn op(node: u32) -> Arc<Op> {
    let entries = vec![Entry { key: "key".into(), value: Some("value".into()), replaces: vec![] }];
    let dot = Origin::new(NodeId(node), Incarnation(1)).dot(1);
    Arc::new(Op { dot, parents: vec![], deps: vec![], hlc: Hlc(1), entries, trace: None, idempotency_key: None })
}

/// What comes of a push by `sender` at a time, with an op of `origin` or none.
fn push(replica: &mut Replica, at: u64, sender: u32, origin: Option<u32>) -> Vec<Effect> {
    let sender = Statement {
        node: NodeId(sender),
        boot: 7,
        number: at,
        vector: VersionVector::new(),
        protocol: Protocol::OWN,
        wants_state: false,
    };
    let push = Push { cluster: "test".into(), to: None, sender, ops: origin.into_iter().map(op).collect(), echo: None };
    let now = Now { mono: MonoMs(at), wall: WallMs(at) };
    replica.handle(now, Input::Push { request: RequestId(at), push }, &Empty)
}

fn rejection(effects: &[Effect]) -> Option<&Rejection> {
    effects.iter().find_map(|effect| match effect {
        Effect::Pushed { outcome, .. } => outcome.as_ref().err(),
        _ => None,
    })
}

fn unknown(effects: &[Effect]) -> Vec<NodeId> {
    let unknown = effects.iter().filter_map(|effect| match effect {
        Effect::UnknownMember { node } => Some(*node),
        _ => None,
    });
    unknown.collect()
}

fn appends(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Append(_))).count()
}

#[test]
fn what_a_removed_node_pushes_is_refused_and_its_ops_are_taken_from_members() {
    let mut replica = replica(vec![Some(NodeId(1))]);
    for origin in [None, Some(9)] {
        let effects = push(&mut replica, 1, 9, origin);
        assert_eq!(rejection(&effects), Some(&Rejection::Removed { by: NodeId(0) }));
        assert_eq!((appends(&effects), unknown(&effects)), (0, vec![]));
    }
    let effects = push(&mut replica, 2, 1, Some(9));
    assert_eq!((rejection(&effects), appends(&effects)), (None, 1));
}

#[test]
fn what_an_unknown_node_pushes_is_taken_and_told_of_once() {
    let mut replica = replica(vec![Some(NodeId(1))]);
    let effects = push(&mut replica, 1, 3, Some(3));
    assert_eq!((rejection(&effects), appends(&effects), unknown(&effects)), (None, 1, vec![NodeId(3)]));
    assert_eq!(unknown(&push(&mut replica, 5, 3, None)), []);
    assert_eq!(unknown(&push(&mut replica, 6, 1, None)), [], "it is in the list");
    assert_eq!(replica.view().unknown_members, BTreeMap::from([(NodeId(3), WallMs(5))]));
    for id in 100..200 {
        let _ = push(&mut replica, 7, id, None);
    }
    assert_eq!(replica.view().unknown_members.len(), 16, "bounded");
}

#[test]
fn a_peer_known_only_by_its_address_is_not_unknown_before_it_has_said_who_it_is() {
    let mut replica = replica(vec![None]);
    assert_eq!(unknown(&push(&mut replica, 1, 1, None)), []);
    let receiver = Statement {
        node: NodeId(1),
        boot: 7,
        number: 9,
        vector: VersionVector::new(),
        protocol: Protocol::OWN,
        wants_state: false,
    };
    let answer = Answer { receiver, implied: vec![], missing: vec![], redundant: 0, twin_ms: None };
    let now = Now { mono: MonoMs(2), wall: WallMs(2) };
    let _ = replica.handle(now, Input::Answered { link: LinkId(0), carried: vec![], answer }, &Empty);
    assert_eq!(unknown(&push(&mut replica, 3, 2, None)), [NodeId(2)], "that address is node 1's");
}
