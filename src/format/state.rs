//! What nodes send to each other while one gets the other's whole state: a piece, and what was made of it.

use minicbor::bytes::ByteSlice;
use minicbor::{Decode, Encode};

use super::dto::List;
use super::message::{AnswerDto, PushDto};
use super::op::MAX_KEY_BYTES;
use super::{FormatError, ancestry, dto, message, siblings};
use crate::causality::{Ancestry, Dot, Incarnation, NodeId, Origin, VersionVector};
use crate::replica::{Answer, Key, Push, Siblings};

const PIECE: &str = "piece of a state";
const ANSWER: &str = "answer to a piece";
const VERSION: u8 = 1;

/// A part of a node's state, on its way to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatePiece {
    /// Who sends it to whom, and what the sender holds: a push without ops.
    pub push: Push,
    /// Names the transfer.
    pub transfer: u64,
    /// Behind which key it begins; with `None`, with the first.
    pub after: Option<Key>,
    /// Of the first piece: whose state it is a part of.
    pub head: Option<StateHead>,
    /// The keys, in byte order, with their siblings. Of those in between the state has none.
    pub keys: Vec<(Key, Siblings)>,
    /// Whether no key comes behind.
    pub is_last: bool,
}

/// What a state is as of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateHead {
    /// All ops that it includes.
    pub vector: VersionVector,
    /// What its node knows of incarnations.
    pub ancestry: Ancestry,
    /// About how many keys it has.
    pub keys: u64,
}

/// The answer to a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateAnswer {
    /// As to a push without ops.
    pub answer: Answer,
    /// What was made of the piece.
    pub taken: Taken,
}

/// What a receiver made of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Nothing: another node is filling it.
    Busy {
        /// That node.
        with: NodeId,
    },
    /// It has all up to this key, and wants what comes behind. `None`: it has nothing (any more), and wants all.
    UpTo(Option<Key>),
    /// It has all of the state, or had it before.
    All,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct PieceDto<'a> {
    #[b(0)]
    push: PushDto<'a>,
    #[n(1)]
    transfer: u64,
    #[b(2)]
    after: Option<&'a str>,
    #[b(3)]
    head: Option<HeadDto<'a>>,
    #[b(4)]
    keys: Vec<KeyDto<'a>>,
    #[n(5)]
    is_last: bool,
}

#[derive(Encode, Decode)]
#[cbor(map)]
pub(super) struct HeadDto<'a> {
    #[n(0)]
    vector: Vec<Dot>,
    #[b(1)]
    ancestry: Vec<ParentsDto<'a>>,
    #[n(2)]
    keys: u64,
}

#[derive(Encode, Decode)]
struct ParentsDto<'a> {
    #[n(0)]
    node: u32,
    #[n(1)]
    incarnation: u64,
    #[b(2)]
    parents: List<'a, Dot>,
}

#[derive(Encode, Decode)]
pub(super) struct KeyDto<'a> {
    #[b(0)]
    key: &'a str,
    #[b(1)]
    siblings: &'a ByteSlice,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct StateAnswerDto<'a> {
    #[b(0)]
    answer: AnswerDto<'a>,
    #[b(1)]
    taken: TakenDto<'a>,
}

#[derive(Encode, Decode)]
enum TakenDto<'a> {
    #[n(0)]
    Busy(#[n(0)] u32),
    #[n(1)]
    UpTo(#[b(0)] Option<&'a str>),
    #[n(2)]
    All,
}

/// The bytes of a piece that carries `keys`, each with its siblings as [`siblings::encode`] gave them: they go out as they
/// are stored. It begins behind `after`; without that it is the first and has the `head`.
pub fn encode_piece(
    push: &Push,
    transfer: u64,
    after: Option<&str>,
    head: Option<&StateHead>,
    keys: &[(String, impl AsRef<[u8]>)],
    is_last: bool,
) -> Vec<u8> {
    let dto = PieceDto {
        push: message::write_push(push, &[] as &[&[u8]]),
        transfer,
        after,
        head: head.map(write_head),
        keys: write_keys(keys),
        is_last,
    };
    dto::seal(VERSION, &dto)
}

/// The piece of these bytes. It carries on: its keys are in order and behind the one that it begins behind, there is one
/// unless it is the last, and what makes up a first piece is there in just that.
pub fn decode_piece(bytes: &[u8]) -> Result<StatePiece, FormatError> {
    let dto: PieceDto<'_> = dto::open(PIECE, VERSION, bytes)?;
    let malformed = |problem: &str| Err(FormatError::malformed(PIECE, problem));
    let PieceDto { push, transfer, after, head, keys, is_last } = dto;
    let push = message::read_push(PIECE, push)?;
    if !push.ops.is_empty() {
        return malformed("it carries ops");
    }
    if after.is_some() == head.is_some() {
        return malformed("the first piece, and no other, says whose state it is");
    }
    if keys.is_empty() && !is_last {
        return malformed("it has no keys, and is not the last");
    }
    Ok(StatePiece {
        push,
        transfer,
        after: after.map(Key::from),
        head: head.map(|head| read_head(PIECE, head)).transpose()?,
        keys: read_keys(PIECE, after, keys)?,
        is_last,
    })
}

/// The bytes of an answer to a piece.
pub fn encode_answer(answer: &StateAnswer) -> Vec<u8> {
    let taken = match &answer.taken {
        Taken::Busy { with } => TakenDto::Busy(with.0),
        Taken::UpTo(key) => TakenDto::UpTo(key.as_deref()),
        Taken::All => TakenDto::All,
    };
    dto::seal(VERSION, &StateAnswerDto { answer: message::write_answer(&answer.answer), taken })
}

/// The answer of these bytes.
pub fn decode_answer(bytes: &[u8]) -> Result<StateAnswer, FormatError> {
    let StateAnswerDto { answer, taken } = dto::open(ANSWER, VERSION, bytes)?;
    let taken = match taken {
        TakenDto::Busy(with) => Taken::Busy { with: NodeId(with) },
        TakenDto::UpTo(key) => Taken::UpTo(key.map(Key::from)),
        TakenDto::All => Taken::All,
    };
    Ok(StateAnswer { answer: message::read_answer(ANSWER, answer)?, taken })
}

/// Keys, each with its siblings as they are stored.
pub(super) fn write_keys(keys: &[(String, impl AsRef<[u8]>)]) -> Vec<KeyDto<'_>> {
    keys.iter().map(|(key, siblings)| KeyDto { key, siblings: siblings.as_ref().into() }).collect()
}

/// The keys in a `what`, which are in order and come behind `after`.
pub(super) fn read_keys(
    what: &'static str,
    after: Option<&str>,
    keys: Vec<KeyDto<'_>>,
) -> Result<Vec<(Key, Siblings)>, FormatError> {
    let names = after.into_iter().chain(keys.iter().map(|dto| dto.key));
    if names.clone().any(|key| key.is_empty() || key.len() > MAX_KEY_BYTES) {
        return Err(FormatError::malformed(what, "a key is empty or too long"));
    }
    if !names.is_sorted_by(|left, right| left < right) {
        return Err(FormatError::malformed(what, "its keys are not in order"));
    }
    keys.into_iter().map(|KeyDto { key, siblings }| Ok((key.into(), siblings::decode(siblings)?))).collect()
}

fn write_parents<'a>((origin, parents): (Origin, &'a [Dot])) -> ParentsDto<'a> {
    ParentsDto { node: origin.node.0, incarnation: origin.incarnation.0, parents: List::Borrowed(parents) }
}

pub(super) fn write_head(head: &StateHead) -> HeadDto<'_> {
    HeadDto {
        vector: dto::write_vector(&head.vector),
        ancestry: head.ancestry.iter().map(write_parents).collect(),
        keys: head.keys,
    }
}

/// The head of a state in a `what`.
pub(super) fn read_head(what: &'static str, dto: HeadDto<'_>) -> Result<StateHead, FormatError> {
    let HeadDto { vector, ancestry: known, keys } = dto;
    let mut ancestry = Ancestry::new();
    let mut last = None;
    for ParentsDto { node, incarnation, parents } in known {
        let origin = Origin::new(NodeId(node), Incarnation(incarnation));
        let parents = dto::check_dots(what, parents.into_vec())?;
        if let Some(problem) = ancestry::problem(origin, &parents) {
            return Err(FormatError::malformed(what, problem));
        }
        if parents.is_empty() || last >= Some(origin) {
            return Err(FormatError::malformed(what, "its ancestry is not in order, or has one without parents"));
        }
        last = Some(origin);
        ancestry.insert(origin, &parents);
    }
    Ok(StateHead { vector: dto::read_vector(what, vector)?, ancestry, keys })
}
