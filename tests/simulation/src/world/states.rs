//! State transfer, as the shells of a node do it: pieces on their way, filling, adopting.

use std::rc::Rc;

use causeway::causality::NodeId;
use causeway::format::message;
use causeway::format::state::{self, StateAnswer, StateHead, StatePiece, Taken};
use causeway::replica::{Adopted, Answer, Input, Key, LinkId, PeerState, Push, Rejection, Send};

use super::{Happening, World};
use crate::Micros;
use crate::machine::{Machine, Process, peers};
use crate::network::{Kind, Letter};
use crate::recorder::{short_dots, short_ranges};
use crate::schedule::Point;
use crate::volume::{Fill, Volume};

/// For how long a sender that is silent keeps others from taking over.
const SILENT: Micros = 10_000_000;
/// After how long without a piece, or without an order for one, a state is given up.
pub(super) const ABANDONED: Micros = 60_000_000;
/// What is done with the answer to a push.
pub enum Waiting {
    /// It goes back.
    Push(Letter),
    /// It goes back with what becomes of the piece.
    Piece(Letter, Rc<StatePiece>),
    /// It goes back with the word that all was taken.
    Adopted(Letter),
}

/// A node's state on its way to a peer, as of one instant.
pub struct Sending {
    transfer: u64,
    snapshot: Volume,
    head: StateHead,
    pub(super) position: u64,
    peer: NodeId,
    /// Behind which key the next piece begins.
    after: Option<Key>,
    pub(super) used: Micros,
    /// Whether a piece, or its answer, was lost.
    was_lost: bool,
}

/// A peer's state that is coming in.
pub struct Filled {
    transfer: u64,
    sender: NodeId,
    /// The run of it. Two may have one id.
    boot: u64,
    /// The machine that sends it.
    from: usize,
    pub(super) fill: Fill,
    through: Option<Key>,
    pub(super) heard: Micros,
    began_at: u64,
}

/// A state on its way into the place of the old one.
pub struct Adoption {
    /// Until it is on disk.
    pub(super) filled: Option<Filled>,
    /// Whether the disk has begun.
    pub is_under_way: bool,
    letter: Letter,
    push: Push,
}

impl World {
    /// Sends the next piece of a node's state.
    pub(super) fn send_piece(&mut self, machine: usize, send: Send) {
        let Send { link, push, ops, .. } = send;
        let now = self.now;
        let Machine { process, volume, rng, node, .. } = &mut self.machines[machine];
        let process = process.as_mut().expect("its replica just spoke");
        let peer = push.to.unwrap_or(*node);
        let view = process.replica.view();
        process.needless_pieces += u64::from(volume.has(&view.lacks(&view.links[link.0])));
        let slot = &mut process.sending[link.0];
        if slot.as_ref().is_some_and(|sending| sending.peer != peer || now - sending.used >= ABANDONED) {
            *slot = None;
        }
        let sending = slot.get_or_insert_with(|| Sending {
            transfer: rng.u64(..),
            snapshot: volume.clone(),
            head: volume.head(),
            position: volume.recover().checkpoint.position,
            peer,
            after: None,
            used: now,
            was_lost: false,
        });
        sending.used = now;
        let after = sending.after.clone();
        let (keys, is_last) = sending.snapshot.piece(after.as_deref(), self.settings.piece_keys);
        let head = after.is_none().then_some(&sending.head);
        let bytes = state::encode_piece(&push, sending.transfer, after.as_deref(), head, &keys, is_last);
        let kind = Kind::Piece(sending.transfer, after);
        self.record.say(now, || {
            let lacks = short_ranges(&ops);
            let (after, last) = (send_after(&kind), if is_last { ", the last" } else { "" });
            format!(
                "node{machine} → node{peer}: {} keys of its state behind {after}{last} (it lacks {lacks})",
                keys.len()
            )
        });
        self.post(machine, link, kind, Vec::new(), bytes.into());
    }

    /// An order for ops: its peer does not need the state any more.
    pub(super) fn forget_state(&mut self, machine: usize, link: LinkId) {
        let process = self.machines[machine].process.as_mut().expect("its replica just spoke");
        process.sending[link.0] = None;
    }

    pub(super) fn piece_arrives(&mut self, machine: usize, letter: Letter) {
        self.look_out(Point::Arrived, letter.sender.0, machine);
        let piece = Rc::new(state::decode_piece(&letter.bytes).expect("as it was encoded"));
        let process = self.machines[machine].process.as_mut().expect("it was looked at by who got the letter");
        let request = process.name_request();
        let push = piece.push.clone();
        process.pushes.insert(request, Waiting::Piece(letter, piece));
        self.feed(machine, Input::Push { request, push });
    }

    /// The replica has answered a piece's push: now the piece is written.
    pub(super) fn piece_pushed(
        &mut self,
        machine: usize,
        letter: Letter,
        piece: Rc<StatePiece>,
        outcome: Result<Answer, Rejection>,
    ) {
        let process = self.machines[machine].process.as_ref().expect("its replica just spoke");
        let is_read_only = process.replica.view().read_only;
        let boot = process.boot;
        match outcome {
            Ok(_) if is_read_only => self.refuse(machine, &letter, &Rejection::ReadOnly),
            Err(rejection) => self.refuse(machine, &letter, &rejection),
            Ok(answer) => {
                let (shortest, longest) = self.settings.commit;
                let takes = self.machines[machine].rng.u64(shortest..longest);
                self.after(takes, Happening::PieceWritten(machine, boot, letter, piece, answer));
            }
        }
    }

    /// Takes a piece in, if it is the one that is wanted.
    pub(super) fn piece_written(&mut self, machine: usize, letter: Letter, piece: &StatePiece, answer: Answer) {
        if let Some(taken) = self.begin_fill(machine, &letter, piece) {
            self.answer_piece(machine, &letter, StateAnswer { answer, taken });
            return;
        }
        let now = self.now;
        let process = self.machines[machine].process.as_mut().expect("it runs");
        let Some(filling) = process.filling.as_mut() else {
            self.answer_piece(machine, &letter, StateAnswer { answer, taken: Taken::UpTo(None) });
            return;
        };
        filling.heard = now;
        if piece.after != filling.through {
            self.record.coverage.count("piece came again");
            let taken = Taken::UpTo(filling.through.clone());
            self.answer_piece(machine, &letter, StateAnswer { answer, taken });
            return;
        }
        let through = piece.keys.last().map(|(key, _)| key.clone()).or_else(|| filling.through.clone());
        filling.fill.put(piece.keys.clone(), through.as_deref().filter(|_| !piece.is_last));
        filling.through.clone_from(&through);
        self.count_both_ways(machine);
        self.look_out(Point::Taken, letter.sender.0, machine);
        if !piece.is_last {
            self.answer_piece(machine, &letter, StateAnswer { answer, taken: Taken::UpTo(through) });
            return;
        }
        let Machine { process, volume, .. } = &mut self.machines[machine];
        let process = process.as_mut().expect("it runs");
        let mut filled = process.filling.take().expect("it was there a moment ago");
        filled.fill.catch_up(volume);
        if process.adoption.is_some() {
            self.refuse(machine, &letter, &Rejection::Unreadable("another state is being adopted".to_owned()));
            return;
        }
        let push = piece.push.clone();
        process.adoption = Some(Adoption { filled: Some(filled), is_under_way: false, letter, push });
        self.commit(machine);
    }

    /// Makes sure that the piece's state is the one that is coming in; else, the answer.
    fn begin_fill(&mut self, machine: usize, letter: &Letter, piece: &StatePiece) -> Option<Taken> {
        let now = self.now;
        let Machine { process, volume, .. } = &mut self.machines[machine];
        let process = process.as_mut().expect("it runs");
        let (sender, boot) = (piece.push.sender.node, piece.push.sender.boot);
        match &process.filling {
            Some(filling) if filling.transfer == piece.transfer => return None,
            Some(filling) if filling.boot != boot && now - filling.heard < SILENT => {
                self.record.coverage.count("receiver busy with another state");
                return Some(Taken::Busy { with: filling.sender });
            }
            _ if process.adoption.is_some() => return Some(Taken::Busy { with: sender }),
            Some(_) if piece.after.is_none() => self.record.coverage.count("another state took over"),
            _ => {}
        }
        let (Some(StateHead { vector, ancestry, .. }), None) = (&piece.head, &piece.after) else {
            self.record.coverage.count("state began anew");
            return Some(Taken::UpTo(None));
        };
        let view = process.replica.view();
        if view.ancestry.includes(&view.vector, vector) {
            return Some(Taken::All);
        }
        self.record.coverage.count("state began to come");
        let fill = Fill::begin(volume, PeerState { vector: vector.clone(), ancestry: ancestry.clone() });
        let began_at = fill.position();
        let (transfer, from) = (piece.transfer, letter.sender.0);
        process.filling = Some(Filled { transfer, sender, boot, from, fill, through: None, heard: now, began_at });
        None
    }

    fn count_both_ways(&mut self, machine: usize) {
        let filled_by = |machine: &Machine| Some(machine.process.as_ref()?.filling.as_ref()?.from);
        let from = filled_by(&self.machines[machine]);
        if from.and_then(|from| filled_by(&self.machines[from])) == Some(machine) {
            self.record.coverage.count("states both ways at once");
        }
    }

    /// Has the disk put a state that came in into the place of the old one.
    pub(super) fn begin_adoption(&mut self, machine: usize, takes: Micros) {
        let process = self.machines[machine].process.as_mut().expect("it runs");
        let Some(adoption) = process.adoption.as_mut().filter(|adoption| !adoption.is_under_way) else { return };
        adoption.is_under_way = true;
        process.is_committing = true;
        let (sender, boot) = (adoption.letter.sender.0, process.boot);
        self.after(takes, Happening::Switched(machine, boot));
        self.look_out(Point::Adopting, sender, machine);
    }

    /// The disk is through with that: readers see the new state, and the process will hear of it.
    pub(super) fn switched(&mut self, machine: usize, boot: u64) {
        let Machine { process, volume, disk_fault, replaced, .. } = &mut self.machines[machine];
        let Some(Process { adoption: Some(adoption), .. }) = process.as_mut() else { return };
        let Some(filled) = adoption.filled.take() else { return };
        let (sender, from) = (adoption.letter.sender.0, filled.from);
        let outcome = if disk_fault.is_some() {
            self.record.coverage.count("adoption failed");
            Err(())
        } else {
            if volume.recover().checkpoint.position > filled.began_at {
                self.record.coverage.count("adopted with ops that came meanwhile");
            }
            if let Some(what) = replaced.take() {
                self.record.coverage.count(what);
            }
            Ok(Box::new(volume.adopt(filled.fill)))
        };
        let owners = |of: usize| self.machines.iter().filter(|other| other.node == self.machines[of].node).count();
        let (of_sender, of_receiver) = (owners(from), owners(machine));
        if outcome.is_ok() {
            self.record.coverage.count("state adopted");
            if of_sender > 1 {
                self.record.coverage.count("state of one of two owners");
            }
            if of_receiver > 1 {
                self.record.coverage.count("state into one of two owners");
            }
        }
        self.after(20, Happening::Adopted(machine, boot, outcome));
        self.look_out(Point::Adopted, sender, machine);
    }

    /// The process hears of it.
    pub(super) fn adopted(&mut self, machine: usize, outcome: Result<Box<Adopted>, ()>) {
        let process = self.machines[machine].process.as_mut().expect("it runs");
        process.is_committing = false;
        let Some(Adoption { letter, push, .. }) = process.adoption.take() else { return };
        let held_back = std::mem::take(&mut process.held_back);
        if outcome.is_ok() && held_back.iter().any(|happening| matches!(happening, Happening::Asked(_))) {
            self.record.coverage.count("adopted while writes wait");
        }
        let is_adopted = outcome.is_ok();
        if let Ok(adopted) = outcome {
            let waiting = process.replica.view().waiting_ops;
            self.record.say(self.now, || {
                let vector = short_dots(adopted.checkpoint.vector.entries());
                format!("node{machine} adopts a state: it has {vector} now")
            });
            self.feed(machine, Input::Adopted(adopted));
            let view = self.machines[machine].process.as_ref().map(|process| process.replica.view());
            if view.is_some_and(|view| view.waiting_ops < waiting) {
                self.record.coverage.count("ops that waited looked at after an adoption");
            }
        }
        for happening in held_back {
            self.happen(happening);
        }
        if is_adopted {
            let process = self.machines[machine].process.as_mut().expect("it runs");
            let request = process.name_request();
            process.pushes.insert(request, Waiting::Adopted(letter));
            self.feed(machine, Input::Push { request, push });
        } else {
            self.refuse(machine, &letter, &Rejection::Unreadable("a state could not be adopted".to_owned()));
        }
        self.look_at_waiting(machine);
    }

    /// What a crash makes of a state that is being adopted: it is there, or the old one is.
    pub(super) fn crash_while_adopting(&mut self, machine: usize, adoption: Option<Adoption>) {
        let Some(Adoption { filled, is_under_way: true, .. }) = adoption else { return };
        let Machine { volume, rng, .. } = &mut self.machines[machine];
        match filled {
            None => self.record.coverage.count("crash before an adoption was heard of"),
            Some(Filled { fill, .. }) if rng.bool() => {
                volume.adopt(fill);
                self.record.coverage.count("crash while adopting: new state");
            }
            Some(_) => self.record.coverage.count("crash while adopting: old state"),
        }
    }

    pub(super) fn answer_piece(&mut self, machine: usize, letter: &Letter, answer: StateAnswer) {
        let bytes = [&[1], &*state::encode_answer(&answer)].concat();
        self.answer(machine, letter, bytes);
    }

    pub(super) fn refuse(&mut self, machine: usize, letter: &Letter, rejection: &Rejection) {
        let bytes = [&[0], &*message::encode_rejection(rejection)].concat();
        self.answer(machine, letter, bytes);
    }

    /// What an answer to a piece means to its sender.
    pub(super) fn piece_answered(&mut self, letter: &Letter, answer: StateAnswer, behind: &Option<Key>) -> Input {
        let (machine, link) = (letter.sender.0, letter.link);
        let StateAnswer { answer, taken } = answer;
        let process = self.machines[machine].process.as_mut().expect("it was looked at by who got the answer");
        let slot = &mut process.sending[link.0];
        let failed = Input::SendFailed { link, rejection: None };
        let Some(sending) = slot.as_mut() else { return failed };
        let was_lost = std::mem::take(&mut sending.was_lost);
        match taken {
            Taken::Busy { .. } => {
                *slot = None;
                return Input::StateAnswered { link, answer, taken: false };
            }
            Taken::All => *slot = None,
            Taken::UpTo(key) => {
                let has_moved = key != *behind;
                if was_lost && key > sending.after {
                    self.record.coverage.count("state went on after a piece was lost");
                }
                sending.after = key;
                if !has_moved {
                    return failed;
                }
            }
        }
        Input::StateAnswered { link, answer, taken: true }
    }

    pub(super) fn piece_lost(&mut self, letter: &Letter) {
        let Kind::Piece(..) = letter.kind else { return };
        let process = self.machines[letter.sender.0].process.as_mut();
        if let Some(sending) = process.and_then(|process| process.sending[letter.link.0].as_mut()) {
            sending.was_lost = true;
        }
    }

    /// Posts a letter to whoever is at the address of a link.
    pub(super) fn address(&self, machine: usize, link: LinkId) -> usize {
        let own = self.machines[machine].node;
        let address = peers(own, self.settings.nodes).nth(link.0).expect("links are the configured peers");
        self.network.routes[address]
    }
}

fn send_after(kind: &Kind) -> &str {
    match kind {
        Kind::Piece(_, Some(after)) => after,
        _ => "nothing",
    }
}
