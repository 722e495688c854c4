//! Everything that is tested from outside: one binary, a module a topic.
#![allow(clippy::unwrap_used)]

mod api;
mod attacks;
mod backup;
mod bad_input;
mod browser;
mod commands;
mod compose;
mod corpus;
mod crashes;
mod disk_faults;
mod histories;
mod local;
mod members;
mod metrics;
mod observed;
mod otlp;
mod overload;
mod packaging;
mod partitions;
mod processes;
mod readme;
mod replication;
mod scenarios;
mod support;
mod swarm;
mod tidy;
mod transfer;
mod twins;
mod upgrade;
mod watch;
