//! The load generator. It shares two processors with what it measures, so it does as little as it can: requests
//! are written down beforehand and only their keys are filled in, of answers it looks at the status and the length
//! and nothing else, and one thread serves all connections.
//!
//! *Closed*: each connection sends its next request when the last is answered; that gives throughput. *Open*:
//! requests are due at a given rate whatever the answers do, and latency counts from when a request was due, so
//! that a server which stalls can't hide the requests that would have come meanwhile ("coordinated omission").

mod connection;
mod flood;
mod keys;
mod run;
mod template;

pub use connection::{Answer, Connection, Protocol};
pub use flood::{Flood, Flooded, STEP};
pub use keys::Keys;
pub(crate) use run::histogram;
pub use run::{Amount, Outcome, Pace, run};
pub use template::{KEY, Template};

/// Which keys, what is asked, what is right. Cheap to clone: every connection has its own.
#[derive(Clone)]
pub struct Request {
    /// Of how many requests, in relation to the other kinds of the load.
    pub share: u32,
    /// The bytes, without the keys.
    pub template: Template,
    /// How the keys are chosen.
    pub keys: Keys,
    /// The only right answer: its status and the length of its body, where that is known.
    pub right: Right,
}

/// The right answer to a request.
#[derive(Clone, Copy, Debug)]
pub struct Right {
    /// Of HTTP; Redis says `OK`, or a value (200), or that there is none (404).
    pub status: u16,
    /// Bytes of the body, where that is known.
    pub body: Option<usize>,
}

/// A load for one system.
#[derive(Clone)]
pub struct Workload {
    /// What the system speaks.
    pub protocol: Protocol,
    /// Its ports; connections are spread over them.
    pub ports: Vec<u16>,
    /// The kinds of requests, mixed by their shares.
    pub requests: Vec<Request>,
}
