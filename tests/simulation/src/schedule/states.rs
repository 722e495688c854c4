//! What a schedule has so that nodes need each other's whole states, and what is done to them then.

use fastrand::Rng;

use super::{Fault, Kind, SECOND, Settings, Step, pick, push, two};
use crate::Micros;

/// How far a piece of a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// It reaches the receiver.
    Arrived,
    /// The receiver has it.
    Taken,
    /// All are there, and the state is being adopted.
    Adopting,
    /// That is on disk, and the process does not know it yet.
    Adopted,
    /// The answer reaches the sender.
    Answered,
}

/// What is done to the nodes of a state transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// The receiver is killed.
    KillReceiver,
    /// The sender is killed.
    KillSender,
    /// Nothing runs on the receiver.
    PauseReceiver,
    /// Nothing runs on the sender.
    PauseSender,
    /// Nothing passes between the two.
    Cut,
    /// The receiver starts on a copy of its volume (on nothing, if there is none).
    RestoreReceiver,
    /// The sender does.
    RestoreSender,
    /// The receiver starts on nothing.
    WipeReceiver,
    /// A second process with the receiver's id is started on a copy of its volume.
    TwinOfReceiver,
    /// The receiver's disk fails.
    FailReceiver,
}

/// In every second schedule logs are trimmed, and more happens of what makes nodes need each other's states.
pub(super) fn add(seed: u64, settings: &mut Settings, end: Micros, steps: &mut Vec<Step>) {
    let mut rng = Rng::with_seed(seed ^ 0x7472_696d);
    if rng.bool() {
        return;
    }
    settings.log_runs = Some(rng.usize(1..6));
    settings.piece_keys = rng.usize(1..4);
    for _ in 0..rng.usize(2..6) {
        let kind = *pick(&mut rng, &STATE_KINDS);
        let at = rng.u64(SECOND / 5..end);
        let length = rng.u64(SECOND..5 * SECOND);
        kind(&mut rng, settings.nodes, at, at + length, steps);
    }
    for _ in 0..rng.usize(0..4) {
        let points = [Point::Arrived, Point::Arrived, Point::Taken, Point::Adopting, Point::Adopted, Point::Answered];
        let (at, point, blow) = (rng.u64(SECOND / 5..end), *pick(&mut rng, &points), *pick(&mut rng, &BLOWS));
        let length = rng.u64(SECOND / 50..3 * SECOND);
        push(steps, &[(at, Fault::Ambush(rng.usize(0..6), point, blow, length))]);
    }
}

const BLOWS: [Blow; 10] = [
    Blow::KillReceiver,
    Blow::KillSender,
    Blow::PauseReceiver,
    Blow::PauseSender,
    Blow::Cut,
    Blow::RestoreReceiver,
    Blow::RestoreSender,
    Blow::WipeReceiver,
    Blow::TwinOfReceiver,
    Blow::FailReceiver,
];

/// What leaves a node without ops that the others' logs do not have any more.
const STATE_KINDS: [Kind; 6] = [
    |rng, nodes, from, to, steps| {
        let node = rng.usize(0..nodes);
        push(steps, &[(from, Fault::Split(vec![node])), (to, Fault::HealAll)]);
    },
    |rng, nodes, from, to, steps| {
        let (a, b) = two(rng, nodes);
        push(steps, &[(from, Fault::Split(vec![a])), (to, Fault::HealAll), (to + SECOND / 5, Fault::Wipe(b))]);
    },
    |rng, nodes, from, _, steps| push(steps, &[(from, Fault::Wipe(rng.usize(0..nodes)))]),
    |rng, nodes, from, to, steps| {
        let node = rng.usize(0..nodes);
        push(steps, &[(from, Fault::Copy(node)), (to, Fault::Restore(node))]);
    },
    // Also while it is cut off.
    |rng, nodes, from, to, steps| {
        let node = rng.usize(0..nodes);
        let (cut, healed) = (to - SECOND / 2, to + SECOND);
        push(steps, &[(from, Fault::Copy(node)), (cut, Fault::Split(vec![node]))]);
        push(steps, &[(to, Fault::Restore(node)), (healed, Fault::HealAll)]);
    },
    |rng, nodes, from, to, steps| {
        let node = rng.usize(0..nodes);
        push(steps, &[(from, Fault::Twin(node)), (to, Fault::ReachTwin(node)), (to + SECOND, Fault::RestoreAddresses)]);
        push(steps, &[(from + SECOND / 2, Fault::Split(vec![node])), (to, Fault::HealAll)]);
    },
];
