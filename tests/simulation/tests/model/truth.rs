//! What must hold in every state, judged by what each write knew and nothing else.

use causeway::causality::VersionVector;
use stateright::Property;

use crate::state::{Accepted, Holding, KEYS, OpSet, State, key_index};
use crate::{Bounds, Variant};

pub(crate) const SIBLINGS: &str = "siblings are the maximal writes delivered";
pub(crate) const COVERED: &str = "a vector covers what was delivered, no more and no less";
pub(crate) const EQUAL: &str = "equal vectors have equal siblings";
pub(crate) const DOTS: &str = "no dot is used twice";
pub(crate) const REPLACED: &str = "a write replaces what its client has seen, no more and no less";
pub(crate) const WAITED: &str = "a token is reached exactly where all is that it stands for";
pub(crate) const FOLDED: &str = "after its own write a node has one entry of its own";
pub(crate) const SETTLED: &str = "delivering everything makes all nodes equal";

pub(crate) fn properties() -> Vec<Property<Bounds>> {
    vec![
        Property::always(SIBLINGS, |_, state| holdings(state).all(|holding| siblings_are_maximal(state, holding))),
        Property::always(COVERED, |_, state| holdings(state).all(|holding| covers_what_is_held(state, holding))),
        Property::always(EQUAL, equal_vectors_have_equal_siblings),
        Property::always(DOTS, no_dot_twice),
        Property::always(REPLACED, last_write_replaces_what_was_seen),
        Property::always(WAITED, tokens_wait_for_what_they_stand_for),
        Property::always(FOLDED, writers_have_one_entry),
        Property::always(SETTLED, |bounds, state| settles(state, bounds.rules.variant)),
    ]
}

/// What any node holds, synced or not.
fn holdings(state: &State) -> impl Iterator<Item = &Holding> {
    state.processes.iter().flat_map(|process| {
        let staged = (!process.is_synced()).then_some(&*process.staged);
        staged.into_iter().chain([&*process.durable])
    })
}

fn entry_of(accepted: &Accepted, key: usize) -> Option<bool> {
    let entry = accepted.op.entries.iter().find(|entry| key_index(&entry.key) == key);
    entry.map(|entry| entry.value.is_some())
}

/// The values of a key among `held` that no write among them was meant to replace.
fn maximal(state: &State, held: OpSet, key: usize) -> OpSet {
    let writes = || held.iter().map(|id| (id, &state.ops[id])).filter(|(_, write)| entry_of(write, key).is_some());
    let replaced = writes().fold(OpSet::default(), |set, (_, write)| set.or(write.before.and(write.seen)));
    let values = writes().filter(|(_, write)| entry_of(write, key) == Some(true));
    values.fold(OpSet::default(), |set, (id, _)| set.with(id)).without(replaced)
}

fn siblings_are_maximal(state: &State, holding: &Holding) -> bool {
    (0..KEYS.len()).all(|key| {
        let siblings = &holding.keys[key];
        let expected = maximal(state, holding.held, key);
        let has = |id: usize| siblings.iter().any(|sibling| sibling.dot == state.ops[id].op.dot);
        siblings.len() == expected.iter().count() && expected.iter().all(has)
    })
}

fn covers_what_is_held(state: &State, holding: &Holding) -> bool {
    let covers = |id: usize| holding.ancestry.covers(&holding.vector, state.ops[id].op.dot);
    (0..state.ops.len()).all(|id| covers(id) == holding.held.has(id))
}

fn equal_vectors_have_equal_siblings(_: &Bounds, state: &State) -> bool {
    let all: Vec<&Holding> = holdings(state).collect();
    let differ = |left: &Holding, right: &Holding| left.vector == right.vector && left.keys != right.keys;
    !all.iter().enumerate().any(|(index, left)| all[index + 1..].iter().any(|right| differ(left, right)))
}

fn no_dot_twice(_: &Bounds, state: &State) -> bool {
    let dot = |id: usize| state.ops[id].op.dot;
    (0..state.ops.len()).all(|id| (0..id).all(|other| dot(id) != dot(other)))
}

fn last_write_replaces_what_was_seen(_: &Bounds, state: &State) -> bool {
    let Some(write) = state.ops.last() else { return true };
    write.op.entries.iter().all(|entry| {
        let expected = maximal(state, write.before, key_index(&entry.key)).and(write.seen);
        let has = |id: usize| entry.replaces.contains(&state.ops[id].op.dot);
        entry.replaces.len() == expected.iter().count() && expected.iter().all(has)
    })
}

fn tokens_wait_for_what_they_stand_for(_: &Bounds, state: &State) -> bool {
    state.clients.iter().all(|client| {
        holdings(state).all(|holding| {
            let reached = holding.ancestry.includes(&holding.vector, &client.context.wait);
            reached == holding.held.includes(client.wait)
        })
    })
}

fn writers_have_one_entry(_: &Bounds, state: &State) -> bool {
    let Some(write) = state.ops.last() else { return true };
    let writer = &state.processes[write.process];
    let just_written = write.before.with(state.ops.len() - 1);
    let own = |vector: &VersionVector| vector.entries_of(writer.node).count();
    [&writer.staged, &writer.durable].iter().all(|holding| holding.held != just_written || own(&holding.vector) == 1)
}

/// With no fault any more, everything that any node shows is delivered everywhere, and then all are equal.
fn settles(state: &State, variant: Variant) -> bool {
    if !state.processes.iter().all(|process| process.is_synced()) {
        // What is not synced is synced or lost first, and those are states of their own.
        return true;
    }
    let all = state.processes.iter().fold(OpSet::default(), |set, process| set.or(process.durable.held));
    let mut settled = Vec::new();
    for process in &state.processes {
        let mut holding = (*process.durable).clone();
        // Each op was accepted after all that it knew of.
        for id in all.without(holding.held).iter() {
            if holding.first_missing(&state.ops[id].op, variant).is_some() {
                return false;
            }
            holding.deliver(id, &state.ops[id].op, variant);
        }
        settled.push(holding);
    }
    settled.windows(2).all(|pair| pair[0] == pair[1])
}
