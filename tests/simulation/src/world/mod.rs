//! The world: carries out a schedule, one event after the other.

mod ambush;
mod faults;
mod finish;
mod replication;
mod requests;
pub mod states;
mod trimming;
mod twins;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use causeway::causality::{NodeId, VersionVector};
use causeway::format::state::StatePiece;
use causeway::replica::{Adopted, Answer, Effect, Input, TICK_MS};
use causeway_checker::history::Volume as VolumeOf;

use crate::Micros;
use crate::machine::{DiskFault, Machine};
use crate::network::{Letter, Network};
use crate::recorder::{Record, short_dot, short_dots};
use crate::schedule::{Action, Fault, Schedule, Settings};
use crate::session::{Request, Session};
use crate::volume::Commit;

/// A commit of a slow disk takes up to this long.
const SLOW_COMMIT: Micros = 400_000;

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A step of the schedule is due.
    Step(usize),
    /// A process is to look at its clock.
    Tick(usize, u64),
    /// The disk is through with a commit.
    Synced(usize, u64),
    /// The process hears of that.
    Committed(usize, u64, Result<u64, ()>),
    /// The process hears that its log was trimmed, up to this.
    Trimmed(usize, u64, VersionVector),
    /// A push, or a piece of a state, reaches a machine.
    Push(usize, Letter),
    /// A piece of a state whose push was answered like that is to be taken in.
    PieceWritten(usize, u64, Letter, Rc<StatePiece>, Answer),
    /// The disk is through with putting a state into the place of the old one.
    Switched(usize, u64),
    /// The process hears of that.
    Adopted(usize, u64, Result<Box<Adopted>, ()>),
    /// Something goes wrong, or is mended, that no step says.
    Fault(Fault),
    /// What became of a push reaches its sender: the answer's bytes, or a connection that was refused.
    Pushed(Letter, Option<Vec<u8>>),
    /// A push's sender has waited long enough.
    GiveUp(Letter),
    /// A client's request reaches its machine.
    Asked(usize),
    /// It has waited long enough for its context.
    ContextDeadline(usize),
    /// An answer reaches its client.
    Answered(usize, requests::Reply),
    /// A client has waited long enough.
    ClientGivesUp(usize),
    /// A client tries once more.
    SendAgain(usize),
    /// All is healed.
    End,
    /// See whether everything has come to rest.
    Poll,
}

/// Everything there is.
pub struct World {
    now: Micros,
    settings: Settings,
    queue: BinaryHeap<Reverse<(Micros, u64)>>,
    coming: BTreeMap<u64, Happening>,
    next_event: u64,
    machines: Vec<Machine>,
    network: Network,
    sessions: Vec<Session>,
    requests: Vec<Request>,
    next_try: u64,
    next_value: u64,
    keys: Vec<causeway::replica::Key>,
    clients: fastrand::Rng,
    ambushes: Vec<ambush::Ambush>,
    record: Record,
    is_over: bool,
    healed: bool,
    rest_by: Micros,
    /// When two processes last had an id at the same time, where they have no more.
    two_until: BTreeMap<NodeId, Micros>,
    seed: u64,
}

/// Carries out a schedule, up to a panic if there is one. The same schedule gives the same record, to the byte.
pub fn play(schedule: &Schedule, traced: bool) -> Record {
    let mut world = World::new(schedule, traced);
    // A world that panicked is not used any more; what it recorded is whole lines and whole events.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.run(schedule))) {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        world.record.panic = Some(text.unwrap_or("it has no message").to_owned());
    }
    world.record.length = world.now;
    world.record
}

impl World {
    fn run(&mut self, schedule: &Schedule) {
        for machine in 0..self.machines.len() {
            self.start(machine, VolumeOf::Empty);
        }
        for (index, step) in schedule.steps.iter().enumerate() {
            self.at(step.at, Happening::Step(index));
        }
        self.at(schedule.end, Happening::End);
        while !self.is_over {
            let Some(Reverse((at, number))) = self.queue.pop() else { break };
            let happening = self.coming.remove(&number).expect("what is queued is there");
            self.now = at;
            self.record.events += 1;
            match happening {
                Happening::Step(index) => match &schedule.steps[index].action {
                    Action::Client(step) => self.client_step(step.clone()),
                    Action::Fault(fault) => self.fault(fault),
                },
                other => self.happen(other),
            }
        }
    }

    fn new(schedule: &Schedule, traced: bool) -> Self {
        let Schedule { seed, settings, .. } = schedule;
        let machine = |index| Machine::new(index, NodeId(index as u32), *seed);
        Self {
            now: 0,
            settings: settings.clone(),
            queue: BinaryHeap::new(),
            coming: BTreeMap::new(),
            next_event: 0,
            machines: (0..settings.nodes).map(machine).collect(),
            network: Network::new(*seed, settings),
            sessions: (0..settings.sessions).map(Session::new).collect(),
            requests: Vec::new(),
            next_try: 0,
            next_value: 0,
            keys: (0..settings.keys).map(|key| format!("k{key}").into()).collect(),
            clients: fastrand::Rng::with_seed(seed ^ 0x0063_6c69),
            ambushes: Vec::new(),
            record: Record::new(traced),
            is_over: false,
            healed: false,
            rest_by: 0,
            two_until: BTreeMap::new(),
            seed: *seed,
        }
    }

    fn at(&mut self, at: Micros, happening: Happening) {
        self.next_event += 1;
        // What was due while its node was paused is due now.
        self.queue.push(Reverse((at.max(self.now), self.next_event)));
        self.coming.insert(self.next_event, happening);
    }

    fn after(&mut self, wait: Micros, happening: Happening) {
        self.at(self.now + wait, happening);
    }

    /// Whether this run of the process is still the one that runs there.
    fn runs(&self, machine: usize, boot: u64) -> bool {
        self.machines[machine].process.as_ref().is_some_and(|process| process.boot == boot)
    }

    fn happen(&mut self, happening: Happening) {
        if let Some(machine) = self.concerned(&happening)
            && let Some(backlog) = &mut self.machines[machine].paused
        {
            backlog.push(happening);
            return;
        }
        match happening {
            Happening::Step(_) => unreachable!("taken by `run`, which has the schedule"),
            Happening::Tick(machine, boot) if self.runs(machine, boot) => self.tick(machine, boot),
            Happening::Synced(machine, boot) if self.runs(machine, boot) => self.synced(machine, boot),
            Happening::Committed(machine, boot, outcome) if self.runs(machine, boot) => {
                self.committed(machine, outcome);
            }
            Happening::Trimmed(machine, boot, floor) if self.runs(machine, boot) => self.trimmed(machine, floor),
            Happening::PieceWritten(machine, boot, letter, piece, answer) if self.runs(machine, boot) => {
                self.piece_written(machine, letter, &piece, answer);
            }
            Happening::Switched(machine, boot) if self.runs(machine, boot) => self.switched(machine, boot),
            Happening::Adopted(machine, boot, outcome) if self.runs(machine, boot) => self.adopted(machine, outcome),
            Happening::Tick(..) | Happening::Synced(..) | Happening::Committed(..) | Happening::Trimmed(..) => {}
            Happening::PieceWritten(..) | Happening::Switched(..) | Happening::Adopted(..) => {}
            Happening::Fault(fault) => self.fault(&fault),
            Happening::Push(machine, letter) => self.push_arrives(machine, letter),
            Happening::Pushed(letter, answer) => self.answer_arrives(&letter, answer),
            Happening::GiveUp(letter) => self.give_up(&letter),
            Happening::Asked(request) => self.asked(request),
            Happening::ContextDeadline(request) => self.context_deadline(request),
            Happening::Answered(request, reply) => self.answered(request, reply),
            Happening::ClientGivesUp(request) => self.client_gives_up(request),
            Happening::SendAgain(request) => self.send_again(request),
            Happening::End => self.heal_everything(),
            Happening::Poll => self.poll(),
        }
    }

    /// The machine that has to run for something to happen.
    fn concerned(&self, happening: &Happening) -> Option<usize> {
        match happening {
            Happening::Tick(machine, _)
            | Happening::Synced(machine, _)
            | Happening::Committed(machine, ..)
            | Happening::Trimmed(machine, ..)
            | Happening::PieceWritten(machine, ..)
            | Happening::Switched(machine, ..)
            | Happening::Adopted(machine, ..)
            | Happening::Push(machine, _) => Some(*machine),
            Happening::Pushed(letter, _) | Happening::GiveUp(letter) => Some(letter.sender.0),
            Happening::Asked(request) | Happening::ContextDeadline(request) => {
                Some(self.requests[*request].step.machine)
            }
            _ => None,
        }
    }

    fn start(&mut self, machine: usize, volume: VolumeOf) {
        let (now, settings) = (self.now, self.settings.clone());
        self.machines[machine].start(machine, &settings, now);
        if self.machines[machine].volume.is_trimmed() {
            self.record.coverage.count("start with a trimmed log");
        }
        self.record.up(now, machine, volume);
        let vector = self.machines[machine].volume.vector();
        self.record.say(now, || format!("node{machine} starts on {}", short_dots(vector.entries())));
        let boot = self.machines[machine].process.as_ref().expect("it was just started").boot;
        self.after(machine as Micros * 1_000, Happening::Tick(machine, boot));
    }

    fn tick(&mut self, machine: usize, boot: u64) {
        self.feed(machine, Input::Tick);
        self.after(TICK_MS * 1_000, Happening::Tick(machine, boot));
    }

    /// Gives an input to the replica that runs on a machine, and carries out what it wants.
    fn feed(&mut self, machine: usize, input: Input) {
        let now = self.machines[machine].now(self.now);
        let Machine { process, volume, .. } = &mut self.machines[machine];
        let Some(process) = process.as_mut() else { return };
        let effects = process.replica.handle(now, input, volume);
        for effect in effects {
            self.carry_out(machine, effect);
        }
        self.commit(machine);
    }

    fn carry_out(&mut self, machine: usize, effect: Effect) {
        match effect {
            Effect::Append(append) => {
                let process = self.machines[machine].process.as_mut().expect("its replica just spoke");
                match append.op.parents.len() {
                    0 => {}
                    1 => self.record.coverage.count("incarnation with a parent"),
                    _ => self.record.coverage.count("incarnation with several parents"),
                }
                process.staged.push(append);
            }
            Effect::Written { request, outcome } => self.written(machine, request, outcome),
            Effect::Pushed { request, outcome } => self.pushed(machine, request, outcome),
            Effect::Send(send) if send.state && !send.probe => self.send_piece(machine, send),
            Effect::Send(send) => self.send(machine, send),
            Effect::Visible(visible) => self.record.say(self.now, || {
                let from = visible.from.map_or("a client".to_owned(), |node| format!("node{node}"));
                format!("node{machine} makes {} of {from} visible", short_dot(visible.op.dot))
            }),
            Effect::Acknowledged { .. } | Effect::UnknownMember { .. } => {}
            Effect::Peer { link, change, .. } => {
                self.record.say(self.now, || format!("node{machine} finds its peer {}: {change:?}", link.0));
            }
            Effect::Twin { node, seen } => self.twin(machine, node, seen),
        }
    }

    /// Hands what was staged to the disk, if that is idle, or something else that is for the disk to do.
    fn commit(&mut self, machine: usize) {
        if self.machines[machine].process.as_ref().is_none_or(|process| process.is_committing) || self.trim(machine) {
            return;
        }
        let (shortest, longest) = self.settings.commit;
        let Machine { process, rng, slow, .. } = &mut self.machines[machine];
        let Some(process) = process.as_mut() else { return };
        if process.staged.is_empty() && process.adoption.is_none() {
            return;
        }
        let takes = if *slow { rng.u64(longest..longest + SLOW_COMMIT) } else { rng.u64(shortest..longest) };
        if process.staged.is_empty() {
            self.begin_adoption(machine, takes);
            return;
        }
        let commit = Commit::new(std::mem::take(&mut process.staged), process.replica.checkpoint());
        process.committing = Some(commit);
        process.is_committing = true;
        let boot = process.boot;
        self.after(takes, Happening::Synced(machine, boot));
    }

    fn trimmed(&mut self, machine: usize, floor: VersionVector) {
        let Some(process) = self.machines[machine].process.as_mut() else { return };
        process.is_committing = false;
        self.feed(machine, Input::Trimmed { floor });
    }

    /// The disk is through with a commit: it is there for readers, and the process will hear of it.
    fn synced(&mut self, machine: usize, boot: u64) {
        let now = self.now;
        let Machine { process, volume, disk_fault, unsure, .. } = &mut self.machines[machine];
        let Some(process) = process.as_mut() else { return };
        let Some(commit) = process.committing.take() else { return };
        let outcome = match disk_fault {
            None => {
                volume.apply(&commit, now);
                Ok(commit.through)
            }
            Some(fault) => {
                if *fault == DiskFault::Sync {
                    *unsure = Some(commit);
                }
                Err(())
            }
        };
        self.after(20, Happening::Committed(machine, boot, outcome));
    }

    fn committed(&mut self, machine: usize, outcome: Result<u64, ()>) {
        let Some(process) = self.machines[machine].process.as_mut() else { return };
        process.is_committing = false;
        match outcome {
            Ok(through) => self.feed(machine, Input::Persisted { through }),
            Err(()) => {
                process.staged.clear();
                self.record.say(self.now, || format!("node{machine}: a commit failed, it is read-only"));
                self.feed(machine, Input::PersistFailed);
            }
        }
        self.look_at_waiting(machine);
    }
}
