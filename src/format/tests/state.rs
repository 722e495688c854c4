//! Pieces of a state, and their answers: read as written, and whole or not at all.

use proptest::prelude::*;

use super::examples;
use super::strategies::{any_piece, any_state_answer};
use crate::format::op::MAX_KEY_BYTES;
use crate::format::state::{StatePiece, decode_answer, decode_piece, encode_answer, encode_piece};
use crate::format::{FormatError, siblings};
use crate::replica::Siblings;

/// A piece as its sender writes it: from keys as they are stored.
pub(super) fn write_piece(piece: &StatePiece) -> Vec<u8> {
    let stored = piece.keys.iter().map(|(key, siblings)| (key.to_string(), siblings::encode(siblings)));
    let keys: Vec<_> = stored.collect();
    let StatePiece { push, transfer, after, head, is_last, .. } = piece;
    encode_piece(push, *transfer, after.as_deref(), head.as_ref(), &keys, *is_last)
}

proptest! {
    #[test]
    fn a_piece_is_read_as_written(piece in any_piece()) {
        prop_assert_eq!(decode_piece(&write_piece(&piece)), Ok(piece));
    }

    #[test]
    fn an_answer_to_a_piece_is_read_as_written(answer in any_state_answer()) {
        prop_assert_eq!(decode_answer(&encode_answer(&answer)), Ok(answer));
    }

    #[test]
    fn a_cut_or_flipped_piece_is_always_refused(piece in any_piece(), at: prop::sample::Index, bit in 0..8) {
        let bytes = write_piece(&piece);
        let at = at.index(bytes.len());
        prop_assert!(decode_piece(&bytes[..at]).is_err());
        let mut flipped = bytes;
        flipped[at] ^= 1u8 << bit;
        prop_assert_eq!(decode_piece(&flipped), Err(FormatError::Checksum { what: "piece of a state" }));
    }
}

/// What is wrong with the example piece after `change`.
fn problem_of(change: impl FnOnce(&mut StatePiece)) -> String {
    let mut piece = examples::piece();
    change(&mut piece);
    match decode_piece(&write_piece(&piece)) {
        Err(FormatError::Malformed { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_piece_that_cannot_be_is_refused() {
    let unordered = "its keys are not in order";
    let size = "a key is empty or too long";
    let head = "the first piece, and no other, says whose state it is";
    assert_eq!(problem_of(|piece| piece.keys.reverse()), unordered);
    assert_eq!(problem_of(|piece| piece.keys[1] = piece.keys[0].clone()), unordered);
    assert_eq!(problem_of(|piece| piece.keys[0].0 = "".into()), size);
    assert_eq!(problem_of(|piece| piece.keys[1].0 = "z".repeat(MAX_KEY_BYTES + 1).into()), size);
    assert_eq!(problem_of(|piece| piece.head = None), head);
    assert_eq!(problem_of(|piece| piece.after = Some("a".into())), head);
    let later = |piece: &mut StatePiece, after: &str| (piece.head, piece.after) = (None, Some(after.into()));
    assert_eq!(problem_of(|piece| later(piece, "grün")), unordered);
    assert_eq!(problem_of(|piece| later(piece, "h")), unordered);
    assert_eq!(problem_of(|piece| later(piece, "")), size);
    let nothing = |piece: &mut StatePiece| (piece.keys, piece.is_last) = (Vec::new(), false);
    assert_eq!(problem_of(nothing), "it has no keys, and is not the last");
    assert_eq!(problem_of(|piece| piece.keys[0].1 = Siblings::default()), "it has no siblings");
}

#[test]
fn a_state_without_keys_is_one_piece() {
    let piece = StatePiece { keys: Vec::new(), ..examples::piece() };
    assert_eq!(decode_piece(&write_piece(&piece)), Ok(piece));
}

#[test]
fn a_piece_has_no_ops() {
    let (whole, one) = (write_piece(&examples::piece()), examples::push_with_ops());
    // The list of ops, empty, is the last field of the push; then comes the transfer.
    let payload = &whole[1..whole.len() - 4];
    let at = payload.windows(3).position(|bytes| bytes == [3, 0x80, 1]).unwrap() + 1;
    let op = crate::format::op::encode(&one.ops[1]);
    let altered = crate::format::frame::seal(1, |bytes| {
        bytes.extend_from_slice(&payload[..at]);
        bytes.extend_from_slice(&[0x81, 0x58, op.len() as u8]);
        bytes.extend_from_slice(&op);
        bytes.extend_from_slice(&payload[at + 1..]);
    });
    let refused = decode_piece(&altered).unwrap_err();
    assert_eq!(refused.to_string(), "piece of a state does not read as one: it carries ops");
}
