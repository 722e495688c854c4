//! Only seen: the context that a write of what was seen, or a repeat, is answered with covers, besides the context sent, nothing but
//! the write itself. One that covers more lets the client's next write replace siblings that it never saw.
//!
//! After the trap of K2V and Riak's clients in reverse: a token that is too new loses data without a word (Preguiça,
//! Baquero et al., "Dotted Version Vectors", 2010).

use crate::history::{Call, Context, Dot, Event, Outcome, Replaces};
use crate::report::{Property, Verdict};

/// What a client without a context has seen.
static NOTHING: Context = Context { wait: Vec::new(), seen: Vec::new(), dots: Vec::new(), chars: 0 };

/// Checks the answer of every write of what was seen, and of every repeat.
pub(crate) fn check(events: &[Event], verdict: &mut Verdict) {
    for (index, event) in events.iter().enumerate() {
        let Event::Request(request) = event else { continue };
        let (dot, context) = match (&request.outcome, &request.call) {
            (Outcome::Written { dot, context }, Call::Write { replaces: Replaces::Seen, .. }) => (dot, context),
            (Outcome::Repeated { dot, context }, _) => (dot, context),
            _ => continue,
        };
        let sent = request.context.as_deref().unwrap_or(&NOTHING);
        verdict.count(Property::OnlySeen, 1);
        if let Some(unseen) = first_unseen(sent, context, *dot) {
            verdict.fail(Property::OnlySeen, &[index], || {
                format!("the answer to a write claims {unseen:?} as seen, which its client had not seen")
            });
        }
    }
}

fn first_unseen(sent: &Context, answered: &Context, own: Dot) -> Option<Dot> {
    // The write itself may extend an entry by one; an entry of the vector sent stays, or is left out.
    let entry = |dot: &Dot| sent.seen.iter().find(|old| old.origin == dot.origin).map_or(0, |old| old.counter);
    let was_seen = |dot: &Dot| entry(dot) >= dot.counter || (*dot == own && entry(dot) + 1 == own.counter);
    let had_dot = |dot: &Dot| *dot == own || sent.dots.contains(dot) || was_seen(dot);
    let of_vector = answered.seen.iter().find(|dot| !was_seen(dot));
    of_vector.or_else(|| answered.dots.iter().find(|dot| !had_dot(dot))).copied()
}
