//! What is asked of the shells, and what they answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A request to one node.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// How long it may take until the answer begins.
    pub(crate) answer_within: Duration,
    /// When the whole answer must be there.
    pub(crate) deadline: Instant,
}

/// An answer; names of headers are in lower case.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// No answer, or no whole one. Unless it was `sent`, the node has not seen the request.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) sent: bool,
    pub(crate) reason: String,
}

pub(crate) type Outcome = Result<Answer, Failure>;
