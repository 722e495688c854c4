//! A client's write: what it replaces, its dot, what it depends on.

use std::sync::Arc;

use super::effect::{Effect, Now, Replaces, RequestId, Write, WriteError};
use super::op::{Entry, Op};
use super::siblings::Siblings;
use super::staging::Source;
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
        match self.check(&write, states) {
            Ok((entries, held)) => self.accept(now, request, write, entries, held, effects),
            Err(error) => effects.push(Effect::Written { request, outcome: Err(error) }),
        }
    }

    /// Works out what the write replaces; changes nothing.
    fn check(&self, write: &Write, states: &dyn KeyStates) -> Result<(Vec<Entry>, Vec<Siblings>), WriteError> {
        if self.read_only {
            return Err(WriteError::ReadOnly);
        }
        let mut entries = Vec::with_capacity(write.entries.len());
        let mut all_held = Vec::with_capacity(write.entries.len());
        for (key, value) in &write.entries {
            let held = self.staged_siblings(key, states).map_err(|Unreadable(why)| WriteError::Unreadable(why))?;
            let dots = held.iter().map(|sibling| sibling.dot);
            let replaces: Vec<Dot> = match &write.replaces {
                Replaces::Held => dots.collect(),
                Replaces::Seen(context) => dots.filter(|dot| context.seen.covers(*dot, &self.ancestry)).collect(),
            };
            let adds = value.is_some() && replaces.is_empty();
            if adds && held.len() >= self.options.max_siblings {
                let (siblings, limit) = (held.len(), self.options.max_siblings);
                return Err(WriteError::TooManySiblings { key: key.clone(), siblings, limit });
            }
            entries.push(Entry { key: key.clone(), value: value.clone(), replaces });
            all_held.push(held);
        }
        Ok((entries, all_held))
    }

    fn accept(
        &mut self,
        now: Now,
        request: RequestId,
        write: Write,
        entries: Vec<Entry>,
        held: Vec<Siblings>,
        effects: &mut Vec<Effect>,
    ) {
        let (dot, parents) = self.next_dot();
        let deps = self.take_deps(dot);
        let hlc = self.clock.tick(now.wall);
        let (trace, idempotency_key) = (write.trace, write.idempotency_key);
        let op = Arc::new(Op { dot, parents, deps, hlc, entries, trace, idempotency_key });
        self.stage(op, held, Source::Client(request, write.replaces), now.wall, effects);
    }

    /// The next op's dot. A new incarnation is opened when there is none yet, or when the version vector
    /// has entries of this node besides the current one; its parents are all of these.
    fn next_dot(&mut self) -> (Dot, Parents) {
        let own: Parents = self.staged.entries_of(self.options.node).collect();
        match (self.origin, own.as_slice()) {
            (Some(origin), [last]) if last.origin == origin => (origin.dot(last.counter + 1), Parents::new()),
            _ => {
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
