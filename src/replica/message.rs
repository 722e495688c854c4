//! What replicas say to each other. Ops travel only in a [`Push`], and only towards the address of the node
//! that is to get them; an [`Answer`] carries acknowledgements and facts, never ops, keys or values.

use std::borrow::Cow;
use std::sync::Arc;

use super::op::Op;
use super::protocol::Protocol;
use crate::causality::{Dot, NodeId, VersionVector};

/// What a node says of its own state. Of two statements of one boot, that with the higher `number` *replaces*
/// the other; they are never merged, because the vector of a restored node goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Whose state.
    pub node: NodeId,
    /// Random bits of this run of the process.
    pub boot: u64,
    /// Counts the statements of a boot, from 1.
    pub number: u64,
    /// All that is visible on that node.
    pub vector: VersionVector,
    /// What it speaks.
    pub protocol: Protocol,
    /// It wants the whole state of whoever hears this, because what it has stored is damaged.
    pub wants_state: bool,
}

/// Ops for a peer, in an order in which they can be delivered as far as the sender knows. Without ops it is
/// a *digest*: it asks for the peer's statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The sender's cluster; another's is refused.
    pub cluster: Arc<str>,
    /// The node meant; `None` while a peer known only by its address has not said who it is.
    pub to: Option<NodeId>,
    /// Who sends, and what it holds.
    pub sender: Statement,
    /// The ops.
    pub ops: Vec<Arc<Op>>,
    /// The statement that whoever has the receiver's address answered the sender with last: the sender lived after it was
    /// made.
    pub echo: Option<Echo>,
}

/// Names a statement of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// The run that made it.
    pub boot: u64,
    /// Which of that run's.
    pub number: u64,
}

/// The answer to a [`Push`], given once everything of it that could be delivered is durable and visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The receiver's state. What its vector includes is acknowledged.
    pub receiver: Statement,
    /// Origins named in the push that the vector includes only by implication, and how far: the sender may
    /// not know the ancestry that says so.
    pub implied: Vec<Dot>,
    /// What must come first: set when ops were refused because they wait for these and the delivery buffer
    /// was full.
    pub missing: Vec<Dot>,
    /// How many of the ops the receiver had before.
    pub redundant: u64,
    /// How long ago another process with the *sender's* id was last proven to live, in milliseconds: the receiver hears
    /// both.
    pub twin_ms: Option<u64>,
}

/// Why a push was not taken at all. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The address belongs to another node now.
    #[error("this is node {actual}, not the node that was meant")]
    Misdirected {
        /// Who answered.
        actual: NodeId,
    },
    /// The sender belongs to another cluster.
    #[error("this node is of cluster '{actual}'")]
    WrongCluster {
        /// The receiver's cluster.
        actual: Arc<str>,
    },
    /// The sender was named as removed by the receiver's configuration.
    #[error("node {by} names this node as removed")]
    Removed {
        /// The receiver.
        by: NodeId,
    },
    /// A commit failed here; this node takes no ops until it is restarted.
    #[error("this node is read-only: a commit failed")]
    ReadOnly,
    /// The op names a dot, parents or dependencies that can't be.
    #[error("op {dot} is not well formed: {problem}")]
    Malformed {
        /// The op.
        dot: Dot,
        /// What is wrong with it.
        problem: Cow<'static, str>,
    },
    /// A stored record could not be read, so what follows from the ops could not be worked out.
    #[error("a stored record can't be read: {0}")]
    Unreadable(String),
}
