//! Tests of the checker: little histories by hand, and long ones of a small correct cluster, also with planted bugs.
#![allow(clippy::unwrap_used)]

mod bug;
mod builder;
mod cluster;
mod dice;
mod json;
mod properties;
mod random;
mod speed;
mod synthetic;
mod volumes;
