//! Files with a secret for nodes and with a token for clients, as an operator would make them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::causeway::Launch;

/// The secret of the clusters that have one.
const SECRET: &str = "not a secret: every bench has it, and so has who reads this";

/// A node that knows the secret.
pub fn with_secret(launch: Launch) -> Result<Launch> {
    let file = write(&launch.directory, "secret", SECRET)?;
    Ok(launch.with("CAUSEWAY_SECRET_FILE", &file))
}

/// A node whose clients need a token, and the header with one that is for all keys, with the end of its line.
pub fn with_token(launch: Launch, binary: &Path) -> Result<(Launch, String)> {
    let made = Command::new(binary).args(["token", "bench", "--scope", "read,write,status"]).output()?;
    ensure!(made.status.success(), "no token is made: {}", String::from_utf8_lossy(&made.stderr));
    let made = String::from_utf8(made.stdout)?;
    let (token, line) = made.split_once('\n').context("a token and its line")?;
    let file = write(&launch.directory, "tokens", line)?;
    Ok((launch.with("CAUSEWAY_TOKENS_FILE", &file), format!("Authorization: Bearer {token}\r\n")))
}

fn write(directory: &Path, name: &str, text: &str) -> Result<String> {
    fs::create_dir_all(directory)?;
    let file = directory.join(name);
    fs::write(&file, text)?;
    Ok(file.to_str().context("a path that is text")?.to_owned())
}
