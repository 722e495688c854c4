//! Instants: which states of the engine someone still reads. What none of them needs, the engine may drop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lsm_tree::SeqNo;

/// All instants that are held.
#[derive(Debug, Default)]
pub(super) struct Instants(Mutex<BTreeMap<SeqNo, usize>>);

/// A state of the engine: all that was written with lower sequence numbers. Stays readable for as long as it is held.
#[derive(Debug)]
pub(super) struct Instant {
    pub(super) seqno: SeqNo,
    instants: Arc<Instants>,
}

impl Instants {
    pub(super) fn hold(self: &Arc<Self>, seqno: SeqNo) -> Instant {
        *self.held().entry(seqno).or_default() += 1;
        Instant { seqno, instants: self.clone() }
    }

    /// What was replaced before this can be dropped: every instant that is held or yet to come is later.
    pub(super) fn watermark(&self) -> SeqNo {
        self.held().keys().next().map_or(0, |oldest| oldest.saturating_sub(1))
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<SeqNo, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Instant {
    fn drop(&mut self) {
        let mut held = self.instants.held();
        if let Some(holders) = held.get_mut(&self.seqno) {
            *holders -= 1;
            if *holders == 0 {
                held.remove(&self.seqno);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_stays_below_the_oldest_instant_that_is_held() {
        let instants = Arc::new(Instants::default());
        assert_eq!(instants.watermark(), 0, "nobody has begun");
        let (first, second, third) = (instants.hold(5), instants.hold(5), instants.hold(9));
        drop(first);
        assert_eq!(instants.watermark(), 4);
        drop(second);
        assert_eq!(instants.watermark(), 8);
        drop(third);
        assert_eq!(instants.watermark(), 0);
    }
}
