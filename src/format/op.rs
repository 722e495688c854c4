//! Ops. The bytes are the same on the wire and on disk, and the same on every node: an op has exactly one
//! encoding, so the checksum that its writer put on it stays with it wherever it goes.

use std::collections::BTreeSet;

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use super::{FormatError, ancestry, dto};
use crate::causality::{Dot, Hlc};
use crate::replica::{Entry, Op, TraceContext};

const WHAT: &str = "op";
const VERSION: u8 = 1;

/// The longest key that can be stored anywhere; configured limits lie below it.
pub const MAX_KEY_BYTES: usize = u16::MAX as usize;

#[derive(Encode, Decode)]
#[cbor(map)]
struct OpDto<'a> {
    #[n(0)]
    dot: dto::DotDto,
    #[n(1)]
    #[cbor(skip_if = "Vec::is_empty")]
    parents: Vec<dto::DotDto>,
    #[n(2)]
    #[cbor(skip_if = "Vec::is_empty")]
    deps: Vec<dto::DotDto>,
    #[n(3)]
    hlc: u64,
    #[b(4)]
    entries: Vec<EntryDto<'a>>,
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
    #[n(2)]
    replaces: Vec<dto::DotDto>,
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

/// The bytes of an op.
pub fn encode(op: &Op) -> Vec<u8> {
    let entries = op.entries.iter().map(|entry| EntryDto {
        key: &entry.key,
        value: entry.value.as_deref(),
        replaces: dto::write_dots(entry.replaces.iter().copied()),
    });
    let trace = op.trace.map(|trace| TraceDto {
        trace_id: trace.trace_id.into(),
        span_id: trace.span_id.into(),
        flags: trace.flags,
    });
    let dto = OpDto {
        dot: op.dot.into(),
        parents: dto::write_dots(op.parents.iter().copied()),
        deps: dto::write_dots(op.deps.iter().copied()),
        hlc: op.hlc.0,
        entries: entries.collect(),
        trace,
        idempotency_key: op.idempotency_key.as_deref(),
    };
    dto::seal(VERSION, &dto)
}

/// The op of these bytes, well formed: nothing that follows from it can fail for what it says.
pub fn decode(bytes: &[u8]) -> Result<Op, FormatError> {
    let dto: OpDto<'_> = dto::open(WHAT, VERSION, bytes)?;
    let dots = |dots: Vec<dto::DotDto>| dots.into_iter().map(dto::DotDto::unchecked).collect();
    let entries = dto.entries.into_iter().map(|entry| Entry {
        key: entry.key.into(),
        value: entry.value.map(Into::into),
        replaces: dots(entry.replaces),
    });
    let trace = dto.trace.map(|trace| TraceContext {
        trace_id: trace.trace_id.into(),
        span_id: trace.span_id.into(),
        flags: trace.flags,
    });
    let op = Op {
        dot: dto.dot.unchecked(),
        parents: dots(dto.parents),
        deps: dots(dto.deps),
        hlc: Hlc(dto.hlc),
        entries: entries.collect(),
        trace,
        idempotency_key: dto.idempotency_key.map(Into::into),
    };
    let problem = problem(&op).or_else(|| {
        // Stored and forwarded it would get other bytes, so something in it would be lost on the way.
        (encode(&op) != bytes).then_some("it is not written in the one way an op is written")
    });
    match problem {
        None => Ok(op),
        Some(problem) => Err(FormatError::IllFormedOp { dot: op.dot, problem }),
    }
}

/// The name of an op of which [`encode`] gave these bytes. Reads no more than that, and does not look whether the rest
/// is whole.
pub fn dot(bytes: &[u8]) -> Result<Dot, FormatError> {
    let payload = bytes.get(1..).ok_or(FormatError::Short { what: WHAT, bytes: bytes.len() })?;
    let mut decoder = minicbor::Decoder::new(payload);
    let malformed = |error| FormatError::malformed(WHAT, error);
    decoder.map().map_err(malformed)?;
    match decoder.u8().map_err(malformed)? {
        0 => decoder.decode::<dto::DotDto>().map_err(malformed)?.read(WHAT),
        _ => Err(FormatError::malformed(WHAT, "it does not begin with its dot")),
    }
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
    let mut keys = BTreeSet::new();
    for entry in &op.entries {
        let replaces: BTreeSet<&Dot> = entry.replaces.iter().collect();
        if entry.key.is_empty() {
            return Some("a key is empty");
        }
        if entry.key.len() > MAX_KEY_BYTES {
            return Some("a key is too long");
        }
        if !keys.insert(&entry.key) {
            return Some("it writes a key twice");
        }
        if replaces.len() < entry.replaces.len() {
            return Some("it replaces a sibling twice");
        }
        if replaces.contains(&op.dot) {
            return Some("it replaces itself");
        }
    }
    None
}
