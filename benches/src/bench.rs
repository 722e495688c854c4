//! What a run is: its options, its place on the disk, what it has measured so far.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use tempfile::TempDir;

use crate::load::{Amount, Keys, Outcome, Pace, run};
use crate::report::Report;
use crate::systems::Shape;
use crate::systems::causeway::{self, Launch, Node};

/// How a run is done.
#[derive(Clone, Debug, Serialize)]
pub struct Options {
    /// Everything tiny: whether it works and every answer is right, not how fast.
    pub smoke: bool,
    /// How often each system is measured.
    pub rounds: usize,
    /// How long each time.
    pub seconds: f64,
    /// Ops that are missed while a node is away.
    pub ops: u64,
    /// How many nodes the clusters of `fan-out` have.
    pub nodes: Vec<usize>,
    /// The most keys of a node.
    pub keys: u64,
    /// The server under test.
    pub binary: PathBuf,
}

/// A run.
pub struct Bench {
    /// How it is done.
    pub options: Options,
    /// What it has measured.
    pub report: Report,
    work: TempDir,
    directories: usize,
    /// Data directories of a node 0 that holds so many keys; made once, copied for every use.
    filled: BTreeMap<Shape, PathBuf>,
}

impl Bench {
    /// A run with its data below `directory`, which must be on a disk.
    pub fn new(options: Options, directory: &Path) -> Result<Self> {
        const TMPFS: i64 = 0x0102_1994;
        let kind = rustix::fs::statfs(directory)?.f_type;
        ensure!(kind != TMPFS, "{} is not on a disk: syncs would cost nothing", directory.display());
        ensure!(options.binary.exists(), "there is no {}: cargo build --release", options.binary.display());
        let work = tempfile::Builder::new().prefix("bench-").tempdir_in(directory)?;
        Ok(Self { options, report: Report::default(), work, directories: 0, filled: BTreeMap::new() })
    }

    /// A directory that nobody has used, on the disk.
    pub fn directory(&mut self) -> Result<PathBuf> {
        self.directories += 1;
        let directory = self.work.path().join(self.directories.to_string());
        std::fs::create_dir(&directory)?;
        Ok(directory)
    }

    /// How long one measurement takes.
    pub fn slice(&self) -> Duration {
        Duration::from_secs_f64(self.options.seconds)
    }

    /// `size`, or a small one when nothing is to be learned from it.
    pub fn size(&self, size: u64, smoke: u64) -> u64 {
        if self.options.smoke { smoke } else { size }
    }

    /// How many keys there are where much is to be there: 1,000,000.
    pub fn keys(&self) -> u64 {
        self.size(1_000_000, 2_000)
    }

    /// A lone node that holds these keys.
    pub fn filled_node(&mut self, shape: Shape) -> Result<Node> {
        self.filled_node_with(shape, &[])
    }

    /// The same with settings.
    pub fn filled_node_with(&mut self, shape: Shape, settings: &[(&str, &str)]) -> Result<Node> {
        let filled = self.filled_directory(shape)?;
        let directory = self.directory()?;
        copy(&filled, &directory)?;
        Launch::alone(&directory)?.with_all(settings).start(&self.options.binary)
    }

    /// Removes what the last scenario left behind, but for the keys that others may need.
    pub fn clear(&mut self) -> Result<()> {
        for entry in std::fs::read_dir(self.work.path())? {
            let directory = entry?.path();
            if !self.filled.values().any(|filled| *filled == directory) {
                std::fs::remove_dir_all(directory)?;
            }
        }
        Ok(())
    }

    fn filled_directory(&mut self, shape: Shape) -> Result<PathBuf> {
        if let Some(directory) = self.filled.get(&shape) {
            return Ok(directory.clone());
        }
        let directory = self.directory()?;
        let node = Launch::alone(&directory)?.start(&self.options.binary)?;
        fill(&node, shape)?;
        node.process.stop()?;
        self.filled.insert(shape, directory.clone());
        Ok(directory)
    }
}

/// Writes all keys of a shape, 100 a request, or as many as fit.
pub fn fill(node: &Node, shape: Shape) -> Result<Outcome> {
    let keys = shape.keys_a_request();
    let load = causeway::writes(&[node.port], shape, keys, Keys::fresh(0));
    let outcome = run(&load, 8, Pace::Closed, Amount::Requests(shape.keys.div_ceil(keys as u64)))?;
    ensure!(node.keys()? == shape.keys, "{} keys instead of {}", node.keys()?, shape.keys);
    Ok(outcome)
}

/// Copies a directory, and waits until it is on disk, so that nothing measured later waits for that.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = Command::new("cp").args(["-a", "--reflink=auto"]).arg(from.join(".")).arg(to).status()?;
    ensure!(copied.success(), "{} can't be copied", from.display());
    let synced = Command::new("sync").arg("-f").arg(to).status()?;
    ensure!(synced.success(), "{} can't be synced", to.display());
    Ok(())
}
