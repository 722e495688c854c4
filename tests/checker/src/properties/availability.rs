//! Availability: a node that is up answers every plain request, whatever it hears from others; with a context it may
//! only say that it does not include it in time, or that a write with it would add a sibling too many.
//!
//! The "A" of Gilbert and Lynch, "Brewer's Conjecture" (2002), for always-writable stores (DeCandia et al., 2007).

use crate::history::{Call, Event, Outcome, Refusal, Replaces, Request};
use crate::model::Model;
use crate::report::{Property, Verdict};

/// Checks every request.
pub(crate) fn check(model: &mut Model<'_>, verdict: &mut Verdict) {
    for (index, event) in model.events.iter().enumerate() {
        let Event::Request(request) = event else { continue };
        verdict.count(Property::Availability, 1);
        let refusal = match &request.outcome {
            Outcome::Read { .. } | Outcome::Written { .. } | Outcome::Repeated { .. } | Outcome::Lost => continue,
            Outcome::Refused { refusal } => Some(*refusal),
            Outcome::Unknown => None,
        };
        if refusal != Some(Refusal::Other) {
            let node = model.nodes.number(request.node);
            if is_allowed(request, refusal) || !model.nodes.is_up(node, request.start, request.end) {
                continue;
            }
        }
        verdict.fail(Property::Availability, &[index], || {
            let answer = refusal.map_or("no answer".to_owned(), |refusal| format!("{refusal:?}"));
            format!("node {} was up, and gave {answer} to a request that it must answer", request.node)
        });
    }
}

/// Whether a node that is up may refuse this request so.
fn is_allowed(request: &Request, refusal: Option<Refusal>) -> bool {
    let has_context = request.context.is_some();
    match refusal {
        Some(Refusal::ContextNotReached) => has_context,
        Some(Refusal::TooManySiblings) => {
            has_context && matches!(request.call, Call::Write { replaces: Replaces::Seen, .. })
        }
        _ => false,
    }
}
