//! What follows from the fingerprints of several nodes. Only computes.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Origin → the last of its ops that is included.
type Vector = BTreeMap<String, u64>;

/// The answer of `GET /fingerprint`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Fingerprint {
    pub(super) node: u32,
    pub(super) vector: Vector,
    pub(super) keys: u64,
    pub(super) fingerprint: String,
    buckets: Vec<String>,
}

/// The answer of `GET /fingerprint?bucket=N`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Bucket {
    pub(super) vector: Vector,
    keys: Vec<KeyFingerprint>,
    left_out: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct KeyFingerprint {
    key: String,
    fingerprint: String,
}

/// What several fingerprints say together.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All have the same ops and the same state.
    Equal,
    /// These pairs (by their places) have the same ops and different states. Each state that differs from the first
    /// of its ops is named once.
    Differ(Vec<(usize, usize)>),
    /// Not all have the same ops; those that do have the same state.
    OtherOps,
}

/// A key that two nodes do not hold alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct KeyDifference {
    pub(super) key: String,
    pub(super) found: Found,
}

/// Where a key that differs was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Found {
    First,
    Second,
    Both,
}

impl Fingerprint {
    /// How many ops it has of the incarnations that its vector names.
    pub(super) fn ops(&self) -> u64 {
        self.vector.values().sum()
    }

    /// The numbers of the buckets that differ.
    pub(super) fn buckets_that_differ(&self, other: &Self) -> Vec<usize> {
        let count = self.buckets.len().max(other.buckets.len());
        (0..count).filter(|bucket| self.buckets.get(*bucket) != other.buckets.get(*bucket)).collect()
    }
}

/// Compares all that can be compared: states that have the same ops.
pub(super) fn judge<'a>(fingerprints: impl IntoIterator<Item = &'a Fingerprint>) -> Verdict {
    let mut by_ops: BTreeMap<&Vector, Vec<(usize, &Fingerprint)>> = BTreeMap::new();
    for (place, fingerprint) in fingerprints.into_iter().enumerate() {
        by_ops.entry(&fingerprint.vector).or_default().push((place, fingerprint));
    }
    let mut differing = Vec::new();
    for alike in by_ops.values() {
        let mut states: Vec<(usize, &Fingerprint)> = Vec::new();
        for (place, fingerprint) in alike {
            if states.iter().all(|(_, state)| state.fingerprint != fingerprint.fingerprint) {
                states.push((*place, fingerprint));
            }
        }
        if let [(first, _), others @ ..] = &states[..] {
            differing.extend(others.iter().map(|(other, _)| (*first, *other)));
        }
    }
    match (by_ops.len(), differing.is_empty()) {
        (_, false) => Verdict::Differ(differing),
        (0 | 1, true) => Verdict::Equal,
        (_, true) => Verdict::OtherOps,
    }
}

/// The keys by which two buckets differ, as far as both show theirs; and whether that is all.
pub(super) fn keys_that_differ(one: &Bucket, other: &Bucket) -> (Vec<KeyDifference>, bool) {
    let end = |bucket: &Bucket| match bucket.left_out {
        0 => None,
        // Without any key nothing is known.
        _ => Some(bucket.keys.last().map(|last| last.key.clone()).unwrap_or_default()),
    };
    let ends = [end(one), end(other)];
    let shown = |key: &&KeyFingerprint| ends.iter().flatten().all(|end| key.key <= *end);
    let mut ours = one.keys.iter().take_while(shown).peekable();
    let mut theirs = other.keys.iter().take_while(shown).peekable();
    let mut differing = Vec::new();
    loop {
        let order = match (ours.peek(), theirs.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(ours), Some(theirs)) => ours.key.cmp(&theirs.key),
        };
        let our = if order.is_le() { ours.next() } else { None };
        let their = if order.is_ge() { theirs.next() } else { None };
        let (key, found) = match (our, their) {
            (Some(our), Some(their)) if our.fingerprint == their.fingerprint => continue,
            (Some(our), Some(_)) => (&our.key, Found::Both),
            (Some(our), None) => (&our.key, Found::First),
            (None, Some(their)) => (&their.key, Found::Second),
            (None, None) => break,
        };
        differing.push(KeyDifference { key: key.clone(), found });
    }
    (differing, ends.iter().all(Option::is_none))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(ops: u64, fingerprint: &str) -> Fingerprint {
        Fingerprint {
            node: 0,
            vector: [("0.00c0ffee00c0ffee".to_owned(), ops)].into(),
            keys: 1,
            fingerprint: fingerprint.to_owned(),
            buckets: vec!["same".to_owned(), fingerprint.to_owned()],
        }
    }

    fn judged(fingerprints: &[(u64, &str)]) -> Verdict {
        judge(&fingerprints.iter().map(|(ops, text)| fingerprint(*ops, text)).collect::<Vec<_>>())
    }

    #[test]
    fn only_states_with_the_same_ops_are_compared() {
        assert_eq!(judged(&[(7, "a"), (7, "a"), (7, "a")]), Verdict::Equal);
        assert_eq!(judged(&[(7, "a"), (8, "b"), (7, "a")]), Verdict::OtherOps);
        assert_eq!(judged(&[(7, "a"), (8, "a")]), Verdict::OtherOps, "a write may leave the state as it was");
        assert_eq!(judged(&[(7, "a"), (8, "b"), (7, "c"), (8, "b")]), Verdict::Differ(vec![(0, 2)]));
        assert_eq!(judged(&[(7, "a"), (7, "b"), (7, "b"), (7, "c")]), Verdict::Differ(vec![(0, 1), (0, 3)]));
    }

    #[test]
    fn buckets_that_differ_are_numbered() {
        assert_eq!(fingerprint(7, "a").buckets_that_differ(&fingerprint(7, "b")), [1]);
        assert_eq!(fingerprint(7, "a").buckets_that_differ(&fingerprint(7, "a")), [0; 0]);
    }

    fn bucket(keys: &[(&str, &str)], left_out: u64) -> Bucket {
        let key = |(key, fingerprint): &(&str, &str)| KeyFingerprint {
            key: (*key).to_owned(),
            fingerprint: (*fingerprint).to_owned(),
        };
        Bucket { vector: Vector::new(), keys: keys.iter().map(key).collect(), left_out }
    }

    fn differing(one: &Bucket, other: &Bucket) -> (Vec<(String, Found)>, bool) {
        let (keys, is_all) = keys_that_differ(one, other);
        (keys.into_iter().map(|difference| (difference.key, difference.found)).collect(), is_all)
    }

    #[test]
    fn every_key_that_differs_is_named_with_where_it_is() {
        let one = bucket(&[("a", "1"), ("b", "1"), ("c", "1"), ("e", "1")], 0);
        let other = bucket(&[("b", "1"), ("c", "2"), ("d", "1"), ("e", "1"), ("f", "1")], 0);
        let expected = [("a", Found::First), ("c", Found::Both), ("d", Found::Second), ("f", Found::Second)];
        assert_eq!(differing(&one, &other), (expected.map(|(key, found)| (key.to_owned(), found)).to_vec(), true));
    }

    #[test]
    fn a_key_that_one_side_does_not_show_any_more_is_no_difference() {
        let one = bucket(&[("a", "1"), ("c", "1")], 2);
        let other = bucket(&[("a", "2"), ("c", "1"), ("d", "1")], 0);
        assert_eq!(differing(&one, &other), (vec![("a".to_owned(), Found::Both)], false));
        assert_eq!(differing(&bucket(&[], 1), &other), (Vec::new(), false));
    }
}
