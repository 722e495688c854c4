//! A place for each write such that causes come before effects, and the edges that it follows from.

use crate::model::{Model, Write};
use crate::origins::Entry;
use crate::properties::no_cycles;
use crate::report::Verdict;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    Open,
    Done,
}

/// Ranks all writes known by name; tells cycles. Depth first, with a stack of its own: chains of causes are long.
pub(crate) fn rank(model: &Model<'_>, verdict: &mut Verdict) -> Vec<u32> {
    let mut ranks = vec![0; model.writes.len()];
    let mut visits = vec![Visit::New; model.writes.len()];
    let mut next = 0;
    let mut stack = Vec::new();
    let mut causes = Vec::new();
    for start in 0..model.writes.len() as u32 {
        if model.write(start).dot.is_none() {
            continue;
        }
        stack.push(start);
        while let Some(write) = stack.last().copied() {
            match visits[write as usize] {
                Visit::New => {
                    visits[write as usize] = Visit::Open;
                    causes.clear();
                    collect_causes(model, write, &mut causes);
                    no_cycles::count(causes.len(), verdict);
                    for cause in causes.drain(..) {
                        match visits[cause as usize] {
                            Visit::New => stack.push(cause),
                            Visit::Open => no_cycles::found(model, cause, write, verdict),
                            Visit::Done => {}
                        }
                    }
                }
                Visit::Open => {
                    visits[write as usize] = Visit::Done;
                    ranks[write as usize] = next;
                    next += 1;
                    stack.pop();
                }
                Visit::Done => _ = stack.pop(),
            }
        }
    }
    ranks
}

/// The last write known by name of each entry that a write is known to know.
fn collect_causes(model: &Model<'_>, number: u32, causes: &mut Vec<u32>) {
    let write = model.write(number);
    let Some(dot) = write.dot else { return };
    let before = Entry { origin: dot.origin, counter: dot.counter.saturating_sub(1) };
    causes.extend(model.last_known(before));
    causes.extend(model.origins.implied(dot.origin).filter_map(|parent| model.last_known(parent)));
    for entry in knowledge(model, write) {
        // Its own name is in its context; a later one of its origin would be a cycle.
        if entry != dot {
            causes.extend(model.last_known(entry));
        }
    }
    causes.retain(|cause| *cause != number);
}

/// All that a write is known to know: what its client had seen, and what its node held.
fn knowledge<'m>(model: &'m Model<'_>, write: &'m Write) -> impl Iterator<Item = Entry> + 'm {
    let sent = write.sent.map_or([&[][..]; 3], |sent| [sent.wait, sent.seen, sent.dots].map(|span| model.vector(span)));
    sent.into_iter().flatten().chain(model.vector(write.context)).copied()
}
