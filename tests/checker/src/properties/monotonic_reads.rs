//! Monotonic reads: a request that carries a context is answered from a state with all that the session has read.
//!
//! Terry et al., "Session Guarantees for Weakly Consistent Replicated Data" (PDIS 1994). What is missing of the
//! session's own is told as read-your-writes.

use super::read_your_writes;
use crate::model::{Answer, Model};
use crate::report::{Property, Verdict};

/// Checks every answer to a request with a context, for both properties.
pub(crate) fn check(model: &Model<'_>, verdict: &mut Verdict) {
    for answer in &model.answers {
        read_your_writes::check_own(model, answer, verdict);
        let Some(sent) = answer.sent else { continue };
        read_your_writes::count(verdict);
        verdict.count(Property::MonotonicReads, 1);
        let answered = model.vector(answer.context);
        let missing = model.vector(sent.wait).iter().copied();
        for missing in missing.filter(|entry| !model.origins.may_cover(answered, *entry)) {
            let mut closure = vec![0; model.origins.len()];
            model.origins.close(answered, &mut closure);
            let after = closure[missing.origin as usize];
            if !read_your_writes::is_broken(model, answer, after, missing, verdict) {
                tell(model, answer, missing, verdict);
            }
        }
    }
}

fn tell(model: &Model<'_>, answer: &Answer, missing: crate::origins::Entry, verdict: &mut Verdict) {
    verdict.fail(Property::MonotonicReads, &[answer.event as usize], || {
        format!(
            "session {} had seen {}, and was answered from {}",
            answer.session,
            model.origins.dot_text(missing),
            model.vector_text(answer.context)
        )
    });
}
