//! Causal delivery: a state that includes a write includes all that its node had when it took the write.
//!
//! "Causal visibility" (visibility contains happens-before): Burckhardt, "Principles of Eventual Consistency" (2014);
//! Cerone, Bernardi and Gotsman (CONCUR 2015). What the writer's *client* knew is told as monotonic-writes or
//! writes-follow-reads.

use super::{monotonic_writes, writes_follow_reads};
use crate::model::Model;
use crate::origins::Entry;
use crate::report::{Property, Verdict};

/// Checks a write that a state newly includes, for all three properties.
pub(crate) fn check(model: &Model<'_>, closure: &[u64], number: u32, event: u32, verdict: &mut Verdict) {
    let write = model.write(number);
    let lacks = |entry: &&Entry| closure[entry.origin as usize] < entry.counter;
    if let Some(sent) = write.sent {
        monotonic_writes::count(verdict);
        writes_follow_reads::count(verdict);
        let known = [sent.wait, sent.seen, sent.dots].map(|span| model.vector(span));
        if let Some(missing) = known.into_iter().flatten().find(lacks) {
            let after = closure[missing.origin as usize];
            if !monotonic_writes::is_broken(model, number, after, *missing, event, verdict) {
                writes_follow_reads::tell(model, number, *missing, event, verdict);
            }
            return;
        }
    }
    let Some(held) = write.held() else { return };
    verdict.count(Property::CausalDelivery, 1);
    if let Some(missing) = model.vector(held).iter().find(lacks) {
        verdict.fail(Property::CausalDelivery, &[model.event_of(number), event as usize], || {
            let missing = model.origins.dot_text(*missing);
            format!("{} is included, but not {missing}, which its node had", model.write_text(number))
        });
    }
}
