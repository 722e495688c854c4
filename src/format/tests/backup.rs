//! Backups: read as written, however the bytes come, and whole or not at all.

use proptest::prelude::*;

use super::examples;
use super::strategies::{any_backup_head, any_keys};
use crate::format::backup::{
    BackupEnd, BackupHead, BackupReader, BackupWriter, MAX_PART_BYTES, Part, decode_part, encode_part,
};
use crate::format::op::MAX_KEY_BYTES;
use crate::format::{FormatError, siblings};
use crate::replica::{Key, Siblings};

type Keys = Vec<(Key, Siblings)>;

/// A backup as a node writes it: from keys as they are stored, so many a part. Each part by itself.
pub(super) fn parts(head: &BackupHead, keys: &Keys, at_once: usize) -> Vec<Vec<u8>> {
    let (mut writer, first) = BackupWriter::begin(head);
    let mut parts = vec![first];
    for keys in keys.chunks(at_once) {
        let stored = keys.iter().map(|(key, siblings)| (key.to_string(), siblings::encode(siblings)));
        parts.push(writer.keys(&stored.collect::<Vec<_>>()).unwrap());
    }
    parts.push(writer.end());
    parts
}

/// What a reader finds that gets so many bytes at a time.
pub(super) fn read(bytes: &[u8], at_a_time: usize) -> Result<(BackupHead, Keys), FormatError> {
    let mut reader = BackupReader::default();
    let (mut head, mut found) = (None, Vec::new());
    for piece in bytes.chunks(at_a_time) {
        reader.add(piece);
        while let Some(part) = reader.next_part()? {
            match part {
                Part::Head(first) => head = Some(*first),
                Part::Keys(keys) => found.extend(keys),
                Part::End(end) => assert_eq!(end.keys, found.len() as u64),
            }
        }
    }
    reader.check_whole()?;
    assert_eq!(reader.position(), bytes.len() as u64);
    Ok((head.unwrap(), found))
}

proptest! {
    #[test]
    fn a_backup_is_read_as_written(head in any_backup_head(), keys in any_keys(), at_once in 1usize..5, at_a_time in 1usize..100) {
        let bytes = parts(&head, &keys, at_once).concat();
        prop_assert_eq!(read(&bytes, at_a_time), Ok((head, keys)));
    }

    #[test]
    fn a_part_is_read_as_written(head in any_backup_head(), keys in any_keys(), hash: u128) {
        let mut parts = vec![Part::Head(Box::new(head)), Part::End(BackupEnd { keys: keys.len() as u64, hash })];
        parts.extend((!keys.is_empty()).then_some(Part::Keys(keys)));
        for part in parts {
            prop_assert_eq!(decode_part(&encode_part(&part)), Ok(part));
        }
    }

    #[test]
    fn a_cut_or_flipped_backup_is_always_refused(head in any_backup_head(), keys in any_keys(), at: prop::sample::Index, bit in 0..8) {
        let mut bytes = parts(&head, &keys, 2).concat();
        let at = at.index(bytes.len());
        let cut = read(&bytes[..at], 64);
        prop_assert_eq!(cut, Err(FormatError::Short { what: "backup", bytes: at }));
        bytes[at] ^= 1u8 << bit;
        prop_assert!(read(&bytes, 64).is_err());
    }

    /// Each part is whole, and the whole is not.
    #[test]
    fn parts_that_are_lost_doubled_or_elsewhere_are_noticed(
        head in any_backup_head(), keys in any_keys(), one: prop::sample::Index, other: prop::sample::Index,
    ) {
        let whole = parts(&head, &keys, 1);
        let (one, other) = (one.index(whole.len()), other.index(whole.len()));
        let refused = |parts: Vec<Vec<u8>>| read(&parts.concat(), 64).is_err();
        let mut lost = whole.clone();
        lost.remove(one);
        prop_assert!(refused(lost));
        let mut doubled = whole.clone();
        doubled.insert(other, whole[one].clone());
        prop_assert!(refused(doubled));
        let mut swapped = whole.clone();
        swapped.swap(one, other);
        prop_assert!(one == other || refused(swapped));
    }
}

fn example() -> (BackupHead, Keys) {
    examples::backup()
}

/// What is said of a backup of these parts.
fn refusal(parts: &[Vec<u8>]) -> String {
    read(&parts.concat(), 64).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_is_said() {
    let (head, keys) = example();
    let whole = parts(&head, &keys, 1);
    let [first, one, two, end] = &whole[..] else { unreachable!() };
    let of = |parts: &[&Vec<u8>]| refusal(&parts.iter().map(|part| (*part).clone()).collect::<Vec<_>>());
    let reads_otherwise = "backup does not read as one: ";
    assert_eq!(of(&[first, two, one, end]), format!("{reads_otherwise}its parts are not in order"));
    assert_eq!(of(&[first, one, one, two, end]), format!("{reads_otherwise}its parts are not in order"));
    assert_eq!(of(&[first, one, end]), format!("{reads_otherwise}it should have 2 keys, and has 1"));
    assert_eq!(of(&[first, first, one, two, end]), format!("{reads_otherwise}it has a second head"));
    assert_eq!(of(&[one, two, end]), format!("{reads_otherwise}it does not begin with its head"));
    assert_eq!(of(&[first, one, two, end, end]), format!("{reads_otherwise}there is more behind its end"));
    assert_eq!(of(&[first, one, two]), format!("backup is cut short: {} bytes", first.len() + one.len() + two.len()));
    assert_eq!(of(&[]), "backup is cut short: 0 bytes");
    // The end, and the head, of another backup with as many keys.
    let others = parts(&BackupHead { node: crate::causality::NodeId(9), ..head }, &keys, 1);
    assert_eq!(of(&[first, one, two, &others[3]]), "backup does not match its checksum");
    assert_eq!(of(&[&others[0], one, two, end]), "backup does not match its checksum");
}

/// A length that was altered takes no memory.
#[test]
fn a_part_that_would_be_too_long_is_not_waited_for() {
    let too_long = (MAX_PART_BYTES as u32 + 1).to_le_bytes();
    let (head, keys) = example();
    let first = &parts(&head, &keys, 1)[0];
    assert_eq!(refusal(&[too_long.to_vec()]), "backup does not read as one: it does not begin with its head");
    assert_eq!(
        refusal(&[first.clone(), too_long.to_vec()]),
        "part of a backup does not read as one: it has 1073741825 bytes, more than one may have"
    );
}

#[test]
fn keys_that_cannot_be_are_refused() {
    let problem_of = |change: &dyn Fn(&mut Keys)| {
        let (_, mut keys) = example();
        change(&mut keys);
        match decode_part(&encode_part(&Part::Keys(keys))) {
            Err(FormatError::Malformed { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(problem_of(&|keys| keys.reverse()), "its keys are not in order");
    assert_eq!(problem_of(&|keys| keys[1] = keys[0].clone()), "its keys are not in order");
    assert_eq!(problem_of(&|keys| keys[0].0 = "".into()), "a key is empty or too long");
    assert_eq!(problem_of(&|keys| keys[1].0 = "z".repeat(MAX_KEY_BYTES + 1).into()), "a key is empty or too long");
    assert_eq!(problem_of(&|keys| keys.clear()), "it has no keys");
    assert_eq!(problem_of(&|keys| keys[0].1 = Siblings::default()), "it has no siblings");
}
