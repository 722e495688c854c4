//! No cycles: no write knew a write that knew it.
//!
//! Cerone, Bernardi and Gotsman (CONCUR 2015): visibility is acyclic; Burckhardt, "Principles of Eventual Consistency"
//! (2014), "no causality cycles".

use crate::model::Model;
use crate::report::{Property, Verdict};

/// Counts the edges followed.
pub(crate) fn count(edges: usize, verdict: &mut Verdict) {
    verdict.count(Property::NoCycles, edges);
}

/// An edge closed a cycle: `write` knew `cause`, which knew `write`.
pub(crate) fn found(model: &Model<'_>, cause: u32, write: u32, verdict: &mut Verdict) {
    verdict.fail(Property::NoCycles, &[model.event_of(cause), model.event_of(write)], || {
        format!("{} and {} each know the other", model.write_text(cause), model.write_text(write))
    });
}
