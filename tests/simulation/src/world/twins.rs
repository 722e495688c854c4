//! Two living owners of one identity are told, and nobody else is.

use causeway::causality::NodeId;
use causeway::replica::PROOF_MS;

use super::World;
use crate::Micros;

/// For how long after two lived somebody may still find it out: a claim's time, and that of what was under way.
const LATE: Micros = (PROOF_MS + 5_000) * 1_000;

impl World {
    /// A node says that two processes have an id, or have it no more.
    pub(super) fn twin(&mut self, machine: usize, node: NodeId, seen: bool) {
        self.record.say(self.now, || format!("node{machine} finds two of id {node}: {seen}"));
        if !seen {
            return;
        }
        let until = self.two_until.get(&node).copied();
        let may_be = self.live(node) > 1 || until.is_some_and(|until| self.now < until + LATE);
        assert!(may_be, "node{machine} says that two processes have the id {node}, and they have not");
        if self.machines[machine].node == node {
            self.record.coverage.count("two owners told");
        }
    }

    /// A process is going to end: from then on two may have no more its id.
    pub(super) fn note_end_of_twin(&mut self, machine: usize) {
        let node = self.machines[machine].node;
        if self.live(node) > 1 {
            self.two_until.insert(node, self.now);
        }
    }

    fn live(&self, node: NodeId) -> usize {
        self.machines.iter().filter(|machine| machine.node == node && machine.process.is_some()).count()
    }

    /// Whether every process that shares its id knows it.
    pub(super) fn are_owners_told(&self) -> bool {
        self.machines.iter().all(|machine| {
            let own = machine.node;
            let told = machine.process.as_ref().map(|process| process.replica.view().twins.contains_key(&own));
            told.is_none_or(|told| told || self.live(own) < 2)
        })
    }

    /// At the end, long after everything was healed.
    pub(super) fn check_owners_told(&self) {
        assert!(self.are_owners_told(), "two processes have one id, and one of them does not know it");
    }
}
