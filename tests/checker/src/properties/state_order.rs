//! State order: the states that a node answers from are one chain, each including those before it, also where the
//! requests overlap.
//!
//! A replica's visible set only grows, in one order: Burckhardt, "Principles of Eventual Consistency" (2014). Where one
//! answer ended before the other was asked for, the difference is told as durability.

use crate::model::Model;
use crate::replay::Station;
use crate::report::{Property, Verdict};

/// Two states of one node are such that neither includes the other.
pub(crate) fn broken(model: &Model<'_>, one: &Station, other: &Station, verdict: &mut Verdict) {
    let overlap = one.start <= other.end && other.start <= one.end;
    let is_final = [one, other].iter().any(|station| station.property == Property::FinalState);
    if overlap && !is_final {
        verdict.fail(Property::StateOrder, &[one.event as usize, other.event as usize], || {
            format!("node {} was in two states of which neither includes the other", model.nodes.id(one.node))
        });
    }
}
