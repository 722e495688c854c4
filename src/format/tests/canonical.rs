//! An op has one encoding: whatever else reads as the same op is refused. By definition the one encoding is what is
//! written of what was read; decoding finds that out without writing.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::examples;
use super::strategies::any_op;
use crate::format::op::{self, NOT_EXACT};
use crate::format::{FormatError, dto, frame};

const UINT: u8 = 0;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const SIMPLE: u8 = 7;
/// In place of a length: up to the next break.
const INDEFINITE: u8 = 31;
const BREAK: u8 = 0xff;
const NULL: u8 = 0xf6;

/// Decoding must agree with the definition.
fn check(bytes: &[u8]) {
    match (op::decode(bytes), op::read_loosely(bytes)) {
        (Ok(op), Ok(read)) => {
            assert_eq!(op, read);
            assert_eq!(op::encode(&read), bytes, "a second encoding was taken");
        }
        (Err(FormatError::IllFormedOp { dot, problem }), Ok(read)) => {
            assert_eq!(dot, read.dot);
            assert!(problem != NOT_EXACT || op::encode(&read) != bytes, "the one encoding was refused");
        }
        (refused, unreadable) => assert_eq!(refused, unreadable),
    }
}

fn sealed(payload: &[u8]) -> Vec<u8> {
    frame::seal(1, |bytes| bytes.extend_from_slice(payload))
}

fn payload_of(op: &crate::replica::Op) -> Vec<u8> {
    let bytes = op::encode(op);
    bytes[1..bytes.len() - 4].to_vec()
}

/// Writes CBOR again with the same meaning, or nearly, in ways that are picked at random.
struct Rewriter<'a> {
    from: &'a [u8],
    picks: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    to: Vec<u8>,
}

impl Rewriter<'_> {
    /// Whether to do something of which one in `odds` is enough.
    fn picks_one_in(&mut self, odds: u8) -> bool {
        self.picks.next().unwrap().is_multiple_of(odds)
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (bytes, rest) = self.from.split_first_chunk().unwrap();
        self.from = rest;
        *bytes
    }

    /// The kind of the next item, and its number or length.
    fn read_head(&mut self) -> (u8, u64) {
        let [first] = self.take();
        let number = match first & 31 {
            24 => u8::from_be_bytes(self.take()).into(),
            25 => u16::from_be_bytes(self.take()).into(),
            26 => u32::from_be_bytes(self.take()).into(),
            27 => u64::from_be_bytes(self.take()),
            small => small.into(),
        };
        (first >> 5, number)
    }

    /// Now and then longer than it has to be.
    fn write_head(&mut self, kind: u8, number: u64) {
        let shortest = [24, 1 << 8, 1 << 16, 1 << 32].iter().filter(|limit| number >= **limit).count();
        let width = if self.picks_one_in(8) { 4.min(shortest + 1) } else { shortest };
        let first = if width == 0 { number as u8 } else { 23 + width as u8 };
        self.to.push(kind << 5 | first);
        let bytes = number.to_be_bytes();
        self.to.extend_from_slice(&bytes[8 - [0, 1, 2, 4, 8][width]..]);
    }

    fn item(&mut self) {
        let (kind, number) = self.read_head();
        match kind {
            ARRAY | MAP => {
                let items = number * if kind == MAP { 2 } else { 1 };
                let has_end = self.picks_one_in(16);
                match has_end {
                    true => self.to.push(kind << 5 | INDEFINITE),
                    false => self.write_head(kind, number),
                }
                (0..items).for_each(|_| self.item());
                self.to.extend(has_end.then_some(BREAK));
            }
            UINT => self.write_head(UINT, number),
            SIMPLE => self.to.push(SIMPLE << 5 | number as u8),
            text_or_bytes => {
                self.write_head(text_or_bytes, number);
                let (content, rest) = self.from.split_at(number as usize);
                self.to.extend_from_slice(content);
                self.from = rest;
            }
        }
    }
}

/// The fields of a payload, with their numbers.
fn fields_of(payload: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = Rewriter { from: payload, picks: [1].iter().cycle(), to: Vec::new() };
    let (kind, count) = reader.read_head();
    assert_eq!(kind, MAP);
    let mut field = || {
        reader.item();
        reader.item();
        std::mem::take(&mut reader.to)
    };
    (0..count).map(|_| field()).collect()
}

fn with_fields(fields: &[Vec<u8>]) -> Vec<u8> {
    [&[MAP << 5 | fields.len() as u8], fields.concat().as_slice()].concat()
}

#[test]
fn what_is_written_is_all_or_it_is_not_that() {
    let is_written_as = |payload: &[u8]| dto::is_written_as(&[200u8], payload);
    assert!(is_written_as(&[ARRAY << 5 | 1, 24, 200]));
    assert!(!is_written_as(&[ARRAY << 5 | 1, 24, 201]), "something else");
    assert!(!is_written_as(&[ARRAY << 5 | 1, 24, 200, 0]), "more");
    assert!(!is_written_as(&[ARRAY << 5 | 1, 24]), "less");
    assert!(!is_written_as(&[]), "nothing");
}

proptest! {
    #[test]
    fn an_op_written_otherwise_is_refused(op in any_op(), picks in proptest::collection::vec(any::<u8>(), 1..200)) {
        let payload = payload_of(&op);
        let mut rewriter = Rewriter { from: &payload, picks: picks.iter().cycle(), to: Vec::new() };
        rewriter.item();
        check(&sealed(&rewriter.to));
        prop_assert_eq!(op::decode(&sealed(&rewriter.to)).is_ok(), rewriter.to == payload);
    }

    #[test]
    fn other_fields_are_refused(
        op in any_op(), other in any_op(), from: prop::sample::Index, to: prop::sample::Index, instead: bool,
    ) {
        let payload = payload_of(&op);
        let mut fields = fields_of(&payload);
        let others = fields_of(&payload_of(&other));
        let moved = others[from.index(others.len())].clone();
        let at = to.index(fields.len());
        match instead {
            true => fields[at] = moved,
            false => fields.insert(at, moved),
        }
        check(&sealed(&with_fields(&fields)));
    }

    #[test]
    fn an_altered_op_is_refused_for_what_is_wrong(op in any_op(), at: prop::sample::Index, byte: u8) {
        let mut payload = payload_of(&op);
        let at = at.index(payload.len());
        payload[at] = byte;
        check(&sealed(&payload));
    }
}

#[test]
fn what_fuzzing_found_is_refused_for_what_is_wrong() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/op");
    let mut refused = 0;
    for file in fs::read_dir(corpus).unwrap() {
        let bytes = sealed(&fs::read(file.unwrap().path()).unwrap());
        check(&bytes);
        refused += usize::from(matches!(op::decode(&bytes), Err(FormatError::IllFormedOp { problem: NOT_EXACT, .. })));
    }
    assert!(refused > 0, "no input of the corpus is an op that is written otherwise");
}

#[test]
fn each_freedom_of_cbor_is_refused() {
    let payload = payload_of(&examples::plain_op());
    let fields = fields_of(&payload);
    assert_eq!(with_fields(&fields), payload);
    let with = |at: usize, field: &[u8]| {
        let mut fields = fields.clone();
        fields.insert(at, field.to_vec());
        with_fields(&fields)
    };
    let swapped = with_fields(&[fields[1].clone(), fields[0].clone(), fields[2].clone()]);
    let long_number = [&payload[..1], &[24, 0], &payload[2..]].concat();
    let long_length = [&[MAP << 5 | 24, 3], &payload[1..]].concat();
    let with_end = [&[MAP << 5 | INDEFINITE], &payload[1..], &[BREAK]].concat();
    let otherwise = [
        ("fields in another order", swapped),
        ("a field twice", with(1, &fields[0])),
        ("a field that is not known", with(3, &[9, 0])),
        ("an empty list", with(1, &[1, ARRAY << 5])),
        ("an absent trace", with(3, &[5, NULL])),
        ("an absent idempotency key", with(3, &[6, NULL])),
        ("a number that is too long", long_number),
        ("a length that is too long", long_length),
        ("an end instead of a length", with_end),
    ];
    for (how, payload) in otherwise {
        let expected = FormatError::IllFormedOp { dot: examples::plain_op().dot, problem: NOT_EXACT };
        assert_eq!(op::decode(&sealed(&payload)), Err(expected), "{how}");
        check(&sealed(&payload));
    }
    let in_pieces = [&[6, TEXT << 5 | INDEFINITE, TEXT << 5 | 1, b'k', BREAK][..]].concat();
    assert!(matches!(op::decode(&sealed(&with(3, &in_pieces))), Err(FormatError::Malformed { .. })));
}
