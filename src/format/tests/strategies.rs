//! Any well-formed value of each kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use super::examples::origin;
use crate::causality::{Ancestry, CausalContext, Dot, Hlc, NodeId, Origin, Seen, VersionVector, WallMs};
use crate::format::MAX_COUNTER;
use crate::format::backup::BackupHead;
use crate::format::base::Base;
use crate::format::state::{StateAnswer, StateHead, StatePiece, Taken};
use crate::replica::{
    Answer, Checkpoint, Echo, Entry, Key, Op, Protocol, Push, Rejection, Sibling, Siblings, Statement, Totals,
    TraceContext,
};

fn any_counter() -> impl Strategy<Value = u64> {
    prop_oneof![1u64..5, 1..=MAX_COUNTER]
}

fn any_origin() -> impl Strategy<Value = Origin> {
    (prop_oneof![0u32..3, any::<u32>()], prop_oneof![0u64..3, any::<u64>()]).prop_map(|(node, life)| origin(node, life))
}

fn any_dot() -> impl Strategy<Value = Dot> {
    (any_origin(), any_counter()).prop_map(|(origin, counter)| origin.dot(counter))
}

/// In order, one an origin.
fn any_dots() -> impl Strategy<Value = Vec<Dot>> {
    btree_map(any_origin(), any_counter(), 0..5)
        .prop_map(|dots| dots.into_iter().map(|(origin, counter)| origin.dot(counter)).collect())
}

pub(super) fn any_vector() -> impl Strategy<Value = VersionVector> {
    any_dots().prop_map(|dots| dots.into_iter().collect())
}

fn any_text() -> impl Strategy<Value = Arc<str>> {
    any::<String>().prop_map(Into::into)
}

fn any_entries() -> impl Strategy<Value = BTreeMap<String, (Option<Arc<str>>, Vec<Dot>)>> {
    let replaces = btree_set(any_dot(), 0..4).prop_map(|dots| dots.into_iter().collect());
    btree_map("\\PC{1,20}", (option::of(any_text()), replaces), 1..5)
}

fn any_trace() -> impl Strategy<Value = TraceContext> {
    any::<([u8; 16], [u8; 8], u8)>().prop_map(|(trace_id, span_id, flags)| TraceContext { trace_id, span_id, flags })
}

pub(super) fn any_op() -> impl Strategy<Value = Op> {
    let parents = btree_map(any::<u64>(), any_counter(), 0..4);
    let rest = (any::<u64>(), any_entries(), option::of(any_trace()), option::of(any_text()));
    (any_dot(), parents, any_dots(), rest).prop_map(|(dot, parents, deps, (hlc, entries, trace, idempotency_key))| {
        let own = dot.origin;
        let parents = parents.into_iter().map(|(life, counter)| origin(own.node.0, life).dot(counter));
        let parents = parents.filter(|parent| dot.counter == 1 && parent.origin != own).collect();
        let deps = deps.into_iter().filter(|dep| dep.origin != own).collect();
        let entries = entries.into_iter().map(|(key, (value, mut replaces))| {
            replaces.retain(|replaced| *replaced != dot);
            Entry { key: key.into(), value, replaces }
        });
        Op { dot, parents, deps, hlc: Hlc(hlc), entries: entries.collect(), trace, idempotency_key }
    })
}

pub(super) fn any_siblings() -> impl Strategy<Value = Siblings> {
    btree_map(any_dot(), (any::<u64>(), any::<u64>(), any_text()), 1..5).prop_map(|siblings| {
        let sibling = |(dot, (hlc, arrival, value))| Sibling { dot, hlc: Hlc(hlc), arrival, value };
        Siblings::new(siblings.into_iter().map(sibling).collect())
    })
}

pub(super) fn any_checkpoint() -> impl Strategy<Value = Checkpoint> {
    (any_vector(), any::<[u64; 5]>()).prop_map(|(vector, [position, hlc, keys, conflicts, siblings])| Checkpoint {
        vector,
        position,
        hlc: Hlc(hlc),
        totals: Totals { keys, conflicts, siblings },
    })
}

pub(super) fn any_base() -> impl Strategy<Value = Base> {
    (any_vector(), any_vector(), any::<(u64, u64, bool)>()).prop_map(|(vector, floor, (generation, hlc, leaped))| {
        Base { generation, vector, floor, hlc: Hlc(hlc), leaped }
    })
}

fn any_statement() -> impl Strategy<Value = Statement> {
    let said = (any::<(u32, u64, u64, bool)>(), any_vector(), any_protocol());
    said.prop_map(|((node, boot, number, wants_state), vector, protocol)| Statement {
        node: NodeId(node),
        boot,
        number,
        vector,
        protocol,
        wants_state,
    })
}

/// One that this program has a version in common with.
fn any_protocol() -> impl Strategy<Value = Protocol> {
    (0..=Protocol::OWN.newest, Protocol::OWN.oldest..)
        .prop_filter_map("none", |(oldest, newest)| (oldest <= newest).then_some(Protocol { oldest, newest }))
}

/// Without ops.
pub(super) fn any_push() -> impl Strategy<Value = Push> {
    let echo = option::of(any::<(u64, u64)>());
    (any_text(), option::of(any::<u32>()), any_statement(), echo).prop_map(|(cluster, to, sender, echo)| Push {
        cluster,
        to: to.map(NodeId),
        sender,
        ops: vec![],
        echo: echo.map(|(boot, number)| Echo { boot, number }),
    })
}

pub(super) fn any_answer() -> impl Strategy<Value = Answer> {
    let numbers = (any::<u64>(), option::of(any::<u64>()));
    (any_statement(), any_dots(), vec(any_dot(), 0..4), numbers).prop_map(
        |(receiver, implied, missing, (redundant, twin_ms))| Answer { receiver, implied, missing, redundant, twin_ms },
    )
}

fn any_ancestry() -> impl Strategy<Value = Ancestry> {
    let parents = btree_map(any::<u64>(), any_counter(), 1..4);
    btree_map(any_origin(), parents, 0..4).prop_map(|known| {
        let mut ancestry = Ancestry::new();
        for (own, parents) in known {
            let parents = parents.into_iter().map(|(life, counter)| origin(own.node.0, life).dot(counter));
            ancestry.insert(own, &parents.filter(|parent| parent.origin != own).collect::<Vec<_>>());
        }
        ancestry
    })
}

pub(super) fn any_piece() -> impl Strategy<Value = StatePiece> {
    let head = (any_vector(), any_ancestry(), any::<u64>());
    let keys = btree_map("\\PC{1,20}", any_siblings(), 0..5);
    (any_push(), any::<u64>(), head, any::<(bool, bool)>(), keys).prop_map(|(push, transfer, head, is, keys)| {
        let (is_first, is_last) = is;
        let mut keys: Vec<_> = keys.into_iter().map(|(key, siblings)| (key.into(), siblings)).collect();
        let (vector, ancestry, all) = head;
        let after = (!is_first && !keys.is_empty()).then(|| keys.remove(0).0);
        let head = after.is_none().then_some(StateHead { vector, ancestry, keys: all });
        StatePiece { push, transfer, after, head, is_last: is_last || keys.is_empty(), keys }
    })
}

pub(super) fn any_backup_head() -> impl Strategy<Value = BackupHead> {
    let state = (any_vector(), any_ancestry(), any::<u64>());
    (any_text(), any::<u32>(), any::<u64>(), state).prop_map(|(cluster, node, taken, (vector, ancestry, keys))| {
        let state = StateHead { vector, ancestry, keys };
        BackupHead { cluster: cluster.to_string(), node: NodeId(node), taken: WallMs(taken), state }
    })
}

pub(super) fn any_keys() -> impl Strategy<Value = Vec<(Key, Siblings)>> {
    let keys = btree_map("\\PC{1,20}", any_siblings(), 0..5);
    keys.prop_map(|keys| keys.into_iter().map(|(key, siblings)| (key.into(), siblings)).collect())
}

pub(super) fn any_state_answer() -> impl Strategy<Value = StateAnswer> {
    let taken = prop_oneof![
        any::<u32>().prop_map(|with| Taken::Busy { with: NodeId(with) }),
        option::of(any_text()).prop_map(Taken::UpTo),
        Just(Taken::All),
    ];
    (any_answer(), taken).prop_map(|(answer, taken)| StateAnswer { answer, taken })
}

pub(super) fn any_rejection() -> impl Strategy<Value = Rejection> {
    prop_oneof![
        any::<u32>().prop_map(|node| Rejection::Misdirected { actual: NodeId(node) }),
        any_text().prop_map(|actual| Rejection::WrongCluster { actual }),
        Just(Rejection::ReadOnly),
        any::<u32>().prop_map(|node| Rejection::Removed { by: NodeId(node) }),
        (any_dot(), any::<String>()).prop_map(|(dot, text)| Rejection::Malformed { dot, problem: text.into() }),
        any::<String>().prop_map(Rejection::Unreadable),
    ]
}

pub(super) fn any_context() -> impl Strategy<Value = CausalContext> {
    let dots = btree_set(any_dot(), 0..=8).prop_map(|dots| dots.into_iter().collect::<Vec<_>>()).prop_shuffle();
    prop_oneof![
        any_vector().prop_map(CausalContext::of_state),
        (any_vector(), any_vector(), dots)
            .prop_map(|(wait, vector, dots)| CausalContext { wait, seen: Seen { vector, dots } }),
    ]
}
