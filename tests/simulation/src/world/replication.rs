//! What goes between replicas: pushes on their way out, at the receiver, and their answers on the way back.

use std::collections::BTreeMap;

use causeway::causality::{Dot, Origin};
use causeway::format::message;
use causeway::replica::{Answer, Input, Rejection, RequestId, Send};

use super::{Happening, World};
use crate::Micros;
use crate::machine::peers;
use crate::network::Letter;
use crate::recorder::{short_dots, short_ranges};

/// A sender gives a push up after so long.
const GIVE_UP: Micros = 2_000_000;
/// A connection is refused after so long.
const REFUSED: Micros = 1_000;

impl World {
    pub(super) fn send(&mut self, machine: usize, send: Send) {
        let Send { link, push, ops, probe, .. } = send;
        let own = self.machines[machine].node;
        let stored = if probe { Vec::new() } else { self.machines[machine].volume.ops(&ops, self.settings.batch_ops) };
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
        self.next_try += 1;
        let number = self.next_try;
        let process = self.machines[machine].process.as_mut().expect("its replica just spoke");
        process.tries[link.0] = Some(number);
        let letter = Letter { sender: (machine, process.boot), link, number, carried, bytes };
        let address = peers(own, self.settings.nodes).nth(link.0).expect("links are the configured peers");
        let to = self.network.routes[address];
        self.record.say(self.now, || {
            let what = if stored.is_empty() { "a digest".to_owned() } else { format!("{} ops", stored.len()) };
            let lacks = if ops.is_empty() { String::new() } else { format!(" (it lacks {})", short_ranges(&ops)) };
            format!("node{machine} → node{to}: {what} up to {}{lacks}", short_dots(letter.carried.iter().copied()))
        });
        self.after(GIVE_UP, Happening::GiveUp(letter.clone()));
        if !stored.is_empty() {
            self.network.remember(to, letter.bytes.clone());
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
        let request = process.name_request();
        let push = message::decode_push(&letter.bytes).expect("as it was encoded");
        let carries_ops = !push.ops.is_empty();
        process.pushes.insert(request, letter);
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
        let Some(letter) = process.pushes.remove(&request) else { return };
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
        let bytes = [&[u8::from(outcome.is_ok())], &*bytes].concat();
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
        let input = match answer.as_deref().and_then(<[u8]>::split_first) {
            Some((1, bytes)) => {
                let answer = message::decode_answer(bytes).expect("as it was encoded");
                Input::Answered { link, carried: letter.carried.clone(), answer }
            }
            Some((_, bytes)) => {
                let rejection = message::decode_rejection(bytes).expect("as it was encoded");
                Input::SendFailed { link, rejection: Some(rejection) }
            }
            None => Input::SendFailed { link, rejection: None },
        };
        self.record.say(self.now, || match &input {
            Input::Answered { answer, .. } => format!(
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
