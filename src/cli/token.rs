//! `causeway token`: a new token for a client, and the line by which nodes know it.

use clap::Args;

use super::failure::Failure;
use super::output;
use crate::auth;

/// What `token` takes.
#[derive(Clone, Debug, Args)]
pub struct Token {
    /// What the file and refusals call it: letters, digits, '.', '_' and '-'
    name: String,
    /// What it may be used for: read, write, status, admin; several with commas
    #[arg(long = "scope", required = true, value_name = "SCOPE", value_delimiter = ',')]
    scopes: Vec<String>,
    /// Keys that it is for begin so; given again, or so; without it is for all keys
    #[arg(long = "prefix", value_name = "PREFIX")]
    prefixes: Vec<String>,
}

pub(super) fn run(token: &Token) -> Result<(), Failure> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| Failure::NotDone(format!("no random bits: {error}")))?;
    let issued = auth::issue(random, &token.name, &token.scopes, &token.prefixes);
    let (secret, line) = issued.map_err(|wrong| Failure::Usage(format!("that {wrong}")))?;
    output::note("the token, which nothing shows again; and the line for CAUSEWAY_TOKENS_FILE");
    output::line(secret)?;
    output::line(line)
}
