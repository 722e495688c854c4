//! Whether one write replaced another: exactly where its client's or its node's knowledge is known, and as well as can
//! be told where not.

use crate::model::{Model, Write};
use crate::origins::Entry;

/// Whether a write replaced another of the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replaced {
    Yes,
    No,
    Maybe,
}

impl From<bool> for Replaced {
    fn from(is_replaced: bool) -> Self {
        if is_replaced { Self::Yes } else { Self::No }
    }
}

/// How many writes of an origin are looked at for what its node held around one of unknown outcome.
const MAX_STEPS: usize = 16;

/// Whether `later` replaced `earlier`, both known by name, if both took place and wrote one key.
pub(crate) fn replaced(model: &Model<'_>, later: u32, earlier: u32) -> Replaced {
    let write = model.write(later);
    let Some(dot) = model.write(earlier).dot.filter(|_| later != earlier) else { return Replaced::No };
    match (write.held(), write.sent) {
        (Some(held), _) => model.origins.covers(model.vector(held), dot).into(),
        (None, Some(sent)) if write.replaces_seen => is_seen(model, sent.seen, sent.dots, dot).into(),
        (None, _) if write.replaces_seen => Replaced::No,
        (None, _) => perhaps_held(model, later, earlier, dot),
    }
}

/// Whether a ghost may have replaced a write.
pub(crate) fn may_ghost_replace(model: &Model<'_>, ghost: u32, earlier: u32) -> bool {
    let write = model.write(ghost);
    match (model.write(earlier).dot, write.sent) {
        (Some(dot), Some(sent)) if write.replaces_seen => is_seen(model, sent.seen, sent.dots, dot),
        _ => !write.replaces_seen,
    }
}

fn is_seen(model: &Model<'_>, seen: crate::model::Span, dots: crate::model::Span, dot: Entry) -> bool {
    model.vector(dots).contains(&dot) || model.origins.covers(model.vector(seen), dot)
}

/// Whether the node that took `later`, whose outcome is unknown, held `earlier`: it had what its origin's writes before
/// it had, and nothing that those after it lacked.
fn perhaps_held(model: &Model<'_>, later: u32, earlier: u32, dot: Entry) -> Replaced {
    let write = model.write(later);
    let Some(own) = write.dot else { return Replaced::Maybe };
    let is_own_past = dot.origin == own.origin && dot.counter < own.counter;
    let waited = write.sent.is_some_and(|sent| model.origins.covers(model.vector(sent.wait), dot));
    if is_own_past || waited || model.origins.implied(own.origin).any(|parent| includes(parent, dot)) {
        return Replaced::Yes;
    }
    if knows(model, model.write(earlier), own) {
        return Replaced::No;
    }
    let place = model.known_up_to(own);
    let writes = &model.by_dot[own.origin as usize];
    let held = |(_, number): &(u64, u32)| model.write(*number).held();
    let covers = |held| model.origins.covers(model.vector(held), dot);
    let before = writes[..place.saturating_sub(1)].iter().rev().take(MAX_STEPS).find_map(held);
    let after = writes[place..].iter().take(MAX_STEPS).find_map(held);
    match (before.map(covers), after.map(covers)) {
        (Some(true), _) => Replaced::Yes,
        (_, Some(false)) => Replaced::No,
        _ => Replaced::Maybe,
    }
}

fn includes(entry: Entry, dot: Entry) -> bool {
    entry.origin == dot.origin && entry.counter >= dot.counter
}

/// Whether a write knew another, as far as its own answer and context tell.
fn knows(model: &Model<'_>, write: &Write, dot: Entry) -> bool {
    let sent = write.sent.map(|sent| sent.wait);
    let is_own_past = write.dot.is_some_and(|own| own.origin == dot.origin && own.counter > dot.counter);
    is_own_past
        || [Some(write.context), sent].into_iter().flatten().any(|span| model.origins.covers(model.vector(span), dot))
}
