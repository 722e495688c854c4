//! The log as watchers read it: the newest ops are decoded once for all of them.
//!
//! Who is near the end gets ops that were decoded before; when they don't go far enough, one of those who want more reads
//! on for all. Who is farther back reads alone, and decodes only what may concern it. Promises: what is kept is bounded;
//! nothing is read ahead of what is asked for.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use memchr::memmem;
use tokio::sync::{Mutex, Semaphore};

use super::change::Change;
use super::cursor::Cursor;
use crate::format;
use crate::http::blocking;
use crate::http::problem::{Kind, Problem};
use crate::node::NodeHandle;
use crate::storage::{BatchLimit, LogId, StoredOp};

/// What is read at once.
const BATCH: BatchLimit = BatchLimit { ops: 256, bytes: 256 << 10 };

/// How many of the newest ops are kept decoded, and how many bytes of ops as they are in the log. (The last one is kept
/// whatever it has.) Beside each there may be the text of its event.
const RECENT_OPS: usize = 1024;
const RECENT_BYTES: usize = 4 << 20;

/// What comes next in the log.
pub(super) struct Batch {
    /// The ops that may be of interest, in order.
    pub(super) changes: Vec<Arc<Change>>,
    /// Behind all that was looked at.
    pub(super) end: Cursor,
}

/// So many who are far back read at once: when all come back together, they must not crowd out everybody else.
const READERS: usize = 4;

/// Reads the log for all watchers of a node.
pub(in crate::http) struct WatchedLog {
    recent: RwLock<Recent>,
    /// Held by the one who reads on.
    reading: Mutex<()>,
    readers: Semaphore,
}

/// The ops that were decoded last, without a gap.
#[derive(Default)]
struct Recent {
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
}

impl Default for WatchedLog {
    fn default() -> Self {
        Self { recent: RwLock::default(), reading: Mutex::default(), readers: Semaphore::new(READERS) }
    }
}

impl WatchedLog {
    /// What comes behind a position, for who watches a prefix; `None` when the log does not have it any more. `end` is a
    /// position behind it that is visible.
    pub(super) async fn after(
        &self,
        node: &NodeHandle,
        position: u64,
        end: u64,
        prefix: &Arc<str>,
    ) -> Result<Option<Batch>, Problem> {
        if end - position > RECENT_OPS as u64 {
            let _reader = self.readers.acquire().await;
            return read_alone(node.clone(), position, prefix.clone()).await;
        }
        if let Some(batch) = self.recent_after(position) {
            return Ok(Some(batch));
        }
        let _reading = self.reading.lock().await;
        if let Some(batch) = self.recent_after(position) {
            return Ok(Some(batch));
        }
        let node = node.clone();
        let read = blocking(move || {
            let log = node.log_id();
            node.ops_after(position, BATCH)?.iter().map(|op| decode(log, op)).collect()
        })
        .await;
        let changes: Vec<Arc<Change>> = read?;
        self.recent.write().unwrap_or_else(PoisonError::into_inner).keep(&changes);
        let end = changes.last().map(|last| last.cursor());
        Ok(end.filter(|_| goes_on(position, changes[0].position())).map(|end| Batch { changes, end }))
    }

    fn recent_after(&self, position: u64) -> Option<Batch> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        let index = usize::try_from((position + 1).checked_sub(recent.changes.front()?.position())?).ok()?;
        let wanted = index..recent.changes.len().min(index + BATCH.ops);
        let changes: Vec<_> = recent.changes.get(index).map(|_| recent.changes.range(wanted).cloned().collect())?;
        Some(Batch { end: changes.last()?.cursor(), changes })
    }
}

impl Recent {
    /// Adds ops that go on from those that are there, or are newer; keeps the newest.
    fn keep(&mut self, changes: &[Arc<Change>]) {
        let (Some(first), last) = (changes.first(), self.changes.back()) else { return };
        match last.map(|last| last.position()) {
            Some(last) if first.position() <= last => return,
            Some(last) if goes_on(last, first.position()) => {}
            _ => *self = Self::default(),
        }
        self.bytes += changes.iter().map(|change| change.bytes).sum::<usize>();
        self.changes.extend(changes.iter().cloned());
        while self.changes.len() > RECENT_OPS || (self.bytes > RECENT_BYTES && self.changes.len() > 1) {
            self.bytes -= self.changes.pop_front().map_or(0, |oldest| oldest.bytes);
        }
    }
}

fn goes_on(position: u64, next: u64) -> bool {
    next == position + 1
}

async fn read_alone(node: NodeHandle, position: u64, prefix: Arc<str>) -> Result<Option<Batch>, Problem> {
    blocking(move || {
        let ops = node.ops_after(position, BATCH)?;
        let (Some(first), Some(last)) = (ops.first(), ops.last()) else { return Ok(None) };
        if !goes_on(position, first.position) {
            return Ok(None);
        }
        let log = node.log_id();
        let end = Cursor::Behind { position: last.position, dot: last.dot, log };
        // Keys stand in the bytes of an op as they are.
        let prefix = memmem::Finder::new(prefix.as_bytes());
        let concerned = ops.iter().filter(|op| prefix.find(&op.bytes).is_some());
        let changes = concerned.map(|op| decode(log, op)).collect::<Result<_, _>>()?;
        Ok(Some(Batch { changes, end }))
    })
    .await
}

fn decode(log: LogId, stored: &StoredOp) -> Result<Arc<Change>, Problem> {
    let StoredOp { position, dot, bytes } = stored;
    let op = format::op::decode(bytes).map_err(|error| {
        tracing::error!(%dot, %error, "an op of the log can't be read");
        Problem::new(Kind::StorageUnreadable, format!("op {dot}: {error}"))
    })?;
    Ok(Arc::new(Change::new(log, *position, op, bytes.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Hlc, Incarnation, NodeId, Origin};
    use crate::replica::Op;

    fn change(position: u64, bytes: usize) -> Arc<Change> {
        let dot = Origin::new(NodeId(0), Incarnation(7)).dot(position);
        let (hlc, entries) = (Hlc(7), Vec::new());
        let op = Op { dot, parents: vec![], deps: vec![], hlc, entries, trace: None, idempotency_key: None };
        Arc::new(Change::new(LogId(7), position, op, bytes))
    }

    fn positions(recent: &Recent) -> Vec<u64> {
        recent.changes.iter().map(|change| change.position()).collect()
    }

    #[test]
    fn the_newest_without_a_gap_are_kept() {
        let mut recent = Recent::default();
        let steps: [(&[u64], &[u64]); 6] = [
            (&[5, 6], &[5, 6]),
            (&[7], &[5, 6, 7]),
            (&[3, 4], &[5, 6, 7]),
            (&[6, 7, 8], &[5, 6, 7]),
            (&[], &[5, 6, 7]),
            (&[20, 21], &[20, 21]),
        ];
        for (added, kept) in steps {
            recent.keep(&added.iter().map(|position| change(*position, 1)).collect::<Vec<_>>());
            assert_eq!(positions(&recent), kept, "after {added:?}");
        }
        assert_eq!(recent.bytes, 2);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut recent = Recent::default();
        for position in 1..3 * RECENT_OPS as u64 {
            recent.keep(&[change(position, 10)]);
            assert!(recent.changes.len() <= RECENT_OPS);
        }
        assert_eq!(recent.bytes, 10 * RECENT_OPS);
        let last = 3 * RECENT_OPS as u64;
        for position in last..last + 9 {
            recent.keep(&[change(position, RECENT_BYTES / 2 + 1)]);
            assert!(recent.bytes <= RECENT_BYTES + RECENT_BYTES / 2);
        }
        assert_eq!(positions(&recent), [last + 8]);
        recent.keep(&[change(last + 9, 2 * RECENT_BYTES)]);
        assert_eq!(positions(&recent), [last + 9], "the last one in any case");
    }
}
