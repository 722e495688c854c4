//! Changes: what a watch says of an op.

use std::sync::OnceLock;

use axum::body::Bytes;
use serde::Serialize;

use super::cursor::Cursor;
use crate::http::sse;
use crate::http::view::{time, trace_id};
use crate::replica::{Entry, Op, Value};
use crate::storage::LogId;

/// An op of the log, read once for all who watch it.
pub(super) struct Change {
    log: LogId,
    position: u64,
    op: Op,
    /// What it takes in the log.
    pub(super) bytes: usize,
    /// The event with all its entries, which most who get any of them get.
    whole: OnceLock<Bytes>,
}

#[derive(Serialize)]
struct ChangeView<'a> {
    dot: String,
    node: u32,
    written_at: String,
    trace_id: Option<String>,
    entries: Vec<EntryView<'a>>,
}

#[derive(Serialize)]
struct EntryView<'a> {
    key: &'a str,
    value: Option<&'a Value>,
    replaces: Vec<String>,
}

impl Change {
    pub(super) fn new(log: LogId, position: u64, op: Op, bytes: usize) -> Self {
        Self { log, position, op, bytes, whole: OnceLock::new() }
    }

    /// Its place in the log.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// How far who has it has come.
    pub(super) fn cursor(&self) -> Cursor {
        Cursor::Behind { position: self.position, dot: self.op.dot, log: self.log }
    }

    /// The event for who watches a prefix; `None` when nothing of it is under that.
    pub(super) fn event(&self, prefix: &str) -> Option<Bytes> {
        let is_watched = |entry: &&Entry| entry.key.starts_with(prefix);
        match self.op.entries.iter().filter(is_watched).count() {
            0 => None,
            all if all == self.op.entries.len() => Some(self.whole.get_or_init(|| self.of("")).clone()),
            _ => Some(self.of(prefix)),
        }
    }

    fn of(&self, prefix: &str) -> Bytes {
        let op = &self.op;
        let entries = op.entries.iter().filter(|entry| entry.key.starts_with(prefix));
        let entries = entries.map(|entry| EntryView {
            key: &entry.key,
            value: entry.value.as_ref(),
            replaces: entry.replaces.iter().map(|dot| dot.to_string()).collect(),
        });
        let view = ChangeView {
            dot: op.dot.to_string(),
            node: op.dot.origin.node.0,
            written_at: time(op.hlc.wall()),
            trace_id: trace_id(op),
            entries: entries.collect(),
        };
        sse::event("change", Some(&self.cursor()), &view)
    }
}
