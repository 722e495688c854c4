//! Trimming: dropping runs from the front of the log.
//!
//! A run ends where the next segment says what came before it. So it is one segment, or of a log of format 3 all that it had
//! when it was opened first. Files go one by one, each for good before the next, so that no power cut leaves a gap.

use std::sync::{Arc, PoisonError};

use super::segment::Segment;
use super::{Committed, OpLog};
use crate::storage::{LogRun, StorageError};

impl OpLog {
    /// What can be dropped, oldest first.
    pub(in crate::storage) fn runs(&self) -> Vec<LogRun> {
        self.read_committed().runs().into_iter().map(|(run, _)| run).collect()
    }

    /// Drops the runs that end at a position or before. After an error some of them may be gone. Only between commits.
    pub(in crate::storage) fn trim(&self, through: u64) -> Result<(), StorageError> {
        let runs = self.read_committed().runs();
        for (_, segments) in runs.into_iter().take_while(|(run, _)| run.last <= through) {
            for segment in &segments {
                segment.delete().map_err(StorageError::Log)?;
            }
            let mut committed = self.committed.write().unwrap_or_else(PoisonError::into_inner);
            let Committed { segments: left, index, .. } = &mut *committed;
            for segment in segments {
                left.remove(&segment.first);
            }
            let first = *left.keys().next().expect("there is always a segment to append to");
            index.forget_before(first);
        }
        Ok(())
    }
}

impl Committed {
    /// The runs, each with its segments.
    pub(super) fn runs(&self) -> Vec<(LogRun, Vec<Arc<Segment>>)> {
        let mut runs = Vec::new();
        let (mut bytes, mut segments) = (0, Vec::new());
        let next = self.segments.values().skip(1);
        for (part, next) in self.segments.values().zip(next) {
            bytes += part.end;
            segments.push(part.segment.clone());
            if let Some(base) = &next.segment.base {
                let (ended, vector) = (base.hlc, base.vector.clone());
                let run = LogRun { last: part.last, bytes, ended, vector };
                runs.push((run, std::mem::take(&mut segments)));
                bytes = 0;
            }
        }
        runs
    }
}
