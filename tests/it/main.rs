//! Everything that is tested from outside: one binary, a module a topic.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod local;
mod partitions;
mod processes;
mod scenarios;
mod support;
mod tidy;
