//! Monotonic writes: a state that includes a write includes the writes that its session made before and passed on.
//!
//! Terry et al., "Session Guarantees for Weakly Consistent Replicated Data" (PDIS 1994).

use crate::model::Model;
use crate::origins::Entry;
use crate::report::{Property, Verdict};

/// Counts a write made with a context.
pub(crate) fn count(verdict: &mut Verdict) {
    verdict.count(Property::MonotonicWrites, 1);
}

/// Tells which write of the same session a state lacks, if any, given an entry of the context of `number` that it
/// lacks: all up to counter `after` of that origin are there.
pub(crate) fn is_broken(
    model: &Model<'_>,
    number: u32,
    after: u64,
    missing: Entry,
    event: u32,
    verdict: &mut Verdict,
) -> bool {
    let session = model.write(number).session;
    let mut lacking = model.known_between(after, missing).iter().map(|(_, write)| *write);
    let own = lacking.find(|write| model.write(*write).session == session);
    if let Some(own) = own {
        let events = [model.event_of(own), model.event_of(number), event as usize];
        verdict.fail(Property::MonotonicWrites, &events, || {
            let (number, own) = (model.write_text(number), model.write_text(own));
            format!("{number} is included, but not {own}, which its session wrote before")
        });
    }
    own.is_some()
}
