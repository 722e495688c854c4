//! What nodes send to each other: a push, and an answer or a rejection to it.

use std::sync::Arc;

use minicbor::bytes::ByteSlice;
use minicbor::{Decode, Encode};

use super::dto::List;
use super::{FormatError, dto, op};
use crate::causality::{Dot, NodeId};
use crate::replica::{Answer, Echo, Protocol, Push, Rejection, Statement};

/// The media type of the bodies.
pub const CONTENT_TYPE: &str = "application/vnd.causeway.replication";

const PUSH: &str = "push";
const ANSWER: &str = "answer";
const REJECTION: &str = "rejection";

/// Of all versions of the protocol so far: they differ in fields that older ones skip, and in calls.
const VERSION: u8 = 1;

#[derive(Encode, Decode)]
#[cbor(map)]
pub(super) struct PushDto<'a> {
    #[b(0)]
    cluster: &'a str,
    #[n(1)]
    to: Option<u32>,
    #[n(2)]
    sender: StatementDto,
    #[b(3)]
    ops: Vec<&'a ByteSlice>,
    #[n(4)]
    echo: Option<EchoDto>,
}

#[derive(Encode, Decode)]
struct EchoDto {
    #[n(0)]
    boot: u64,
    #[n(1)]
    number: u64,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct StatementDto {
    #[n(0)]
    node: u32,
    #[n(1)]
    boot: u64,
    #[n(2)]
    number: u64,
    #[n(3)]
    vector: Vec<Dot>,
    /// What 0.1.0 did not say.
    #[n(8)]
    protocol: Option<ProtocolDto>,
    /// Said only when it is so; who does not know it skips it.
    #[n(9)]
    wants_state: Option<bool>,
}

#[derive(Encode, Decode)]
struct ProtocolDto {
    #[n(0)]
    oldest: u32,
    #[n(1)]
    newest: u32,
}

#[derive(Encode, Decode)]
#[cbor(map)]
pub(super) struct AnswerDto<'a> {
    #[n(0)]
    receiver: StatementDto,
    #[b(1)]
    implied: List<'a, Dot>,
    #[b(2)]
    missing: List<'a, Dot>,
    #[n(3)]
    redundant: u64,
    #[n(4)]
    twin_ms: Option<u64>,
}

#[derive(Encode, Decode)]
enum RejectionDto<'a> {
    #[n(0)]
    Misdirected(#[n(0)] u32),
    #[n(1)]
    WrongCluster(#[b(0)] &'a str),
    #[n(2)]
    ReadOnly,
    #[n(3)]
    Malformed(#[n(0)] Dot, #[b(1)] &'a str),
    #[n(4)]
    Unreadable(#[b(0)] &'a str),
    #[n(5)]
    Removed(#[n(0)] u32),
}

/// The bytes of a push that carries `ops`, each as [`op::encode`] gave it. `push.ops` is not looked at: what
/// is in the log goes out as it is.
pub fn encode_push(push: &Push, ops: &[impl AsRef<[u8]>]) -> Vec<u8> {
    dto::seal(VERSION, &write_push(push, ops))
}

/// The push of these bytes, with its ops, each of them well formed.
pub fn decode_push(bytes: &[u8]) -> Result<Push, FormatError> {
    read_push(PUSH, dto::open(PUSH, VERSION, bytes)?)
}

/// The bytes of an answer.
pub fn encode_answer(answer: &Answer) -> Vec<u8> {
    dto::seal(VERSION, &write_answer(answer))
}

/// The answer of these bytes.
pub fn decode_answer(bytes: &[u8]) -> Result<Answer, FormatError> {
    read_answer(ANSWER, dto::open(ANSWER, VERSION, bytes)?)
}

/// The bytes of a rejection.
pub fn encode_rejection(rejection: &Rejection) -> Vec<u8> {
    let dto = match rejection {
        Rejection::Misdirected { actual } => RejectionDto::Misdirected(actual.0),
        Rejection::WrongCluster { actual } => RejectionDto::WrongCluster(actual),
        Rejection::ReadOnly => RejectionDto::ReadOnly,
        Rejection::Malformed { dot, problem } => RejectionDto::Malformed(*dot, problem),
        Rejection::Unreadable(why) => RejectionDto::Unreadable(why),
        Rejection::Removed { by } => RejectionDto::Removed(by.0),
    };
    dto::seal(VERSION, &dto)
}

/// The rejection of these bytes.
pub fn decode_rejection(bytes: &[u8]) -> Result<Rejection, FormatError> {
    Ok(match dto::open(REJECTION, VERSION, bytes)? {
        RejectionDto::Misdirected(actual) => Rejection::Misdirected { actual: NodeId(actual) },
        RejectionDto::WrongCluster(actual) => Rejection::WrongCluster { actual: actual.into() },
        RejectionDto::ReadOnly => Rejection::ReadOnly,
        // The op was refused for its dot, too, so any counter may stand here.
        RejectionDto::Malformed(dot, problem) => Rejection::Malformed { dot, problem: problem.to_owned().into() },
        RejectionDto::Unreadable(why) => Rejection::Unreadable(why.to_owned()),
        RejectionDto::Removed(by) => Rejection::Removed { by: NodeId(by) },
    })
}

pub(super) fn write_push<'a>(push: &'a Push, ops: &'a [impl AsRef<[u8]>]) -> PushDto<'a> {
    PushDto {
        cluster: &push.cluster,
        to: push.to.map(|node| node.0),
        sender: write_statement(&push.sender),
        ops: ops.iter().map(|op| op.as_ref().into()).collect(),
        echo: push.echo.map(|Echo { boot, number }| EchoDto { boot, number }),
    }
}

pub(super) fn read_push(what: &'static str, dto: PushDto<'_>) -> Result<Push, FormatError> {
    let ops = dto.ops.into_iter().map(|bytes| op::decode(bytes).map(Arc::new));
    Ok(Push {
        cluster: dto.cluster.into(),
        to: dto.to.map(NodeId),
        sender: read_statement(what, dto.sender)?,
        ops: ops.collect::<Result<_, _>>()?,
        echo: dto.echo.map(|EchoDto { boot, number }| Echo { boot, number }),
    })
}

pub(super) fn write_answer(answer: &Answer) -> AnswerDto<'_> {
    AnswerDto {
        receiver: write_statement(&answer.receiver),
        implied: List::Borrowed(&answer.implied),
        missing: List::Borrowed(&answer.missing),
        redundant: answer.redundant,
        twin_ms: answer.twin_ms,
    }
}

pub(super) fn read_answer(what: &'static str, dto: AnswerDto<'_>) -> Result<Answer, FormatError> {
    Ok(Answer {
        receiver: read_statement(what, dto.receiver)?,
        implied: dto::check_dots(what, dto.implied.into_vec())?,
        missing: dto::check_dots(what, dto.missing.into_vec())?,
        redundant: dto.redundant,
        twin_ms: dto.twin_ms,
    })
}

fn write_statement(statement: &Statement) -> StatementDto {
    let Statement { node, boot, number, vector, protocol, wants_state } = statement;
    let Protocol { oldest, newest } = *protocol;
    let protocol = Some(ProtocolDto { oldest, newest });
    StatementDto {
        node: node.0,
        boot: *boot,
        number: *number,
        vector: dto::write_vector(vector),
        protocol,
        wants_state: wants_state.then_some(true),
    }
}

fn read_statement(what: &'static str, dto: StatementDto) -> Result<Statement, FormatError> {
    let StatementDto { node, boot, number, vector, protocol, wants_state } = dto;
    let node = NodeId(node);
    let said = |ProtocolDto { oldest, newest }| Protocol { oldest, newest };
    let protocol = protocol.map_or(Protocol::UNSAID, said);
    if protocol.oldest > protocol.newest {
        return Err(FormatError::malformed(what, "its oldest version of the protocol is newer than its newest"));
    }
    if !protocol.meets(Protocol::OWN) {
        return Err(FormatError::Protocol { node, found: protocol });
    }
    let vector = dto::read_vector(what, vector)?;
    Ok(Statement { node, boot, number, vector, protocol, wants_state: wants_state.unwrap_or(false) })
}
