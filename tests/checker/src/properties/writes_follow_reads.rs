//! Writes follow reads: a state that includes a write includes all that its session had read before and passed on.
//!
//! Terry et al., "Session Guarantees for Weakly Consistent Replicated Data" (PDIS 1994).

use crate::model::Model;
use crate::origins::Entry;
use crate::report::{Property, Verdict};

/// Counts a write made with a context.
pub(crate) fn count(verdict: &mut Verdict) {
    verdict.count(Property::WritesFollowReads, 1);
}

/// A state includes `number`, but not what its context says that its client had seen.
pub(crate) fn tell(model: &Model<'_>, number: u32, missing: Entry, event: u32, verdict: &mut Verdict) {
    verdict.fail(Property::WritesFollowReads, &[model.event_of(number), event as usize], || {
        let missing = model.origins.dot_text(missing);
        format!("{} is included, but not {missing}, which its session had seen", model.write_text(number))
    });
}
