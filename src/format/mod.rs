//! Bytes: how ops, key states, messages and tokens are written down.
