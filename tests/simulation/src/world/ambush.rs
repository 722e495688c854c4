//! Ambushes: what is done to the two nodes of a state transfer when it has come so far.

use super::{Happening, World};
use crate::Micros;
use crate::schedule::{Blow, Fault, Point};

/// Lies in wait for a piece of a state.
pub(super) struct Ambush {
    left: usize,
    point: Point,
    blow: Blow,
    length: Micros,
}

impl World {
    /// Has something happen when pieces of states have come so far.
    pub(super) fn lie_in_wait(&mut self, left: usize, point: Point, blow: Blow, length: Micros) {
        self.ambushes.push(Ambush { left, point, blow, length });
    }

    pub(super) fn look_out(&mut self, point: Point, sender: usize, receiver: usize) {
        let is_there = |ambush: &mut Ambush| {
            let is_there = ambush.point == point && ambush.left == 0;
            ambush.left -= usize::from(ambush.point == point && ambush.left > 0);
            is_there
        };
        let Some(place) = self.ambushes.iter_mut().position(is_there) else { return };
        let Ambush { blow, length, .. } = self.ambushes.remove(place);
        let kill = |node| (Fault::Kill(node), Some(Fault::Start(node)));
        let pause = |node| (Fault::Pause(node), Some(Fault::Resume(node)));
        let (what, (fault, mended)) = match blow {
            Blow::KillReceiver => ("receiver of a state killed", kill(receiver)),
            Blow::KillSender => ("sender of a state killed", kill(sender)),
            Blow::PauseReceiver => ("receiver of a state paused", pause(receiver)),
            Blow::PauseSender => ("sender of a state paused", pause(sender)),
            Blow::Cut => ("state cut off", (Fault::CutPair(sender, receiver), Some(Fault::HealAll))),
            Blow::RestoreReceiver => ("receiver of a state on another volume", (Fault::Restore(receiver), None)),
            Blow::RestoreSender => ("sender of a state on another volume", (Fault::Restore(sender), None)),
            Blow::WipeReceiver => ("receiver of a state on another volume", (Fault::Wipe(receiver), None)),
            Blow::TwinOfReceiver => ("receiver of a state copied", (Fault::Twin(receiver), None)),
            Blow::FailReceiver => {
                ("disk failed under a state", (Fault::WriteError(receiver), Some(Fault::Kill(receiver))))
            }
        };
        if self.healed {
            return;
        }
        self.record.coverage.count(what);
        self.after(0, Happening::Fault(fault));
        if let Some(mended) = mended {
            self.after(length, Happening::Fault(mended));
        }
        if blow == Blow::FailReceiver {
            self.after(length + 100_000, Happening::Fault(Fault::Start(receiver)));
        }
    }
}
