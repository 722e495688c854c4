//! Messages of other versions, which can't be read here: each kind of refusal is logged once, however often it is made.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::format::FormatError;

/// So many kinds are remembered, and logged. What a stranger may send must not take memory, nor fill the log.
const MAX_LOGGED: usize = 64;

/// What was refused so far.
#[derive(Default)]
pub(super) struct Refused(Mutex<BTreeSet<String>>);

impl Refused {
    /// Logs why a message was refused, when that is for its version and was not logged before.
    pub(super) fn note(&self, error: &FormatError) {
        if !error.is_of_another_version() {
            return;
        }
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() < MAX_LOGGED && logged.insert(error.to_string()) {
            tracing::warn!(%error, "refusing what a peer of another version sends: {error}");
        }
    }
}
