//! A replica that gets whatever a peer may send: well-formed ops and messages that say anything, in any order.
//!
//! The shell around it keeps its part of the contract, since nobody outside can break that: effects are carried out in
//! order, an answer comes only to what was sent, positions become durable in order. Clocks and random bits are its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway::causality::{CausalContext, NodeId, WallMs};
use causeway::format::{message, op, token};
use causeway::replica::{
    Append, Effect, Input, Key, KeyStates, LinkId, MonoMs, Now, Once, Op, Recovered, Replaces, Replica, ReplicaOptions,
    RequestId, Seed, Siblings, Totals, Unreadable, Write,
};

use super::{base64url, sealed};

/// How much of an input is played, so that a long one takes milliseconds.
const MAX_STEPS: usize = 64;

/// Plays an input: steps, each a kind, a length and that many bytes.
pub fn replica(input: &[u8]) {
    let mut node = Node::default();
    let mut rest = input;
    for _ in 0..MAX_STEPS {
        let [kind, length, more @ ..] = rest else { break };
        let (content, behind) = more.split_at(usize::from(*length).min(more.len()));
        rest = behind;
        node.step(*kind, content);
        node.check();
    }
    node.persist();
    node.check();
    node.restart();
    node.check();
}

#[derive(Default)]
struct Store(BTreeMap<Key, Siblings>);

impl KeyStates for Store {
    fn siblings(&self, key: &str) -> Result<Siblings, Unreadable> {
        Ok(self.0.get(key).cloned().unwrap_or_default())
    }
}

struct Node {
    replica: Replica,
    store: Store,
    /// As of the last commit.
    recovered: Recovered,
    appended: Vec<Append>,
    /// Links that wait for an answer.
    waiting: Vec<LinkId>,
    /// Ops that the next push carries, or that the next answer is about.
    ops: Vec<Arc<Op>>,
    now: Now,
    boots: u64,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            replica: booted(1, Recovered::default()),
            store: Store::default(),
            recovered: Recovered::default(),
            appended: Vec::new(),
            waiting: Vec::new(),
            ops: Vec::new(),
            now: Now { mono: MonoMs(0), wall: WallMs(1_700_000_000_000) },
            boots: 1,
        }
    }
}

/// Node 0, with a peer whose id is configured and one that is known by its address; with little room.
fn booted(boot: u64, recovered: Recovered) -> Replica {
    let mut options = ReplicaOptions::new("c", NodeId(0), vec![Some(NodeId(1)), None]);
    options.max_siblings = 4;
    options.max_waiting_ops = 4;
    options.max_waiting_bytes = 256;
    Replica::new(options, Seed { boot, random: boot }, recovered)
}

impl Node {
    fn step(&mut self, kind: u8, content: &[u8]) {
        match kind {
            0 => self.ops.extend(op::decode(&sealed(content)).map(Arc::new)),
            1 => {
                let Ok(mut push) = message::decode_push(&sealed(content)) else { return };
                push.ops.append(&mut self.ops);
                self.handle(Input::Push { request: RequestId(0), push });
            }
            2 => {
                let Ok(answer) = message::decode_answer(&sealed(content)) else { return };
                let Some(link) = self.waiting.pop() else { return };
                let carried = self.ops.drain(..).map(|op| op.dot).collect();
                self.handle(Input::Answered { link, carried, answer });
            }
            3 => {
                let rejection = message::decode_rejection(&sealed(content)).ok();
                let Some(link) = self.waiting.pop() else { return };
                self.handle(Input::SendFailed { link, rejection });
            }
            4 => {
                let Ok(context) = token::decode(&base64url(&sealed(content))) else { return };
                self.write(Replaces::Seen(context), Some("v"), None);
            }
            5 => self.write(Replaces::Held, content.first().map(|_| "v"), content.get(1)),
            6 => self.persist(),
            7 => {
                self.now.mono.0 += u64::from(content.first().copied().unwrap_or(1)) * 8;
                self.handle(Input::Tick);
            }
            8 => self.restart(),
            9 => {
                self.appended.clear();
                self.handle(Input::PersistFailed);
            }
            _ => {}
        }
    }

    fn write(&mut self, replaces: Replaces, value: Option<&str>, key: Option<&u8>) {
        let entries = vec![("k".into(), value.map(Into::into))];
        let once = key.map(|key| Once { key: key.to_string().into(), context: CausalContext::default() });
        let write = Write { entries, replaces, trace: None, once };
        self.handle(Input::Write { request: RequestId(0), write });
    }

    fn handle(&mut self, input: Input) {
        for effect in self.replica.handle(self.now, input, &self.store) {
            match effect {
                Effect::Append(append) => self.appended.push(append),
                Effect::Send(send) => self.waiting.push(send.link),
                _ => {}
            }
        }
    }

    /// Commits what was appended, and says so.
    fn persist(&mut self) {
        let Some(through) = self.appended.last().map(|append| append.position) else { return };
        self.recovered.checkpoint = self.replica.checkpoint();
        for append in self.appended.drain(..) {
            self.recovered.ancestry.insert(append.op.dot.origin, &append.op.parents);
            self.recovered.keyed.note(append.position, &append.op);
            self.store.0.extend(append.states);
        }
        self.store.0.retain(|_, siblings| !siblings.is_empty());
        self.handle(Input::Persisted { through });
    }

    /// Starts again from what the last commit left.
    fn restart(&mut self) {
        self.appended.clear();
        self.waiting.clear();
        self.boots += 1;
        self.replica = booted(self.boots, self.recovered.clone());
    }

    /// What is shown must be what is stored.
    fn check(&self) {
        let view = self.replica.view();
        assert_eq!(view.vector, self.recovered.checkpoint.vector, "what is visible is not what is durable");
        let mut counted = Totals::default();
        for siblings in self.store.0.values() {
            counted.keys += 1;
            counted.conflicts += u64::from(siblings.len() > 1);
            counted.siblings += siblings.len() as u64;
        }
        assert_eq!(view.totals, counted, "keys are not counted right");
        assert!(view.waiting_ops <= 4, "the delivery buffer has {} ops", view.waiting_ops);
    }
}
