//! What a power cut leaves: the files as they were, with the last commit on disk in any part or not at all.

use std::io::Write;

use proptest::prelude::*;

use super::*;

/// A store of a few commits, and its op log: the bytes of all of them, and where each ended.
struct Written {
    directory: OnDisk,
    file: PathBuf,
    /// From its start to the end of the last commit.
    bytes: Vec<u8>,
    /// Before the first, and after each.
    ends: Vec<usize>,
}

const OP_BYTES: [usize; 5] = [10, 3_000, 30_000, 100, 20_000];

impl Written {
    fn new() -> Self {
        let directory = OnDisk::new();
        let (store, _) = directory.open();
        let file = path(&directory).join("store/log/00000000000000000001.ops");
        let end = |store: &DiskStorage| store.commits.lock().unwrap().appender.end() as usize;
        let mut ends = vec![end(&store)];
        let (mut log, own) = (Log::default(), origin(0, 7));
        for (counter, bytes) in (1..).zip(OP_BYTES) {
            log.write(
                &store,
                own.dot(counter),
                &[("k", Some(&"v".repeat(bytes))), (&format!("k{counter}"), Some("v"))],
            );
            ends.push(end(&store));
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

const PAGE_BYTES: usize = 4096;
const FILLED_BYTES: u64 = 2 << 20;

#[test]
fn a_log_cut_anywhere_gives_the_commits_before() {
    let written = Written::new();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(100));
    let result = runner.run(&(written.ends[0]..=written.bytes.len(), any::<bool>()), |(cut, zeros_follow)| {
        let left = &written.bytes[..cut];
        let file_bytes = if zeros_follow { FILLED_BYTES } else { cut as u64 };
        // A commit may end in zeros (its checksum is salted), and then those that follow complete it.
        let whole = |end: usize| end <= cut || zeros_follow && written.bytes[cut..end].iter().all(|byte| *byte == 0);
        let whole = written.ends.iter().filter(|end| whole(**end)).count() as u64;
        prop_assert_eq!(written.commits_after(left, file_bytes), whole - 1);
        Ok(())
    });
    result.unwrap();
}

/// Pages of the last commit reach the disk in any order: some are there, others are zeros.
#[test]
fn a_last_commit_of_which_pages_are_missing_is_dropped_and_no_other() {
    let written = Written::new();
    let start = written.ends[OP_BYTES.len() - 1];
    let pages = start / PAGE_BYTES..=written.bytes.len() / PAGE_BYTES;
    for missing in pages.clone() {
        let mut left = written.bytes.clone();
        let page = (missing * PAGE_BYTES).max(start)..((missing + 1) * PAGE_BYTES).min(left.len());
        left[page].fill(0);
        let commits = written.commits_after(&left, FILLED_BYTES);
        assert_eq!(commits, OP_BYTES.len() as u64 - 1, "page {missing} of {pages:?}");
    }
    assert_eq!(written.commits_after(&written.bytes, FILLED_BYTES), OP_BYTES.len() as u64);
}

/// Wherever it is, damage to what was acknowledged is not taken for the end of the log.
#[test]
fn damage_before_the_last_commit_is_refused_and_nothing_is_changed() {
    let written = Written::new();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(200));
    let before_last = written.ends[OP_BYTES.len() - 1];
    // Also where it says how long things are, at either end of a commit.
    let at_an_end =
        (0..OP_BYTES.len() - 1, 0..80usize).prop_map(|(commit, at)| (written.ends[commit] + at).max(60) - 60);
    let result = runner.run(&(prop_oneof![0..before_last, at_an_end], 1..=255u8), |(at, change)| {
        let mut altered = written.bytes.clone();
        altered[at] ^= change;
        fs::write(&written.file, &altered).unwrap();
        let refused = matches!(refusal(&path(&written.directory)), OpenError::Damaged { .. });
        prop_assert!(refused);
        prop_assert_eq!(&fs::read(&written.file).unwrap(), &altered);
        Ok(())
    });
    result.unwrap();
}

/// A first start is cut off while the next file of the log is begun.
#[test]
fn a_file_of_the_log_that_was_begun_is_begun_again() {
    let directory = written();
    fs::write(path(&directory).join("store/log/ops.new"), "cause").unwrap();
    assert_eq!(values(&directory.open().0.siblings("k").unwrap()), ["v"]);
}
