//! One peer: what is known of it, what was sent to it, when to try again; and what to offer it now.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::catching_up::STATE_AGAIN_MS;
use super::effect::{Effect, LinkId, LinkView, MonoMs, Now, OpRange, PeerChange, Send};
use super::lacking::{self, Known};
use super::message::{Answer, Echo, Push, Rejection, Statement};
use super::protocol::Feature;
use super::{Replica, ReplicaOptions};
use crate::causality::{Ancestry, Dot, NodeId, Origin, VersionVector, WallMs};

/// The longest pause between tries to reach a peer, and the first.
const MAX_RETRY_MS: u64 = 400;
const FIRST_RETRY_MS: u64 = 50;

/// Not before something happens.
pub(super) const NEVER: MonoMs = MonoMs(u64::MAX);

/// After how long without progress ops that were sent, and that the peer took without delivering them, are
/// sent again: its buffer is volatile.
const RESEND_AFTER_MS: u64 = 1_000;

/// A push that failed after so long says that the peer does not answer.
const SILENT_MS: u64 = 1_500;

/// How much longer each node waits before it forwards than the one with the next lower id, so that not all do at
/// once.
const FORWARD_STAGGER_MS: u64 = 100;
const MAX_FORWARD_STAGGER_MS: u64 = 1_000;

/// How many earlier boots of a peer are remembered, to know a late statement of one.
const MAX_OLD_BOOTS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Link {
    node: Option<NodeId>,
    /// Whether the id is configured; else it is what the address answered first.
    configured: bool,
    known: Option<Known>,
    old_boots: VecDeque<u64>,
    /// What was sent and taken, where that is more than the statement includes.
    sent: BTreeMap<Origin, Sent>,
    under_way: bool,
    /// Whether what is under way was to carry ops.
    with_ops: bool,
    /// Whether it is a piece of this node's state.
    with_state: bool,
    failures: u32,
    /// How many pushes with ops in a row came to nothing, whatever digests between them did.
    refusals: u32,
    retry_at: MonoMs,
    /// When it may be offered this node's state, if it needs it.
    pub(super) state_at: MonoMs,
    /// Whether what was last sent to it, but for digests, was a piece of this node's state.
    is_being_filled: bool,
    /// When something was last sent to it.
    asked: Option<MonoMs>,
    /// When there may be something to send. Whatever changes what that depends on brings it forward.
    due: MonoMs,
    /// Since when it has not answered, once that is more than a hiccup.
    away: Option<Now>,
    heard: Option<WallMs>,
    /// What was answered last, by whoever has its address.
    echo: Option<Echo>,
    /// For each origin of which the peer lacks ops: how far it has it, and since when that is so.
    lags: BTreeMap<Origin, Lag>,
    /// Whether it lacked something by its newest statement, and nothing of that had come since the one before.
    stuck: bool,
    /// Other nodes' origins whose ops this node sends, because the peer doesn't get them.
    forward: BTreeSet<Origin>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    last: u64,
    /// Since when nothing of it was sent a second time. (Not when it was first found lacking: that may be long ago,
    /// and then each answer would have it sent again.)
    since: MonoMs,
}

#[derive(Clone, Copy, Debug)]
struct Lag {
    have: u64,
    since: MonoMs,
}

/// What to do about a link.
enum Next {
    /// Send these ops; none: a digest.
    Send(Vec<OpRange>),
    /// Send a piece of the state: the log does not have all of these ops any more, or the peer wants it.
    State(Vec<OpRange>),
    /// Nothing before this time, unless something happens.
    Wait(MonoMs),
}

impl Link {
    pub(super) fn new(node: Option<NodeId>) -> Self {
        Self { node, configured: node.is_some(), ..Self::default() }
    }

    /// Its id, if it has ever said.
    pub(super) fn node(&self) -> Option<NodeId> {
        self.node
    }

    pub(super) fn view(&self) -> LinkView {
        let known = self.known.as_ref();
        LinkView {
            node: self.node,
            away_since: self.away.map(|since| since.wall),
            heard: self.heard,
            vector: known.map(|known| known.statement.vector.clone()),
            implied: known.map_or_else(Vec::new, |known| known.implied.clone()),
            protocol: known.map(|known| known.statement.protocol),
        }
    }

    fn lacks(&mut self, applied: &VersionVector, ancestry: &Arc<Ancestry>) -> Arc<[OpRange]> {
        self.known.as_mut().map_or_else(Default::default, |known| known.lacks(applied, ancestry))
    }

    /// Whether `statement` is newer than what is known. A boot that was followed by another is not, unless it
    /// answers: ops go to whoever answers at the peer's address, even when a copy of it that runs elsewhere
    /// was heard since.
    fn is_news(&self, statement: &Statement, answers: bool) -> bool {
        match &self.known {
            Some(known) if known.statement.boot == statement.boot => known.statement.number < statement.number,
            _ => answers || !self.old_boots.contains(&statement.boot),
        }
    }

    /// Takes a newer statement in place of the old one. What one of the same boot said is implied stays so.
    fn replace_known(&mut self, statement: Statement, implied: Option<Vec<Dot>>, ancestry: &Ancestry) {
        let mut answered = implied.is_some();
        let mut implied = implied.unwrap_or_default();
        if let Some(old) = self.known.take_if(|old| old.statement.boot == statement.boot) {
            answered |= old.answered();
            let newer: BTreeSet<Origin> = implied.iter().map(|dot| dot.origin).collect();
            implied.extend(old.implied.into_iter().filter(|dot| !newer.contains(&dot.origin)));
            // This node may have learned by now why it is so.
            implied.retain(|dot| !ancestry.covers(&statement.vector, *dot));
        }
        let boot = statement.boot;
        // Another boot's, if there is one: that of the same was taken out above.
        if let Some(old) = self.known.replace(Known::new(statement, implied, answered)) {
            self.old_boots.retain(|old| *old != boot);
            self.old_boots.push_back(old.statement.boot);
            if self.old_boots.len() > MAX_OLD_BOOTS {
                self.old_boots.pop_front();
            }
            self.sent.clear();
            self.lags.clear();
            self.forward.clear();
        }
    }

    /// Notes where the peer makes no progress: such an origin is forwarded, or sent again.
    fn note_lags(&mut self, now: MonoMs, lacks: &[OpRange], own: NodeId, forward_after_ms: u64) {
        let lacked: BTreeSet<Origin> = lacks.iter().map(|range| range.origin).collect();
        self.lags.retain(|origin, _| lacked.contains(origin));
        self.forward.retain(|origin| lacked.contains(origin));
        self.sent.retain(|origin, _| lacked.contains(origin));
        for range in lacks {
            let have = range.first - 1;
            let lag = self.lags.entry(range.origin).or_insert(Lag { have, since: now });
            if lag.have != have {
                *lag = Lag { have, since: now };
            }
            let stuck_ms = now.since(lag.since);
            if range.origin.node != own && stuck_ms >= forward_after_ms {
                self.forward.insert(range.origin);
            }
            let is_due = |sent: &Sent| now.since(sent.since) >= RESEND_AFTER_MS;
            if stuck_ms >= RESEND_AFTER_MS && self.sent.get(&range.origin).is_some_and(is_due) {
                self.sent.remove(&range.origin);
            }
        }
    }

    /// Whether the peer's own state is damaged.
    fn wants_state(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.statement.wants_state)
    }

    /// Whether the peer knows what to do with a state.
    fn takes_states(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.statement.protocol.has(Feature::StateTransfer))
    }

    /// What this node is to see to, of what the peer lacks: its own ops and those to be forwarded.
    fn wanted(&self, lacks: &[OpRange], own: NodeId) -> Vec<OpRange> {
        let is_wanted = |range: &&OpRange| range.origin.node == own || self.forward.contains(&range.origin);
        lacks.iter().filter(is_wanted).copied().collect()
    }

    /// Of that, what was not sent already.
    fn unsent(&self, wanted: Vec<OpRange>) -> Vec<OpRange> {
        let rest = wanted.into_iter().map(|range| {
            let sent = self.sent.get(&range.origin).map_or(0, |sent| sent.last);
            OpRange { first: range.first.max(sent + 1), ..range }
        });
        rest.filter(|range| range.count() > 0).collect()
    }

    pub(super) fn due(&self) -> MonoMs {
        self.due
    }

    /// Something happened that may give it something to send.
    fn touch(&mut self) {
        self.due = MonoMs(0);
    }

    /// Counts how a push ended that was to carry ops.
    fn note_push(&mut self, took_ops: bool) {
        if std::mem::take(&mut self.with_ops) {
            self.refusals = if took_ops { 0 } else { self.refusals.saturating_add(1) };
        }
    }

    fn back_off(&mut self, now: MonoMs, random: u64) {
        // Each pause is shortened by up to a quarter so that peers don't try in step.
        let pause = pause_ms(self.failures);
        let jitter = if pause == 0 { 0 } else { random % (pause / 4) };
        self.retry_at = MonoMs(now.0 + pause - jitter);
    }
}

#[cfg(test)]
impl Replica {
    /// Whether something sent to a peer is neither answered nor failed yet.
    pub(super) fn is_under_way(&self, id: LinkId) -> bool {
        self.links[id.0].under_way
    }
}

impl Replica {
    /// Ops of these origins are visible now: they may have to be sent.
    pub(super) fn touch_links(&mut self, applied: &BTreeSet<Origin>) {
        let own = applied.iter().any(|origin| origin.node == self.options.node);
        for link in &mut self.links {
            if own || applied.iter().any(|origin| link.forward.contains(origin)) {
                link.touch();
            }
        }
    }

    /// What is to be sent may be different for every peer.
    pub(super) fn touch_all_links(&mut self) {
        self.links.iter_mut().for_each(Link::touch);
    }

    /// Sends to every peer what it should get now. Called after every input, so links that nothing happened to cost
    /// next to nothing.
    pub(super) fn offer_all(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for index in 0..self.links.len() {
            let id = LinkId(index);
            if self.links[index].due <= now.mono {
                self.offer(id, now, effects);
            } else if cfg!(debug_assertions) {
                let next = self.next(id, now.mono);
                assert!(matches!(next, Next::Wait(_)), "not found due: {:?}", self.links[index]);
            }
        }
    }

    fn next(&mut self, id: LinkId, now: MonoMs) -> Next {
        let link = &mut self.links[id.0];
        if link.under_way {
            return Next::Wait(NEVER);
        }
        if now < link.retry_at {
            return Next::Wait(link.retry_at);
        }
        let lacks = link.lacks(&self.applied, &self.ancestry);
        let link = &self.links[id.0];
        let wanted = link.wanted(&lacks, self.options.node);
        if link.failures > 0 {
            return Next::Send(link.unsent(wanted));
        }
        let digest_at = self.digest_at(link);
        // One that can't be read is not sent.
        let state_at = if link.takes_states() && !self.wants_state { link.state_at } else { NEVER };
        let is_trimmed = lacking::is_trimmed(&wanted, &self.floor, &self.ancestry);
        let needs_state = is_trimmed || link.wants_state();
        if needs_state && state_at <= now {
            return Next::State(wanted);
        }
        // What comes behind ops that were trimmed could not be delivered there.
        let ops = if is_trimmed { Vec::new() } else { link.unsent(wanted) };
        if !ops.is_empty() || digest_at <= now {
            return Next::Send(ops);
        }
        Next::Wait(if needs_state { state_at.min(digest_at) } else { digest_at })
    }

    /// When a new statement is wanted of a peer that answers and gets nothing else.
    fn digest_at(&self, link: &Link) -> MonoMs {
        let Some(asked) = link.asked else { return MonoMs(0) };
        let ReplicaOptions { digest_interval_ms: interval_ms, digests_an_interval: share, .. } = self.options;
        if link.stuck {
            return MonoMs(asked.0 + interval_ms);
        }
        let answering = self.links.iter().filter(|link| link.failures == 0).count();
        MonoMs(asked.0 + interval_ms * answering.max(share) as u64 / share as u64)
    }

    fn offer(&mut self, id: LinkId, now: Now, effects: &mut Vec<Effect>) {
        let (ops, state) = match self.next(id, now.mono) {
            Next::Send(ops) => (ops, false),
            Next::State(ops) => (ops, true),
            Next::Wait(until) => {
                self.links[id.0].due = until;
                return;
            }
        };
        let sender = self.statement();
        let link = &mut self.links[id.0];
        let probe = link.failures > 0 || (ops.is_empty() && !state);
        link.under_way = true;
        link.due = NEVER;
        (link.with_ops, link.with_state) = (!probe && !state, state);
        link.is_being_filled = state || (link.is_being_filled && probe);
        link.asked = Some(now.mono);
        let push =
            Push { cluster: self.options.cluster.clone(), to: link.node, sender, ops: Vec::new(), echo: link.echo };
        effects.push(Effect::Send(Send { link: id, push, ops, probe, state }));
    }

    pub(super) fn answered(
        &mut self,
        now: Now,
        id: LinkId,
        carried: &[Dot],
        answer: Answer,
        effects: &mut Vec<Effect>,
    ) {
        let Some(link) = self.links.get_mut(id.0) else { return };
        let Statement { node, boot, number, .. } = answer.receiver;
        link.echo = Some(Echo { boot, number });
        if node == self.options.node || link.node.is_some_and(|expected| expected != node) {
            self.answered_by_own_id(now, &answer.receiver, effects);
            self.send_failed(now, id, Some(Rejection::Misdirected { actual: node }), effects);
            return;
        }
        link.node = Some(node);
        self.ended(id, 0);
        let link = &mut self.links[id.0];
        link.note_push(!carried.is_empty());
        // A peer may answer digests and yet take no ops: a digest's answer does not end the pauses.
        link.retry_at = MonoMs(now.mono.0 + pause_ms(link.refusals));
        for dot in carried {
            let sent = link.sent.entry(dot.origin).or_insert(Sent { last: 0, since: now.mono });
            sent.last = dot.counter.max(sent.last);
        }
        if answer.redundant > 0 {
            // Somebody else brings these to the peer too.
            for dot in carried.iter().filter(|dot| dot.origin.node != self.options.node) {
                link.forward.remove(&dot.origin);
                link.lags.remove(&dot.origin);
            }
        }
        if !answer.missing.is_empty() {
            // Refused for lack of room: all again, what is missing first. At once, unless that did not help.
            link.sent.clear();
            if answer.missing.iter().all(|dot| link.forward.contains(&dot.origin)) {
                link.retry_at = MonoMs(now.mono.0 + FIRST_RETRY_MS);
            }
        }
        self.learn(now, id, answer.receiver, Some(answer.implied), effects);
        if let Some(age_ms) = answer.twin_ms {
            self.told_of_twin(now, age_ms, effects);
        }
        let link = &mut self.links[id.0];
        link.forward.extend(answer.missing.iter().map(|dot| dot.origin));
        if let Some(since) = link.away.take() {
            let lacks = link.lacks(&self.applied, &self.ancestry).iter().map(OpRange::count).sum();
            let change = PeerChange::Back { away_ms: now.mono.since(since.mono), lacks };
            effects.push(Effect::Peer { link: id, node: link.node, change });
        }
    }

    pub(super) fn send_failed(
        &mut self,
        now: Now,
        id: LinkId,
        rejection: Option<Rejection>,
        effects: &mut Vec<Effect>,
    ) {
        let random = self.random.next();
        let Some(link) = self.links.get(id.0) else { return };
        self.ended(id, link.failures.saturating_add(1));
        let link = &mut self.links[id.0];
        link.note_push(false);
        if std::mem::take(&mut link.with_state) {
            link.state_at = MonoMs(now.mono.0 + STATE_AGAIN_MS);
        }
        link.sent.clear();
        link.back_off(now.mono, random);
        if matches!(rejection, Some(Rejection::Misdirected { .. })) && !link.configured {
            // Another node has that address now: learn anew who it is.
            link.node = None;
            link.known = None;
            link.lags.clear();
            link.forward.clear();
        }
        // One failure is a hiccup: the connection may just have been old. Not when all that time no answer came.
        let silent = link.asked.is_some_and(|asked| now.mono.since(asked) >= SILENT_MS);
        if (link.failures >= 2 || silent) && link.away.is_none() {
            link.away = Some(now);
            effects.push(Effect::Peer { link: id, node: link.node, change: PeerChange::Away });
        }
    }

    /// What was under way on a link is not any more, after so many failures in a row.
    fn ended(&mut self, id: LinkId, failures: u32) {
        let link = &mut self.links[id.0];
        link.under_way = false;
        link.touch();
        let before = std::mem::replace(&mut link.failures, failures);
        if (before == 0) != (failures == 0) {
            // How many answer decides how often each of them is asked.
            self.touch_all_links();
        }
    }

    /// A peer was heard by its own push: its statement counts, and if it did not answer, it may now.
    pub(super) fn heard_from(&mut self, now: Now, statement: Statement, effects: &mut Vec<Effect>) {
        let Some(index) = self.links.iter().position(|link| link.node == Some(statement.node)) else { return };
        let link = &mut self.links[index];
        link.touch();
        if link.failures > 0 {
            link.retry_at = now.mono;
        }
        self.learn(now, LinkId(index), statement, None, effects);
    }

    /// Takes note of a peer's statement, and says which of this node's ops it acknowledges. `implied` comes
    /// with an answer only.
    fn learn(
        &mut self,
        now: Now,
        id: LinkId,
        statement: Statement,
        implied: Option<Vec<Dot>>,
        effects: &mut Vec<Effect>,
    ) {
        let stagger_ms = self.forward_stagger_ms(statement.node);
        let ReplicaOptions { node: own, forward_after_ms, .. } = self.options;
        let link = &mut self.links[id.0];
        link.heard = Some(now.wall);
        if !link.is_news(&statement, implied.is_some()) {
            return;
        }
        let before = link.lacks(&self.applied, &self.ancestry);
        let peer = statement.node;
        link.replace_known(statement, implied, &self.ancestry);
        let lacks = link.lacks(&self.applied, &self.ancestry);
        link.note_lags(now.mono, &lacks, own, forward_after_ms + stagger_ms);
        let is_clear = |known: &Known| known.unclear(&self.applied, &self.ancestry).is_empty();
        link.stuck =
            !link.known.as_ref().is_none_or(is_clear) || lacks.iter().any(|range| !lacking::has_come(range, &before));
        let owned = before.iter().filter(|range| range.origin.node == own);
        let ops: Vec<OpRange> = owned.filter_map(|range| lacking::less(range, &lacks)).collect();
        if !ops.is_empty() {
            let by_state = self.links[id.0].is_being_filled && lacking::is_trimmed(&ops, &self.floor, &self.ancestry);
            effects.push(Effect::Acknowledged { peer, ops, by_state });
        }
    }

    /// Of the nodes that could forward to `peer`, each waits a little longer than the one with the next lower id.
    fn forward_stagger_ms(&self, peer: NodeId) -> u64 {
        let own = self.options.node;
        let before = self.links.iter().filter_map(|link| link.node).filter(|node| *node != peer && *node < own).count();
        // Of the others one is the origin itself.
        (before.saturating_sub(1) as u64 * FORWARD_STAGGER_MS).min(MAX_FORWARD_STAGGER_MS)
    }
}

/// How long to wait after so many failures in a row. The first retry is at once, on a fresh connection; then
/// the pauses grow.
fn pause_ms(failures: u32) -> u64 {
    match failures {
        0 | 1 => 0,
        more => (FIRST_RETRY_MS << (more - 2).min(8)).min(MAX_RETRY_MS),
    }
}
