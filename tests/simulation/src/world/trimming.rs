//! Trimming: when a node's log loses what, and what keeps it.

use causeway::replica::View;

use super::states::ABANDONED;
use super::{Happening, World};
use crate::Micros;
use crate::machine::Machine;
use crate::recorder::short_dots;
use crate::volume::Run;

/// How often a node looks whether its log can be trimmed.
const TRIM: Micros = 200_000;
/// Ops that every peer has stay for so long.
const KEEP: Micros = 1_000_000;

impl World {
    /// Drops what can go of a node's log, if it is time to; whether the disk is busy with it.
    pub(super) fn trim(&mut self, machine: usize) -> bool {
        let Some(most) = self.settings.log_runs else { return false };
        let now = self.now;
        let Machine { process, volume, remembers_since, .. } = &mut self.machines[machine];
        let process = process.as_mut().expect("it was looked at by who asks");
        if now < process.next_trim {
            return false;
        }
        process.next_trim = now + TRIM;
        process.filling.take_if(|filling| now - filling.heard >= ABANDONED);
        for slot in &mut process.sending {
            slot.take_if(|sending| now - sending.used >= ABANDONED);
        }
        let view = process.replica.view();
        let Some(through) = through(volume.closed_runs(), most, &view, now) else { return false };
        let sending = process.sending.iter().flatten().map(|sending| sending.position);
        let filling = process.filling.iter().map(|filling| filling.fill.position());
        let adopting =
            process.adoption.iter().flat_map(|adoption| &adoption.filled).map(|filled| filled.fill.position());
        let held = sending.chain(filling).chain(adopting).min();
        let (floor, ended) = volume.trim(held.map_or(through, |held| held.min(through)));
        let Some(ended) = ended else { return false };
        // Names of writes are in the log.
        *remembers_since = ended.max(*remembers_since);
        self.record.coverage.count("log trimmed");
        if !view.all_have(&floor) {
            self.record.coverage.count("log trimmed of what a peer lacks");
        }
        process.is_committing = true;
        let boot = process.boot;
        self.record.say(now, || format!("node{machine} trims its log of {}", short_dots(floor.entries())));
        self.after(20, Happening::Trimmed(machine, boot, floor));
        true
    }
}

/// Up to which position the log can go, if any of it can: what all have and is old, and what is too much.
fn through<'a>(runs: impl Iterator<Item = &'a Run>, most: usize, view: &View, now: Micros) -> Option<u64> {
    let runs: Vec<&Run> = runs.collect();
    let is_too_much = |index: usize| runs.len() - index > most;
    let is_done = |run: &Run| now.saturating_sub(run.ended) >= KEEP && view.all_have(&run.vector);
    let gone = runs.iter().enumerate().take_while(|(index, run)| is_too_much(*index) || is_done(run));
    gone.last().map(|(_, run)| run.last)
}
