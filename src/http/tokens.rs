//! The token of the state that reads are answered from: the same for all of them until the next commit, so it is
//! encoded once.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::http::HeaderValue;

use super::headers::token_value;
use crate::causality::{CausalContext, VersionVector};
use crate::format::token;

/// A token, as text and as a header.
pub(super) struct StateToken {
    vector: VersionVector,
    pub(super) text: String,
    pub(super) header: HeaderValue,
}

impl StateToken {
    fn of(vector: &VersionVector) -> Self {
        let text = token::encode(&CausalContext::of_state(vector.clone()));
        let header = token_value(&text);
        Self { vector: vector.clone(), text, header }
    }
}

/// The last token that was asked for.
pub(super) struct StateTokens(ArcSwap<StateToken>);

impl StateTokens {
    pub(super) fn new() -> Self {
        Self(ArcSwap::from_pointee(StateToken::of(&VersionVector::new())))
    }

    /// The token of the state at `vector`.
    pub(super) fn of(&self, vector: &VersionVector) -> Arc<StateToken> {
        let last = self.0.load();
        if last.vector == *vector {
            return Arc::clone(&last);
        }
        let token = Arc::new(StateToken::of(vector));
        self.0.store(token.clone());
        token
    }
}
