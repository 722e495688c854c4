//! Cursors: a log, a place in it and the op that is there, as text. Opaque to clients.
//!
//! Where a log goes on after a peer's state was merged into the node's, or where all before was dropped, there is no op to
//! name. A cursor of such a place is good only as long as its node runs: nobody can put a copy back meanwhile.
//!
//! The op alone does not tell whose log it is: it often has the same place at several nodes, behind others in another
//! order. The log alone does not tell that it is as it was: a copy that is put back has the id of the original.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName};

use crate::causality::Dot;
use crate::http::problem::{Kind, Problem, shown};
use crate::storage::LogId;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How far a watcher has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    /// Before the first op of any log.
    Start,
    /// Behind this op of this log.
    Behind { position: u64, dot: Dot, log: LogId },
    /// Behind a place of this log without an op, in this run of the node.
    Here { position: u64, run: RunId, log: LogId },
}

/// Names a run of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct RunId(u64);

impl RunId {
    /// One that no other run has.
    pub(in crate::http) fn new() -> Self {
        // Other keys each time, so another number.
        Self(RandomState::new().hash_one(()))
    }
}

impl Cursor {
    /// What a request says that its client has: the header, which is of a reconnection, else the parameter.
    pub(super) fn given(headers: &HeaderMap, after: Option<&str>) -> Result<Option<Self>, Problem> {
        let mut values = headers.get_all(LAST_EVENT_ID).iter();
        let text = match (values.next(), values.next()) {
            (None, _) => after,
            (Some(value), None) => Some(value.to_str().map_err(|_| bad("the header Last-Event-ID is not ASCII"))?),
            (Some(_), Some(_)) => return Err(bad("the header Last-Event-ID is given more than once")),
        };
        text.map(Self::parse).transpose()
    }

    fn parse(text: &str) -> Result<Self, Problem> {
        text.parse().map_err(|()| bad(&format!("'{}' is not the id of an event of a watch", shown(text))))
    }

    /// The last position that its client has.
    pub(super) fn position(self) -> u64 {
        match self {
            Self::Start => 0,
            Self::Behind { position, .. } | Self::Here { position, .. } => position,
        }
    }
}

fn bad(why: &str) -> Problem {
    Problem::new(Kind::BadCursor, why)
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("0"),
            Self::Behind { position, dot, log } => write!(f, "{position}-{dot}-{log}"),
            Self::Here { position, run, log } => write!(f, "{position}-{:016x}-{log}", run.0),
        }
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parse = || {
            let (position, rest) = text.split_once('-')?;
            let (there, log) = rest.split_once('-')?;
            let position = position.parse().ok().filter(|position| *position > 0)?;
            let log = LogId(u64::from_str_radix(log, 16).ok()?);
            if let Ok(run) = u64::from_str_radix(there, 16) {
                return Some(Self::Here { position, run: RunId(run), log });
            }
            Some(Self::Behind { position, dot: there.parse().ok()?, log })
        };
        let cursor = if text == "0" { Some(Self::Start) } else { parse() };
        // Only the one spelling that this node gives.
        cursor.filter(|cursor| cursor.to_string() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_cursor_has_one_spelling() {
        let log = "0123456789abcdef";
        let longest = format!("18446744073709551615-4294967295.ffffffffffffffff.9-{log}");
        for text in ["0", &format!("7-0.00c0ffee00c0ffee.7-{log}"), &longest, "7-0.00c0ffee00c0ffee.7-0000000000000000"]
            .into_iter()
            .chain([&*format!("7-fedcba9876543210-{log}"), &format!("7-0000000000000001-{log}")])
        {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
        for text in ["", "00", "-", "--", "7", "7-", "7-0.00c0ffee00c0ffee.7", " 0", "0-0.00c0ffee00c0ffee.7"] {
            text.parse::<Cursor>().unwrap_err();
        }
        for (place, log) in [
            ("0-0.00c0ffee00c0ffee.7", log),
            ("0-fedcba9876543210", log),
            ("7-fedcba987654321", log),
            ("7-fedcba9876543210f", log),
            ("7-FEDCBA9876543210", log),
            ("7-+edcba9876543210", log),
            ("+7-0.00c0ffee00c0ffee.7", log),
            ("07-0.00c0ffee00c0ffee.7", log),
            ("7-0.00C0FFEE00C0FFEE.7", log),
            ("7-0.00c0ffee00c0ffee.0", log),
            ("18446744073709551616-0.00c0ffee00c0ffee.7", log),
            ("7-0.00c0ffee00c0ffee.7", ""),
            ("7-0.00c0ffee00c0ffee.7", "7"),
            ("7-0.00c0ffee00c0ffee.7", "0123456789ABCDEF"),
            ("7-0.00c0ffee00c0ffee.7", "+123456789abcdef"),
            ("7-0.00c0ffee00c0ffee.7", "0123456789abcdefg"),
            ("7-0.00c0ffee00c0ffee.7", "00123456789abcdef"),
            ("7-0.00c0ffee00c0ffee.7", "0123456789abcdef-"),
        ] {
            format!("{place}-{log}").parse::<Cursor>().unwrap_err();
        }
    }
}
