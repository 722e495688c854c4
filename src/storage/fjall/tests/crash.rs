//! What a power cut leaves: the files as they were, with the last commit on disk in any part or not at all.

use std::io::{Read, Seek, SeekFrom, Write};

use proptest::prelude::*;

use super::*;

/// The journal of a store: the bytes of all commits, and where each of them ended.
struct Journal {
    directory: OnDisk,
    file: PathBuf,
    /// From its start to the end of the last commit.
    bytes: Vec<u8>,
    /// After the creation, and after each commit.
    ends: Vec<usize>,
}

const OP_BYTES: [usize; 5] = [10, 3_000, 30_000, 100, 20_000];

impl Journal {
    fn write() -> Self {
        let directory = OnDisk::new();
        let (store, _) = directory.open();
        let file = path(&directory).join("store/0.jnl");
        let mut ends = vec![used(&file)];
        let (mut log, own) = (Log::default(), origin(0, 7));
        for (counter, bytes) in (1..).zip(OP_BYTES) {
            log.write(
                &store,
                own.dot(counter),
                &[("k", Some(&"v".repeat(bytes))), (&format!("k{counter}"), Some("v"))],
            );
            ends.push(used(&file));
        }
        drop(store);
        let bytes = fs::read(&file).unwrap()[..ends[OP_BYTES.len()]].to_vec();
        Self { directory, file, bytes, ends }
    }

    /// Opens what a power cut left; how many commits are there, all of them whole.
    fn commits_after(&self, left: &[u8], file_bytes: u64) -> u64 {
        let mut file = fs::File::create(&self.file).unwrap();
        file.write_all(left).unwrap();
        file.set_len(file_bytes).unwrap();
        let (store, recovered) = self.directory.open();
        let position = recovered.checkpoint.position;
        let own = origin(0, 7);
        assert_eq!(recovered.checkpoint.vector.get(own), position);
        assert_eq!(store.ops(&[range(own, 1, 99)], ALL).unwrap().len() as u64, position);
        let length = position.checked_sub(1).map(|last| OP_BYTES[last as usize]);
        let held = store.siblings("k").unwrap();
        assert_eq!(values(&held).first().map(|value| value.len()), length);
        for counter in 1..=OP_BYTES.len() as u64 {
            assert_eq!(store.siblings(&format!("k{counter}")).unwrap().is_empty(), counter > position);
        }
        position
    }
}

/// The bytes of a journal before the zeros that follow its last commit.
fn used(journal: &Path) -> usize {
    let mut file = fs::File::open(journal).unwrap();
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    // A commit ends in a mark whose last byte is not zero.
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

const PAGE_BYTES: usize = 4096;
const PREALLOCATED_BYTES: u64 = 64 << 20;

#[test]
fn a_journal_cut_anywhere_gives_the_commits_before() {
    let journal = Journal::write();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(60));
    let result = runner.run(&(0..=journal.bytes.len(), any::<bool>()), |(cut, zeros_follow)| {
        let left = &journal.bytes[..cut];
        let file_bytes = if zeros_follow { PREALLOCATED_BYTES } else { cut as u64 };
        let whole = journal.ends.iter().filter(|end| **end <= cut).count() as u64;
        // Cut inside the batch that the creation wrote there is no store; a store gets its name later.
        if whole > 0 {
            prop_assert_eq!(journal.commits_after(left, file_bytes), whole - 1);
        }
        Ok(())
    });
    result.unwrap();
}

/// Pages of the last commit reach the disk in any order: some are there, others are zeros.
#[test]
fn a_last_commit_of_which_pages_are_missing_is_dropped_and_no_other() {
    let journal = Journal::write();
    let start = journal.ends[OP_BYTES.len() - 1];
    let pages = start / PAGE_BYTES..=journal.bytes.len() / PAGE_BYTES;
    for missing in pages.clone() {
        let mut left = journal.bytes.clone();
        let page = (missing * PAGE_BYTES).max(start)..((missing + 1) * PAGE_BYTES).min(left.len());
        left[page].fill(0);
        let commits = journal.commits_after(&left, PREALLOCATED_BYTES);
        assert_eq!(commits, OP_BYTES.len() as u64 - 1, "page {missing} of {pages:?}");
    }
    assert_eq!(journal.commits_after(&journal.bytes, PREALLOCATED_BYTES), OP_BYTES.len() as u64);
}

/// Wherever it is, damage to what was acknowledged is not taken for the end of the journal.
#[test]
fn damage_before_the_last_commit_is_refused_and_nothing_is_changed() {
    let journal = Journal::write();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(60));
    let before_last = journal.ends[OP_BYTES.len() - 1];
    // Also where it says how long things are, at either end of a commit: there the engine would cut.
    let at_an_end = (0..OP_BYTES.len() - 1, 0..60usize).prop_map(|(commit, at)| journal.ends[commit] + at - 13);
    let at = prop_oneof![0..before_last, at_an_end];
    let result = runner.run(&(at, 1..=255u8), |(at, change)| {
        let mut altered = journal.bytes.clone();
        altered[at] ^= change;
        fs::write(&journal.file, &altered).unwrap();
        let refused = matches!(refusal(&path(&journal.directory)), OpenError::Damaged { .. });
        prop_assert!(refused);
        prop_assert_eq!(&fs::read(&journal.file).unwrap(), &altered);
        Ok(())
    });
    result.unwrap();
}
