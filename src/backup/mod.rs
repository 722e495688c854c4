//! Backups as files: written while they come from a node, checked, and made into data directories.
//!
//! Promises: a file under its name is whole, on disk, and was checked byte by byte; a backup is checked to its end before
//! anything is made of it. Must not talk to a node: what comes from one is handed in.

mod file;
mod restore;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use file::BackupFile;
pub use restore::restore;

use crate::format::FormatError;
use crate::format::backup::{BackupHead, BackupReader, Part};
use crate::replica::{Key, Siblings};
use crate::storage::OpenError;

/// What a backup is named among media types.
pub const CONTENT_TYPE: &str = crate::format::backup::CONTENT_TYPE;

/// Bytes that are read of a file at once.
const BLOCK_BYTES: usize = 64 << 10;

/// What a backup is of, and how large it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The cluster's name.
    pub cluster: String,
    /// The node that made it.
    pub node: u32,
    /// When, by that node's clock.
    pub taken: SystemTime,
    /// Origin → the last of its ops that it includes.
    pub vector: BTreeMap<String, u64>,
    /// How many keys it has.
    pub keys: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// Why a backup could not be written, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It is not what a node wrote, or not all of it.
    #[error("{path}: {problem} (in the part that begins at byte {at})")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: FormatError,
        /// Where the part begins.
        at: u64,
    },
    /// There is a file of that name.
    #[error("{path} is there already")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another backup was begun under its name while it was written.
    #[error("{path}: another backup was begun under this name")]
    Superseded {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory can't be made.
    #[error(transparent)]
    Directory(#[from] OpenError),
}

impl BackupError {
    /// Whether what was named can't be used as it is: nothing was changed, and nothing failed.
    pub fn is_refusal(&self) -> bool {
        use OpenError::{Foreign, InUse, NotEmpty};
        matches!(self, Self::Exists { .. } | Self::Directory(Foreign { .. } | InUse { .. } | NotEmpty { .. }))
    }

    fn file(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |source| Self::File { path: path.to_owned(), source }
    }
}

/// Reads a whole backup, and says what it is of.
pub fn check(path: &Path) -> Result<Summary, BackupError> {
    let mut checked = Checked::new(path);
    each_block(path, |block| checked.add(block, |_| Ok(())))?;
    checked.finish()
}

/// Hands out the blocks of a file.
fn each_block(path: &Path, mut take: impl FnMut(&[u8]) -> Result<(), BackupError>) -> Result<(), BackupError> {
    let mut file = File::open(path).map_err(BackupError::file(path))?;
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(read) => take(&block[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(BackupError::file(path)(error)),
        }
    }
}

/// A backup that is being read.
struct Checked {
    path: PathBuf,
    reader: BackupReader,
    head: Option<Box<BackupHead>>,
}

/// What a reader may have to do something with.
enum Found<'a> {
    Head(&'a BackupHead),
    Keys(Vec<(Key, Siblings)>),
}

impl Checked {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), reader: BackupReader::default(), head: None }
    }

    /// Takes the next bytes, and hands out what is in them.
    fn add(
        &mut self,
        bytes: &[u8],
        mut found: impl FnMut(Found<'_>) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        self.reader.add(bytes);
        while let Some(part) = self.reader.next_part().map_err(|problem| self.damaged(problem))? {
            match part {
                Part::Head(head) => found(Found::Head(self.head.insert(head)))?,
                Part::Keys(keys) => found(Found::Keys(keys))?,
                Part::End(_) => {}
            }
        }
        Ok(())
    }

    /// What it was, once all its bytes are there.
    fn finish(self) -> Result<Summary, BackupError> {
        self.reader.check_whole().map_err(|problem| self.damaged(problem))?;
        let BackupHead { cluster, node, taken, state } = *self.head.expect("a whole backup has a head");
        let entries = state.vector.entries();
        Ok(Summary {
            cluster,
            node: node.0,
            taken: UNIX_EPOCH + Duration::from_millis(taken.0.min(LAST_MS)),
            vector: entries.map(|dot| (dot.origin.to_string(), dot.counter)).collect(),
            keys: self.reader.keys(),
            bytes: self.reader.position(),
        })
    }

    fn damaged(&self, problem: FormatError) -> BackupError {
        BackupError::Damaged { path: self.path.clone(), problem, at: self.reader.position() }
    }
}

/// The end of the year 9999: later times can't be written as text.
const LAST_MS: u64 = 253_402_300_799_999;
