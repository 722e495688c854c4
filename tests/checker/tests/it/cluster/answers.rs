//! What a cluster says of what it has: to a read, after a write, in the end.

use super::*;

impl Cluster {
    pub(super) fn after_write(&self, sent: &Context, dot: Dot) -> Context {
        let mut context = sent.clone();
        context.wait = self.fold(sent.wait.iter().copied().chain([dot]));
        match context.seen.iter_mut().find(|entry| entry.origin == dot.origin) {
            Some(entry) if entry.counter + 1 == dot.counter => entry.counter += 1,
            _ => context.dots.push(dot),
        }
        if context.dots.len() > 8 {
            context.dots.remove(0);
        }
        context
    }

    fn shown(&self, node: usize, (op, arrival): (usize, u64), has_detail: bool) -> Shown {
        let Op { dot, value, written_at, .. } = &self.ops[op];
        let changes = self.bug == Some(Bug::ChangesClocks);
        let written_at = if changes { written_at + node as u64 } else { *written_at };
        let detail = Detail { dot: *dot, written_at, arrival };
        Shown { value: Some(*value), detail: Some(detail).filter(|_| has_detail) }
    }

    pub(super) fn read(&mut self, node: usize, keys: &[Key], resolve: Resolve) -> Outcome {
        let mut states = Vec::new();
        for key in keys {
            let siblings = self.nodes[node].volume.keys.get(key).cloned().unwrap_or_default();
            let newest = siblings.iter().max_by_key(|(op, _)| (self.ops[*op].written_at, self.ops[*op].dot));
            let picked = match resolve {
                Resolve::All => siblings.clone(),
                Resolve::Arrival => siblings.last().copied().into_iter().collect(),
                Resolve::Newest => newest.copied().into_iter().collect(),
            };
            let listed = picked.into_iter().map(|sibling| self.shown(node, sibling, resolve == Resolve::All));
            let mut shown: Vec<Shown> = listed.collect();
            if self.bug == Some(Bug::Invents) && self.random.percent(3) {
                shown.iter_mut().take(1).for_each(|shown| shown.value = None);
            }
            states.push(State { siblings: siblings.len(), shown });
        }
        Outcome::Read { states, context: of_state(self.vector(node)).into() }
    }

    /// Heals everything, and tells what the nodes hold.
    pub(super) fn finish(mut self) -> Vec<Event> {
        self.now += 100;
        for node in (0..self.nodes.len()).filter(|node| !self.nodes[*node].is_up).collect::<Vec<_>>() {
            self.up(node, Volume::Kept);
        }
        let all: BTreeSet<usize> = self.nodes.iter().flat_map(|node| node.volume.ops.iter().copied()).collect();
        for node in 0..self.nodes.len() {
            // Numbers are given in the order of taking place, so causes come first.
            for op in all.difference(&self.nodes[node].volume.ops.clone()) {
                self.apply(node, *op, false);
            }
        }
        self.events.sort_by_key(|(at, _)| *at);
        let mut events: Vec<Event> = std::mem::take(&mut self.events).into_iter().map(|(_, event)| event).collect();
        for node in 0..self.nodes.len() {
            let ancestry = all.iter().map(|op| &self.ops[*op]).filter(|op| !op.parents.is_empty());
            let ancestry = ancestry.map(|op| (op.dot.origin, op.parents.clone())).collect();
            let listed = self.nodes[node].volume.keys.iter().filter(|(_, siblings)| !siblings.is_empty());
            let shown = |siblings: &Vec<(usize, u64)>| {
                siblings.iter().map(|sibling| self.shown(node, *sibling, true)).collect()
            };
            let keys = listed.map(|(key, siblings)| (key.clone(), shown(siblings))).collect();
            let (vector, node) = (self.vector(node), node as NodeId);
            events.push(Event::Final(Final { node, vector, ancestry, keys }));
        }
        events
    }
}
