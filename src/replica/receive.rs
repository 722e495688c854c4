//! A peer's push: whom it is for, delivering its ops, and the answer once they are durable.

use super::delivery::Received;
use super::effect::{Effect, Now, RequestId};
use super::message::{Answer, Push, Rejection};
use super::{KeyStates, Replica, Unreadable};
use crate::causality::{Dot, Origin, VersionVector};

/// How many missing dots an answer names. The sender comes again, so the rest is named then.
const MAX_NAMED_MISSING: usize = 16;

/// An answer that is given when the log is durable up to a position.
#[derive(Debug)]
pub(super) struct PendingAnswer {
    pub(super) request: RequestId,
    after: u64,
    outcome: Outcome,
}

/// What there is to say about a push besides this node's statement.
#[derive(Debug, Default)]
struct Outcome {
    /// The origins that the push named: those of its sender's vector, and of its ops.
    sender: VersionVector,
    of_ops: Vec<Origin>,
    missing: Vec<Dot>,
    redundant: u64,
    twin_ms: Option<u64>,
}

impl Replica {
    pub(super) fn receive(
        &mut self,
        now: Now,
        request: RequestId,
        push: Push,
        states: &dyn KeyStates,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(rejection) = self.check_address(&push) {
            effects.push(Effect::Pushed { request, outcome: Err(rejection) });
            return;
        }
        let twin_ms = self.hear_run(now, &push.sender, push.echo, effects);
        let mut outcome = Outcome { sender: push.sender.vector.clone(), twin_ms, ..Outcome::default() };
        outcome.of_ops.extend(push.ops.iter().map(|op| op.dot.origin));
        outcome.of_ops.dedup();
        let sender = push.sender.node;
        let carries_ops = !push.ops.is_empty();
        self.received_pushes += u64::from(carries_ops);
        self.note_sender(now, sender, effects);
        self.heard_from(now, push.sender, effects);
        // One for each op, as a rule; to grow step by step would copy them again and again.
        effects.reserve(push.ops.len());
        for op in push.ops {
            let received = Received { op, from: sender, at: now };
            if let Err(Unreadable(why)) = self.take_op(received, &mut outcome, states, effects) {
                effects.push(Effect::Pushed { request, outcome: Err(Rejection::Unreadable(why)) });
                return;
            }
        }
        // An op that was here before may still be on its way to the disk, so any push with ops waits for all
        // that is staged.
        let after = if carries_ops { self.position } else { 0 };
        self.answers.push_back(PendingAnswer { request, after, outcome });
        self.answer_durable(effects);
    }

    fn check_address(&self, push: &Push) -> Result<(), Rejection> {
        if push.cluster != self.options.cluster {
            return Err(Rejection::WrongCluster { actual: self.options.cluster.clone() });
        }
        self.check_sender(push.sender.node)?;
        let own = self.options.node;
        // Another process with this node's id is answered all the same: so both come to know.
        let is_twin = push.sender.node == own && push.sender.boot != self.boot;
        if push.to.is_some_and(|node| node != own) && !is_twin {
            return Err(Rejection::Misdirected { actual: own });
        }
        if self.read_only && !push.ops.is_empty() {
            return Err(Rejection::ReadOnly);
        }
        Ok(())
    }

    /// Takes one op of a push: delivers it, lets it wait, refuses it, or finds that it was here before.
    fn take_op(
        &mut self,
        received: Received,
        outcome: &mut Outcome,
        states: &dyn KeyStates,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Unreadable> {
        self.received_ops += 1;
        let dot = received.op.dot;
        if self.ancestry.covers(&self.staged, dot) || self.buffer.contains(dot) {
            self.redundant_ops += 1;
            outcome.redundant += 1;
            return Ok(());
        }
        match self.first_missing(&received.op) {
            None => self.deliver(received, states, effects),
            Some(missing) => {
                if self.buffer.insert(received, missing).is_err() {
                    let root = self.buffer.root_of(missing);
                    if !outcome.missing.contains(&root) && outcome.missing.len() < MAX_NAMED_MISSING {
                        outcome.missing.push(root);
                    }
                }
                Ok(())
            }
        }
    }

    /// Gives the answers that waited for what is durable now, and those that wait for nothing.
    pub(super) fn answer_durable(&mut self, effects: &mut Vec<Effect>) {
        let durable = self.durable;
        let (ready, waiting) =
            std::mem::take(&mut self.answers).into_iter().partition(|answer| answer.after <= durable);
        self.answers = waiting;
        for PendingAnswer { request, outcome, .. } in Vec::from(ready) {
            let answer = self.answer(outcome);
            effects.push(Effect::Pushed { request, outcome: Ok(answer) });
        }
    }

    fn answer(&mut self, outcome: Outcome) -> Answer {
        let Outcome { sender, of_ops, missing, redundant, twin_ms } = outcome;
        let of_sender = sender.above(&self.applied).map(|dot| dot.origin);
        let mut named: Vec<Origin> = of_sender.chain(of_ops).filter(|origin| self.applied.get(*origin) == 0).collect();
        named.sort();
        named.dedup();
        let implied = named.into_iter().map(|origin| origin.dot(self.ancestry.covered_up_to(&self.applied, origin)));
        let implied = implied.filter(|dot| dot.counter > 0).collect();
        Answer { receiver: self.statement(), implied, missing, redundant, twin_ms }
    }
}
