//! What is known of the cluster for people: this node's own facts, and those that its peers told it when asked.
//!
//! Facts that are young are used again, so that many who look cost what one costs.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::handle::NodeHandle;
use super::lock;
use super::progress::StateProgress;
use crate::causality::{Dot, WallMs};
use crate::format;
use crate::format::facts::{
    DamageFacts, Facts, Latency, LinkFacts, MemberFacts, Question, Receipt, TransferFacts, UnknownMember,
};
use crate::replica::{LinkId, LinkView, OpRange, View};
use crate::storage::{BatchLimit, Damage, StorageError, StoredOp};

/// A peer that was asked such a short while ago is not asked again.
const FRESH: Duration = Duration::from_millis(400);

/// Questions to one peer that may wait; more get no answer.
pub(super) const MAX_QUESTIONS: usize = 16;

/// A question to a peer, for the shell that reaches peers.
pub struct Asked {
    /// What to ask it.
    pub question: Question,
    reply: oneshot::Sender<Facts>,
}

impl Asked {
    /// Whether somebody still waits for the answer.
    pub fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    /// Hands in the answer. Without one, dropping this says that there is none.
    pub fn answer(self, facts: Facts) {
        // Whoever asked may have stopped waiting.
        let _ = self.reply.send(facts);
    }
}

/// What a peer told of itself, and when.
#[derive(Clone)]
pub struct Told {
    /// Its facts.
    pub facts: Arc<Facts>,
    /// When they came.
    pub at: Instant,
}

/// What a peer told last, and when it was last asked.
#[derive(Clone, Default)]
struct Slot {
    told: Option<Told>,
    asked: Option<Instant>,
}

/// This node's own facts as they were shown last, and which peers were away then.
struct Own {
    facts: Arc<Facts>,
    at: Instant,
    away: Vec<bool>,
}

/// What is remembered of the peers, by their place in the configured list.
pub(super) struct Peers {
    questions: Vec<mpsc::Sender<Asked>>,
    told: Mutex<Vec<Slot>>,
    own: Mutex<Option<Own>>,
    /// Why the last try to reach each failed, in a sentence.
    troubles: Vec<Mutex<Option<String>>>,
}

impl Peers {
    pub(super) fn new(questions: Vec<mpsc::Sender<Asked>>) -> Self {
        let told = Mutex::new(vec![Slot::default(); questions.len()]);
        Self { troubles: questions.iter().map(|_| Mutex::default()).collect(), questions, told, own: Mutex::default() }
    }

    fn told(&self) -> MutexGuard<'_, Vec<Slot>> {
        lock(&self.told)
    }
}

impl Slot {
    /// Whether it is time to ask again; takes note that it is done.
    fn may_be_asked(&mut self) -> bool {
        let due = self.asked.is_none_or(|asked| asked.elapsed() >= FRESH);
        if due {
            self.asked = Some(Instant::now());
        }
        due
    }
}

impl From<StateProgress> for TransferFacts {
    fn from(progress: StateProgress) -> Self {
        let left_ms = progress.left_ms(super::wall_now());
        let StateProgress { peer, began, keys, bytes, all_keys } = progress;
        Self { peer: peer.0, began_ms: began.0, keys, bytes, all_keys, left_ms }
    }
}

impl NodeHandle {
    /// What this node knows of itself, and of a write if one is asked for. May read from the disk.
    pub fn facts(&self, about: Option<Dot>) -> Result<Facts, StorageError> {
        let status = self.status();
        let view = &*status.view;
        let Damage { keys, log, .. } = self.damage();
        let links = (0..view.links.len()).map(|index| {
            let state_transfer = status.sending.get(index).copied().flatten().map(TransferFacts::from);
            Ok(LinkFacts { state_transfer, ..self.link_facts(view, index)? })
        });
        Ok(Facts {
            node: self.members().own.0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: self.shared.started.0,
            keys: view.totals.keys,
            siblings: view.totals.siblings,
            conflicts: view.totals.conflicts,
            disk_bytes: self.disk_bytes()?,
            read_only: view.read_only,
            waiting_requests: status.waiting_requests as u64,
            waiting_ops: view.waiting_ops as u64,
            position: view.position,
            vector: view.vector.entries().collect(),
            links: links.collect::<Result<_, StorageError>>()?,
            receipt: about.map(|dot| self.receipt(view, dot)).transpose()?,
            catching_up: status.filling.map(TransferFacts::from),
            log_ops: Some(self.log_size()?.ops),
            twins: view.twins.keys().map(|node| node.0).collect(),
            members: Some(self.member_facts(view)),
            damage: (keys || log).then_some(DamageFacts { keys, log }),
        })
    }

    fn member_facts(&self, view: &View) -> MemberFacts {
        let unknown = view.unknown_members.iter();
        MemberFacts {
            removed: self.members().removed.iter().map(|node| node.0).collect(),
            unknown: unknown.map(|(node, heard)| UnknownMember { node: node.0, heard_ms: heard.0 }).collect(),
            draining: self.is_draining(),
        }
    }

    /// The same without a write, up to a moment old unless a way was cut or is back: for many who look again and again.
    pub fn recent_facts(&self) -> Result<Arc<Facts>, StorageError> {
        let away: Vec<bool> = self.status().view.links.iter().map(|link| link.away_since.is_some()).collect();
        let mut own = lock(&self.shared.peers.own);
        if let Some(last) = own.as_ref().filter(|last| last.at.elapsed() < FRESH && last.away == away) {
            return Ok(last.facts.clone());
        }
        // Whoever comes meanwhile waits and shares it.
        let facts = Arc::new(self.facts(None)?);
        *own = Some(Own { facts: facts.clone(), at: Instant::now(), away });
        Ok(facts)
    }

    /// What this node knows of one write's arrival here.
    fn receipt(&self, view: &View, dot: Dot) -> Result<Receipt, StorageError> {
        let visible = self.logged(dot)?.and_then(|stored| self.shared.history.visible_at(stored.position));
        let has = view.ancestry.covers(&view.vector, dot);
        let waits_for = if has { Vec::new() } else { view.waiting_for.iter().copied().collect() };
        // Between its commit and the next view it is in the history only.
        Ok(Receipt { dot, has, visible_ms: visible.filter(|_| has).map(|at| at.0), waits_for })
    }

    /// An op, if the log has it.
    pub fn logged(&self, dot: Dot) -> Result<Option<StoredOp>, StorageError> {
        let range = OpRange { origin: dot.origin, first: dot.counter, last: dot.counter };
        Ok(self.ops(&[range], BatchLimit { ops: 1, bytes: 1 })?.into_iter().next())
    }

    fn link_facts(&self, view: &View, index: usize) -> Result<LinkFacts, StorageError> {
        let link: &LinkView = &view.links[index];
        let lacks = view.lacks(link);
        let trouble = link.away_since.and_then(|_| self.trouble(LinkId(index)));
        let why = trouble.or_else(|| not_understood(view, link, &lacks));
        Ok(LinkFacts {
            to: link.node.map(|node| node.0),
            address: self.members().addresses.get(index).cloned().unwrap_or_default(),
            away_since_ms: link.away_since.map(|at| at.0),
            why,
            heard_ms: link.heard.map(|at| at.0),
            up_to_date: link.vector.as_ref().map(|theirs| view.ancestry.includes(theirs, &view.vector)),
            ops_to_ship: lacks.iter().map(OpRange::count).sum(),
            bytes_to_ship: self.op_bytes(&lacks)?,
            oldest_waiting_ms: self.oldest(&lacks)?.map(|at| at.0),
            latency: link.node.and_then(|node| self.shared.history.recent_latency(node, super::wall_now())),
            state_transfer: None,
        })
    }

    /// The version of the program on a peer, as it told last.
    pub fn version_of(&self, link: LinkId) -> Option<String> {
        let node = self.status().view.links.get(link.0)?.node?;
        let told = self.shared.peers.told().get(link.0)?.told.clone()?;
        // What the address answered before may have been another node.
        (told.facts.node == node.0).then(|| told.facts.version.clone())
    }

    /// When the first op of these was accepted, by its own clock reading.
    pub fn oldest(&self, ranges: &[OpRange]) -> Result<Option<WallMs>, StorageError> {
        if ranges.is_empty() {
            return Ok(None);
        }
        let Some(stored) = self.ops(ranges, BatchLimit { ops: 1, bytes: 1 })?.into_iter().next() else {
            return Ok(None);
        };
        match format::op::decode(&stored.bytes) {
            Ok(op) => Ok(Some(op.hlc.wall())),
            Err(error) => Err(StorageError::damaged(format!("op {}", stored.dot), error)),
        }
    }

    /// How long this node's own writes took to reach a peer, step by step (of [`STEP_MS`](super::STEP_MS)), each with
    /// when it began. Steps without writes are left out.
    pub fn latencies(&self, link: &LinkView) -> Vec<(WallMs, Latency)> {
        link.node.map_or_else(Vec::new, |node| self.shared.history.latencies(node, super::wall_now()))
    }

    /// Asks all peers for their facts, for `wait` at most; what each told last, in the order of the configured list. Facts
    /// about a write are always asked for anew.
    pub async fn ask(&self, about: Option<Dot>, wait: Duration) -> Vec<Option<Told>> {
        let view = self.status().view;
        let asked = view.links.iter().enumerate().map(|(index, link)| async move {
            if about.is_none() && !self.shared.peers.told()[index].may_be_asked() {
                return None;
            }
            let (reply, answer) = oneshot::channel();
            let cluster = self.members().cluster.to_string();
            let question =
                Question { cluster, to: link.node.map(|node| node.0), about, from: Some(self.members().own.0) };
            // Too many questions are under way, or nobody reaches peers here: then there is no answer.
            self.shared.peers.questions[index].try_send(Asked { question, reply }).ok()?;
            let facts = timeout(wait, answer).await.ok()?.ok()?;
            let told = Told { facts: Arc::new(facts), at: Instant::now() };
            self.shared.peers.told()[index].told = Some(told.clone());
            Some(told)
        });
        let answers = join_all(asked).await;
        // While one kept this waiting, others may have told somebody else what is not about the same write.
        answers.into_iter().zip(self.told()).map(|(answer, last)| answer.or(last)).collect()
    }

    /// What each peer told last, in the order of the configured list.
    pub fn told(&self) -> Vec<Option<Told>> {
        self.shared.peers.told().iter().map(|slot| slot.told.clone()).collect()
    }

    /// Says how the last try to reach a peer went: why it failed, in a sentence.
    pub fn tried(&self, link: LinkId, trouble: Option<String>) {
        if let Some(slot) = self.shared.peers.troubles.get(link.0) {
            *lock(slot) = trouble;
        }
    }

    pub(super) fn trouble(&self, link: LinkId) -> Option<String> {
        lock(self.shared.peers.troubles.get(link.0)?).clone()
    }
}

/// Why a peer that answers can't get what it lacks: its version is too old for it.
fn not_understood(view: &View, link: &LinkView, lacks: &[OpRange]) -> Option<String> {
    let feature = view.not_understood(link, lacks)?;
    let node = link.node?;
    Some(format!("node {node} runs a version without {feature}, and needs it to get what it lacks: upgrade it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Incarnation, NodeId, Origin, VersionVector};
    use crate::replica::Protocol;

    #[test]
    fn a_peer_that_is_too_old_for_what_it_needs_is_named() {
        let own = Origin::new(NodeId(0), Incarnation(7));
        let (vector, floor) = ([own.dot(9)].into_iter().collect(), [own.dot(4)].into_iter().collect());
        let link = |protocol| LinkView {
            node: Some(NodeId(2)),
            vector: Some(VersionVector::new()),
            protocol: Some(protocol),
            ..LinkView::default()
        };
        let links = vec![link(Protocol::UNSAID), link(Protocol::OWN)];
        let view = View { vector, floor, links, ..View::default() };
        let why = |index: usize| not_understood(&view, &view.links[index], &view.lacks(&view.links[index]));
        let expected = "node 2 runs a version without state transfer, and needs it to get what it lacks: upgrade it";
        assert_eq!((why(0).as_deref(), why(1)), (Some(expected), None));
    }
}
