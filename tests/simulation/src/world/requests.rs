//! What clients ask, how nodes answer, and what clients make of that.

use causeway::causality::CausalContext;
use causeway::format::token;
use causeway::replica::{Input, Key, KeyStates, Once, Replaces, RequestId, Siblings, Write, WriteError, Written};
use causeway_checker::history::{self, Call, Detail, Event, Outcome, Refusal, Resolve, Shown, State};

use super::{Happening, World};
use crate::Micros;
use crate::schedule::{ClientCall, ClientStep, ContextFrom};
use crate::session::{Held, Request, context_of, dot};

/// A node waits so long for a context.
const CONTEXT_WAIT: Micros = 2_000_000;
/// A client waits so long for an answer.
const PATIENCE: Micros = 5_000_000;
/// A client notices so late that its connection broke.
const BROKEN: Micros = 200_000;
/// A client waits so long before it sends a named write again to a node that was not there.
const PAUSE: Micros = 300_000;
/// A client sends a named write again so often.
const MAX_REPEATS: u8 = 10;

/// An answer on its way to the client.
#[derive(Clone, Debug)]
pub struct Reply(Outcome, Option<Held>);

impl World {
    pub(super) fn client_step(&mut self, step: ClientStep) {
        let session = step.session;
        self.sessions[session].steps.push_back(step);
        self.next_request(session);
    }

    fn next_request(&mut self, session: usize) {
        if self.sessions[session].request.is_some() {
            return;
        }
        let Some(mut step) = self.sessions[session].steps.pop_front() else { return };
        step.machine %= self.machines.len();
        let context = context_of(&self.sessions, session, step.context);
        self.count_request(&step, context.is_some());
        let is_write = matches!(step.call, ClientCall::Write { .. });
        self.next_value += u64::from(is_write);
        self.send_request(Request {
            session,
            step,
            context,
            value: self.next_value,
            start: self.now,
            first: None,
            repeats: 0,
            boot: 0,
            deadline: self.now + CONTEXT_WAIT,
            answer_lost: false,
            is_done: false,
        });
    }

    fn send_request(&mut self, request: Request) {
        let answer_lost = !self.healed && self.clients.u64(0..1_000) < self.settings.client_loss;
        let index = self.requests.len();
        self.sessions[request.session].request = Some(index);
        self.record.requests += 1;
        self.requests.push(Request { answer_lost, ..request });
        let way = self.clients.u64(50..300);
        self.after(way, Happening::Asked(index));
        self.after(PATIENCE, Happening::ClientGivesUp(index));
    }

    /// Sends a write once more: the same, under the same name, to the same machine.
    pub(super) fn send_again(&mut self, index: usize) {
        self.record.coverage.count("write sent again under its name");
        let Request { session, ref step, ref context, value, start, ref first, repeats, answer_lost, .. } =
            self.requests[index];
        let came_of_it = if answer_lost { Outcome::Lost } else { Outcome::Unknown };
        let again = Request {
            session,
            step: ClientStep { retries: false, ..step.clone() },
            context: context.clone(),
            value,
            start,
            first: Some(first.clone().unwrap_or(came_of_it)),
            repeats: repeats + 1,
            boot: 0,
            deadline: self.now + CONTEXT_WAIT,
            answer_lost: false,
            is_done: false,
        };
        self.send_request(again);
    }

    /// Lets a client send a named write once more, if it may; whether it does.
    fn sends_again(&mut self, index: usize, after: Micros) -> bool {
        let sends = self.is_named(index) && !self.may_have_forgotten(index);
        if sends {
            self.requests[index].is_done = true;
            self.after(after, Happening::SendAgain(index));
        }
        sends
    }

    fn is_named(&self, index: usize) -> bool {
        let Request { session, step, .. } = &self.requests[index];
        self.sessions[*session].names_writes && matches!(step.call, ClientCall::Write { .. })
    }

    /// Whether a machine may have forgotten the name of a write that was first sent before.
    fn may_have_forgotten(&self, index: usize) -> bool {
        let Request { step, start, .. } = &self.requests[index];
        self.is_named(index) && self.machines[step.machine].remembers_since >= *start
    }

    fn count_request(&mut self, step: &ClientStep, has_context: bool) {
        let coverage = &mut self.record.coverage;
        match step.context {
            ContextFrom::Stale if has_context => coverage.count("stale context"),
            ContextFrom::Session(_) if has_context => coverage.count("context of another session"),
            _ => {}
        }
        if let ClientCall::Write { keys, deletes, held } = &step.call {
            coverage.count(match (has_context, held) {
                (false, _) => "write without context",
                (true, false) => "write of what was seen",
                (true, true) => "write of what is held, with a context",
            });
            if keys.len() + deletes.len() > 1 {
                coverage.count("write of several keys");
            }
            if !deletes.is_empty() {
                coverage.count("delete");
            }
        }
    }

    pub(super) fn asked(&mut self, index: usize) {
        let may_have_forgotten = self.may_have_forgotten(index);
        let request = &mut self.requests[index];
        let machine = request.step.machine;
        let Some(process) = self.machines[machine].process.as_mut() else {
            self.reply(index, Outcome::Refused { refusal: Refusal::Unreachable }, None);
            return;
        };
        if may_have_forgotten {
            // Nobody could tell two writes of one value apart: as if the connection had broken on the way.
            self.reply(index, Outcome::Lost, None);
            return;
        }
        request.boot = process.boot;
        let context = request.context.as_ref().map(|held| token::decode(&held.token).expect("a node made it"));
        let reached = context.as_ref().is_none_or(|context| {
            let view = process.replica.view();
            view.ancestry.includes(&view.vector, &context.wait)
        });
        if reached {
            self.serve(index, context);
        } else {
            process.waiting.push(index);
            let deadline = request.deadline;
            self.at(deadline, Happening::ContextDeadline(index));
        }
    }

    /// Serves those whose context is reached now.
    pub(super) fn look_at_waiting(&mut self, machine: usize) {
        let Some(process) = self.machines[machine].process.as_mut().filter(|process| !process.waiting.is_empty())
        else {
            return;
        };
        for index in std::mem::take(&mut process.waiting) {
            self.asked(index);
        }
    }

    pub(super) fn context_deadline(&mut self, index: usize) {
        let (machine, boot) = (self.requests[index].step.machine, self.requests[index].boot);
        let Some(process) = self.machines[machine].process.as_mut().filter(|process| process.boot == boot) else {
            return;
        };
        let waiting = process.waiting.len();
        process.waiting.retain(|other| *other != index);
        if process.waiting.len() < waiting {
            self.record.coverage.count("context not reached");
            self.reply(index, Outcome::Refused { refusal: Refusal::ContextNotReached }, None);
        }
    }

    fn serve(&mut self, index: usize, context: Option<CausalContext>) {
        if self.holds_back(index) {
            return;
        }
        let Request { session, step, value, .. } = &self.requests[index];
        let machine = step.machine;
        if self.machines[machine].process.as_ref().is_some_and(|process| process.filling.is_some()) {
            let is_read = matches!(step.call, ClientCall::Read { .. });
            let what = if is_read { "read while a state is coming in" } else { "write while a state is coming in" };
            self.record.coverage.count(what);
        }
        match &step.call {
            ClientCall::Read { keys, resolve } => {
                let volume = &self.machines[machine].volume;
                let context = Held::new(&CausalContext::of_state(volume.vector()));
                let states: Option<Vec<State>> =
                    keys.iter().map(|key| Some(state(&volume.siblings(&self.keys[*key]).ok()?, *resolve))).collect();
                let Some(states) = states else {
                    self.reply(index, Outcome::Refused { refusal: Refusal::Unreadable }, None);
                    return;
                };
                if states.iter().any(|state| state.siblings > 1) {
                    self.record.coverage.count("siblings shown");
                }
                let outcome = Outcome::Read { states, context: context.decoded.clone() };
                self.reply(index, outcome, Some(context));
            }
            ClientCall::Write { keys, deletes, held } => {
                let text: causeway::replica::Value = value.to_string().into();
                let written = keys.iter().map(|key| (self.keys[*key].clone(), Some(text.clone())));
                let deleted = deletes.iter().map(|key| (self.keys[*key].clone(), None));
                let entries: Vec<(Key, Option<_>)> = written.chain(deleted).collect();
                let seen = context.clone().unwrap_or_default();
                let replaces = match context {
                    Some(context) if !held => Replaces::Seen(context),
                    _ => Replaces::Held,
                };
                let is_named = self.sessions[*session].names_writes;
                let once = is_named.then_some(Once { key: text, context: seen });
                let write = Write { entries, replaces, trace: None, once };
                let process = self.machines[machine].process.as_mut().expect("it was looked at by who asked");
                let request = process.name_request();
                process.writes.insert(request, index);
                self.feed(machine, Input::Write { request, write });
            }
        }
    }

    /// While a state is being adopted, writes wait: what they would do depends on it.
    fn holds_back(&mut self, index: usize) -> bool {
        let ClientStep { machine, call, .. } = &self.requests[index].step;
        let process = self.machines[*machine].process.as_mut().expect("it was looked at by who asked");
        let waits = process.adoption.is_some() && matches!(call, ClientCall::Write { .. });
        if waits {
            process.held_back.push_back(Happening::Asked(index));
        }
        waits
    }

    pub(super) fn written(&mut self, machine: usize, request: RequestId, outcome: Result<Written, WriteError>) {
        let process = self.machines[machine].process.as_mut().expect("its replica just spoke");
        let Some(index) = process.writes.remove(&request) else { return };
        match outcome {
            Ok(written) => {
                let context = Held::new(&written.context);
                let (dot, decoded) = (dot(written.dot), context.decoded.clone());
                let outcome = if written.replayed {
                    self.record.coverage.count("write known by its name");
                    Outcome::Repeated { dot, context: decoded }
                } else {
                    Outcome::Written { dot, context: decoded }
                };
                self.reply(index, outcome, Some(context));
            }
            Err(WriteError::OutcomeUnknown) => self.reply(index, Outcome::Unknown, None),
            Err(error) => {
                let refusal = match error {
                    WriteError::TooManySiblings { .. } => Refusal::TooManySiblings,
                    WriteError::ReadOnly | WriteError::TooManyIncarnations { .. } => Refusal::ReadOnly,
                    _ => Refusal::Unreadable,
                };
                match refusal {
                    Refusal::TooManySiblings => self.record.coverage.count("too many siblings"),
                    Refusal::ReadOnly => self.record.coverage.count("read only"),
                    _ => {}
                }
                self.reply(index, Outcome::Refused { refusal }, None);
            }
        }
    }

    /// Sends an answer on its way, if it is not to be lost there.
    fn reply(&mut self, index: usize, outcome: Outcome, context: Option<Held>) {
        if self.requests[index].answer_lost {
            self.record.coverage.count("answer to a client lost");
            self.after(BROKEN, Happening::ClientGivesUp(index));
        } else {
            let way = self.clients.u64(50..300);
            self.after(way, Happening::Answered(index, Reply(outcome, context)));
        }
    }

    pub(super) fn answered(&mut self, index: usize, Reply(outcome, context): Reply) {
        let session = self.requests[index].session;
        if let Some(context) = context.filter(|_| !self.requests[index].is_done) {
            self.sessions[session].remember(context);
        }
        let Request { repeats, is_done, .. } = self.requests[index];
        let is_unreachable = matches!(outcome, Outcome::Refused { refusal: Refusal::Unreachable });
        if is_unreachable && !is_done && (1..MAX_REPEATS).contains(&repeats) && self.sends_again(index, PAUSE) {
            return;
        }
        self.finish(index, outcome);
    }

    pub(super) fn client_gives_up(&mut self, index: usize) {
        let Request { is_done, answer_lost, session, ref step, .. } = self.requests[index];
        if is_done {
            return;
        }
        let sends_again = step.retries && matches!(step.call, ClientCall::Write { .. });
        if sends_again && self.sends_again(index, 0) {
            return;
        }
        if sends_again {
            self.record.coverage.count("write sent again");
            let again = ClientStep { retries: false, ..self.requests[index].step.clone() };
            self.sessions[session].steps.push_front(again);
        }
        self.finish(index, if answer_lost { Outcome::Lost } else { Outcome::Unknown });
    }

    /// Notes what came of a request; its session goes on.
    fn finish(&mut self, index: usize, outcome: Outcome) {
        let request = &mut self.requests[index];
        if std::mem::replace(&mut request.is_done, true) {
            return;
        }
        // What the second sending did not do, the first may have done.
        let outcome = match (request.first.take(), outcome) {
            (Some(first), Outcome::Refused { .. } | Outcome::Unknown) => first,
            (_, outcome) => outcome,
        };
        let session = request.session;
        let call = call(&request.step.call, request.value, request.context.is_some(), &self.keys);
        self.record.say(self.now, || {
            format!("client {session} at node{}: {}: {}", request.step.machine, describe(&call), came_of(&outcome))
        });
        self.record.history.push(Event::Request(history::Request {
            session: session as u32,
            node: request.step.machine as u32,
            start: request.start,
            end: self.now,
            context: request.context.as_ref().map(|held| held.decoded.clone()),
            call,
            outcome,
        }));
        self.sessions[session].request = None;
        self.next_request(session);
    }

    /// The process that had these requests is gone, and the connections with it.
    pub(super) fn broken(&mut self, requests: Vec<usize>) {
        for index in requests {
            self.after(BROKEN, Happening::ClientGivesUp(index));
        }
    }
}

/// What a read shows of a key.
pub(super) fn state(siblings: &Siblings, resolve: u8) -> State {
    let shown = match resolve {
        0 => siblings
            .latest()
            .map(|latest| Shown { value: latest.value.parse().ok(), detail: None })
            .into_iter()
            .collect(),
        1 => siblings
            .newest()
            .map(|newest| Shown { value: newest.value.parse().ok(), detail: None })
            .into_iter()
            .collect(),
        _ => siblings
            .iter()
            .map(|sibling| Shown {
                value: sibling.value.parse().ok(),
                detail: Some(Detail { dot: dot(sibling.dot), written_at: sibling.hlc.0, arrival: sibling.arrival }),
            })
            .collect(),
    };
    State { siblings: siblings.len(), shown }
}

fn call(call: &ClientCall, value: u64, has_context: bool, keys: &[Key]) -> Call {
    let named = |indices: &[usize]| indices.iter().map(|key| keys[*key].clone()).collect();
    match call {
        ClientCall::Read { keys, resolve } => Call::Read {
            keys: named(keys),
            resolve: [Resolve::Arrival, Resolve::Newest, Resolve::All][usize::from(*resolve)],
        },
        ClientCall::Write { keys, deletes, held } => Call::Write {
            value,
            keys: named(keys),
            deletes: named(deletes),
            replaces: if has_context && !held { history::Replaces::Seen } else { history::Replaces::Held },
        },
    }
}

fn describe(call: &Call) -> String {
    match call {
        Call::Read { keys, resolve } => format!("reads {} ({resolve:?})", keys.join(" ")),
        Call::Write { value, keys, deletes, replaces } => {
            let deletes = if deletes.is_empty() { String::new() } else { format!(", deletes {}", deletes.join(" ")) };
            format!("writes {value} to {}{deletes} (replaces {replaces:?})", keys.join(" "))
        }
    }
}

fn came_of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Read { states, .. } => {
            let values = |state: &State| {
                let shown: Vec<String> = state
                    .shown
                    .iter()
                    .map(|shown| shown.value.map_or("?".to_owned(), |value| value.to_string()))
                    .collect();
                format!("[{}] of {}", shown.join(" "), state.siblings)
            };
            states.iter().map(values).collect::<Vec<_>>().join(", ")
        }
        Outcome::Written { dot, .. } | Outcome::Repeated { dot, .. } => {
            format!("{}.{:04x}.{}", dot.origin.node, dot.origin.incarnation >> 48, dot.counter)
        }
        Outcome::Refused { refusal } => format!("refused: {refusal:?}"),
        Outcome::Unknown | Outcome::Lost => "no answer".to_owned(),
    }
}
