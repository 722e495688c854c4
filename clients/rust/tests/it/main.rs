//! Against nodes.
