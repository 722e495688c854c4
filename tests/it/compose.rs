//! Three nodes in containers on the real engine, cut apart with `docker network disconnect`, from the host
//! through the mapped ports: what a user does and sees.
//!
//! Runs with `CAUSEWAY_TEST_COMPOSE=1` (as `tests/run compose` does), one test at a time: there is one cluster.
//! Times are printed, not judged.

mod clients;
mod cluster;
mod disks;
mod histories;
mod partitions;
mod readme;
mod soak;
mod traces;

pub(crate) use cluster::docker;
