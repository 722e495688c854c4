//! What nodes send to each other while one gets the other's whole state: a piece, and what was made of it.

use crate::causality::{Ancestry, NodeId, VersionVector};
use crate::replica::{Answer, Key, Push, Siblings};

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
