//! One value of each kind, with every field filled: what the golden bytes hold.

use std::sync::Arc;

use crate::causality::{
    Ancestry, CausalContext, Dot, Hlc, Incarnation, NodeId, Origin, Parents, Seen, VersionVector, WallMs,
};
use crate::format::backup::BackupHead;
use crate::format::base::Base;
use crate::format::facts::{
    DamageFacts, Facts, Latency, LinkFacts, MemberFacts, Question, Receipt, TransferFacts, UnknownMember,
};
use crate::format::identity::StoredIdentity;
use crate::format::state::{StateAnswer, StateHead, StatePiece, Taken};
use crate::replica::{
    Answer, Checkpoint, Echo, Entry, Key, Op, Protocol, Push, Rejection, Sibling, Siblings, Statement, Totals,
    TraceContext,
};

pub(super) fn origin(node: u32, incarnation: u64) -> Origin {
    Origin::new(NodeId(node), Incarnation(incarnation))
}

fn dot(node: u32, incarnation: u64, counter: u64) -> Dot {
    origin(node, incarnation).dot(counter)
}

pub(super) fn parents() -> Parents {
    vec![dot(0, 0xaaaa_0000_0000_0001, 12), dot(0, 0xbbbb_0000_0000_0002, 3)]
}

pub(super) fn op() -> Op {
    Op {
        dot: dot(0, 0xc0ff_ee00_c0ff_ee00, 1),
        parents: parents(),
        deps: vec![dot(1, 0x1111_2222_3333_4444, 7), dot(2, 0x5555_6666_7777_8888, 1_000_000)],
        hlc: Hlc(0x0197_1234_5678_0003),
        entries: vec![
            Entry {
                key: "grün".into(),
                value: Some("Wert".into()),
                replaces: vec![dot(1, 0x1111_2222_3333_4444, 6), dot(0, 0xaaaa_0000_0000_0001, 2)],
            },
            Entry { key: "gone".into(), value: None, replaces: vec![] },
        ],
        trace: Some(TraceContext { trace_id: *b"0123456789abcdef", span_id: *b"spanspan", flags: 1 }),
        idempotency_key: Some("order-4711".into()),
    }
}

/// An op with only what every op has.
pub(super) fn plain_op() -> Op {
    Op {
        dot: dot(2, 0x5555_6666_7777_8888, 2),
        parents: vec![],
        deps: vec![],
        hlc: Hlc(0x0197_1234_5678_0000),
        entries: vec![Entry { key: "k".into(), value: Some("".into()), replaces: vec![] }],
        trace: None,
        idempotency_key: None,
    }
}

pub(super) fn vector() -> VersionVector {
    [dot(0, 0xc0ff_ee00_c0ff_ee00, 1), dot(1, 0x1111_2222_3333_4444, 7)].into_iter().collect()
}

pub(super) fn siblings() -> Siblings {
    let sibling = |dot, arrival, value: &str| Sibling { dot, hlc: Hlc(99), arrival, value: value.into() };
    Siblings::new(vec![
        sibling(dot(0, 0xc0ff_ee00_c0ff_ee00, 1), 41, "eins"),
        sibling(dot(1, 0x1111_2222_3333_4444, 7), 42, ""),
    ])
}

pub(super) fn checkpoint() -> Checkpoint {
    let totals = Totals { keys: 10, conflicts: 2, siblings: 13 };
    Checkpoint { vector: vector(), position: 42, hlc: Hlc(0x0197_1234_5678_0003), totals }
}

pub(super) fn base() -> Base {
    let floor = [dot(1, 0x1111_2222_3333_4444, 6)].into_iter().collect();
    Base { generation: 3, vector: vector(), floor, hlc: Hlc(0x0197_1234_5678_0003), leaped: true }
}

pub(super) fn identity() -> StoredIdentity {
    StoredIdentity { format: 1, cluster: "causeway".to_owned(), node: NodeId(7), log: 0x1065_1065_1065_1065 }
}

fn statement(node: u32) -> Statement {
    Statement {
        node: NodeId(node),
        boot: 0xb007_b007_b007_b007,
        number: 300,
        vector: vector(),
        protocol: Protocol::OWN,
        wants_state: false,
    }
}

pub(super) fn push() -> Push {
    Push { cluster: "causeway".into(), to: Some(NodeId(1)), sender: statement(0), ops: vec![], echo: None }
}

/// The same with ops, as it is decoded.
pub(super) fn push_with_ops() -> Push {
    Push { ops: vec![Arc::new(op()), Arc::new(plain_op())], ..push() }
}

/// A push whose sender has a statement of its receiver.
pub(super) fn push_with_echo() -> Push {
    Push { echo: Some(Echo { boot: 0xb007_b007_0000_0001, number: 299 }), ..push() }
}

pub(super) fn answer() -> Answer {
    Answer {
        receiver: statement(1),
        implied: vec![dot(0, 0xaaaa_0000_0000_0001, 12)],
        missing: vec![dot(2, 0x5555_6666_7777_8888, 1)],
        redundant: 3,
        twin_ms: None,
    }
}

pub(super) fn piece() -> StatePiece {
    let mut ancestry = Ancestry::new();
    ancestry.insert(op().dot.origin, &parents());
    StatePiece {
        push: push(),
        transfer: 0x7e57_7e57_7e57_7e57,
        after: None,
        head: Some(StateHead { vector: vector(), ancestry, keys: 1_000 }),
        keys: vec![("grün".into(), siblings()), ("z".into(), siblings())],
        is_last: true,
    }
}

pub(super) fn backup_head() -> BackupHead {
    let StatePiece { head, .. } = piece();
    BackupHead {
        cluster: "causeway".to_owned(),
        node: NodeId(1),
        taken: WallMs(1_764_000_000_000),
        state: head.expect("it is the first piece"),
    }
}

/// Of a backup: its head and its keys.
pub(super) fn backup() -> (BackupHead, Vec<(Key, Siblings)>) {
    (backup_head(), piece().keys)
}

pub(super) fn state_answers() -> [StateAnswer; 4] {
    let answered = |taken| StateAnswer { answer: answer(), taken };
    [
        answered(Taken::Busy { with: NodeId(2) }),
        answered(Taken::UpTo(Some("grün".into()))),
        answered(Taken::UpTo(None)),
        answered(Taken::All),
    ]
}

/// The answer to a node whose id two processes have.
pub(super) fn answer_to_a_twin() -> Answer {
    Answer { twin_ms: Some(1_500), ..answer() }
}

pub(super) fn rejections() -> [Rejection; 6] {
    [
        Rejection::Misdirected { actual: NodeId(2) },
        Rejection::WrongCluster { actual: "other".into() },
        Rejection::ReadOnly,
        Rejection::Malformed { dot: dot(0, 1, 2), problem: "it writes nothing".into() },
        Rejection::Unreadable("key record does not match its checksum".to_owned()),
        Rejection::Removed { by: NodeId(1) },
    ]
}

pub(super) fn question() -> Question {
    Question { cluster: "causeway".to_owned(), to: Some(1), about: Some(dot(0, 0xc0ff_ee00_c0ff_ee00, 1)), from: None }
}

pub(super) fn facts() -> Facts {
    let link = LinkFacts {
        to: Some(2),
        address: "http://node2.replication:7000".to_owned(),
        away_since_ms: Some(1_795_000_000_000),
        why: Some("no progress for 2000 ms".to_owned()),
        heard_ms: Some(1_794_999_999_000),
        up_to_date: Some(false),
        ops_to_ship: 3,
        bytes_to_ship: 400,
        oldest_waiting_ms: Some(1_795_000_000_500),
        latency: Some(Latency { ops: 100, p50_us: 640, p99_us: 2_000, max_us: 2_345 }),
        state_transfer: None,
    };
    Facts {
        node: 1,
        version: "0.1.0".to_owned(),
        started_ms: 1_794_000_000_000,
        keys: 10,
        siblings: 13,
        conflicts: 2,
        disk_bytes: 1 << 20,
        read_only: true,
        waiting_requests: 4,
        waiting_ops: 5,
        position: 42,
        vector: vector().entries().collect(),
        links: vec![link, LinkFacts::default()],
        receipt: Some(Receipt {
            dot: dot(0, 0xc0ff_ee00_c0ff_ee00, 1),
            has: true,
            visible_ms: Some(1_795_000_000_001),
            waits_for: vec![dot(2, 0x5555_6666_7777_8888, 1)],
        }),
        catching_up: None,
        log_ops: None,
        twins: vec![],
        members: None,
        damage: None,
    }
}

/// What came to facts later: who does not know it reads the rest.
pub(super) fn facts_of_transfers() -> Facts {
    let transfer = |keys| TransferFacts {
        peer: 2,
        began_ms: 1_795_000_000_002,
        keys,
        bytes: 70_000,
        all_keys: 1_000,
        left_ms: Some(9_000),
    };
    let links = vec![LinkFacts { state_transfer: Some(transfer(100)), ..LinkFacts::default() }];
    Facts { catching_up: Some(transfer(200)), log_ops: Some(7), links, ..Facts::default() }
}

/// The same of a node that knows of ids that two processes have.
pub(super) fn facts_with_twins() -> Facts {
    Facts { twins: vec![0, 7], ..facts() }
}

/// As nodes ask and tell since they say who they are and what they have of their cluster's members.
pub(super) fn question_from() -> Question {
    Question { from: Some(0), ..question() }
}

pub(super) fn facts_of_members() -> Facts {
    let unknown = vec![UnknownMember { node: 3, heard_ms: 1_795_000_000_002 }];
    Facts { members: Some(MemberFacts { removed: vec![4, 5], unknown, draining: true }), ..facts() }
}

/// The same of a node whose data is damaged.
pub(super) fn facts_of_damage() -> Facts {
    Facts { damage: Some(DamageFacts { keys: true, log: false }), ..facts() }
}

/// What a write with a context answers.
pub(super) fn context_with_dots() -> CausalContext {
    let dots = vec![dot(2, 0x5555_6666_7777_8888, 9), dot(1, 0x1111_2222_3333_4444, 11)];
    CausalContext { wait: vector(), seen: Seen { vector: [dot(1, 2, 3)].into_iter().collect(), dots } }
}
