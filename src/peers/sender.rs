//! A sender: carries out what the replica orders to be sent to one peer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;

use super::failure::Failure;
use super::transport::Transport;
use crate::causality::{Dot, NodeId, Origin};
use crate::format::message;
use crate::node::{NodeHandle, Observer, Try};
use crate::replica::{Answer, LinkId, OpRange, Push, Send};
use crate::storage::{BatchLimit, StorageError};

/// How small batches get on a way that is too slow for larger ones.
const MIN_BATCH_BYTES: usize = 4 << 10;

pub(super) struct Sender {
    link: LinkId,
    url: String,
    transport: Transport,
    handle: NodeHandle,
    observer: Arc<dyn Observer>,
    full: BatchLimit,
    /// Lower than `full` after a push that was given up: if its size was the reason, the same again would be
    /// given up again, for ever.
    limit: BatchLimit,
}

/// A push, ready to be sent.
struct Batch {
    body: Vec<u8>,
    /// The ops in it.
    ops: Vec<OpRange>,
}

impl Sender {
    pub(super) fn new(
        link: LinkId,
        url: String,
        transport: Transport,
        handle: NodeHandle,
        observer: Arc<dyn Observer>,
        full: BatchLimit,
    ) -> Self {
        Self { link, url, transport, handle, observer, full, limit: full }
    }

    /// Carries out orders, one after the other, until the node has ended.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Send>) {
        while let Some(order) = orders.recv().await {
            self.carry_out(order).await;
        }
    }

    async fn carry_out(&mut self, order: Send) {
        let started = SystemTime::now();
        let Send { push, ops: wanted, probe, .. } = order;
        let expected = push.to;
        // Without ops of its own a try is about those that wait for it.
        let (about, carried, outcome) = match self.batch(push, wanted.clone(), probe).await {
            Err(failure) => (wanted, Vec::new(), Err(failure)),
            Ok(Batch { body, ops }) => {
                let outcome = self.transport.push(body).await;
                self.adapt(&outcome, &ops);
                let about = if ops.is_empty() && outcome.is_err() { wanted } else { ops.clone() };
                (about, ops.iter().map(|range| range.origin.dot(range.last)).collect(), outcome)
            }
        };
        self.tell(expected, started, &about, &outcome);
        self.handle.tried(self.link, outcome.as_ref().err().map(Failure::to_string));
        match outcome {
            Ok(answer) => self.handle.answered(self.link, carried, answer),
            Err(failure) => self.handle.send_failed(self.link, failure.rejection()),
        }
    }

    /// Reads and writes down what is to be sent, off the threads that serve requests.
    async fn batch(&self, push: Push, wanted: Vec<OpRange>, probe: bool) -> Result<Batch, Failure> {
        if probe || wanted.is_empty() {
            return Ok(Batch { body: message::encode_push(&push, &[] as &[&[u8]]), ops: Vec::new() });
        }
        let (handle, limit) = (self.handle.clone(), self.limit);
        let read = tokio::task::spawn_blocking(move || {
            let stored = handle.ops(&wanted, limit)?;
            let bytes: Vec<&[u8]> = stored.iter().map(|op| &*op.bytes).collect();
            let ops = ranges(stored.iter().map(|op| op.dot));
            Ok(Batch { body: message::encode_push(&push, &bytes), ops })
        });
        let batch = read.await.map_err(|error| Failure::Unreadable(error.to_string()))?;
        batch.map_err(|error: StorageError| Failure::Unreadable(error.to_string()))
    }

    fn adapt(&mut self, outcome: &Result<Answer, Failure>, carried: &[OpRange]) {
        let BatchLimit { ops, bytes } = self.limit;
        match outcome {
            _ if carried.is_empty() => {}
            Ok(_) => {
                let (ops, bytes) = (ops.saturating_mul(2), bytes.saturating_mul(2));
                self.limit = BatchLimit { ops: ops.min(self.full.ops), bytes: bytes.min(self.full.bytes) };
            }
            Err(Failure::Stalled(_)) => {
                self.limit = BatchLimit { ops: (ops / 2).max(1), bytes: (bytes / 2).max(MIN_BATCH_BYTES) };
            }
            Err(_) => {}
        }
    }

    fn tell(&self, expected: Option<NodeId>, started: SystemTime, ops: &[OpRange], outcome: &Result<Answer, Failure>) {
        let (node, error) = match outcome {
            Ok(answer) => (Some(answer.receiver.node), None),
            Err(failure) => (expected, Some((failure.error_type(), failure.to_string()))),
        };
        self.observer.tried(&Try {
            link: self.link,
            node,
            address: &self.url,
            started,
            ended: SystemTime::now(),
            ops,
            error,
        });
    }
}

/// These ops as ranges, one an origin. A batch has an origin's ops without gaps.
fn ranges(dots: impl Iterator<Item = Dot>) -> Vec<OpRange> {
    let mut ranges: BTreeMap<Origin, OpRange> = BTreeMap::new();
    for Dot { origin, counter } in dots {
        let range = ranges.entry(origin).or_insert(OpRange { origin, first: counter, last: counter });
        range.last = counter;
    }
    ranges.into_values().collect()
}
