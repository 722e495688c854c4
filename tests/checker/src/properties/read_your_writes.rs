//! Read your writes: a request that carries a context is answered from a state with the session's own writes, and a
//! write's answer includes the write.
//!
//! Terry, Demers, Petersen, Spreitzer, Theimer and Welch, "Session Guarantees for Weakly Consistent Replicated Data"
//! (PDIS 1994).

use crate::model::{Answer, Kind, Model};
use crate::origins::Entry;
use crate::report::{Property, Verdict};

/// Checks that an answered write's context has the write.
pub(crate) fn check_own(model: &Model<'_>, answer: &Answer, verdict: &mut Verdict) {
    let (Kind::Held { write } | Kind::Seen { write }) = &answer.kind else { return };
    let Some(dot) = model.write(*write).dot else { return };
    verdict.count(Property::ReadYourWrites, 1);
    if !model.origins.covers(model.vector(answer.context), dot) {
        verdict.fail(Property::ReadYourWrites, &[answer.event as usize], || {
            format!("the context of {} does not include it", model.write_text(*write))
        });
    }
}

/// Counts a request with a context.
pub(crate) fn count(verdict: &mut Verdict) {
    verdict.count(Property::ReadYourWrites, 1);
}

/// Tells which of the session's own writes an answer lacks, if any, given an entry of the context sent that it lacks:
/// all up to counter `after` of that origin are there.
pub(crate) fn is_broken(model: &Model<'_>, answer: &Answer, after: u64, missing: Entry, verdict: &mut Verdict) -> bool {
    let is_own = |write: u32| model.write(write).session == answer.session;
    let own = model.known_between(after, missing).iter().map(|(_, write)| *write).find(|write| is_own(*write));
    if let Some(write) = own {
        verdict.fail(Property::ReadYourWrites, &[model.event_of(write), answer.event as usize], || {
            format!("session {} was answered without its own {}", answer.session, model.write_text(write))
        });
    }
    own.is_some()
}
