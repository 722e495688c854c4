//! Segments: the files that the op log is made of, each named by the position of its first op.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{self, Record};
use crate::format::base::{self, Base};
use crate::storage::files;

/// Of segments that begin with a base.
const MAGIC: &[u8; 16] = b"causeway oplog 2";
/// Of those that do not: directories of format 3 have them.
const BASELESS_MAGIC: &[u8; 16] = b"causeway oplog 1";

const HEADER_BYTES: usize = 32;

/// No base is longer, whatever a damaged one says.
const MAX_BASE_BYTES: usize = 16 << 20;

const ENDING: &str = "ops";
const UNFINISHED: &str = "ops.new";

/// Reading begins with a piece of this size, for a single op that is wanted, and goes on with larger ones.
const FIRST_READ_BYTES: usize = 16 << 10;
const MAX_READ_BYTES: usize = 256 << 10;

/// One file of the log, open.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// The position of its first op, also when there is none yet.
    pub(super) first: u64,
    pub(super) salt: u32,
    /// What comes before it. None: nothing, or that is not known.
    pub(super) base: Option<Base>,
    /// Where its first commit begins.
    pub(super) start: u64,
}

impl Segment {
    /// A new, empty one, there for good or not at all. The directory is synced.
    pub(super) fn create(directory: &Path, first: u64, base: Option<Base>) -> io::Result<Self> {
        let salt = getrandom::u32().map_err(|error| io::Error::other(error.to_string()))?;
        let path = Self::path(directory, first);
        let mut bytes = header(if base.is_some() { MAGIC } else { BASELESS_MAGIC }, first, salt).to_vec();
        if let Some(base) = &base {
            record::write_base(&mut bytes, salt, &base::encode(base));
        }
        let file = files::create(directory, UNFINISHED, &path, &bytes)?;
        Ok(Self { file, path, first, salt, base, start: bytes.len() as u64 })
    }

    /// What the one that begins at a position is called.
    pub(super) fn path(directory: &Path, first: u64) -> PathBuf {
        directory.join(format!("{first:020}.{ENDING}"))
    }

    /// Opens one; `None` when it does not begin as a segment of that name does.
    pub(super) fn open(path: &Path, first: u64) -> io::Result<Option<Self>> {
        let file = File::options().read(true).write(true).open(path)?;
        let Some(found) = read_some(&file, 0, HEADER_BYTES)? else { return Ok(None) };
        let salt = u32::from_le_bytes([found[24], found[25], found[26], found[27]]);
        let (base, start) = if found == header(BASELESS_MAGIC, first, salt) {
            (None, HEADER_BYTES as u64)
        } else if found == header(MAGIC, first, salt)
            && let Some((base, end)) = read_base(&file, salt)?
        {
            (Some(base), end)
        } else {
            return Ok(None);
        };
        Ok(Some(Self { file, path: path.to_owned(), first, salt, base, start }))
    }

    pub(super) fn file_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Takes its files away, for good. The directory is synced.
    pub(super) fn delete(&self) -> io::Result<()> {
        // The segment last: one without a summary is read, a summary without its segment would stay for ever.
        for path in [self.summary_path(), self.path.clone()] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.path.parent().map_or(Ok(()), files::sync_dir)
    }

    /// Its records from `offset` on, which is where one begins, up to `end`.
    pub(super) fn walk(self: &Arc<Self>, offset: u64, end: u64) -> Walk {
        Walk { segment: self.clone(), end, buffer: Vec::new(), start: offset, at: 0, read_bytes: FIRST_READ_BYTES }
    }

    pub(super) fn read(&self, offset: u64, end: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; end.saturating_sub(offset) as usize];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    pub(super) fn summary_path(&self) -> PathBuf {
        self.path.with_extension("index")
    }
}

/// The segments in a directory by the position of their first op, in order.
pub(super) fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('.'));
        let first = name.filter(|(_, ending)| *ending == ENDING).and_then(|(number, _)| number.parse().ok());
        found.extend(first.map(|first| (first, path)));
    }
    found.sort();
    Ok(found)
}

/// The base that a segment begins with, and where it ends; `None` when it does not read as one.
fn read_base(file: &File, salt: u32) -> io::Result<Option<(Base, u64)>> {
    let Some(bytes) = read_some(file, HEADER_BYTES, record::HEADER_BYTES)? else { return Ok(None) };
    let length = bytes.first_chunk().map_or(0, record::length);
    if length > MAX_BASE_BYTES {
        return Ok(None);
    }
    let Some(bytes) = read_some(file, HEADER_BYTES, length)? else { return Ok(None) };
    let base = match record::parse(&bytes, salt) {
        Some(Record::Base(bytes)) => base::decode(bytes).ok(),
        _ => None,
    };
    Ok(base.map(|base| (base, (HEADER_BYTES + length) as u64)))
}

/// So many bytes; `None` when the file ends before.
fn read_some(file: &File, offset: usize, length: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; length];
    match file.read_exact_at(&mut bytes, offset as u64) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        other => other.map(|()| Some(bytes)),
    }
}

fn header(magic: &[u8; 16], first: u64, salt: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..16].copy_from_slice(magic);
    header[16..24].copy_from_slice(&first.to_le_bytes());
    header[24..28].copy_from_slice(&salt.to_le_bytes());
    let checksum = crc32fast::hash(&header[..28]);
    header[28..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// Reads the records of a segment one after the other.
pub(super) struct Walk {
    pub(super) segment: Arc<Segment>,
    pub(super) end: u64,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins, and how far in it the records were read.
    start: u64,
    at: usize,
    read_bytes: usize,
}

/// What a walk comes upon.
pub(super) enum Step<'w> {
    /// A record, where it begins.
    Record(u64, Record<'w>),
    /// The end that was asked for.
    End,
    /// Bytes that are no record.
    Broken,
}

impl Walk {
    /// Where the next record begins.
    pub(super) fn offset(&self) -> u64 {
        self.start + self.at as u64
    }

    /// Whether the next step reads from the file: a good time to go on elsewhere.
    pub(super) fn is_drained(&self) -> bool {
        self.at == self.buffer.len()
    }

    pub(super) fn step(&mut self) -> io::Result<Step<'_>> {
        let offset = self.offset();
        if offset >= self.end {
            return Ok(Step::End);
        }
        if !self.fill(record::HEADER_BYTES)? {
            return Ok(Step::Broken);
        }
        let header = self.buffer[self.at..].first_chunk().expect("it was filled up to that");
        let length = record::length(header);
        if !self.fill(length)? {
            return Ok(Step::Broken);
        }
        let at = self.at;
        Ok(match record::parse(&self.buffer[at..at + length], self.segment.salt) {
            Some(record) => {
                self.at += length;
                Step::Record(offset, record)
            }
            None => Step::Broken,
        })
    }

    /// Has at least so many bytes from here on in the buffer, unless the end comes before.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.buffer.len() - self.at >= wanted {
            return Ok(true);
        }
        let rest = self.end - self.offset();
        if rest < wanted as u64 {
            return Ok(false);
        }
        self.buffer.drain(..self.at);
        self.start += self.at as u64;
        self.at = 0;
        let have = self.buffer.len();
        let bytes = self.read_bytes.max(wanted).min(usize::try_from(rest).unwrap_or(usize::MAX));
        self.read_bytes = (self.read_bytes * 2).min(MAX_READ_BYTES);
        self.buffer.resize(bytes.max(have), 0);
        self.segment.file.read_exact_at(&mut self.buffer[have..], self.start + have as u64)?;
        Ok(true)
    }
}
