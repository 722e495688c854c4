//! What is measured.

mod reads;
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
];
