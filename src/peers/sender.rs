//! A sender: carries out what the replica orders to be sent to one peer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::SenderOptions;
use super::failure::Failure;
use super::transfer::{MAX_IDLE, Pace, Piece, Transfer};
use super::transport::Transport;
use crate::causality::{Dot, NodeId, Origin};
use crate::format::message;
use crate::format::state::{StateAnswer, Taken};
use crate::node::{NodeHandle, Observer, StateProgress, Try};
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
    /// This node's whole state on its way to the peer.
    transfer: Option<Transfer>,
    pace: Pace,
    /// Whether it has been said that the peer takes no state.
    is_refusal_said: bool,
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
        options: &SenderOptions,
    ) -> Self {
        let (full, pace) = (options.batch, Pace::new(options.state_bytes_per_second));
        let (transfer, is_refusal_said) = (None, false);
        Self { link, url, transport, handle, observer, full, limit: full, transfer, pace, is_refusal_said }
    }

    /// Carries out orders, one after the other, until the node has ended.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Send>) {
        loop {
            let order = match &self.transfer {
                None => orders.recv().await,
                // Its peer may be away, and nobody else gives it up.
                Some(_) => match timeout(MAX_IDLE, orders.recv()).await {
                    Ok(order) => order,
                    Err(_) => {
                        self.give_up("nothing was asked for it for long");
                        continue;
                    }
                },
            };
            let Some(order) = order else { return };
            self.carry_out(order).await;
        }
    }

    async fn carry_out(&mut self, order: Send) {
        let transfer = self.transfer.as_ref();
        if transfer.is_some_and(|transfer| order.push.to.is_some_and(|to| to != transfer.peer())) {
            self.give_up("another node is there now");
        } else if transfer.is_some_and(Transfer::is_stuck) {
            self.give_up("it has not come any farther for long");
        } else if !order.state && transfer.is_some_and(|transfer| self.is_over(transfer, &order)) {
            // It holds the log.
            self.give_up("it is not needed any more");
        }
        match order.push.to {
            // Who has said what it lacks has said who it is.
            Some(peer) if order.state && self.waits_its_turn().await => self.piece(peer, order).await,
            _ => self.push(order).await,
        }
    }

    /// Whether the peer lacks nothing any more that only a state has, wherever it got that from.
    fn is_over(&self, transfer: &Transfer, order: &Send) -> bool {
        let gets_ops = !order.probe && !order.ops.is_empty();
        let view = self.handle.status().view;
        gets_ops || view.links.get(self.link.0).is_some_and(|link| view.has(link, transfer.vector()))
    }

    /// Waits until the next piece may go out, but not for long. `false`: it may not yet.
    async fn waits_its_turn(&self) -> bool {
        let (until, is_turn) = self.pace.turn(Instant::now());
        sleep_until(until).await;
        is_turn
    }

    /// Pushes ops, or none: also while it is not yet time for the next piece of a state.
    async fn push(&mut self, order: Send) {
        let started = SystemTime::now();
        let Send { push, ops: wanted, probe, state, .. } = order;
        let expected = push.to;
        // Without ops of its own a try is about those that wait for it.
        let (about, carried, outcome) = match self.batch(push, wanted.clone(), probe || state).await {
            Err(failure) => (wanted, Vec::new(), Err(failure)),
            Ok(Batch { body, ops }) => {
                let outcome = self.transport.push(body).await;
                if !ops.is_empty() {
                    self.adapt(outcome.as_ref().err());
                }
                let about = if ops.is_empty() && outcome.is_err() { wanted } else { ops.clone() };
                (about, ops.iter().map(|range| range.origin.dot(range.last)).collect(), outcome)
            }
        };
        self.tell(expected, started, &about, outcome.as_ref());
        match outcome {
            Ok(answer) => self.handle.answered(self.link, carried, answer),
            Err(failure) => self.handle.send_failed(self.link, failure.rejection()),
        }
    }

    /// Sends the next piece of this node's state.
    async fn piece(&mut self, peer: NodeId, order: Send) {
        let started = SystemTime::now();
        let outcome = self.try_piece(peer, order.push).await;
        let (about, answer) = match &outcome {
            Ok(StateAnswer { answer, .. }) => (&[][..], Ok(answer)),
            Err(failure) => (&order.ops[..], Err(failure)),
        };
        self.tell(Some(peer), started, about, answer);
        match outcome {
            Ok(StateAnswer { answer, taken }) => {
                self.handle.state_answered(self.link, answer, !matches!(taken, Taken::Busy { .. }));
            }
            Err(failure) => self.handle.send_failed(self.link, failure.rejection()),
        }
    }

    async fn try_piece(&mut self, peer: NodeId, push: Push) -> Result<StateAnswer, Failure> {
        let transfer = match self.transfer.take() {
            Some(transfer) => transfer,
            None => Transfer::begin(&self.handle, peer).await?,
        };
        let piece = transfer.next(push, self.pace.piece_bytes(self.limit.bytes)).await;
        self.handle.sending_state(self.link, Some(transfer.progress()));
        self.transfer = Some(transfer);
        let piece = piece?;
        let outcome = self.transport.piece(piece.body.clone(), piece.is_last).await;
        self.pace.sent(piece.body.len(), Instant::now());
        self.adapt(outcome.as_ref().err());
        self.note_refusal(outcome.as_ref().err());
        let answer = outcome?;
        self.went_over(&piece, &answer.taken)?;
        Ok(answer)
    }
    /// Goes on behind what the peer has now.
    fn went_over(&mut self, piece: &Piece, taken: &Taken) -> Result<(), Failure> {
        let next_turn = self.pace.next_turn(Instant::now());
        let Some(transfer) = &mut self.transfer else { return Ok(()) };
        let peer = transfer.peer();
        let is_first = transfer.progress().bytes == 0;
        let has_moved = transfer.goes_on(piece, taken, next_turn);
        if let Taken::Busy { with } = taken {
            tracing::debug!(%peer, %with, "the peer is busy with a state");
            // It may just be working on the piece, of which an answer got lost.
            if *with != self.handle.members().own {
                self.forget();
            }
            return Ok(());
        }
        if !has_moved {
            return Err(Failure::NotTaken);
        }
        self.handle.state_sent(piece.keys, piece.body.len() as u64);
        let StateProgress { keys, bytes, all_keys, .. } = transfer.progress();
        if is_first && (piece.is_last || *taken != Taken::All) {
            tracing::info!(
                %peer,
                keys = all_keys,
                "node{peer} lacks ops that the log does not have any more: sending it this node's whole state, about {all_keys} keys"
            );
        }
        if *taken == Taken::All {
            let seconds = transfer.seconds();
            tracing::info!(%peer, keys, bytes, seconds, "node{peer} has this node's whole state after {seconds:.1} s: {keys} keys, {bytes} bytes");
            self.forget();
        } else {
            self.handle.sending_state(self.link, Some(transfer.progress()));
        }
        Ok(())
    }

    /// Ends a transfer before the peer has all.
    fn give_up(&mut self, why: &str) {
        let Some(transfer) = &self.transfer else { return };
        let (peer, StateProgress { keys, bytes, .. }) = (transfer.peer(), transfer.progress());
        tracing::info!(%peer, keys, bytes, why, "the transfer of this node's state to node{peer} is given up: {why}");
        self.forget();
    }

    fn forget(&mut self) {
        self.transfer = None;
        self.handle.sending_state(self.link, None);
    }

    /// Says once, not at every try, that the peer must be upgraded.
    fn note_refusal(&mut self, failure: Option<&Failure>) {
        let Some(failure @ Failure::TakesNoState) = failure else {
            self.is_refusal_said &= failure.is_some();
            return;
        };
        if !std::mem::replace(&mut self.is_refusal_said, true) {
            tracing::warn!(address = self.url, "a peer can't be caught up: {failure}");
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

    /// Takes note of how it went to send something large.
    fn adapt(&mut self, failure: Option<&Failure>) {
        let BatchLimit { ops, bytes } = self.limit;
        match failure {
            None => {
                let (ops, bytes) = (ops.saturating_mul(2), bytes.saturating_mul(2));
                self.limit = BatchLimit { ops: ops.min(self.full.ops), bytes: bytes.min(self.full.bytes) };
            }
            Some(Failure::Stalled(_)) => {
                self.limit = BatchLimit { ops: (ops / 2).max(1), bytes: (bytes / 2).max(MIN_BATCH_BYTES) };
            }
            Some(_) => {}
        }
    }

    fn tell(&self, expected: Option<NodeId>, started: SystemTime, ops: &[OpRange], outcome: Result<&Answer, &Failure>) {
        self.handle.tried(self.link, outcome.err().map(Failure::to_string));
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
