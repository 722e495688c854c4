//! Formats: what is written is read back, is the same bytes for ever, and nothing else is taken for it.
#![allow(clippy::unwrap_used)]

mod backup;
mod canonical;
mod examples;
mod golden;
mod state;
mod strategies;
mod token;
mod versions;

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::causality::Origin;
use crate::replica::Op;
use examples::origin;
use strategies::{any_answer, any_base, any_checkpoint, any_op, any_push, any_rejection, any_siblings};

type Decode = fn(&[u8]) -> Result<(), FormatError>;

/// Every decoder of frames.
const DECODERS: [(&str, Decode); 14] = [
    ("op", |bytes| op::decode(bytes).map(drop)),
    ("siblings", |bytes| siblings::decode(bytes).map(drop)),
    ("checkpoint", |bytes| checkpoint::decode(bytes).map(drop)),
    ("base", |bytes| base::decode(bytes).map(drop)),
    ("ancestry", |bytes| ancestry::decode(origin(0, 2), bytes).map(drop)),
    ("identity", |bytes| identity::decode(bytes).map(drop)),
    ("push", |bytes| message::decode_push(bytes).map(drop)),
    ("answer", |bytes| message::decode_answer(bytes).map(drop)),
    ("rejection", |bytes| message::decode_rejection(bytes).map(drop)),
    ("question", |bytes| facts::decode_question(bytes).map(drop)),
    ("facts", |bytes| facts::decode_facts(bytes).map(drop)),
    ("piece of a state", |bytes| super::state::decode_piece(bytes).map(drop)),
    ("part of a backup", |bytes| super::backup::decode_part(bytes).map(drop)),
    ("answer to a piece", |bytes| super::state::decode_answer(bytes).map(drop)),
];

proptest! {
    #[test]
    fn an_op_is_read_as_written(op in any_op()) {
        prop_assert_eq!(op::decode(&op::encode(&op)), Ok(op));
    }

    #[test]
    fn siblings_are_read_as_written(siblings in any_siblings()) {
        prop_assert_eq!(siblings::decode(&siblings::encode(&siblings)), Ok(siblings));
    }

    #[test]
    fn a_checkpoint_is_read_as_written(checkpoint in any_checkpoint()) {
        prop_assert_eq!(checkpoint::decode(&checkpoint::encode(&checkpoint)), Ok(checkpoint));
    }

    #[test]
    fn a_base_is_read_as_written(base in any_base()) {
        prop_assert_eq!(base::decode(&base::encode(&base)), Ok(base));
    }

    #[test]
    fn an_op_can_be_asked_for_its_name_alone(op in any_op()) {
        prop_assert_eq!(op::dot(&op::encode(&op)), Ok(op.dot));
    }

    #[test]
    fn no_op_with_an_idempotency_key_is_overlooked(mut op in any_op(), key in ".{1,64}") {
        let key: String = key.chars().scan(0, |bytes, c| { *bytes += c.len_utf8(); (*bytes <= 64).then_some(c) }).collect();
        op.idempotency_key = Some(key.into());
        prop_assert!(op::may_have_idempotency_key(&op::encode(&op)));
    }

    #[test]
    fn a_push_is_read_as_written(mut push in any_push(), ops in proptest::collection::vec(any_op(), 0..4)) {
        let bytes: Vec<Vec<u8>> = ops.iter().map(op::encode).collect();
        let sent = message::encode_push(&push, &bytes);
        push.ops = ops.into_iter().map(Arc::new).collect();
        prop_assert_eq!(message::decode_push(&sent), Ok(push));
    }

    #[test]
    fn an_answer_is_read_as_written(answer in any_answer()) {
        prop_assert_eq!(message::decode_answer(&message::encode_answer(&answer)), Ok(answer));
    }

    #[test]
    fn a_rejection_is_read_as_written(rejection in any_rejection()) {
        prop_assert_eq!(message::decode_rejection(&message::encode_rejection(&rejection)), Ok(rejection));
    }

    #[test]
    fn an_identity_is_read_as_written(format: u32, cluster: String, node: u32, log: u64) {
        let identity = identity::StoredIdentity { format, cluster, node: crate::causality::NodeId(node), log };
        prop_assert_eq!(identity::decode(&identity::encode(&identity)), Ok(identity));
    }

    #[test]
    fn random_bytes_are_refused_by_all(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for (name, decode) in DECODERS {
            prop_assert!(decode(&bytes).is_err(), "{}", name);
        }
    }

    /// The checksum is right, so that the decoders behind it get to see the bytes.
    #[test]
    fn random_payloads_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        for (_, decode) in DECODERS {
            let _ = decode(&frame::seal(1, |bytes| bytes.extend_from_slice(&payload)));
        }
    }

    /// A real op, changed somewhere, with a checksum that is right again: it is refused, or it is the one
    /// encoding of another op.
    #[test]
    fn an_altered_op_never_panics_and_never_changes_silently(op in any_op(), at: prop::sample::Index, byte: u8) {
        let sealed = op::encode(&op);
        let mut payload = sealed[1..sealed.len() - 4].to_vec();
        let at = at.index(payload.len());
        payload[at] = byte;
        let altered = frame::seal(1, |bytes| bytes.extend_from_slice(&payload));
        if let Ok(other) = op::decode(&altered) {
            prop_assert_eq!(op::encode(&other), altered);
        }
    }

    #[test]
    fn a_cut_or_flipped_record_is_always_refused(op in any_op(), at: prop::sample::Index, bit in 0..8) {
        let bytes = op::encode(&op);
        let at = at.index(bytes.len());
        prop_assert!(op::decode(&bytes[..at]).is_err());
        let mut flipped = bytes.clone();
        flipped[at] ^= 1u8 << bit;
        prop_assert_eq!(op::decode(&flipped), Err(FormatError::Checksum { what: "op" }));
        let longer = [bytes.as_slice(), &[0]].concat();
        prop_assert!(op::decode(&longer).is_err());
    }
}

#[test]
fn a_newer_version_is_named_and_not_taken_for_damage() {
    for (name, decode) in DECODERS {
        let newer = frame::seal(9, |bytes| bytes.extend_from_slice(b"who knows"));
        assert!(matches!(decode(&newer), Err(FormatError::Version { found: 9, newest: 1, .. })), "{name}");
    }
    let error = op::decode(&frame::seal(9, |_| {})).unwrap_err();
    assert_eq!(error.to_string(), "op has version 9, the newest known here is 1");
}

/// What a node of an older version makes of a rejection that it does not know: a refusal it can't read, and no more.
#[test]
fn a_rejection_of_a_kind_that_is_not_known_is_told() {
    // The variant's number, and its fields.
    let sealed = frame::seal(1, |bytes| bytes.extend_from_slice(&[0x82, 0x18, 99, 0x81, 1]));
    assert!(matches!(message::decode_rejection(&sealed), Err(FormatError::Malformed { what: "rejection", .. })));
}

#[test]
fn something_behind_a_payload_is_refused() {
    let sealed = op::encode(&examples::op());
    let longer = frame::seal(1, |bytes| {
        bytes.extend_from_slice(&sealed[1..sealed.len() - 4]);
        bytes.push(0);
    });
    assert!(matches!(op::decode(&longer), Err(FormatError::Malformed { what: "op", .. })));
}

/// What is wrong with the example op after `change`.
fn problem_of(change: impl FnOnce(&mut Op)) -> String {
    let mut op = examples::op();
    change(&mut op);
    match op::decode(&op::encode(&op)) {
        Err(FormatError::IllFormedOp { problem, .. }) => problem.to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_op_that_cannot_be_is_refused() {
    let own = examples::op().dot.origin;
    let other = |incarnation: u64| Origin::new(own.node, crate::causality::Incarnation(incarnation));
    let too_high = MAX_COUNTER + 1;
    assert_eq!(problem_of(|op| op.dot.counter = 0), "a counter is out of range");
    assert_eq!(problem_of(|op| op.dot.counter = too_high), "a counter is out of range");
    assert_eq!(problem_of(|op| op.deps[0].counter = 0), "a counter is out of range");
    assert_eq!(problem_of(|op| op.entries[0].replaces[0].counter = too_high), "a counter is out of range");
    assert_eq!(problem_of(|op| op.dot.counter = 2), "only the first op of an incarnation has parents");
    assert_eq!(problem_of(|op| op.parents = vec![origin(9, 1).dot(1)]), "a parent is of another node");
    assert_eq!(problem_of(|op| op.parents = vec![own.dot(1)]), "it is its own parent");
    let twice = vec![other(1).dot(4), other(1).dot(5)];
    assert_eq!(problem_of(|op| op.parents = twice), "its parents are not in order");
    assert_eq!(problem_of(|op| op.deps.reverse()), "its dependencies are not in order");
    assert_eq!(problem_of(|op| op.deps = vec![own.dot(1)]), "it depends on its own origin");
    assert_eq!(problem_of(|op| op.entries.clear()), "it writes nothing");
    assert_eq!(problem_of(|op| op.entries[0].key = "".into()), "a key is empty");
    assert_eq!(problem_of(|op| op.entries[0].key = "k".repeat(op::MAX_KEY_BYTES + 1).into()), "a key is too long");
    assert_eq!(problem_of(|op| op.entries[1] = op.entries[0].clone()), "it writes a key twice");
    let dot = examples::op().dot;
    assert_eq!(problem_of(|op| op.entries[1].replaces = vec![dot]), "it replaces itself");
    let replaced = examples::op().entries[0].replaces[0];
    assert_eq!(problem_of(|op| op.entries[1].replaces = vec![replaced; 2]), "it replaces a sibling twice");
}

#[test]
fn a_push_with_one_bad_op_is_refused_and_names_it() {
    let push = examples::push();
    let good = op::encode(&examples::op());
    let mut bad = examples::op();
    bad.entries.clear();
    let error = message::decode_push(&message::encode_push(&push, &[good, op::encode(&bad)])).unwrap_err();
    assert_eq!(error.to_string(), format!("op {} is not well formed: it writes nothing", bad.dot));
}

#[test]
fn an_idempotency_key_is_seen_from_the_end_of_an_op() {
    for mut op in [examples::op(), examples::plain_op()] {
        for length in 0..=64 {
            op.idempotency_key = Some("\u{6}".repeat(length).into());
            assert!(op::may_have_idempotency_key(&op::encode(&op)), "{length}");
        }
        op.idempotency_key = None;
        assert!(!op::may_have_idempotency_key(&op::encode(&op)));
    }
    for end in 0..70 {
        let _ = op::may_have_idempotency_key(&[6; 70][..end]);
    }
}

#[test]
fn the_largest_values_pass() {
    let mut op = examples::op();
    op.entries[0].value = Some("v".repeat(9 << 20).into());
    assert_eq!(op::decode(&op::encode(&op)), Ok(op));
}
