//! `GET /fingerprint`: the whole state as one short text, by which nodes are compared; and, a bucket at a time, the keys by
//! which they differ.
//!
//! Promises: nodes with the same state give the same fingerprints, in whatever order its ops reached them; all of an answer
//! is of one instant; memory is bounded, however much the store holds. How a fingerprint is made is part of the API
//! (`docs/http-api.md`), since two versions may be compared.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use tokio::sync::oneshot;
use utoipa::ToSchema;
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128};

use super::answers::held;
use super::openapi::{self, refusals::refusals};
use super::paging::Step;
use super::problem::{self, Kind, Problem};
use super::status::vector;
use super::view::{self, Room};
use super::{App, Shared, blocking, query};
use crate::replica::Siblings;
use crate::storage::Snapshot;

/// How many answers may be under way at once: each reads the whole store.
pub(super) const MAX_WALKS: usize = 2;

const BUCKETS: usize = 256;

/// The state that an answer is of.
#[derive(Serialize, ToSchema)]
#[schema(as = FingerprintInstant)]
struct Instant {
    node: u32,
    /// Origin → the last of its ops that the state includes.
    vector: BTreeMap<String, u64>,
    context: String,
}

/// Fingerprints of all there is.
#[derive(Serialize, ToSchema)]
#[schema(as = Fingerprint)]
struct Whole {
    #[serde(flatten)]
    instant: Instant,
    keys: u64,
    fingerprint: String,
    buckets: Vec<String>,
}

/// The fingerprints of one bucket's keys.
#[derive(Serialize, ToSchema)]
#[schema(as = FingerprintOfBucket)]
struct Bucket {
    #[serde(flatten)]
    instant: Instant,
    bucket: u8,
    keys: Vec<KeyFingerprint>,
    /// How many more there are, all behind the last one shown.
    left_out: u64,
}

#[derive(Serialize, ToSchema)]
struct KeyFingerprint {
    key: String,
    fingerprint: String,
}

/// Either of them.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document")]
#[schema(as = FingerprintAnswer)]
#[serde(untagged)]
enum Either {
    Whole(Whole),
    Bucket(Bucket),
}

refusals!(Refusals: query::REFUSALS, problem::OF_STORE, &[Kind::BadParameter]);

/// The whole state as one short text, to compare nodes by
///
/// Nodes with equal vectors have equal fingerprints. With `bucket`, the keys of one of the 256 buckets.
#[utoipa::path(
    get, path = "/fingerprint", operation_id = "fingerprint", tag = "data",
    params(openapi::Bucket),
    responses(
        (status = 200, description = "Fingerprints", body = Either),
        Refusals,
    ),
)]
pub(super) async fn fingerprint(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let [bucket] = query::params(request.uri().query(), ["bucket"])?;
    let bucket = bucket.as_deref().map(bucket_of_parameter).transpose()?;
    let permit = app.walks.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{MAX_WALKS} fingerprints are being made already, and each reads the whole store");
        Problem::new(Kind::Overloaded, detail).with("limit", MAX_WALKS)
    })?;
    // The other end goes when the node stops. (That a client went away is not noticed before it is answered.)
    let (gone, _waiting) = oneshot::channel::<()>();
    let walking = app.clone();
    let answer = blocking(move || {
        let snapshot = walking.node.snapshot()?;
        let walk = Walk { snapshot: &*snapshot, gone };
        let answer = match bucket {
            None => view::json(&whole(&walking, &walk)?),
            Some(bucket) => view::json(&of_bucket(&walking, &walk, bucket)?),
        };
        drop(permit);
        Ok(answer)
    });
    held(&app, answer.await?).await
}

fn bucket_of_parameter(text: &str) -> Result<u8, Problem> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let bucket = text.parse().ok().filter(|_| digits);
    bucket.ok_or_else(|| {
        let problem = query::bad_value("bucket", text, &format!("a number from 0 to {}", BUCKETS - 1));
        problem.with("limit", BUCKETS - 1)
    })
}

fn whole(app: &App, walk: &Walk) -> Result<Whole, Problem> {
    let mut keys = 0;
    let mut buckets = [0; BUCKETS];
    walk.each(|key, siblings| {
        keys += 1;
        let bucket = &mut buckets[usize::from(bucket_of(&key))];
        *bucket = chained(&[*bucket, key_fingerprint(&key, siblings)]);
    })?;
    Ok(Whole {
        instant: instant(app, walk.snapshot),
        keys,
        fingerprint: text(chained(&buckets)),
        buckets: buckets.into_iter().map(text).collect(),
    })
}

fn of_bucket(app: &App, walk: &Walk, bucket: u8) -> Result<Bucket, Problem> {
    let limits = &app.options.limits;
    let mut room = Room::new(limits.answer_bytes);
    let mut keys = Vec::new();
    let mut left_out = 0;
    walk.each(|key, siblings| {
        if bucket_of(&key) != bucket {
        } else if left_out == 0 && keys.len() < limits.entries && room.takes(key.len()) {
            let fingerprint = text(key_fingerprint(&key, siblings));
            keys.push(KeyFingerprint { key, fingerprint });
        } else {
            left_out += 1;
        }
    })?;
    Ok(Bucket { instant: instant(app, walk.snapshot), bucket, keys, left_out })
}

fn instant(app: &App, snapshot: &dyn Snapshot) -> Instant {
    let state = snapshot.vector();
    Instant {
        node: app.node.members().own.0,
        vector: vector(state.entries()),
        context: app.tokens.of(state).text.clone(),
    }
}

/// A walk over all keys of a snapshot, for somebody who waits.
struct Walk<'a> {
    snapshot: &'a dyn Snapshot,
    gone: oneshot::Sender<()>,
}

impl Walk<'_> {
    /// Hands out each key with its siblings, in byte order.
    fn each(&self, mut take: impl FnMut(String, &Siblings)) -> Result<(), Problem> {
        let mut after: Option<String> = None;
        let mut step = Step(1);
        loop {
            if self.gone.is_closed() {
                return Err(Problem::new(Kind::Internal, "nobody waits for this fingerprint any more"));
            }
            let found = self.snapshot.keys("", after.as_deref(), step.0)?;
            let is_last = found.len() < step.0;
            step.adapt(&found);
            after = found.last().map(|(key, _)| key.clone());
            found.into_iter().for_each(|(key, siblings)| take(key, &siblings));
            if is_last {
                return Ok(());
            }
        }
    }
}

fn bucket_of(key: &str) -> u8 {
    (xxh3_64(key.as_bytes()) >> 56) as u8
}

/// Of the key, and of the dots and values of its siblings, in order of the dots: where they came in this node's order
/// of arrival is no part of the state that nodes share.
fn key_fingerprint(key: &str, siblings: &Siblings) -> u128 {
    let mut siblings: Vec<_> = siblings.iter().collect();
    siblings.sort_by_key(|sibling| sibling.dot);
    let mut hash = Xxh3::new();
    let mut text = |text: &str| {
        hash.update(&(text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    text(key);
    for sibling in siblings {
        text(&sibling.dot.to_string());
        text(&sibling.value);
    }
    hash.digest128()
}

fn chained(fingerprints: &[u128]) -> u128 {
    let bytes: Vec<u8> = fingerprints.iter().flat_map(|fingerprint| fingerprint.to_be_bytes()).collect();
    xxh3_128(&bytes)
}

fn text(fingerprint: u128) -> String {
    format!("{fingerprint:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Hlc, Incarnation, NodeId, Origin};
    use crate::replica::Sibling;

    fn siblings(values: &[(u32, u64, &str)]) -> Siblings {
        let sibling = |(node, arrival, value): &(u32, u64, &str)| {
            let dot = Origin::new(NodeId(*node), Incarnation(7)).dot(1);
            Sibling { dot, hlc: Hlc(1), arrival: *arrival, value: (*value).into() }
        };
        Siblings::new(values.iter().map(sibling).collect())
    }

    #[test]
    fn the_order_of_arrival_does_not_count_and_all_else_does() {
        let fingerprint = key_fingerprint("k", &siblings(&[(0, 1, "a"), (1, 2, "b")]));
        assert_eq!(fingerprint, key_fingerprint("k", &siblings(&[(0, 9, "a"), (1, 3, "b")])));
        for (key, other) in [
            ("l", &[(0, 1, "a"), (1, 2, "b")][..]),
            ("k", &[(0, 1, "a")]),
            ("k", &[(0, 1, "b"), (1, 2, "a")]),
            ("k", &[(0, 1, "a"), (2, 2, "b")]),
        ] {
            assert_ne!(fingerprint, key_fingerprint(key, &siblings(other)), "{key} {other:?}");
        }
    }

    /// Nodes of different versions are compared: how fingerprints are made must not change by accident.
    #[test]
    fn fingerprints_are_made_as_the_documentation_says() {
        let dot = "0.0000000000000007.1";
        let mut bytes = Vec::new();
        for part in ["k", dot, "value"] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        assert_eq!(key_fingerprint("k", &siblings(&[(0, 1, "value")])), xxh3_128(&bytes));
        assert_eq!(bucket_of("k"), xxh3_64(b"k").to_be_bytes()[0]);
    }
}
