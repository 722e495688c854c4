//! Which keys a load uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;

/// How many choices of a skewed load are drawn beforehand.
const DRAWN: usize = 1 << 20;

/// How keys are chosen.
#[derive(Clone, Debug)]
pub enum Keys {
    /// Always this one.
    One(u64),
    /// Each of this many, equally often.
    Uniform(u64),
    /// Drawn beforehand, some more often than others.
    Drawn(Arc<[u32]>),
    /// Each once: the next that nobody had.
    Fresh(Arc<AtomicU64>),
}

impl Keys {
    /// New keys, from this number on.
    pub fn fresh(first: u64) -> Self {
        Self::Fresh(Arc::new(AtomicU64::new(first)))
    }

    /// Zipf's law: of `count` keys the k-th most popular is chosen in proportion to `1 / k^exponent`.
    pub fn zipf(count: u64, exponent: f64) -> Self {
        let mut total = 0.0;
        let sums: Vec<f64> = (1..=count)
            .map(|rank| {
                total += (rank as f64).powf(-exponent);
                total
            })
            .collect();
        let mut random = Rng::with_seed(1);
        // Spread over all keys, so that popular ones are not neighbours in the store.
        let key = |rank: u64| (rank.wrapping_mul(0x9e37_79b9_7f4a_7c15) % count) as u32;
        let drawn = (0..DRAWN).map(|_| {
            let point = random.f64() * total;
            key(sums.partition_point(|sum| *sum < point) as u64)
        });
        Self::Drawn(drawn.collect())
    }

    /// The numbers of the keys of one request, no number twice.
    pub fn choose(&self, keys: usize, random: &mut Rng) -> impl Iterator<Item = u64> + use<> {
        let keys = keys as u64;
        // Several keys of a request lie evenly between all keys.
        let (first, step, count) = match self {
            Self::One(number) => (*number, 1, u64::MAX),
            Self::Uniform(count) => (random.u64(..*count), count / keys.max(1), *count),
            Self::Drawn(drawn) => (drawn[random.usize(..drawn.len())].into(), 1, u64::MAX),
            Self::Fresh(next) => (next.fetch_add(keys, Ordering::Relaxed), 1, u64::MAX),
        };
        (0..keys).map(move |index| (first + index * step) % count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn no_key_twice_in_a_request() {
        let mut random = Rng::with_seed(3);
        for keys in [Keys::Uniform(1000), Keys::fresh(7)] {
            let chosen: BTreeSet<u64> = keys.choose(100, &mut random).collect();
            assert_eq!(chosen.len(), 100);
        }
    }

    #[test]
    fn popular_keys_are_as_popular_as_zipf_says() {
        let mut random = Rng::with_seed(3);
        let keys = Keys::zipf(1000, 0.99);
        let mut counts = BTreeMap::<u64, u32>::new();
        for _ in 0..100_000 {
            *counts.entry(keys.choose(1, &mut random).next().unwrap()).or_default() += 1;
        }
        let mut counts: Vec<u32> = counts.into_values().collect();
        counts.sort_unstable();
        // 1 / sum of k^-0.99 up to 1000 is 0.13.
        let most = counts[counts.len() - 1];
        assert!((12_000..14_500).contains(&most), "{most}");
        let second = counts[counts.len() - 2];
        assert!((6_000..7_500).contains(&second), "{second}");
    }
}
