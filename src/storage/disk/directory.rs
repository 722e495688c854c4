//! The data directory: whose it is, who has it open, and that what was made in it stays after a power cut.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::STORE;
use crate::format::FormatError;
use crate::format::identity::{self, StoredIdentity};
use crate::storage::{DiskSpace, Identity, LogId, OpenError, StorageError, files};

/// The format of the directory as a whole: its files, their records. (Format 1 had no op log of its own, format 2
/// did not know which keys have siblings; no released version wrote them. Format 3 had logs that were never trimmed and
/// keys of one generation.)
pub(super) const FORMAT: u32 = 4;
/// The oldest that is read, and brought to the newest.
pub(super) const OLDEST_FORMAT: u32 = 3;

pub(super) const IDENTITY: &str = "identity";
const UNFINISHED_IDENTITY: &str = "identity.new";
const LOCK: &str = "lock";
/// In it the directory is made that this one becomes when a backup is restored.
pub(super) const RESTORING: &str = "causeway-restoring";

/// What may be in a directory that is not ours yet: what a start leaves that was cut off before the identity
/// was there, and what file systems put at the root of a volume.
const NOTHING: [&str; 3] = [LOCK, UNFINISHED_IDENTITY, "lost+found"];

/// A directory that is this process's.
pub(super) struct Claimed {
    /// For as long as this is open.
    pub(super) lock: Arc<File>,
    /// Its log's.
    pub(super) log: LogId,
    /// What it says that it has.
    format: u32,
}

/// Makes sure that `path` is the directory of `identity`, making it so where there is nothing yet, and takes
/// it for this process.
pub(super) fn claim(path: &Path, identity: &Identity) -> Result<Claimed, OpenError> {
    // Looked at first, so that a directory that is refused stays as it was.
    check(path, identity)?;
    create_dir_durably(path).map_err(|error| io_error(path, error))?;
    let lock = lock(path)?;
    let (log, format) = match check(path, identity)? {
        Some(found) => {
            remove_restored(path).map_err(|error| io_error(path, error))?;
            found
        }
        None => (begin(path, identity).map_err(|error| io_error(path, error))?, FORMAT),
    };
    Ok(Claimed { lock: Arc::new(lock), log, format })
}

/// Takes a directory for this process in which there is nothing, or what is left of [restoring](super::restoring).
pub(super) fn reserve(path: &Path) -> Result<File, OpenError> {
    let check = || match check_empty(path) {
        Err(OpenError::Restoring { .. }) => Ok(()),
        other => other,
    };
    check()?;
    create_dir_durably(path).map_err(|error| io_error(path, error))?;
    let lock = lock(path)?;
    check()?;
    Ok(lock)
}

/// Removes the directory in which a restored one was made.
pub(super) fn remove_restored(path: &Path) -> io::Result<()> {
    files::remove_dir(&path.join(RESTORING))
}

/// Says that the directory has the newest format: before the first file is written that only this has.
pub(super) fn upgrade(path: &Path, identity: &Identity, claimed: &Claimed) -> Result<(), OpenError> {
    if claimed.format == FORMAT {
        return Ok(());
    }
    write_identity(path, identity, claimed.log).map_err(|error| io_error(path, error))?;
    tracing::info!(from = claimed.format, to = FORMAT, "brought the data directory to the newest format");
    Ok(())
}

/// Makes sure that the directory is that of `identity`; the id of its log and its format, or `None` when there is nothing
/// yet.
fn check(path: &Path, identity: &Identity) -> Result<Option<(LogId, u32)>, OpenError> {
    let bytes = match fs::read(path.join(IDENTITY)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return check_empty(path).map(|()| None);
        }
        Err(error) => return Err(io_error(path, error)),
    };
    let newer = |found| OpenError::NewerFormat { path: path.to_owned(), found, newest: FORMAT };
    let StoredIdentity { format, cluster, node, log } = identity::decode(&bytes).map_err(|error| match error {
        FormatError::Version { found, .. } => newer(found.into()),
        other => OpenError::Damaged { path: path.to_owned(), problem: other.to_string() },
    })?;
    if format > FORMAT {
        return Err(newer(format));
    }
    if format < OLDEST_FORMAT {
        return Err(OpenError::OldFormat { path: path.to_owned(), found: format, oldest: OLDEST_FORMAT });
    }
    let found = Identity { cluster, node };
    if found != *identity {
        return Err(OpenError::OtherIdentity { path: path.to_owned(), found, expected: identity.clone() });
    }
    Ok(Some((LogId(log), format)))
}

/// Makes sure that there is nothing of anybody in a directory that has no identity.
fn check_empty(path: &Path) -> Result<(), OpenError> {
    let names = match fs::read_dir(path) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
    };
    let names = names.map_err(|error| io_error(path, error))?;
    let path = path.to_owned();
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    let has_others = |known: &[&str]| {
        let is_known = |name: &&OsString| known.iter().chain(&NOTHING).any(|known| **name == **known);
        names.iter().any(|name| !is_known(&name))
    };
    if has(IDENTITY) {
        Err(OpenError::NotEmpty { path })
    } else if has(RESTORING) && !has_others(&[RESTORING, STORE]) {
        Err(OpenError::Restoring { path })
    } else if has_others(&[]) {
        Err(OpenError::Foreign { path })
    } else {
        Ok(())
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let open = File::options().create(true).truncate(false).write(true).open(path.join(LOCK));
    let file = open.map_err(|error| io_error(path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(io_error(path, error)),
    }
}

/// Puts the identity there, with a new id for the log.
fn begin(path: &Path, identity: &Identity) -> io::Result<LogId> {
    let log = LogId(getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?);
    write_identity(path, identity, log)?;
    Ok(log)
}

/// Puts the identity there at once or not at all.
fn write_identity(path: &Path, identity: &Identity, LogId(log): LogId) -> io::Result<()> {
    let Identity { cluster, node } = identity.clone();
    let bytes = identity::encode(&StoredIdentity { format: FORMAT, cluster, node, log });
    files::create(path, UNFINISHED_IDENTITY, &path.join(IDENTITY), &bytes).map(drop)
}

/// Creates a directory and those above it that are missing, so that they are there after a power cut.
fn create_dir_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_dir_durably(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => files::sync_dir(parent),
    }
}

/// Bytes on disk of everything in a directory.
pub(super) fn bytes(path: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // The engine removes files meanwhile.
        let inside = entry.metadata().and_then(|metadata| {
            if metadata.is_dir() { bytes(&entry.path()) } else { Ok(metadata.blocks() * BLOCK_BYTES) }
        });
        total += match inside {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            other => other?,
        };
    }
    Ok(total)
}

/// What `st_blocks` counts in, by POSIX and whatever the file system's blocks are.
const BLOCK_BYTES: u64 = 512;

/// The room on the file system that a directory is on.
pub(super) fn space(path: &Path) -> io::Result<DiskSpace> {
    let found = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(DiskSpace { size: bytes(found.f_blocks), free: bytes(found.f_bavail) })
}

pub(super) fn io_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), source }
}

/// An error of a store as one of opening it.
pub(super) fn unusable(path: &Path, error: StorageError) -> OpenError {
    let path = path.to_owned();
    match error {
        StorageError::Engine(problem) | StorageError::Unfit(problem) => OpenError::Engine { path, problem },
        StorageError::Log(source) => OpenError::Io { path, source },
        damaged @ StorageError::Damaged { .. } => OpenError::Damaged { path, problem: damaged.to_string() },
    }
}
