//! The systems that are measured: how they are started, and how the same load looks for each.

pub mod causeway;
pub mod cluster;
pub mod credentials;
pub mod etcd;
pub mod redis;
pub mod reference;

use std::path::PathBuf;

use crate::load::KEY;
use crate::process::Process;

/// What keys and values look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    /// How many keys there are.
    pub keys: u64,
    /// Bytes of a key, at least 12.
    pub key_bytes: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
}

impl Shape {
    /// So many short keys with short values.
    pub fn of(keys: u64) -> Self {
        Self { keys, key_bytes: 12, value_bytes: 32 }
    }

    /// A key, with room for its number.
    pub fn key(self) -> String {
        format!("{}{KEY}", "k".repeat(self.key_bytes - KEY.len()))
    }

    /// How many of its keys one write takes: 100, or one when the values are large.
    pub fn keys_a_request(self) -> usize {
        if self.value_bytes > 10_000 { 1 } else { 100 }
    }

    /// The value that is written.
    pub fn value(self) -> String {
        "v".repeat(self.value_bytes)
    }
}

/// A system beside Causeway, running.
pub struct System {
    /// What it is called.
    pub name: &'static str,
    /// Its processes.
    pub processes: Vec<Process>,
    /// Where each takes requests.
    pub ports: Vec<u16>,
}

impl System {
    /// The ids of its processes.
    pub fn ids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::id).collect()
    }
}

/// Where a program is, if it is installed; says so if not.
fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file());
    if found.is_none() {
        eprintln!("skipped: {program} is not installed");
    }
    found
}
