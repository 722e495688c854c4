//! Tests of the replica as a whole: scripts that show every message and effect, and random schedules.

#![allow(clippy::unwrap_used)]

mod crowd;
mod damaged;
mod faults;
mod members;
mod mesh;
mod random;
mod restarts;
mod script;
mod twins;
mod world;
