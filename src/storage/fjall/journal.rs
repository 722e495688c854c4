//! The engine's journal, looked at before the engine replays it.
//!
//! The engine cuts its journal where it stops making sense, whether that is the commit that a power cut
//! interrupted or damage in the middle of what was acknowledged; and when the interrupted commit is there
//! except for a page inside a value, it refuses the store. Both are told apart here: a commit starts when the
//! one before is on disk, so a whole one behind a broken one means that the broken one was once whole. Then
//! the store is refused, unchanged; else what is broken was the last, never acknowledged, and is cut off.
//! (Damage to the very last commit can't be told from an interrupted one.)
//!
//! Format 3 of the engine: a batch is a start (tag 1, number of items of 4 bytes, sequence number of 8),
//! items (tag 2: type, compression, keyspace of 8, key length of 2, value length and stored length of 4 each;
//! key; value) and an end (tag 3, XXH3 of the items, mark). Numbers are little endian. Zeros follow the last.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::directory::io_error;
use crate::storage::OpenError;

/// The engine's mark: its version file starts with it, and every batch ends with it.
const FORMAT_3: &[u8] = b"FJL\x03";

/// Makes sure that what the engine will replay is all that was acknowledged.
pub(super) fn check(path: &Path, store: &Path) -> Result<(), OpenError> {
    let error = |error| io_error(path, error);
    if !fs::read(store.join("version")).map_err(error)?.starts_with(FORMAT_3) {
        // The engine says what it thinks of other formats.
        return Ok(());
    }
    let mut journals = journals(store).map_err(error)?;
    let newest = journals.pop();
    for journal in journals.into_iter().chain(newest.clone()) {
        let mut bytes = fs::read(&journal).map_err(error)?;
        bytes.truncate(before_zeros(&bytes));
        let whole = whole_batches(&bytes);
        let rest = &bytes[whole..];
        if rest.is_empty() {
            continue;
        }
        if Some(&journal) != newest.as_ref() || has_whole_batch(rest) {
            let problem = format!("its journal {} is broken at byte {whole}", journal.display());
            return Err(OpenError::Damaged { path: path.to_owned(), problem });
        }
        tracing::warn!(journal = %journal.display(), bytes = rest.len(), "cutting off an unfinished commit");
        cut(&journal, whole as u64).map_err(error)?;
    }
    Ok(())
}

/// The journals of a store, the oldest first. Only to the last was anything written lately.
fn journals(store: &Path) -> io::Result<Vec<PathBuf>> {
    let mut journals: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(store)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.parse().ok());
        let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
        journals.extend(number.filter(|_| is_journal).map(|number| (number, path)));
    }
    journals.sort();
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

fn cut(journal: &Path, bytes: u64) -> io::Result<()> {
    let file = File::options().write(true).open(journal)?;
    file.set_len(bytes)?;
    file.sync_all()
}

/// How many bytes there are before the zeros at the end.
fn before_zeros(mut bytes: &[u8]) -> usize {
    while let Some(before) = bytes.strip_suffix(&[0; 4096]) {
        bytes = before;
    }
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// How many bytes the batches take that follow one another from the start, all whole.
fn whole_batches(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(length) = whole_batch(&bytes[end..]) {
        end += length;
    }
    end
}

/// Whether there is a whole batch anywhere in it.
fn has_whole_batch(bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|start| whole_batch(&bytes[start..]).is_some())
}

/// The length of the batch at the start of `bytes`, if it is whole.
fn whole_batch(bytes: &[u8]) -> Option<usize> {
    let (&[1, c0, c1, c2, c3, ..], items) = bytes.split_first_chunk::<13>()? else { return None };
    let mut length = 0;
    for _ in 0..u32::from_le_bytes([c0, c1, c2, c3]) {
        length += item(items.get(length..)?)?;
    }
    let (items, end) = items.split_at_checked(length)?;
    let ([3, checksum @ ..], mark) = end.split_first_chunk::<9>()? else { return None };
    let is_whole = mark.starts_with(FORMAT_3) && u64::from_le_bytes(*checksum) == xxh3_64(items);
    is_whole.then_some(13 + length + 9 + FORMAT_3.len())
}

/// The length of the item at the start of `bytes`; what it holds may go beyond their end.
fn item(bytes: &[u8]) -> Option<usize> {
    let (&[2, _, _, _, _, _, _, _, _, _, _, k0, k1, _, _, _, _, v0, v1, v2, v3], _) = bytes.split_first_chunk()? else {
        return None;
    };
    Some(21 + usize::from(u16::from_le_bytes([k0, k1])) + u32::from_le_bytes([v0, v1, v2, v3]) as usize)
}
