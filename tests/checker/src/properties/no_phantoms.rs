//! No phantoms: every value shown is that of a write to that key that was not refused and had begun, and bears that
//! write's name; every name in a vector is some write's.
//!
//! "No thin-air reads" of Cerone, Bernardi and Gotsman, "A Framework for Transactional Consistency Models with Atomic
//! Visibility" (CONCUR 2015), with the names that dotted version vectors give to writes (Preguiça, Baquero et al., 2010).

use crate::history::{Detail, Micros, Shown};
use crate::model::{Model, WriteOutcome};
use crate::origins::Entry;
use crate::report::{Property, Verdict};

/// Says which write a value shown by an event, which ended then, for a key, is of, if it can be of one. Learns the names
/// of writes whose outcome is unknown.
pub(crate) fn judge(
    model: &mut Model<'_>,
    (event, end, key): (u32, Micros, u32),
    sibling: &Shown,
    write: Option<u32>,
    verdict: &mut Verdict,
) -> Option<u32> {
    verdict.count(Property::NoPhantoms, 1);
    let key_name = model.keys[key as usize];
    let Some(number) = write else {
        verdict.fail(Property::NoPhantoms, &[event as usize], || {
            format!("{key_name:?} shows a value that nobody wrote: {:?}", sibling.value)
        });
        return None;
    };
    let write = model.write(number);
    let wrong = if write.outcome == WriteOutcome::Refused {
        Some("of a write that was refused")
    } else if write.start > end {
        Some("of a write that had not begun")
    } else if !model.keys_of(write).iter().any(|written| written.key == key && written.has_value) {
        Some("that was not written to this key")
    } else {
        sibling.detail.and_then(|detail| learn(model, number, detail))
    };
    let Some(wrong) = wrong else { return Some(number) };
    verdict.fail(Property::NoPhantoms, &[event as usize, model.event_of(number)], || {
        format!("{key_name:?} shows a value {wrong}: {:?}", sibling.value)
    });
    None
}

fn learn(model: &mut Model<'_>, write: u32, detail: Detail) -> Option<&'static str> {
    let origin = model.origins.place(detail.dot.origin).expect("the origins of all details were numbered");
    let said = Entry { origin, counter: detail.dot.counter };
    match &mut model.writes[write as usize].dot {
        Some(dot) if *dot != said => Some("with another name than its write's"),
        dot => {
            *dot = Some(said);
            None
        }
    }
}

/// Two writes of the same value: nobody could tell them apart.
pub(crate) fn same_value(value: u64, one: u32, other: u32, verdict: &mut Verdict) {
    verdict.fail(Property::NoPhantoms, &[one as usize, other as usize], || {
        format!("two writes of the value {value}: this is no history")
    });
}

/// A read says something of each key that it was asked for.
pub(crate) fn answers_what_was_asked(event: u32, asked: usize, answered: usize, verdict: &mut Verdict) {
    if asked != answered {
        verdict.fail(Property::NoPhantoms, &[event as usize], || {
            format!("asked for {asked} keys, answered with {answered}")
        });
    }
}

/// Counts vectors whose names were looked at.
pub(crate) fn count_names(vectors: usize, verdict: &mut Verdict) {
    verdict.count(Property::NoPhantoms, vectors);
}

/// A name that no write can have.
pub(crate) fn unknown_name(model: &Model<'_>, dot: Entry, verdict: &mut Verdict) {
    let covers = |vector| model.origins.covers(model.vector(vector), dot);
    let answers = model.answers.iter().filter(|answer| covers(answer.context)).map(|answer| answer.event);
    let finals = model.finals.iter().filter(|held| covers(held.vector)).map(|held| held.event);
    let first: Vec<usize> = answers.chain(finals).take(1).map(|event| event as usize).collect();
    verdict.fail(Property::NoPhantoms, &first, || {
        format!("{} is in a vector, but is no write's name", model.origins.dot_text(dot))
    });
}
