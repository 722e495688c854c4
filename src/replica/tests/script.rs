//! Runs the scripts in `scripts/`: each line is an input, and every message and effect that follows is written
//! out below. They are the protocol's worked examples. `UPDATE_GOLDENFILES=1 cargo test` writes them anew;
//! then read the difference.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use super::super::*;
use super::world::{Letter, World};
use crate::causality::{CausalContext, Dot};

#[test]
fn scripts() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/replica/tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        goldenscript::run(&mut Runner::default(), &path).unwrap();
    }
}

/// Commands:
/// - `cluster N [tune=tiny]`: N nodes; tiny ones have room for one waiting op and two siblings.
/// - `write NODE key=value… [context=NAME] [once=KEY]`: a client's write; without a value (`key=`) it deletes.
/// - `persist NODE`, `fail NODE`: the disk has what was staged, or its commit failed.
/// - `deliver [N]`: the oldest message (or the oldest N) arrives, or is lost where the way is cut.
/// - `tick MS`: time passes.
/// - `cut FROM TO`, `heal`: from then on nothing passes from one to the other; everything passes again.
/// - `restart NODE`: the node is killed and starts from what its disk holds.
/// - `copy NODE`, `restore NODE`: keeps a copy of its disk; kills it, puts the copy in place, starts it.
/// - `read NODE key [as=NAME]`: what the disk holds; remembers the context under a name.
/// - `settle`: everything goes on until all nodes hold the same; prints only what became visible.
#[derive(Default)]
struct Runner {
    world: Option<World>,
    contexts: BTreeMap<String, CausalContext>,
    names: Names,
}

/// Short names for the random incarnations, in order of appearance: `0a` is node 0's first, `0b` its second.
#[derive(Default)]
struct Names(BTreeMap<Origin, char>);

impl Names {
    fn origin(&mut self, origin: Origin) -> String {
        let next = self.0.keys().filter(|known| known.node == origin.node).count() as u8;
        format!("{}{}", origin.node, self.0.entry(origin).or_insert((b'a' + next) as char))
    }

    fn dot(&mut self, dot: Dot) -> String {
        format!("{}:{}", self.origin(dot.origin), dot.counter)
    }

    fn dots(&mut self, dots: impl IntoIterator<Item = Dot>) -> String {
        let dots: Vec<String> = dots.into_iter().map(|dot| self.dot(dot)).collect();
        format!("{{{}}}", dots.join(" "))
    }

    fn op(&mut self, op: &Op) -> String {
        let mut text = self.dot(op.dot);
        if !op.parents.is_empty() {
            write!(text, " parents {}", self.dots(op.parents.iter().copied())).unwrap();
        }
        write!(text, " deps {}", self.dots(op.deps.iter().copied())).unwrap();
        for entry in &op.entries {
            write!(text, " {}={}", entry.key, entry.value.as_deref().unwrap_or("null")).unwrap();
            if !entry.replaces.is_empty() {
                write!(text, " replaces {}", self.dots(entry.replaces.iter().copied())).unwrap();
            }
        }
        text
    }

    fn ranges(&mut self, ranges: &[OpRange]) -> String {
        let ranges: Vec<String> = ranges
            .iter()
            .map(|range| format!("{}:{}-{}", self.origin(range.origin), range.first, range.last))
            .collect();
        ranges.join(" ")
    }

    fn siblings(&mut self, siblings: &Siblings) -> String {
        let texts: Vec<String> =
            siblings.iter().map(|sibling| format!("{} ({})", sibling.value, self.dot(sibling.dot))).collect();
        if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") }
    }

    fn context(&mut self, context: &CausalContext) -> String {
        let wait = self.dots(context.wait.entries());
        let seen = self.dots(context.seen.vector.entries());
        if context.wait == context.seen.vector && context.seen.dots.is_empty() {
            return format!("context {wait}");
        }
        format!("context wait {wait} seen {seen} and {}", self.dots(context.seen.dots.iter().copied()))
    }

    fn effect(&mut self, effect: &Effect) -> String {
        match effect {
            Effect::Append(append) => {
                let states: Vec<String> =
                    append.states.iter().map(|(key, siblings)| format!("{key}: {}", self.siblings(siblings))).collect();
                format!("append {}: {} → {}", append.position, self.op(&append.op), states.join("; "))
            }
            Effect::Written { outcome: Ok(written), .. } => {
                let how = if written.replayed { "written before as" } else { "written" };
                format!("{how} {}, {}", self.dot(written.dot), self.context(&written.context))
            }
            Effect::Written { outcome: Err(error), .. } => format!("not written: {error}"),
            Effect::Pushed { outcome: Ok(answer), .. } => format!("answer {}", self.answer(answer)),
            Effect::Pushed { outcome: Err(rejection), .. } => format!("reject: {rejection}"),
            Effect::Send(send) if send.probe => match self.ranges(&send.ops) {
                waiting if waiting.is_empty() => format!("send digest on link {}", send.link.0),
                waiting => format!("send digest on link {}, waiting: {waiting}", send.link.0),
            },
            Effect::Send(send) if send.state => {
                format!("send state on link {}, for {}", send.link.0, self.ranges(&send.ops))
            }
            Effect::Send(send) => format!("send {} on link {}", self.ranges(&send.ops), send.link.0),
            Effect::Visible(visible) => match visible.from {
                Some(from) => format!("visible {} from n{from}", self.dot(visible.op.dot)),
                None => format!("visible {}", self.dot(visible.op.dot)),
            },
            Effect::Acknowledged { peer, ops, by_state: false } => format!("n{peer} has {}", self.ranges(ops)),
            Effect::Acknowledged { peer, ops, .. } => format!("n{peer} has {}, by state", self.ranges(ops)),
            Effect::Twin { node, seen: true } => format!("two processes are n{node}"),
            Effect::Twin { node, seen: false } => format!("one process is n{node}"),
            Effect::UnknownMember { node } => format!("n{node} is not in the list"),
            Effect::Peer { link, change: PeerChange::Away, .. } => format!("link {} is away", link.0),
            Effect::Peer { link, change: PeerChange::Back { away_ms, lacks }, .. } => {
                format!("link {} is back after {away_ms} ms, lacks {lacks}", link.0)
            }
        }
    }

    fn answer(&mut self, answer: &Answer) -> String {
        let mut text = format!("holds {}", self.dots(answer.receiver.vector.entries()));
        if !answer.implied.is_empty() {
            write!(text, " implied {}", self.dots(answer.implied.iter().copied())).unwrap();
        }
        if !answer.missing.is_empty() {
            write!(text, " missing {}", self.dots(answer.missing.iter().copied())).unwrap();
        }
        if answer.redundant > 0 {
            write!(text, " redundant {}", answer.redundant).unwrap();
        }
        text
    }

    fn letter(&mut self, letter: &Letter) -> String {
        match letter {
            Letter::Push { from, to, push, .. } if push.ops.is_empty() => {
                format!("n{from} → n{to} digest, holds {}", self.dots(push.sender.vector.entries()))
            }
            Letter::Push { from, to, push, .. } => {
                let ops: Vec<String> = push.ops.iter().map(|op| self.dot(op.dot)).collect();
                format!("n{from} → n{to} push {}, holds {}", ops.join(" "), self.dots(push.sender.vector.entries()))
            }
            Letter::Answer { from, to, outcome: Ok(answer), .. } => {
                format!("n{from} → n{to} answer, {}", self.answer(answer))
            }
            Letter::Answer { from, to, outcome: Err(rejection), .. } => {
                format!("n{from} → n{to} rejection: {rejection}")
            }
            Letter::State { from, to, push, .. } => {
                format!("n{from} → n{to} state, holds {}", self.dots(push.sender.vector.entries()))
            }
            Letter::StateAnswer { from, to, answer, .. } => {
                format!("n{from} → n{to} answer to state, {}", self.answer(answer))
            }
        }
    }
}

impl Runner {
    fn world(&mut self) -> &mut World {
        self.world.as_mut().expect("a script starts with `cluster`")
    }

    /// What happened since the last command, a line each.
    fn happened(&mut self) -> String {
        let effects = std::mem::take(&mut self.world().effects);
        effects.iter().fold(String::new(), |mut text, (node, effect)| {
            writeln!(text, "n{node}: {}", self.names.effect(effect)).unwrap();
            text
        })
    }

    fn deliver(&mut self, count: usize) -> String {
        let mut text = String::new();
        for _ in 0..count {
            let Some(next) = self.world().letters.front().cloned() else { break };
            let lost = if self.world().deliver(0).is_none() { " — LOST" } else { "" };
            writeln!(text, "{}{lost}", self.names.letter(&next)).unwrap();
            text += &self.happened();
        }
        text
    }

    fn write(&mut self, mut args: goldenscript::ArgumentConsumer<'_>) -> Result<String, Box<dyn Error>> {
        let context = args.take_key("context");
        let once = args.take_key("once").map(str::to_owned);
        let node: usize = args.next_pos().ok_or("node?")?.parse()?;
        let entries = std::iter::from_fn(|| args.next_key());
        let entries: Vec<_> =
            entries.map(|(key, value)| (key, Some(value).filter(|value| !value.is_empty()))).collect();
        args.reject_next()?;
        let replaces = match context {
            Some(name) => Replaces::Seen(self.contexts.get(name).ok_or("no such context")?.clone()),
            None => Replaces::Held,
        };
        let context = match &replaces {
            Replaces::Seen(context) => context.clone(),
            Replaces::Held => CausalContext::default(),
        };
        let once = once.map(|key| Once { key: key.into(), context });
        self.world().write_once(node, &entries, replaces, once);
        Ok(self.happened())
    }

    fn read(&mut self, mut args: goldenscript::ArgumentConsumer<'_>) -> Result<String, Box<dyn Error>> {
        let name = args.take_key("as").map(str::to_owned);
        let node: usize = args.next_pos().ok_or("node?")?.parse()?;
        let key = args.next_pos().ok_or("key?")?;
        let node = &self.world().nodes[node];
        let context = CausalContext::of_state(node.replica.applied.clone());
        let siblings = node.keys.get(key).cloned().unwrap_or_default();
        let text = format!("{key}: {}; {}\n", self.names.siblings(&siblings), self.names.context(&context));
        if let Some(name) = name {
            self.contexts.insert(name, context);
        }
        Ok(text)
    }

    fn settle(&mut self) -> String {
        self.world().settle();
        let all = std::mem::take(&mut self.world().effects);
        let visible = all.iter().filter(|(_, effect)| matches!(effect, Effect::Visible(_)));
        let mut text: String = visible.fold(String::new(), |mut text, (node, effect)| {
            writeln!(text, "n{node}: {}", self.names.effect(effect)).unwrap();
            text
        });
        let vector = self.world().nodes[0].replica.applied.clone();
        writeln!(text, "all hold {}", self.names.dots(vector.entries())).unwrap();
        text
    }
}

impl goldenscript::Runner for Runner {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &Self::Command, _: &goldenscript::Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let mut number =
            |what: &'static str| -> Result<usize, Box<dyn Error>> { Ok(args.next_pos().ok_or(what)?.parse()?) };
        match command.name.as_str() {
            "write" => self.write(command.consume_args()),
            "read" => self.read(command.consume_args()),
            "settle" => Ok(self.settle()),
            "cluster" => {
                let nodes = number("how many nodes?")?;
                let tune: fn(&mut ReplicaOptions) = match args.take_key("tune") {
                    None => |_| (),
                    Some("tiny") => |options| (options.max_waiting_ops, options.max_siblings) = (1, 2),
                    Some(other) => return Err(format!("no tuning {other}").into()),
                };
                *self = Self { world: Some(World::new(nodes, tune)), ..Self::default() };
                Ok(String::new())
            }
            "persist" => {
                let node = number("node?")?;
                self.world().persist(node);
                Ok(self.happened())
            }
            "fail" => {
                let node = number("node?")?;
                self.world().fail_commit(node);
                Ok(self.happened())
            }
            "restart" => {
                let node = number("node?")?;
                self.world().restart(node);
                Ok(self.happened())
            }
            "trim" => {
                let (node, keep) = (number("node?")?, number("keep how many?")?);
                self.world().trim(node, keep);
                Ok(self.happened())
            }
            "copy" => {
                let node = number("node?")?;
                self.world().copy_disk(node);
                Ok(String::new())
            }
            "restore" => {
                let node = number("node?")?;
                self.world().restore_disk(node);
                Ok(self.happened())
            }
            "deliver" => {
                let count = number("").unwrap_or(1);
                Ok(self.deliver(count))
            }
            "tick" => {
                let ms = number("ms?")?;
                self.world().tick(ms as u64);
                Ok(self.happened())
            }
            "cut" => {
                let ends = (number("from?")?, number("to?")?);
                self.world().cut.insert(ends);
                Ok(String::new())
            }
            "heal" => {
                self.world().cut.clear();
                Ok(String::new())
            }
            other => Err(format!("no command {other}").into()),
        }
    }
}
