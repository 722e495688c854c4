//! A client's write: what it replaces, its dot, what it depends on.

use std::sync::Arc;

use super::effect::{Effect, Now, Replaces, RequestId, Write, WriteError};
use super::op::{Entry, Key, Op, Value};
use super::staging::{Held, Source};
use super::{KeyStates, Replica, Unreadable};
use crate::causality::{Dot, Origin, Parents};

impl Replica {
    pub(super) fn write(
        &mut self,
        now: Now,
        request: RequestId,
        write: Write,
        states: &dyn KeyStates,
        effects: &mut Vec<Effect>,
    ) {
        let Write { entries, replaces, trace, once } = write;
        if once.as_ref().is_some_and(|once| self.repeat(now, request, once, &entries, effects)) {
            return;
        }
        let (entries, held) = match self.check(entries, &replaces, states) {
            Ok(checked) => checked,
            Err(error) => return effects.push(Effect::Written { request, outcome: Err(error) }),
        };
        let (dot, parents) = self.next_dot();
        let deps = self.take_deps(dot);
        let hlc = self.clock.tick(now.wall);
        let idempotency_key = once.map(|once| once.key);
        let op = Arc::new(Op { dot, parents, deps, hlc, entries, trace, idempotency_key });
        self.stage(op, held, Source::Client(request, replaces), now, effects);
    }

    /// Works out what the write replaces, and what its keys hold before it; changes nothing.
    fn check(
        &self,
        written: Vec<(Key, Option<Value>)>,
        replaced: &Replaces,
        states: &dyn KeyStates,
    ) -> Result<(Vec<Entry>, Held), WriteError> {
        if self.read_only {
            return Err(WriteError::ReadOnly);
        }
        if self.is_out_of_incarnations() {
            return Err(WriteError::TooManyIncarnations { limit: self.options.max_incarnations });
        }
        let mut entries = Vec::with_capacity(written.len());
        let mut all_held = Vec::with_capacity(written.len());
        for (key, value) in written {
            let held = match replaced {
                Replaces::Held => self.staged_outline(&key, None, states),
                Replaces::Seen(_) => self.staged_siblings(&key, states),
            };
            let held = held.map_err(|Unreadable(why)| WriteError::Unreadable(why))?;
            let dots = held.iter().map(|sibling| sibling.dot);
            let replaces: Vec<Dot> = match replaced {
                Replaces::Held => dots.collect(),
                Replaces::Seen(context) => dots.filter(|dot| context.seen.covers(*dot, &self.ancestry)).collect(),
            };
            let adds = value.is_some() && replaces.is_empty();
            if adds && held.len() >= self.options.max_siblings {
                let (siblings, limit) = (held.len(), self.options.max_siblings);
                return Err(WriteError::TooManySiblings { key, siblings, limit });
            }
            all_held.push((key.clone(), held));
            entries.push(Entry { key, value, replaces });
        }
        Ok((entries, all_held))
    }

    /// The last op of the current incarnation; none when the next write opens one: there is none yet, or the version
    /// vector has entries of this node besides it.
    fn last_own(&self) -> Option<Dot> {
        let mut own = self.staged.entries_of(self.options.node);
        match (self.origin, own.next(), own.next()) {
            (Some(origin), Some(last), None) if last.origin == origin => Some(last),
            _ => None,
        }
    }

    /// Whether the next write would open an incarnation, and this node has had as many as it may.
    pub(super) fn is_out_of_incarnations(&self) -> bool {
        let had = || self.ancestry.incarnations(&self.staged, self.options.node);
        self.last_own().is_none() && had() >= self.options.max_incarnations
    }

    /// The next op's dot. When it opens an incarnation, its parents are all of this node's entries.
    fn next_dot(&mut self) -> (Dot, Parents) {
        match self.last_own() {
            Some(last) => (last.origin.dot(last.counter + 1), Parents::new()),
            None => {
                let own: Parents = self.staged.entries_of(self.options.node).collect();
                let origin = Origin::new(self.options.node, self.random.incarnation());
                self.origin = Some(origin);
                self.changed = self.staged.entries().map(|dot| (dot.origin, dot.counter)).collect();
                (origin.dot(1), own)
            }
        }
    }

    /// The entries of other nodes that changed since the previous op of this origin, as they are now.
    fn take_deps(&mut self, dot: Dot) -> Vec<Dot> {
        let changed = std::mem::take(&mut self.changed);
        let others = changed.into_iter().filter(|(origin, _)| origin.node != dot.origin.node);
        // An entry folded away since is implied by another that changed.
        others
            .filter(|(origin, counter)| self.staged.get(*origin) == *counter)
            .map(|(origin, counter)| origin.dot(counter))
            .collect()
    }
}
