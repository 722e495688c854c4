//! Dot reuse: no two writes have one name, and no two incarnations one name either.
//!
//! What Riak's `kv679` was about (a restored or lost disk made a counter start again): Preguiça, Baquero et al.,
//! "Dotted Version Vectors" (2010), and the quickcheck model `kv679_eqc`.

use crate::model::Model;
use crate::origins::{Entry, OriginIndex, Origins};
use crate::report::{Property, Verdict};

/// Checks the names of one origin, which are sorted.
pub(crate) fn check(model: &Model<'_>, origin: OriginIndex, verdict: &mut Verdict) {
    let writes = &model.by_dot[origin as usize];
    verdict.count(Property::DotReuse, writes.len());
    for pair in writes.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        let events = [model.event_of(pair[0].1), model.event_of(pair[1].1)];
        let dot = Entry { origin, counter: pair[0].0 };
        verdict
            .fail(Property::DotReuse, &events, || format!("two writes have the name {}", model.origins.dot_text(dot)));
    }
}

/// Checks that two nodes say the same of an incarnation's parents.
pub(crate) fn ancestry(
    origins: &Origins,
    origin: OriginIndex,
    events: [u32; 2],
    parents: &[Entry],
    others: &[Entry],
    verdict: &mut Verdict,
) {
    verdict.count(Property::DotReuse, 1);
    if parents != others {
        verdict.fail(Property::DotReuse, &events.map(|event| event as usize), || {
            let text = |dots: &[Entry]| dots.iter().map(|dot| origins.dot_text(*dot)).collect::<Vec<_>>().join(", ");
            let first = origins.dot_text(Entry { origin, counter: 1 });
            format!("two first writes have the name {first}: parents [{}] and [{}]", text(parents), text(others))
        });
    }
}
