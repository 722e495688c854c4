//! `causeway completions`: what a shell must know to complete commands and options.

use clap::Args;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::CommandLine;
use super::failure::Failure;
use super::output;

/// What `completions` takes.
#[derive(Clone, Debug, Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

pub(super) fn run(completions: &Completions) -> Result<(), Failure> {
    // Not straight to the output: where that is closed, the generator panics.
    let mut script = Vec::new();
    generate(completions.shell, &mut CommandLine::command(), env!("CARGO_PKG_NAME"), &mut script);
    output::bytes(&script)
}
