//! A history: what the clients of one cluster saw, and what was done to its nodes, in the order in which it ended.
//!
//! It is written down as JSON, one event a line, so that a history of real processes can be kept and looked at. A
//! simulation makes the same values in memory. Times are microseconds of one clock that all events share.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A node's id.
pub type NodeId = u32;

/// A key.
pub type Key = Arc<str>;

/// Microseconds since some moment before the history began.
pub type Micros = u64;

/// The value of a write: a number that no other write of the history has. All entries of a write have the same.
pub type Value = u64;

/// One life of a node's counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The node.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: u64,
}

/// The name of one write, as the product gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// Whose counter.
    pub origin: Origin,
    /// Counts from 1.
    pub counter: u64,
}

/// A version vector: the last write included of each origin, in order of origin.
pub type Vector = Vec<Dot>;

/// A causal context, as its token says. Clients pass it on unread; only the checker looks inside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// What a state must include to answer this client.
    pub wait: Vector,
    /// What a write with this context replaces: all up to these,
    pub seen: Vector,
    /// and these.
    pub dots: Vec<Dot>,
    /// How long the token is.
    pub chars: usize,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A client's request ended, or its client gave it up.
    Request(Request),
    /// Something was done to a node.
    Node(NodeEvent),
    /// A bound was looked at.
    Bound(Bound),
    /// What a node held in the end, after everything was healed and the cluster had come to rest.
    Final(Final),
}

/// One request of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The session: requests of a session follow each other, and each carries the context that the one before was
    /// answered with (or one handed over by another session) where `context` says so.
    pub session: u32,
    /// The node that was asked.
    pub node: NodeId,
    /// When it was sent.
    pub start: Micros,
    /// When it was answered or given up.
    pub end: Micros,
    /// The context that it carried.
    pub context: Option<Arc<Context>>,
    /// What was asked.
    pub call: Call,
    /// What came of it.
    pub outcome: Outcome,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// Reads keys, all from one state.
    Read {
        /// Which.
        keys: Vec<Key>,
        /// Which siblings are shown.
        resolve: Resolve,
    },
    /// Writes keys, all in one.
    Write {
        /// The number that is the value of each key written.
        value: Value,
        /// Keys that get the value.
        keys: Vec<Key>,
        /// Keys that are deleted.
        deletes: Vec<Key>,
        /// What is replaced.
        replaces: Replaces,
    },
}

/// Which siblings a read shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolve {
    /// The one that reached the node last.
    Arrival,
    /// The one with the highest clock reading: the same on every node.
    Newest,
    /// All, in order of arrival.
    All,
}

/// Which siblings a write replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replaces {
    /// All that the node held.
    Held,
    /// Those that the context has seen. Only with a context.
    Seen,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A read's answer.
    Read {
        /// For each key asked for, in that order.
        states: Vec<State>,
        /// The context of the state that was read.
        context: Arc<Context>,
    },
    /// A write was accepted.
    Written {
        /// Its name.
        dot: Dot,
        /// The context that includes it. Of a write that replaced what was held it is the state's at the write's
        /// place in the node's log; of one that replaced what was seen, the context sent and the dot.
        context: Arc<Context>,
    },
    /// A write whose answer was lost was sent again, by a name that its client gave it, to a node that has it: nothing
    /// more was written. The request is both of them, from the first sending on.
    Repeated {
        /// Its name.
        dot: Dot,
        /// The context sent and the dot, whatever the write replaced.
        context: Arc<Context>,
    },
    /// The node refused it: nothing was written.
    Refused {
        /// Why.
        refusal: Refusal,
    },
    /// No answer, or one that says that the outcome is unknown.
    Unknown,
    /// As `Unknown`, but the way between client and node lost the answer: not the node's fault.
    Lost,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The node did not include the request's context in time.
    ContextNotReached,
    /// A write with a context would add a sibling to a key that has the most it may have.
    TooManySiblings,
    /// A commit failed before: no writes until a restart.
    ReadOnly,
    /// Too much waits, or the disk is too full: try later.
    Overloaded,
    /// The node is not there, or is stopping before it took the request: nothing was written.
    Unreachable,
    /// A stored record can't be read.
    Unreadable,
    /// Something else; never right in a history.
    Other,
}

/// What a read says of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How many siblings the key has; 0 for no such key.
    pub siblings: usize,
    /// Those that are shown: all in order of arrival, or the one that `resolve` picks; none if there is none.
    pub shown: Vec<Shown>,
}

/// A sibling that a read shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The number that is its value; `None` for a value that is no write's.
    pub value: Option<Value>,
    /// The write that it is of, its clock reading, and its place in the node's order of arrival; all only where
    /// siblings are listed.
    pub detail: Option<Detail>,
}

/// What the list of siblings says of each besides its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The write.
    pub dot: Dot,
    /// Its clock reading, comparable.
    pub written_at: u64,
    /// Its place in this node's order of arrival.
    pub arrival: u64,
}

/// Something was done to a node, or became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEvent {
    /// When.
    pub at: Micros,
    /// The node.
    pub node: NodeId,
    /// What.
    pub what: What,
}

/// What became of a node. A node is down until its first `Up`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It runs and takes requests, with its volume as said.
    Up(Volume),
    /// It was killed, stopped, paused, or its disk was made to fail: from now on it owes no answer.
    Down,
}

/// What a node's volume is at a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Volume {
    /// The one that the node had last: nothing acknowledged is missing.
    Kept,
    /// Empty: the first start, or it was wiped.
    Empty,
    /// A copy of what a node's volume was at some moment: of this node's own, or (two owners) still in use elsewhere.
    /// All that was acknowledged by this node before that moment is there.
    Copy {
        /// The moment.
        taken: Micros,
    },
}

/// A quantity that must never pass its limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// When.
    pub at: Micros,
    /// On which node.
    pub node: NodeId,
    /// Which quantity.
    pub what: Arc<str>,
    /// How much it was.
    pub value: u64,
    /// How much it may be at most.
    pub limit: u64,
}

/// What a node held in the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Final {
    /// The node.
    pub node: NodeId,
    /// All that it includes.
    pub vector: Vector,
    /// For each incarnation that it knows to have parents: these. Having an incarnation's first write implies having
    /// its parents.
    pub ancestry: Vec<(Origin, Vec<Dot>)>,
    /// Every key that has a value, with all its siblings in order of arrival.
    pub keys: BTreeMap<Key, Vec<Shown>>,
}

/// A line that is no event.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It can't be read.
    #[error("line {line}: {source}")]
    Io {
        /// Counts from 1.
        line: usize,
        /// Why.
        source: io::Error,
    },
    /// It is not the JSON of an event.
    #[error("line {line}: {source}")]
    Json {
        /// Counts from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

/// Reads a history, one event a line.
pub fn read(input: impl BufRead) -> Result<Vec<Event>, ReadError> {
    let mut events = Vec::new();
    for (index, line) in input.lines().enumerate() {
        let line = line.map_err(|source| ReadError::Io { line: index + 1, source })?;
        events.push(serde_json::from_str(&line).map_err(|source| ReadError::Json { line: index + 1, source })?);
    }
    Ok(events)
}

/// Writes a history, one event a line.
pub fn write(events: &[Event], mut output: impl Write) -> io::Result<()> {
    for event in events {
        serde_json::to_writer(&mut output, event)?;
        output.write_all(b"\n")?;
    }
    output.flush()
}
