//! What goes between replicas: pushes on their way out, at the receiver, and their answers on the way back.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway::causality::{Dot, Origin};
use causeway::format::state::{StateAnswer, Taken};
use causeway::format::{message, state};
use causeway::replica::{Answer, Input, LinkId, Rejection, RequestId, Send};

use super::states::Waiting;
use super::{Happening, World};
use crate::Micros;
use crate::network::{Kind, Letter};
use crate::recorder::{short_dots, short_ranges};

/// A sender gives a push up after so long.
const GIVE_UP: Micros = 2_000_000;
/// A connection is refused after so long.
const REFUSED: Micros = 1_000;

impl World {
    pub(super) fn send(&mut self, machine: usize, send: Send) {
        let Send { link, push, ops, probe, state } = send;
        if !state && !probe && !ops.is_empty() {
            self.forget_state(machine, link);
        }
        let own = self.machines[machine].node;
        let stored =
            if probe || state { Vec::new() } else { self.machines[machine].volume.ops(&ops, self.settings.batch_ops) };
        let mut carried: BTreeMap<Origin, u64> = BTreeMap::new();
        for (dot, _) in &stored {
            carried.insert(dot.origin, dot.counter);
        }
        if carried.keys().any(|origin| origin.node != own) {
            self.record.coverage.count("ops forwarded");
        }
        let bytes: Vec<&[u8]> = stored.iter().map(|(_, bytes)| &**bytes).collect();
        let bytes = message::encode_push(&push, &bytes).into();
        let carried: Vec<Dot> = carried.into_iter().map(|(origin, counter)| origin.dot(counter)).collect();
        let to = self.address(machine, link);
        self.record.say(self.now, || {
            let what = if stored.is_empty() { "a digest".to_owned() } else { format!("{} ops", stored.len()) };
            let lacks = if ops.is_empty() { String::new() } else { format!(" (it lacks {})", short_ranges(&ops)) };
            format!("node{machine} → node{to}: {what} up to {}{lacks}", short_dots(carried.iter().copied()))
        });
        self.post(machine, link, Kind::Push, carried, bytes);
    }

    /// Puts a letter on its way to whoever is at a link's address.
    pub(super) fn post(&mut self, machine: usize, link: LinkId, kind: Kind, carried: Vec<Dot>, bytes: Arc<[u8]>) {
        self.next_try += 1;
        let number = self.next_try;
        let to = self.address(machine, link);
        let process = self.machines[machine].process.as_mut().expect("its replica just spoke");
        process.tries[link.0] = Some(number);
        let is_digest = kind == Kind::Push && carried.is_empty();
        let letter = Letter { sender: (machine, process.boot), link, number, carried, kind, bytes };
        self.after(GIVE_UP, Happening::GiveUp(letter.clone()));
        if !is_digest {
            self.network.remember(to, letter.kind.clone(), letter.bytes.clone());
        }
        let times = self.network.send(machine, to);
        match times.len() {
            0 => self.record.coverage.count("message lost"),
            1 => {}
            _ => self.record.coverage.count("message twice"),
        }
        for takes in times {
            self.after(takes, Happening::Push(to, letter.clone()));
        }
    }

    pub(super) fn push_arrives(&mut self, machine: usize, letter: Letter) {
        if letter.number != 0 && !self.network.is_open(letter.sender.0, machine) {
            return;
        }
        let Some(process) = self.machines[machine].process.as_mut() else {
            self.after(REFUSED, Happening::Pushed(letter, None));
            return;
        };
        if process.adoption.is_some() {
            process.held_back.push_back(Happening::Push(machine, letter));
            return;
        }
        if letter.kind != Kind::Push {
            self.piece_arrives(machine, letter);
            return;
        }
        let request = process.name_request();
        let push = message::decode_push(&letter.bytes).expect("as it was encoded");
        let carries_ops = !push.ops.is_empty();
        process.pushes.insert(request, Waiting::Push(letter));
        self.feed(machine, Input::Push { request, push });
        if let Some(process) = self.machines[machine].process.as_mut().filter(|_| carries_ops) {
            let waiting = process.replica.view().waiting_ops;
            process.most_waiting = process.most_waiting.max(waiting);
            if waiting > 0 {
                self.record.coverage.count("op waited in the buffer");
            }
        }
    }

    pub(super) fn pushed(&mut self, machine: usize, request: RequestId, outcome: Result<Answer, Rejection>) {
        let process = self.machines[machine].process.as_mut().expect("its replica just spoke");
        let letter = match process.pushes.remove(&request) {
            Some(Waiting::Push(letter)) => letter,
            Some(Waiting::Piece(letter, piece)) => {
                self.piece_pushed(machine, letter, piece, outcome);
                return;
            }
            Some(Waiting::Adopted(letter)) => {
                match outcome {
                    Ok(answer) => {
                        self.answer_piece(machine, &letter, StateAnswer { answer, taken: Taken::All });
                    }
                    Err(rejection) => self.refuse(machine, &letter, &rejection),
                }
                return;
            }
            None => return,
        };
        let coverage = &mut self.record.coverage;
        match &outcome {
            Ok(answer) => {
                if !answer.missing.is_empty() {
                    coverage.count("op refused: buffer full");
                }
                if answer.redundant > 0 {
                    coverage.count("redundant op");
                }
                if !answer.implied.is_empty() {
                    coverage.count("entry known only by implication");
                }
            }
            Err(Rejection::Misdirected { .. }) => coverage.count("push misdirected"),
            Err(Rejection::ReadOnly) => coverage.count("push refused: read only"),
            Err(_) => {}
        }
        let bytes = match &outcome {
            Ok(answer) => message::encode_answer(answer),
            Err(rejection) => message::encode_rejection(rejection),
        };
        self.answer(machine, &letter, [&[u8::from(outcome.is_ok())], &*bytes].concat());
    }

    /// Puts an answer on its way back, if anybody waits for it.
    pub(super) fn answer(&mut self, machine: usize, letter: &Letter, bytes: Vec<u8>) {
        if letter.number == 0 {
            return;
        }
        for takes in self.network.send(machine, letter.sender.0).into_iter().take(1) {
            self.after(takes, Happening::Pushed(letter.clone(), Some(bytes.clone())));
        }
    }

    pub(super) fn answer_arrives(&mut self, letter: &Letter, answer: Option<Vec<u8>>) {
        let link = letter.link;
        if !self.ends_try(letter) {
            return;
        }
        let input = match (answer.as_deref().and_then(<[u8]>::split_first), &letter.kind) {
            (Some((1, bytes)), Kind::Piece(_, behind)) => {
                let answer = state::decode_answer(bytes).expect("as it was encoded");
                self.piece_answered(letter, answer, behind)
            }
            (Some((1, bytes)), Kind::Push) => {
                let answer = message::decode_answer(bytes).expect("as it was encoded");
                Input::Answered { link, carried: letter.carried.clone(), answer }
            }
            (Some((_, bytes)), _) => {
                let rejection = message::decode_rejection(bytes).expect("as it was encoded");
                Input::SendFailed { link, rejection: Some(rejection) }
            }
            (None, _) => Input::SendFailed { link, rejection: None },
        };
        self.record.say(self.now, || match &input {
            Input::Answered { answer, .. } | Input::StateAnswered { answer, .. } => format!(
                "node{} hears from node{}: it has {}",
                letter.sender.0,
                answer.receiver.node,
                short_dots(answer.receiver.vector.entries())
            ),
            Input::SendFailed { rejection: Some(why), .. } => format!("node{} is refused: {why}", letter.sender.0),
            _ => format!("node{} finds nobody there", letter.sender.0),
        });
        self.feed(letter.sender.0, input);
    }

    pub(super) fn give_up(&mut self, letter: &Letter) {
        if self.ends_try(letter) {
            self.record.say(self.now, || format!("node{} gives up a push", letter.sender.0));
            self.piece_lost(letter);
            self.feed(letter.sender.0, Input::SendFailed { link: letter.link, rejection: None });
        }
    }

    /// Whether this try is still the one under way; then it is not any more.
    fn ends_try(&mut self, letter: &Letter) -> bool {
        let (machine, boot) = letter.sender;
        let Some(process) = self.machines[machine].process.as_mut().filter(|process| process.boot == boot) else {
            return false;
        };
        let under_way = &mut process.tries[letter.link.0];
        let ends = *under_way == Some(letter.number);
        if ends {
            *under_way = None;
        } else if under_way.is_some_and(|newer| newer > letter.number) {
            self.record.coverage.count("message overtaken");
        }
        ends
    }
}
