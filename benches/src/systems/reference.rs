//! The reference servers, as processes of their own.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::System;
use crate::client;
use crate::process::{Process, free_ports};
use crate::references::{Canned, Effort, Plan};

/// Starts one that gives these answers.
pub fn start(directory: &Path, effort: Effort, read: &Canned, write: &Canned) -> Result<System> {
    let port = free_ports(1)?[0];
    let name = effort.name();
    let plan = Plan { port, read: read.clone(), write: write.clone(), effort };
    let mut command = Command::new(std::env::current_exe()?);
    // A file, because an argument must be short, and answers need not be.
    let file = directory.join(format!("{name}.json"));
    std::fs::write(&file, serde_json::to_vec(&plan)?)?;
    command.arg(format!("serve-{name}")).arg(file);
    let mut process = Process::start(name, directory, &command)?;
    process.until("ready", || client::get(port, "/read").is_ok())?;
    Ok(System { name, processes: vec![process], ports: vec![port] })
}
