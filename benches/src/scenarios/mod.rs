//! What is measured.

mod attacks;
mod authentication;
mod catch_up;
mod fan_out;
mod keys;
mod latency;
mod nodes;
mod overload;
mod reads;
mod siblings;
mod tracing;
mod transfer;
mod values;
mod writes;

use anyhow::Result;

use crate::bench::Bench;

/// One scenario.
pub struct Scenario {
    /// As it is called on the command line.
    pub name: &'static str,
    /// What it measures.
    pub about: &'static str,
    /// Measures it.
    pub run: fn(&mut Bench) -> Result<()>,
}

/// All of them, in the order in which they are run.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "reads", about: "64 clients read: one key, all keys, popular keys, no key", run: reads::run },
    Scenario { name: "writes", about: "1 to 256 clients write one key a request", run: writes::single },
    Scenario { name: "many", about: "100 keys a request, new ones and existing ones", run: writes::many },
    Scenario { name: "mixed", about: "64 clients read 95 times and write 5 times in 100", run: writes::mixed },
    Scenario { name: "nodes", about: "writes on one or all of three nodes, until all have them", run: nodes::run_all },
    Scenario { name: "latency", about: "from acknowledgement to visible on another node", run: latency::run_all },
    Scenario { name: "catch-up", about: "a node that was away gets what it missed", run: catch_up::run_all },
    Scenario { name: "transfer", about: "the same, when it missed more than logs go back", run: transfer::run_all },
    Scenario { name: "fan-out", about: "what an op costs with 3 to 50 nodes, and idle nodes", run: fan_out::run_all },
    Scenario {
        name: "keys",
        about: "ten thousand to ten million keys: reads, memory, start, disk",
        run: keys::run_all,
    },
    Scenario { name: "siblings", about: "reads of a key with 1 to 64 siblings", run: siblings::run_all },
    Scenario { name: "values", about: "values of 16 B to 1 MiB, read and written", run: values::run_all },
    Scenario { name: "overload", about: "ten times what a node can take, and after it", run: overload::run_all },
    Scenario {
        name: "attacks",
        about: "clients that behave, beside floods and slow connections",
        run: attacks::run_all,
    },
    Scenario {
        name: "authentication",
        about: "three nodes with and without a secret, clients with and without tokens",
        run: authentication::run_all,
    },
    Scenario { name: "tracing", about: "reads and writes with and without traces", run: tracing::run_all },
];
