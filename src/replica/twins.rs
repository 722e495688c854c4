//! Two live processes of one node id: a copied volume that was started twice, or two containers with one id. Their ops
//! are all taken, because their dots differ; but somebody should know.
//!
//! A process that was started again looks much the same: pushes of the run before it may come late, doubled and out of
//! order. So a claim needs proof that the two lived at the same time. Every statement is numbered, and a push names the
//! one that its sender was answered with last: its *echo*. An echo shows that its sender lived after that statement was
//! made. A receiver that hears two runs ([`Run`]) of an id remembers its own last statement from before it heard of each:
//! its *mark*. When each of the two has echoed more than the other's mark, each lived after the other had begun: at some
//! time both did. Of a run and the one that follows it, one of the two never can.
//!
//! A claim holds for [`PROOF_MS`] from the newest proof that both live. Who proved it tells the two in its answers.

use std::collections::BTreeMap;

use super::Replica;
use super::effect::{Effect, MonoMs, Now};
use super::message::{Echo, Statement};
use crate::causality::{NodeId, WallMs};

/// For how long a process counts as living since it was proven to live.
pub const PROOF_MS: u64 = 30_000;

/// Of how many ids runs are remembered, and how many runs of each: those that were heard last. (Of more that live than are
/// remembered none would be heard twice.)
const MAX_NODES: usize = 256;
const MAX_RUNS: usize = 16;

/// What is known of runs, and of ids that two of them share.
#[derive(Debug, Default)]
pub(super) struct Twins {
    runs: BTreeMap<NodeId, Vec<Run>>,
    claims: BTreeMap<NodeId, Claim>,
}

/// A run of another process.
#[derive(Clone, Copy, Debug)]
struct Run {
    boot: u64,
    /// This node's statements before it was first heard.
    mark: u64,
    /// The newest of them that it has echoed; 0: none.
    echoed: u64,
    /// When that was.
    alive: MonoMs,
    heard: MonoMs,
}

/// Two processes with an id are known to live.
#[derive(Clone, Copy, Debug)]
struct Claim {
    since: WallMs,
    proven: MonoMs,
}

impl Run {
    fn lived_after_the_first_of(&self, other: &Run) -> bool {
        self.echoed > other.mark
    }
}

impl Twins {
    /// Takes note of a push. `statements`: how many this node has made.
    fn hear(&mut self, now: MonoMs, sender: &Statement, echoed: u64, statements: u64) {
        if !self.runs.contains_key(&sender.node) && self.runs.len() == MAX_NODES {
            let last_heard = |runs: &Vec<Run>| runs.iter().map(|run| run.heard).max();
            let oldest = self.runs.iter().min_by_key(|(_, runs)| last_heard(runs)).map(|(node, _)| *node);
            oldest.and_then(|node| self.runs.remove(&node));
        }
        let runs = self.runs.entry(sender.node).or_default();
        if let Some(run) = runs.iter_mut().find(|run| run.boot == sender.boot) {
            run.heard = now;
            if echoed > run.echoed {
                (run.echoed, run.alive) = (echoed, now);
            }
            return;
        }
        if runs.len() == MAX_RUNS {
            let oldest = (0..runs.len()).min_by_key(|index| runs[*index].heard).expect("there are some");
            runs.remove(oldest);
        }
        runs.push(Run { boot: sender.boot, mark: statements, echoed, alive: now, heard: now });
    }

    /// When another process with the id of this run was last proven to live, one that did at the same time.
    fn other_of(&self, node: NodeId, boot: u64) -> Option<MonoMs> {
        let runs = self.runs.get(&node)?;
        let own = runs.iter().find(|run| run.boot == boot)?;
        let others = runs.iter().filter(|run| run.boot != boot);
        let proven = others.filter(|run| run.lived_after_the_first_of(own) && own.lived_after_the_first_of(run));
        proven.map(|run| run.alive).max()
    }

    /// When a run was last proven to live.
    fn alive(&self, node: NodeId, boot: u64) -> Option<MonoMs> {
        let run = self.runs.get(&node)?.iter().find(|run| run.boot == boot && run.echoed > 0)?;
        Some(run.alive)
    }

    /// When a claim ends, unless it is proven anew.
    pub(super) fn due(&self) -> Option<MonoMs> {
        self.claims.values().map(|claim| MonoMs(claim.proven.0 + PROOF_MS)).min()
    }

    /// The ids that are known to have two living processes, and since when.
    pub(super) fn view(&self) -> BTreeMap<NodeId, WallMs> {
        self.claims.iter().map(|(node, claim)| (*node, claim.since)).collect()
    }
}

impl Replica {
    /// Takes note of who pushed. Gives how long ago another process with its id was last proven to live, in
    /// milliseconds, where that is to be told.
    pub(super) fn hear_run(
        &mut self,
        now: Now,
        sender: &Statement,
        echo: Option<Echo>,
        effects: &mut Vec<Effect>,
    ) -> Option<u64> {
        let Statement { node, boot, .. } = *sender;
        if boot == self.boot {
            // An address of a peer leads to this node itself.
            return None;
        }
        // Of a run of this node before this one it proves nothing.
        let echoed = echo.filter(|echo| echo.boot == self.boot).map_or(0, |echo| echo.number);
        self.twins.hear(now.mono, sender, echoed, self.statements);
        if node == self.options.node {
            // It has something that this run said, so it lived while this one did. It will know by the answer.
            let alive = self.twins.alive(node, boot);
            alive.into_iter().for_each(|alive| self.claim_twin(now, node, alive, effects));
            return None;
        }
        let other = self.twins.other_of(node, boot)?;
        let own = self.twins.alive(node, boot)?;
        self.claim_twin(now, node, other.min(own), effects);
        Some(now.mono.since(other)).filter(|age_ms| *age_ms < PROOF_MS)
    }

    /// A node that was not expected answered what this one had just sent: with this node's id it is another process.
    pub(super) fn answered_by_own_id(&mut self, now: Now, answering: &Statement, effects: &mut Vec<Effect>) {
        if answering.node == self.options.node && answering.boot != self.boot {
            self.claim_twin(now, self.options.node, now.mono, effects);
        }
    }

    /// A peer says how long ago another process with this node's id was last proven to live.
    pub(super) fn told_of_twin(&mut self, now: Now, age_ms: u64, effects: &mut Vec<Effect>) {
        let proven = MonoMs(now.mono.0.saturating_sub(age_ms));
        if age_ms < PROOF_MS {
            self.claim_twin(now, self.options.node, proven, effects);
        }
    }

    fn claim_twin(&mut self, now: Now, node: NodeId, proven: MonoMs, effects: &mut Vec<Effect>) {
        if now.mono.since(proven) >= PROOF_MS {
            return;
        }
        let claim = self.twins.claims.entry(node).or_insert_with(|| {
            effects.push(Effect::Twin { node, seen: true });
            Claim { since: now.wall, proven }
        });
        claim.proven = claim.proven.max(proven);
    }

    /// Ends claims that were not proven anew.
    pub(super) fn expire_twins(&mut self, now: MonoMs, effects: &mut Vec<Effect>) {
        self.twins.claims.retain(|node, claim| {
            let holds = now.since(claim.proven) < PROOF_MS;
            if !holds {
                effects.push(Effect::Twin { node: *node, seen: false });
            }
            holds
        });
    }
}
