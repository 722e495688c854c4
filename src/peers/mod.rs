//! Peers: how ops get from node to node, over HTTP/1.1.
//!
//! [`router`] serves the calls that peers make: `POST /replication/v1/push` ([`CALL`]) takes ops in,
//! `POST /replication/v1/state` ([`STATE_CALL`]) pieces of a peer's whole state, and
//! `POST /replication/v1/facts` ([`FACTS_CALL`]) says what the node knows of itself, for people to see. Where the cluster
//! has a secret they are signed ([`crate::auth`]), and `POST /replication/v1/hello` ([`HELLO_CALL`]) says what is needed
//! for that.
//! [`spawn`] starts a sender for each peer, which carries out what the replica orders to be sent, one push or piece at
//! a time, and says how each went. docs/protocol.md describes what goes over the network.
//!
//! Promises: every order is followed by exactly one `answered`, `state_answered` or `send_failed`, in bounded time however
//! the network behaves; a connection that failed is never used again, and names are looked up anew for the next;
//! ops travel towards a peer's own address only. What is held in memory is bounded on both sides. Must not
//! decide what is sent or when to try again: the replica does.

mod calls;
mod connector;
mod failure;
mod guard;
mod questions;
mod receiver;
mod resolver;
mod sender;
#[cfg(test)]
mod tests;
mod transfer;
mod transport;
mod versions;
mod wire;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use guard::Metrics;
pub use receiver::{EndpointOptions, router};

use crate::auth::Keys;
use crate::node::{Asked, NodeHandle, Observer};
use crate::replica::{LinkId, Send};
use crate::storage::BatchLimit;
use crate::tls::Tls;
use calls::Calls;
use connector::Connector;
use sender::Sender;
use transport::Transport;

/// The path of the call that carries ops.
pub const CALL: &str = "/replication/v1/push";

/// The path of the call that carries a piece of a state.
pub const STATE_CALL: &str = "/replication/v1/state";

/// The path of the call that asks for facts.
pub const FACTS_CALL: &str = "/replication/v1/facts";

/// The path of the call that asks for what signed requests have to name.
pub const HELLO_CALL: &str = "/replication/v1/hello";

/// How pushes are sent.
#[derive(Clone, Debug)]
pub struct SenderOptions {
    /// How long a connection may take, the look-up of the name included; with TLS three times as long.
    pub connect_timeout: Duration,
    /// How long a push may go on without progress: the transport takes more of it, or the answer comes.
    pub progress_timeout: Duration,
    /// How long the peer's *network* may leave what was sent unacknowledged, where the system can say (Linux).
    /// Shorter than the above: so a connection that a cut left half open is given up soon, and a disk that is
    /// slow is not taken for a cut.
    pub unacknowledged_timeout: Duration,
    /// How long a peer may take to answer the last piece of a state, behind which it brings the state up to date and puts
    /// it in the place of its own.
    pub adopt_timeout: Duration,
    /// How much one push, or piece of a state, carries. One that is given up is followed by smaller ones, until they get
    /// through.
    pub batch: BatchLimit,
    /// How many bytes of a state go to one peer in a second at most; `None`: as many as get through.
    pub state_bytes_per_second: Option<NonZeroU64>,
    /// What is signed with.
    pub keys: Keys,
    /// Who is believed to be a peer at `https://`, and what is shown there.
    pub tls: Tls,
}

impl Default for SenderOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_millis(400),
            progress_timeout: Duration::from_secs(2),
            unacknowledged_timeout: Duration::from_secs(1),
            adopt_timeout: Duration::from_secs(60),
            batch: BatchLimit { ops: 4096, bytes: 1 << 20 },
            state_bytes_per_second: NonZeroU64::new(64 << 20),
            keys: Keys::default(),
            tls: Tls::default(),
        }
    }
}

/// Starts a sender for each peer, on the current runtime. `urls` (`http://HOST:PORT`, or `https`) and `orders` are in the
/// order of the configured list, as the node's [`Running`](crate::node::Running) has them. A sender ends when
/// its node does; dropping the set ends all at once. `questions` are the node's and in that order, too.
pub fn spawn(
    urls: Vec<String>,
    orders: Vec<mpsc::Receiver<Send>>,
    questions: Vec<mpsc::Receiver<Asked>>,
    handle: NodeHandle,
    observer: Arc<dyn Observer>,
    options: SenderOptions,
) -> JoinSet<()> {
    let connector = Connector::new(options.connect_timeout, options.tls.clone());
    let calls = || Calls::new(options.keys.clone(), handle.members().own);
    let mut senders = JoinSet::new();
    senders.spawn(questions::stay_told(handle.clone()));
    for (url, questions) in urls.iter().zip(questions) {
        senders.spawn(questions::ask(url.clone(), questions, calls(), connector.clone()));
    }
    for (index, (url, orders)) in urls.into_iter().zip(orders).enumerate() {
        let transport = Transport::new(&url, &options, calls(), connector.clone());
        let sender = Sender::new(LinkId(index), url, transport, handle.clone(), observer.clone(), &options);
        senders.spawn(sender.run(orders));
    }
    senders
}
