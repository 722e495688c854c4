//! What is done with the input of each fuzz target. No input may make any of these panic.
//!
//! Inputs are payloads: the version and the checksum of their frame are put around them here, because no fuzzer finds
//! a checksum. That frames are refused when theirs is wrong is for the unit tests of `causeway::format`.

mod replica;

use causeway::causality::{Incarnation, NodeId, Origin};
use causeway::format::{
    FormatError, ancestry, backup, base, checkpoint, facts, frame, identity, message, op, siblings, state, token,
};

pub use replica::replica;

/// What is done with an input.
pub type Target = fn(&[u8]);

/// Every target, by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("token", token),
    ("op", op),
    ("push", push),
    ("stored", stored),
    ("backup", backup_file),
    ("replica", replica),
    #[cfg(feature = "server")]
    ("body", body),
];

/// The version of every format there is.
const VERSION: u8 = 1;

fn sealed(payload: &[u8]) -> Vec<u8> {
    frame::seal(VERSION, |bytes| bytes.extend_from_slice(payload))
}

/// Tokens: a text, or the payload of one. What is read is written as the same text again.
pub fn token(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    let text = match kind {
        // Characters as they come: what is not base64 must be refused.
        0 => String::from_utf8_lossy(rest).into_owned(),
        _ => base64url(&sealed(rest)),
    };
    if let Ok(context) = token::decode(&text) {
        assert_eq!(token::encode(&context), text, "a context has two tokens");
    }
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, index| bits << 8 | u32::from(chunk.get(index).copied().unwrap_or(0)));
        let letters = (0..=chunk.len()).map(|index| ALPHABET[(bits >> (18 - 6 * index)) as usize & 63]);
        text.extend(letters.map(char::from));
    }
    text
}

/// Ops. What is read is written as the same bytes again.
pub fn op(input: &[u8]) {
    let bytes = sealed(input);
    if let Ok(read) = op::decode(&bytes) {
        assert_eq!(op::encode(&read), bytes, "an op has two encodings");
    }
}

/// What peers send: the first byte says which message the rest is. Writing and reading again changes nothing.
pub fn push(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    match kind {
        0 => same(&sealed(rest), message::decode_answer, message::encode_answer),
        1 => same(&sealed(rest), message::decode_rejection, message::encode_rejection),
        252 => same(&sealed(rest), state::decode_answer, state::encode_answer),
        253 => same(&sealed(rest), state::decode_piece, |piece| {
            let stored = piece.keys.iter().map(|(key, read)| (key.to_string(), siblings::encode(read)));
            let keys: Vec<_> = stored.collect();
            state::encode_piece(
                &piece.push,
                piece.transfer,
                piece.after.as_deref(),
                piece.head.as_ref(),
                &keys,
                piece.is_last,
            )
        }),
        254 => same(&sealed(rest), facts::decode_question, facts::encode_question),
        255 => same(&sealed(rest), facts::decode_facts, facts::encode_facts),
        _ => same(&sealed(rest), message::decode_push, |push| {
            let ops: Vec<Vec<u8>> = push.ops.iter().map(|read| op::encode(read)).collect();
            message::encode_push(push, &ops)
        }),
    }
}

/// Stored records: the first byte says which the rest is. Writing and reading again changes nothing.
pub fn stored(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    let bytes = sealed(rest);
    match kind {
        0 => same(&bytes, siblings::decode, siblings::encode),
        1 => same(&bytes, checkpoint::decode, checkpoint::encode),
        2 => same(&bytes, identity::decode, identity::encode),
        254 => same(&bytes, backup::decode_part, backup::encode_part),
        255 => same(&bytes, base::decode, base::encode),
        _ => {
            let origin = Origin::new(NodeId(0), Incarnation((*kind).into()));
            same(&bytes, |bytes| ancestry::decode(origin, bytes), |parents| ancestry::encode(parents));
        }
    }
}

/// Backups: payloads of parts, each behind its length in two bytes. What is read before something is wrong makes a whole
/// backup, which reads as the same.
pub fn backup_file(input: &[u8]) {
    let (mut file, mut rest) = (Vec::new(), input);
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (payload, others) = behind.split_at(behind.len().min(u16::from_be_bytes(*length).into()));
        let part = sealed(payload);
        file.extend_from_slice(&(part.len() as u32).to_le_bytes());
        file.extend_from_slice(&part);
        rest = others;
    }
    let (found, _) = parts_of(&file);
    let Some((backup::Part::Head(head), behind)) = found.split_first() else { return };
    let (mut writer, mut written) = backup::BackupWriter::begin(head);
    for part in behind {
        if let backup::Part::Keys(keys) = part {
            let stored = keys.iter().map(|(key, read)| (key.to_string(), siblings::encode(read)));
            written.extend(writer.keys(&stored.collect::<Vec<_>>()).expect("it was no longer when it was read"));
        }
    }
    written.extend(writer.end());
    let (mut again, is_whole) = parts_of(&written);
    assert!(is_whole && matches!(again.pop(), Some(backup::Part::End(_))), "what was written is not whole");
    assert!(again.iter().eq(found.iter().filter(|part| !matches!(part, backup::Part::End(_)))), "it reads differently");
}

/// The parts of a backup up to the first that is wrong, and whether it is whole.
fn parts_of(file: &[u8]) -> (Vec<backup::Part>, bool) {
    let (mut reader, mut parts) = (backup::BackupReader::default(), Vec::new());
    for piece in file.chunks(7) {
        reader.add(piece);
        loop {
            match reader.next_part() {
                Ok(Some(part)) => parts.push(part),
                Ok(None) => break,
                Err(_) => return (parts, false),
            }
        }
    }
    (parts, reader.check_whole().is_ok())
}

fn same<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, FormatError>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    if let Ok(value) = decode(bytes) {
        assert_eq!(decode(&encode(&value)), Ok(value), "what was written reads differently");
    }
}

/// Bodies of the client API: the first byte says of which call, and how narrow the limits are. Whoever asks gets
/// entries within the limits, or a problem; a body within both limits is taken alike.
#[cfg(feature = "server")]
pub fn body(input: &[u8]) {
    use causeway::http::{Limits, bodies};

    let Some((kind, rest)) = input.split_first() else { return };
    let narrow = Limits { key_bytes: 8, value_bytes: 8, entries: 3, ..Limits::default() };
    let limits = if kind & 2 == 0 { Limits::default() } else { narrow };
    if kind & 1 == 0 {
        let Ok(entries) = bodies::values(rest, &limits) else { return };
        let keys: std::collections::BTreeSet<_> = entries.iter().map(|(key, _)| key).collect();
        assert!((1..=limits.entries).contains(&keys.len()) && keys.len() == entries.len(), "keys twice or too many");
        for (key, value) in &entries {
            assert!((1..=limits.key_bytes).contains(&key.len()), "a key of {} bytes", key.len());
            assert!(value.as_ref().is_none_or(|value| value.len() <= limits.value_bytes), "a value is too long");
        }
    } else if let Ok(keys) = bodies::keys(rest, &limits) {
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert!((1..=limits.entries).contains(&keys.len()) && distinct.len() == keys.len(), "keys twice or too many");
        assert!(keys.iter().all(|key| !key.is_empty()), "a key is empty");
    }
}
