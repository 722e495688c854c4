//! What the engine does not check of its own files when it opens them: a flipped bit there could have it take older tables
//! for the newest, which it then deletes all others for, or ask for more memory than there is.
//!
//! `current` names the newest version (`v` and a number), which lists the tables, with the checksum of that file: the number
//! in 8 bytes, the checksum (XXH3, 128 bits) in 16, then a zero; all little endian. A table ends with 38 bytes: `SFA!`, two bytes,
//! a checksum of 16, and in 8 bytes where its table of contents begins: 4 bytes, then in 4 how many entries it has.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use lsm_tree::checksum::ChecksummedWriter;

use crate::storage::StorageError;

const CURRENT_BYTES: usize = 25;
const TRAILER_BYTES: usize = 38;
const TRAILER: &[u8] = b"SFA!";

/// Makes sure that the engine can open what is in its directory, as far as it would not notice itself.
pub(super) fn check(path: &Path) -> Result<(), StorageError> {
    let current = path.join("current");
    let found = match fs::read(&current) {
        // It is to be created.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(StorageError::Log)?,
    };
    if !fits_version(path, &found).map_err(StorageError::Log)? {
        return Err(StorageError::damaged(current.display(), "it does not fit the file that it names"));
    }
    let tables = path.join("tables");
    for table in fs::read_dir(&tables).into_iter().flatten() {
        let table = table.map_err(StorageError::Log)?.path();
        if !has_contents(&table).map_err(StorageError::Log)? {
            return Err(StorageError::damaged(table.display(), "its table of contents is too long"));
        }
    }
    Ok(())
}

/// Whether the file of the newest version is what `current` says.
fn fits_version(path: &Path, current: &[u8]) -> io::Result<bool> {
    let Ok(current) = <[u8; CURRENT_BYTES]>::try_from(current) else { return Ok(false) };
    let (number, rest) = current.split_first_chunk::<8>().expect("it has more");
    let (expected, kind) = rest.split_first_chunk::<16>().expect("it has more");
    let number = u64::from_le_bytes(*number);
    let version = match fs::read(path.join(format!("v{number}"))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let mut checksum = ChecksummedWriter::new(io::sink());
    checksum.write_all(&version)?;
    Ok(checksum.checksum().into_u128() == u128::from_le_bytes(*expected) && kind == [0])
}

/// Whether a table's contents can be read without more memory than the file has bytes. One that is not whole, and that the
/// engine would not read or would refuse, may be as it likes.
fn has_contents(table: &Path) -> io::Result<bool> {
    let file = File::open(table)?;
    let length = file.metadata()?.len();
    let Some(end) = length.checked_sub(TRAILER_BYTES as u64) else { return Ok(true) };
    let mut trailer = [0; TRAILER_BYTES];
    file.read_exact_at(&mut trailer, end)?;
    let begins: [u8; 8] = *trailer[22..].first_chunk().expect("it has more");
    let begins = u64::from_le_bytes(begins);
    if !trailer.starts_with(TRAILER) || begins.checked_add(8).is_none_or(|behind| behind > end) {
        return Ok(true);
    }
    let mut count = [0; 4];
    file.read_exact_at(&mut count, begins + 4)?;
    Ok(u64::from(u32::from_le_bytes(count)) <= end - begins)
}
