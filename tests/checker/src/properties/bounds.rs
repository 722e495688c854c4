//! Bounds: what has a limit keeps to it, at every step that was looked at; causal contexts stay small.
//!
//! After Corrosion's unbounded queues (PR #198) and Riak's sibling explosions (riak_kv #746): what is not bounded grows.

use crate::history::{Context, Event, Outcome};
use crate::report::{Property, Verdict};

const MAX_DOTS: usize = 8;
/// The longest token of a state with up to so many entries.
const MAX_CHARS: [(usize, usize); 2] = [(1, 40), (10, 250)];

/// Checks every bound that was looked at and every context that was answered.
pub(crate) fn check(events: &[Event], verdict: &mut Verdict) {
    for (index, event) in events.iter().enumerate() {
        match event {
            Event::Bound(bound) => {
                verdict.count(Property::Bounds, 1);
                if bound.value > bound.limit {
                    verdict.fail(Property::Bounds, &[index], || {
                        format!("{} of node {} is {}, at most {}", bound.what, bound.node, bound.value, bound.limit)
                    });
                }
            }
            Event::Request(request) => match &request.outcome {
                Outcome::Read { context, .. }
                | Outcome::Written { context, .. }
                | Outcome::Repeated { context, .. } => check_context(index, context, verdict),
                Outcome::Refused { .. } | Outcome::Unknown | Outcome::Lost => {}
            },
            Event::Node(_) | Event::Final(_) => {}
        }
    }
}

fn check_context(event: usize, context: &Context, verdict: &mut Verdict) {
    verdict.count(Property::Bounds, 1);
    if context.dots.len() > MAX_DOTS {
        verdict.fail(Property::Bounds, &[event], || {
            format!("the context has {} dots, at most {MAX_DOTS}", context.dots.len())
        });
    }
    let is_of_state = context.dots.is_empty() && context.seen == context.wait;
    let limit = MAX_CHARS.iter().find(|(entries, _)| context.wait.len() <= *entries).filter(|_| is_of_state);
    if let Some((_, chars)) = limit.filter(|(_, chars)| context.chars > *chars) {
        verdict.fail(Property::Bounds, &[event], || {
            format!("a token of {} entries is {} long, at most {chars}", context.wait.len(), context.chars)
        });
    }
}
