//! The end of a simulation: everything is healed, the cluster comes to rest, and what each node holds is noted.

use causeway::replica::KeyStates;
use causeway_checker::history::{Bound, Event, Final};

use super::{Happening, World, requests};
use crate::Micros;
use crate::session::{dot, origin};

/// How often to see whether everything has come to rest.
const POLL: Micros = 100_000;
/// By when after the end it must have.
const REST: Micros = 60_000_000;

impl World {
    pub(super) fn heal_everything(&mut self) {
        self.record.say(self.now, || "--- everything is healed".to_owned());
        self.healed = true;
        self.network.heal();
        self.network.calm();
        for machine in 0..self.machines.len() {
            self.resume(machine);
            let is_read_only =
                self.machines[machine].process.as_ref().is_some_and(|process| process.replica.view().read_only);
            if is_read_only || self.machines[machine].disk_fault.is_some() {
                self.kill(machine, "crash");
            }
            self.start_if_down(machine);
            (self.machines[machine].slow, self.machines[machine].skew_ms) = (false, 0);
            self.machines[machine].frozen = None;
        }
        let until = self.now + REST;
        self.rest_by = until;
        self.after(POLL, Happening::Poll);
    }

    pub(super) fn poll(&mut self) {
        if self.now < self.rest_by && !self.rests() {
            self.after(POLL, Happening::Poll);
            return;
        }
        self.is_over = true;
        self.check_owners_told();
        for machine in 0..self.machines.len() {
            self.note_bounds(machine);
        }
        for node in 0..self.settings.nodes {
            self.note_final(node);
        }
    }

    /// Whether no client waits, and all nodes have all that any of them, or a twin, has.
    fn rests(&self) -> bool {
        let idle = self.sessions.iter().all(|session| session.request.is_none());
        let views: Option<Vec<_>> = self
            .machines
            .iter()
            .map(|machine| {
                let process = machine.process.as_ref()?;
                let quiet = !process.is_committing && process.staged.is_empty();
                quiet.then(|| process.replica.view())
            })
            .collect();
        let Some(views) = views.filter(|_| idle && self.are_owners_told()) else { return false };
        let (nodes, twins) = views.split_at(self.settings.nodes);
        nodes.iter().all(|view| {
            view.vector == nodes[0].vector
                && twins.iter().all(|twin| view.ancestry.includes(&view.vector, &twin.vector))
        })
    }

    fn note_bounds(&mut self, machine: usize) {
        let Some(process) = &self.machines[machine].process else { return };
        let bounds = [
            ("ops in the delivery buffer", process.most_waiting as u64, self.settings.waiting_ops as u64),
            ("pieces of a state to a peer that lacks nothing but what the log has", process.needless_pieces, 0),
        ];
        for (what, value, limit) in bounds {
            let bound = Bound { at: self.now, node: machine as u32, what: what.into(), value, limit };
            self.record.history.push(Event::Bound(bound));
        }
    }

    fn note_final(&mut self, node: usize) {
        let volume = &self.machines[node].volume;
        let recovered = volume.recover();
        let keys = volume.keys().map(|key| {
            let siblings = volume.siblings(key).expect("nothing damages simulated records");
            (key.clone(), requests::state(&siblings, 2).shown)
        });
        let ancestry =
            recovered.ancestry.iter().map(|(of, parents)| (origin(of), parents.iter().copied().map(dot).collect()));
        self.record.history.push(Event::Final(Final {
            node: node as u32,
            vector: volume.vector().entries().map(dot).collect(),
            ancestry: ancestry.collect(),
            keys: keys.collect(),
        }));
    }
}
