//! What nodes tell each other for people to see: a question, and the facts that answer it. Nothing is decided by them;
//! times are the teller's own, in milliseconds since 1970.

use minicbor::{Decode, Encode};

use super::{FormatError, dto};
use crate::causality::Dot;

const QUESTION: &str = "question";
const FACTS: &str = "facts";
const VERSION: u8 = 1;

/// Asks a node what it knows of itself and its links.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Question {
    /// The asker's cluster; another's is refused.
    #[n(0)]
    pub cluster: String,
    /// The node meant; `None` while a peer known only by its address has not said who it is.
    #[n(1)]
    pub to: Option<u32>,
    /// A write to be looked for.
    #[n(2)]
    pub about: Option<Dot>,
    /// The asker; older nodes don't say.
    #[n(3)]
    pub from: Option<u32>,
}

/// What a node knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Facts {
    /// Its id.
    #[n(0)]
    pub node: u32,
    /// Of its program.
    #[n(1)]
    pub version: String,
    /// When it started.
    #[n(2)]
    pub started_ms: u64,
    /// Keys that have a value.
    #[n(3)]
    pub keys: u64,
    /// Values of all keys together.
    #[n(4)]
    pub siblings: u64,
    /// Keys that have more than one.
    #[n(5)]
    pub conflicts: u64,
    /// What its data takes on disk.
    #[n(6)]
    pub disk_bytes: u64,
    /// Whether it takes writes no more, because a commit failed.
    #[n(7)]
    pub read_only: bool,
    /// Writes and pushes that wait for its disk.
    #[n(8)]
    pub waiting_requests: u64,
    /// Ops that it received and can't show yet.
    #[n(9)]
    pub waiting_ops: u64,
    /// The position of the last op of its log.
    #[n(10)]
    pub position: u64,
    /// Its version vector's entries.
    #[n(11)]
    pub vector: Vec<Dot>,
    /// What it knows of each peer that it has.
    #[n(12)]
    pub links: Vec<LinkFacts>,
    /// The write that was asked for.
    #[n(13)]
    pub receipt: Option<Receipt>,
    /// Another node's state that is on its way to it.
    #[n(14)]
    pub catching_up: Option<TransferFacts>,
    /// How many ops its log has; nodes of earlier versions, which never dropped any, don't say.
    #[n(15)]
    pub log_ops: Option<u64>,
    /// The node ids, its own or others', that two living processes have, as far as it knows.
    #[n(16)]
    #[cbor(default)]
    #[cbor(skip_if = "Vec::is_empty")]
    pub twins: Vec<u32>,
    /// What it says of its members; older nodes don't.
    #[n(17)]
    pub members: Option<MemberFacts>,
    /// What of its data it knows to be damaged; older nodes don't say.
    #[n(18)]
    pub damage: Option<DamageFacts>,
}

/// Where a node has records that can't be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DamageFacts {
    /// Among those of the keys.
    #[n(0)]
    pub keys: bool,
    /// In the op log.
    #[n(1)]
    pub log: bool,
}

/// What a node has of its cluster's members besides its list, which is itself and its links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct MemberFacts {
    /// Ids that its configuration names as removed.
    #[n(0)]
    pub removed: Vec<u32>,
    /// Nodes that pushed to it and are not in its list.
    #[n(1)]
    pub unknown: Vec<UnknownMember>,
    /// Whether it takes no more writes, to be stopped.
    #[n(2)]
    pub draining: bool,
}

/// A node that pushed, and is not in the list of the one it pushed to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct UnknownMember {
    /// Its id.
    #[n(0)]
    pub node: u32,
    /// When it was last heard.
    #[n(1)]
    pub heard_ms: u64,
}

/// What a node knows of the way from it to one of its peers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LinkFacts {
    /// The peer, if it has ever said who it is.
    #[n(0)]
    pub to: Option<u32>,
    /// Where it is looked for.
    #[n(1)]
    pub address: String,
    /// Since when it does not answer.
    #[n(2)]
    pub away_since_ms: Option<u64>,
    /// Why not, or why it can't get what it lacks, in a sentence.
    #[n(3)]
    pub why: Option<String>,
    /// When it last answered or was heard.
    #[n(4)]
    pub heard_ms: Option<u64>,
    /// Whether it has all that is visible on this node, by its newest statement.
    #[n(5)]
    pub up_to_date: Option<bool>,
    /// Ops of this node's log that it lacks.
    #[n(6)]
    pub ops_to_ship: u64,
    /// Their bytes.
    #[n(7)]
    pub bytes_to_ship: u64,
    /// When the first of them was accepted.
    #[n(8)]
    pub oldest_waiting_ms: Option<u64>,
    /// How long this node's own writes took to get there, lately.
    #[n(9)]
    pub latency: Option<Latency>,
    /// This node's whole state on its way there.
    #[n(10)]
    pub state_transfer: Option<TransferFacts>,
}

/// How far a node's state on its way to another is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TransferFacts {
    /// The other node.
    #[n(0)]
    pub peer: u32,
    /// Since when.
    #[n(1)]
    pub began_ms: u64,
    /// Keys that went over.
    #[n(2)]
    pub keys: u64,
    /// Bytes that went over.
    #[n(3)]
    pub bytes: u64,
    /// About how many keys there are altogether.
    #[n(4)]
    pub all_keys: u64,
    /// About how long the rest takes, when that can be told.
    #[n(5)]
    pub left_ms: Option<u64>,
}

/// From a write's acceptance to its acknowledgement by a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Latency {
    /// How many writes this is of.
    #[n(0)]
    pub ops: u64,
    /// Half of them took at most so many microseconds.
    #[n(1)]
    pub p50_us: u64,
    /// Of a hundred of them, 99 took at most so many.
    #[n(2)]
    pub p99_us: u64,
    /// The longest.
    #[n(3)]
    pub max_us: u64,
}

/// What a node knows of one write's arrival on it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Receipt {
    /// The write.
    #[n(0)]
    pub dot: Dot,
    /// Whether it is visible there.
    #[n(1)]
    pub has: bool,
    /// Since when, if the node still knows.
    #[n(2)]
    pub visible_ms: Option<u64>,
    /// What else must come before ops that this node holds back can be shown.
    #[n(3)]
    pub waits_for: Vec<Dot>,
}

/// The bytes of a question.
pub fn encode_question(question: &Question) -> Vec<u8> {
    dto::seal(VERSION, question)
}

/// The question of these bytes.
pub fn decode_question(bytes: &[u8]) -> Result<Question, FormatError> {
    let question: Question = dto::open(QUESTION, VERSION, bytes)?;
    question.about.map_or(Ok(()), |dot| dto::check_dot(QUESTION, dot).map(drop))?;
    Ok(question)
}

/// The bytes of facts.
pub fn encode_facts(facts: &Facts) -> Vec<u8> {
    dto::seal(VERSION, facts)
}

/// The facts of these bytes.
pub fn decode_facts(bytes: &[u8]) -> Result<Facts, FormatError> {
    let facts: Facts = dto::open(FACTS, VERSION, bytes)?;
    let of_receipt = facts.receipt.iter().flat_map(|receipt| receipt.waits_for.iter().chain([&receipt.dot]));
    facts.vector.iter().chain(of_receipt).try_for_each(|dot| dto::check_dot(FACTS, *dot).map(drop))?;
    Ok(facts)
}
