//! A backup: a node's whole state as of one instant, in one file.
//!
//! It is a row of parts: a head, the keys in order, an end. Each is a frame behind its length (4 bytes, little endian). The
//! end has a hash of all before it, so that a file of which parts were lost, doubled or put elsewhere is never taken for
//! whole.

use minicbor::bytes::ByteSlice;
use minicbor::{Decode, Encode};
use xxhash_rust::xxh3::Xxh3;

use super::state::{HeadDto, KeyDto, StateHead, read_head, read_keys, write_head, write_keys};
use super::{FormatError, dto, siblings};
use crate::causality::{NodeId, WallMs};
use crate::replica::{Key, Siblings};

/// How a backup is named among media types.
pub const CONTENT_TYPE: &str = "application/vnd.causeway.backup";

/// No part has more bytes. Usually there are far fewer; but a key is never cut in two.
pub const MAX_PART_BYTES: usize = 1 << 30;

/// No head has as many. What begins with text would have.
const MAX_HEAD_BYTES: usize = 0x1fff_ffff;

const WHOLE: &str = "backup";
const PART: &str = "part of a backup";
const VERSION: u8 = 1;
const LENGTH_BYTES: usize = 4;
const NO_HEAD: &str = "it does not begin with its head";

/// A part of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first.
    Head(Box<BackupHead>),
    /// Keys in byte order, each with its siblings; at least one.
    Keys(Vec<(Key, Siblings)>),
    /// The last.
    End(BackupEnd),
}

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupHead {
    /// The cluster's name.
    pub cluster: String,
    /// The node that made it.
    pub node: NodeId,
    /// When, by its clock.
    pub taken: WallMs,
    /// What the state includes.
    pub state: StateHead,
}

/// What tells that a backup is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupEnd {
    /// How many keys it has.
    pub keys: u64,
    /// XXH3-128 of all bytes before the end.
    pub hash: u128,
}

#[derive(Encode, Decode)]
enum PartDto<'a> {
    #[n(0)]
    Head(#[b(0)] BackupHeadDto<'a>),
    #[n(1)]
    Keys(#[b(0)] Vec<KeyDto<'a>>),
    #[n(2)]
    End(#[b(0)] EndDto<'a>),
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct BackupHeadDto<'a> {
    #[b(0)]
    cluster: &'a str,
    #[n(1)]
    node: u32,
    #[n(2)]
    taken: u64,
    #[b(3)]
    state: HeadDto<'a>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct EndDto<'a> {
    #[n(0)]
    keys: u64,
    #[b(1)]
    hash: &'a ByteSlice,
}

/// The part of these bytes, without their length.
pub fn decode_part(bytes: &[u8]) -> Result<Part, FormatError> {
    match dto::open(PART, VERSION, bytes)? {
        PartDto::Head(BackupHeadDto { cluster, node, taken, state }) => Ok(Part::Head(Box::new(BackupHead {
            cluster: cluster.to_owned(),
            node: NodeId(node),
            taken: WallMs(taken),
            state: read_head(PART, state)?,
        }))),
        PartDto::Keys(keys) if keys.is_empty() => Err(FormatError::malformed(PART, "it has no keys")),
        PartDto::Keys(keys) => read_keys(PART, None, keys).map(Part::Keys),
        PartDto::End(EndDto { keys, hash }) => {
            let hash: [u8; 16] =
                hash[..].try_into().map_err(|_| FormatError::malformed(PART, "its hash is no hash"))?;
            Ok(Part::End(BackupEnd { keys, hash: u128::from_be_bytes(hash) }))
        }
    }
}

/// The bytes of a part, without their length.
pub fn encode_part(part: &Part) -> Vec<u8> {
    match part {
        Part::Head(head) => encode_head(head),
        Part::Keys(keys) => {
            let stored = keys.iter().map(|(key, found)| (key.to_string(), siblings::encode(found)));
            encode_keys(&stored.collect::<Vec<_>>())
        }
        Part::End(end) => encode_end(end),
    }
}

fn encode_head(head: &BackupHead) -> Vec<u8> {
    let BackupHead { cluster, node, taken, state } = head;
    let dto = BackupHeadDto { cluster, node: node.0, taken: taken.0, state: write_head(state) };
    dto::seal(VERSION, &PartDto::Head(dto))
}

fn encode_keys(keys: &[(String, impl AsRef<[u8]>)]) -> Vec<u8> {
    dto::seal(VERSION, &PartDto::Keys(write_keys(keys)))
}

fn encode_end(end: &BackupEnd) -> Vec<u8> {
    let hash = end.hash.to_be_bytes();
    dto::seal(VERSION, &PartDto::End(EndDto { keys: end.keys, hash: hash[..].into() }))
}

/// Writes a backup, part by part.
pub struct BackupWriter {
    hash: Xxh3,
    keys: u64,
}

impl BackupWriter {
    /// Begins one; its first bytes.
    pub fn begin(head: &BackupHead) -> (Self, Vec<u8>) {
        let mut writer = Self { hash: Xxh3::new(), keys: 0 };
        // Even the most incarnations that there can be have no more bytes.
        let bytes = behind_length(encode_head(head));
        writer.hash.update(&bytes);
        (writer, bytes)
    }

    /// The bytes of the next keys, each with its siblings as [`siblings::encode`] gave them; at least one.
    pub fn keys(&mut self, keys: &[(String, impl AsRef<[u8]>)]) -> Result<Vec<u8>, FormatError> {
        let part = encode_keys(keys);
        if part.len() > MAX_PART_BYTES {
            return Err(too_long(part.len()));
        }
        let bytes = behind_length(part);
        self.hash.update(&bytes);
        self.keys += keys.len() as u64;
        Ok(bytes)
    }

    /// The last bytes.
    pub fn end(self) -> Vec<u8> {
        behind_length(encode_end(&BackupEnd { keys: self.keys, hash: self.hash.digest128() }))
    }
}

fn behind_length(part: Vec<u8>) -> Vec<u8> {
    [&(part.len() as u32).to_le_bytes()[..], &part].concat()
}

fn too_long(bytes: usize) -> FormatError {
    FormatError::malformed(PART, format!("it has {bytes} bytes, more than one may have"))
}

/// Reads a backup as its bytes come, and checks that it is one.
#[derive(Default)]
pub struct BackupReader {
    /// What came and was not read yet begins at `start`.
    buffer: Vec<u8>,
    start: usize,
    /// Bytes of all parts that were read.
    position: u64,
    hash: Xxh3,
    place: Place,
    keys: u64,
    last: Option<Key>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Start,
    Keys,
    End,
}

impl BackupReader {
    /// Takes the next bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next part, if all of it has come.
    pub fn next_part(&mut self) -> Result<Option<Part>, FormatError> {
        let rest = &self.buffer[self.start..];
        if self.place == Place::End && !rest.is_empty() {
            return Err(FormatError::malformed(WHOLE, "there is more behind its end"));
        }
        let Some((length, behind)) = rest.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if self.place == Place::Start && length > MAX_HEAD_BYTES {
            return Err(FormatError::malformed(WHOLE, NO_HEAD));
        }
        if length > MAX_PART_BYTES {
            return Err(too_long(length));
        }
        let Some(bytes) = behind.get(..length) else { return Ok(None) };
        let part = decode_part(bytes)?;
        self.check(&part)?;
        let end = self.start + LENGTH_BYTES + length;
        self.hash.update(&self.buffer[self.start..end]);
        self.position += (end - self.start) as u64;
        self.start = end;
        Ok(Some(part))
    }

    /// How many bytes the parts have that were read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many keys they have.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// That nothing is missing, when no more bytes come.
    pub fn check_whole(&self) -> Result<(), FormatError> {
        let left = self.buffer.len() - self.start;
        match self.place {
            Place::End if left == 0 => Ok(()),
            _ => Err(FormatError::Short { what: WHOLE, bytes: self.position as usize + left }),
        }
    }

    fn check(&mut self, part: &Part) -> Result<(), FormatError> {
        let wrong = |problem: String| Err(FormatError::malformed(WHOLE, problem));
        match (self.place, part) {
            (Place::Start, Part::Head(_)) => self.place = Place::Keys,
            (Place::Start, _) => return wrong(NO_HEAD.to_owned()),
            (_, Part::Head(_)) => return wrong("it has a second head".to_owned()),
            (_, Part::Keys(keys)) => {
                if self.last.as_ref() >= keys.first().map(|(key, _)| key) {
                    return wrong("its parts are not in order".to_owned());
                }
                self.last = keys.last().map(|(key, _)| key.clone());
                self.keys += keys.len() as u64;
            }
            (_, Part::End(end)) => {
                if end.keys != self.keys {
                    return wrong(format!("it should have {} keys, and has {}", end.keys, self.keys));
                }
                if end.hash != self.hash.digest128() {
                    return Err(FormatError::Checksum { what: WHOLE });
                }
                self.place = Place::End;
            }
        }
        Ok(())
    }
}
