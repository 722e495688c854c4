//! Ops. The bytes are the same on the wire and on disk, and the same on every node: an op has exactly one
//! encoding, so the checksum that its writer put on it stays with it wherever it goes.

use minicbor::bytes::ByteArray;
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use super::dto::List;
use super::{FormatError, ancestry, dto, frame};
use crate::causality::{Dot, Hlc};
use crate::replica::{Entry, MAX_IDEMPOTENCY_KEY_BYTES, Op, TraceContext};

const WHAT: &str = "op";
const VERSION: u8 = 1;

/// The longest key that can be stored anywhere; no limit can be configured above it. (The engine's own, less the byte that
/// its other records' keys begin with.)
pub const MAX_KEY_BYTES: usize = u16::MAX as usize - 1;

/// The number of the field that is the idempotency key, which comes last; and how a text begins (RFC 8949) that is shorter
/// than 24 bytes (with its length added), or longer (with its length behind).
const IDEMPOTENCY_KEY: u8 = 6;
const SHORT_TEXT: u8 = 0x60;
const LONG_TEXT: u8 = 0x78;

/// What is wrong with an op that could be read.
pub(super) const NOT_EXACT: &str = "it is not written in the one way an op is written";

#[derive(Encode, Decode)]
#[cbor(map)]
struct OpDto<'a> {
    #[n(0)]
    dot: Dot,
    #[b(1)]
    #[cbor(skip_if = "List::is_empty")]
    parents: List<'a, Dot>,
    #[b(2)]
    #[cbor(skip_if = "List::is_empty")]
    deps: List<'a, Dot>,
    #[n(3)]
    hlc: u64,
    #[b(4)]
    entries: List<'a, Entry>,
    #[n(5)]
    trace: Option<TraceDto>,
    #[b(6)]
    idempotency_key: Option<&'a str>,
}

#[derive(Encode, Decode)]
struct EntryDto<'a> {
    #[b(0)]
    key: &'a str,
    #[b(1)]
    value: Option<&'a str>,
    #[b(2)]
    replaces: List<'a, Dot>,
}

#[derive(Encode, Decode)]
struct TraceDto {
    #[n(0)]
    trace_id: ByteArray<16>,
    #[n(1)]
    span_id: ByteArray<8>,
    #[n(2)]
    flags: u8,
}

impl<C> Encode<C> for Entry {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Result<(), encode::Error<W::Error>> {
        let Entry { key, value, replaces } = self;
        EntryDto { key, value: value.as_deref(), replaces: List::Borrowed(replaces) }.encode(to, context)
    }
}

impl<'b, C> Decode<'b, C> for Entry {
    fn decode(from: &mut Decoder<'b>, context: &mut C) -> Result<Self, decode::Error> {
        let EntryDto { key, value, replaces } = from.decode_with(context)?;
        Ok(Self { key: key.into(), value: value.map(Into::into), replaces: replaces.into_vec() })
    }
}

impl<'a> From<&'a Op> for OpDto<'a> {
    fn from(op: &'a Op) -> Self {
        let trace = op.trace.map(|trace| TraceDto {
            trace_id: trace.trace_id.into(),
            span_id: trace.span_id.into(),
            flags: trace.flags,
        });
        Self {
            dot: op.dot,
            parents: List::Borrowed(&op.parents),
            deps: List::Borrowed(&op.deps),
            hlc: op.hlc.0,
            entries: List::Borrowed(&op.entries),
            trace,
            idempotency_key: op.idempotency_key.as_deref(),
        }
    }
}

impl From<OpDto<'_>> for Op {
    fn from(dto: OpDto<'_>) -> Self {
        let trace = dto.trace.map(|trace| TraceContext {
            trace_id: trace.trace_id.into(),
            span_id: trace.span_id.into(),
            flags: trace.flags,
        });
        Self {
            dot: dto.dot,
            parents: dto.parents.into_vec(),
            deps: dto.deps.into_vec(),
            hlc: Hlc(dto.hlc),
            entries: dto.entries.into_vec(),
            trace,
            idempotency_key: dto.idempotency_key.map(Into::into),
        }
    }
}

/// The bytes of an op.
pub fn encode(op: &Op) -> Vec<u8> {
    dto::seal(VERSION, &OpDto::from(op))
}

/// The op of these bytes, well formed: nothing that follows from it can fail for what it says.
pub fn decode(bytes: &[u8]) -> Result<Op, FormatError> {
    let payload = frame::open(WHAT, VERSION, bytes)?;
    let dto: OpDto<'_> = dto::read(WHAT, payload)?;
    // Else, stored and forwarded it would get other bytes, so something in it would be lost on the way.
    let is_exact = dto::is_written_as(&dto, payload);
    let op = Op::from(dto);
    let not_exact = || (!is_exact).then_some(NOT_EXACT);
    match problem(&op).or_else(not_exact) {
        None => Ok(op),
        Some(problem) => Err(FormatError::IllFormedOp { dot: op.dot, problem }),
    }
}

/// The name of an op of which [`encode()`] gave these bytes. Reads no more than that, and does not look whether the rest
/// is whole.
pub fn dot(bytes: &[u8]) -> Result<Dot, FormatError> {
    let payload = bytes.get(1..).ok_or(FormatError::Short { what: WHAT, bytes: bytes.len() })?;
    let mut decoder = Decoder::new(payload);
    let malformed = |error| FormatError::malformed(WHAT, error);
    decoder.map().map_err(malformed)?;
    match decoder.u8().map_err(malformed)? {
        0 => dto::check_dot(WHAT, decoder.decode().map_err(malformed)?),
        _ => Err(FormatError::malformed(WHAT, "it does not begin with its dot")),
    }
}

/// Whether the op of which [`encode()`] gave these bytes may have an idempotency key of the usual length: one that has
/// does, and of the others hardly any. Looks at their end only, where the key would be.
pub fn may_have_idempotency_key(bytes: &[u8]) -> bool {
    let payload = &bytes[..bytes.len().saturating_sub(frame::CHECKSUM_BYTES)];
    let tail = &payload[payload.len().saturating_sub(2 + 1 + MAX_IDEMPOTENCY_KEY_BYTES)..];
    let begins = |at: usize| match tail[at..] {
        [IDEMPOTENCY_KEY, LONG_TEXT, length, ref text @ ..] => usize::from(length) == text.len(),
        [IDEMPOTENCY_KEY, head, ref text @ ..] => usize::from(head) == usize::from(SHORT_TEXT) + text.len(),
        _ => false,
    };
    // Most have no such byte at all, which is found out many times faster.
    tail.contains(&IDEMPOTENCY_KEY) && (0..tail.len()).any(begins)
}

/// What these bytes read as, however they are written and whatever is wrong with it.
#[cfg(test)]
pub(super) fn read_loosely(bytes: &[u8]) -> Result<Op, FormatError> {
    dto::open::<OpDto<'_>>(WHAT, VERSION, bytes).map(Op::from)
}

fn problem(op: &Op) -> Option<&'static str> {
    let replaced = op.entries.iter().flat_map(|entry| &entry.replaces);
    let mut dots = op.parents.iter().chain(&op.deps).chain(replaced).chain([&op.dot]);
    if dots.any(|dot| !dto::is_counter(dot.counter)) {
        return Some("a counter is out of range");
    }
    if op.dot.counter > 1 && !op.parents.is_empty() {
        return Some("only the first op of an incarnation has parents");
    }
    if let Some(problem) = ancestry::problem(op.dot.origin, &op.parents) {
        return Some(problem);
    }
    if !dto::has_one_dot_an_origin(&op.deps) {
        return Some("its dependencies are not in order");
    }
    if op.deps.iter().any(|dep| dep.origin == op.dot.origin) {
        return Some("it depends on its own origin");
    }
    entries_problem(op)
}

fn entries_problem(op: &Op) -> Option<&'static str> {
    if op.entries.is_empty() {
        return Some("it writes nothing");
    }
    for entry in &op.entries {
        if entry.key.is_empty() {
            return Some("a key is empty");
        }
        if entry.key.len() > MAX_KEY_BYTES {
            return Some("a key is too long");
        }
        if dto::has_one_twice(entry.replaces.iter()) {
            return Some("it replaces a sibling twice");
        }
        if entry.replaces.contains(&op.dot) {
            return Some("it replaces itself");
        }
    }
    dto::has_one_twice(op.entries.iter().map(|entry| &entry.key)).then_some("it writes a key twice")
}
