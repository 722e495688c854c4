//! Faults: what goes wrong, and its mending.

use std::collections::BTreeSet;

use causeway::causality::WallMs;
use causeway::format::frame;
use causeway_checker::history::Volume as VolumeOf;

use super::{Happening, World};
use crate::machine::{DiskFault, Machine};
use crate::network::{Kind, Letter};
use crate::schedule::Fault;
use crate::volume::Volume;

/// At most so many machines; each twin is one.
const MAX_MACHINES: usize = 7;

impl World {
    pub(super) fn fault(&mut self, fault: &Fault) {
        if self.healed {
            return;
        }
        self.record.faults += 1;
        self.record.say(self.now, || format!("--- {fault:?}"));
        match *fault {
            Fault::CutOneWay(from, to) => self.cut("cut one way", |a, b| (a, b) == (from, to)),
            Fault::CutPair(a, b) => {
                self.cut("cut between two", |from, to| [from, to] == [a, b] || [from, to] == [b, a])
            }
            Fault::Split(ref side) => {
                let side: BTreeSet<usize> = side.iter().copied().collect();
                self.cut("split", |from, to| side.contains(&from) != side.contains(&to));
            }
            Fault::HealAll => self.network.heal(),
            Fault::Kill(machine) => self.kill(machine, "crash"),
            Fault::KillInRecovery(machine) => {
                self.kill(machine, "crash");
                self.start(machine, VolumeOf::Kept);
                self.kill(machine, "crash in recovery");
            }
            Fault::Start(machine) => self.start_if_down(machine),
            Fault::Pause(machine) => self.pause(machine),
            Fault::Resume(machine) => self.resume(machine),
            Fault::Slow(machine) => {
                self.record.coverage.count("slow disk");
                self.machines[machine].slow = true;
            }
            Fault::Quick(machine) => self.machines[machine].slow = false,
            Fault::Clock(machine, skew_ms) => self.set_clock(machine, skew_ms),
            Fault::Freeze(machine) => {
                self.record.coverage.count("clock frozen");
                self.machines[machine].frozen = Some(self.machines[machine].now(self.now).wall);
            }
            Fault::WriteError(machine) => self.fail_disk(machine, DiskFault::Write, "write error"),
            Fault::SyncError(machine) => self.fail_disk(machine, DiskFault::Sync, "sync error"),
            Fault::DiskFull(machine) => self.fail_disk(machine, DiskFault::Full, "disk full"),
            Fault::Copy(machine) => {
                self.machines[machine].backup = Some((self.now, self.machines[machine].volume.clone()))
            }
            Fault::Restore(machine) => self.restore(machine),
            Fault::Wipe(machine) => {
                self.record.coverage.count("volume wiped");
                self.replace_volume(machine, Volume::default(), VolumeOf::Empty);
                self.machines[machine].replaced = Some("wiped volume filled");
            }
            Fault::Twin(machine) => self.start_twin(machine),
            Fault::SwapAddresses(a, b) => {
                self.record.coverage.count("addresses swapped");
                self.network.routes.swap(a, b);
            }
            Fault::RestoreAddresses => self.network.restore_addresses(),
            Fault::Replay(machine) => self.replay(machine),
            Fault::ReachTwin(machine) => self.reach_twin(machine),
            Fault::Ambush(left, point, blow, length) => self.lie_in_wait(left, point, blow, length),
        }
    }

    fn cut(&mut self, what: &'static str, is_cut: impl Fn(usize, usize) -> bool) {
        self.record.coverage.count(what);
        for from in 0..self.machines.len() {
            for to in 0..self.machines.len() {
                if from != to && is_cut(from, to) {
                    self.network.cut(from, to);
                }
            }
        }
    }

    pub(super) fn kill(&mut self, machine: usize, what: &'static str) {
        self.note_end_of_twin(machine);
        let now = self.now;
        let Machine { process, volume, unsure, paused, disk_fault, rng, .. } = &mut self.machines[machine];
        let Some(mut process) = process.take() else { return };
        self.record.coverage.count(what);
        (*paused, *disk_fault) = (None, None);
        let coverage = &mut self.record.coverage;
        if let Some(commit) = unsure.take().filter(|_| rng.bool()) {
            volume.apply(&commit, now);
        }
        if let Some(commit) = &process.committing {
            match rng.u8(0..3) {
                0 => coverage.count("unsynced commit lost"),
                1 => {
                    coverage.count("unsynced commit torn");
                    // What is left of it must be known as torn; then a recovery drops it.
                    let record = commit.record();
                    let cut = rng.usize(0..record.len());
                    assert!(frame::open("record", u8::MAX, &record[..cut]).is_err(), "a torn record looks whole");
                }
                _ => {
                    coverage.count("unsynced commit kept");
                    volume.apply(commit, now);
                }
            }
        }
        self.crash_while_adopting(machine, process.adoption.take());
        self.record.down(self.now, machine);
        let held_back = process.held_back.into_iter().filter_map(|happening| match happening {
            Happening::Asked(index) => Some(index),
            _ => None,
        });
        let requests = process.writes.into_values().chain(process.waiting).chain(held_back).collect();
        self.broken(requests);
    }

    pub(super) fn start_if_down(&mut self, machine: usize) {
        if self.machines[machine].process.is_none() {
            self.start(machine, VolumeOf::Kept);
        }
    }

    fn pause(&mut self, machine: usize) {
        let Machine { process, paused, .. } = &mut self.machines[machine];
        if process.is_some() && paused.is_none() {
            *paused = Some(Vec::new());
            self.record.coverage.count("pause");
            self.record.down(self.now, machine);
        }
    }

    pub(super) fn resume(&mut self, machine: usize) {
        let Some(backlog) = self.machines[machine].paused.take() else { return };
        if self.machines[machine].is_well() {
            self.record.up(self.now, machine, VolumeOf::Kept);
        }
        for happening in backlog {
            self.after(0, happening);
        }
    }

    fn set_clock(&mut self, machine: usize, skew_ms: i64) {
        match skew_ms {
            0 => {}
            1.. => self.record.coverage.count("clock ahead"),
            _ => self.record.coverage.count("clock back"),
        }
        (self.machines[machine].skew_ms, self.machines[machine].frozen) = (skew_ms, None::<WallMs>);
        self.machines[machine].remembers_since = self.now;
    }

    fn fail_disk(&mut self, machine: usize, fault: DiskFault, what: &'static str) {
        if self.machines[machine].is_well() {
            self.record.coverage.count(what);
            self.machines[machine].disk_fault = Some(fault);
            self.record.down(self.now, machine);
        }
    }

    fn restore(&mut self, machine: usize) {
        let Some((taken, volume)) = self.machines[machine].backup.clone() else { return };
        self.record.coverage.count("older copy restored");
        self.replace_volume(machine, volume, VolumeOf::Copy { taken });
        let is_cut_off = self.network.is_cut_off(machine);
        let what = if is_cut_off { "older copy filled that was cut off" } else { "older copy filled" };
        self.machines[machine].replaced = Some(what);
    }

    fn replace_volume(&mut self, machine: usize, volume: Volume, kind: VolumeOf) {
        self.kill(machine, "crash");
        self.machines[machine].volume = volume;
        self.machines[machine].remembers_since = self.now;
        self.start(machine, kind);
    }

    fn start_twin(&mut self, machine: usize) {
        if self.machines.len() == MAX_MACHINES {
            return;
        }
        self.record.coverage.count("two owners");
        let twin = self.machines.len();
        let mut machine_of_twin = Machine::new(twin, self.machines[machine].node, self.seed);
        machine_of_twin.volume = self.machines[machine].volume.clone();
        self.machines.push(machine_of_twin);
        self.start(twin, VolumeOf::Copy { taken: self.now });
    }

    fn reach_twin(&mut self, machine: usize) {
        let node = self.machines[machine].node;
        let twin = (self.settings.nodes..self.machines.len()).find(|twin| self.machines[*twin].node == node);
        let address = node.0 as usize;
        if let Some(twin) = twin {
            self.record.coverage.count("copy reached at the address");
            self.network.routes[address] = twin;
        }
    }

    fn replay(&mut self, machine: usize) {
        let Some((kind, bytes)) = self.network.old_push(machine) else { return };
        self.record.coverage.count(if kind == Kind::Push { "old push again" } else { "old piece again" });
        let (sender, link) = ((machine, 0), causeway::replica::LinkId(0));
        let letter = Letter { sender, link, number: 0, carried: Vec::new(), kind, bytes };
        self.after(0, Happening::Push(machine, letter));
    }
}
