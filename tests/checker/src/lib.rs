//! Checks what clients of a Causeway cluster saw against what Causeway promises.

pub mod history;
