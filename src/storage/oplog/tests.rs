//! What only the log can get wrong.
#![allow(clippy::unwrap_used)]

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::causality::{Hlc, Origin};
use crate::replica::{Entry, Op, OpRange};
use crate::storage::BatchLimit;
use crate::storage::conformance::{ALL, origin, range};
use crate::storage::damage::Found;

/// A log in a directory, and all that was appended to it.
struct Subject {
    directory: TempDir,
    appender: Appender,
    log: Arc<OpLog>,
    all: Vec<StoredOp>,
    counters: BTreeMap<Origin, u64>,
    checkpoint: Checkpoint,
    committed: Checkpoint,
}

const SEGMENT_BYTES: u64 = 4_000;

impl Subject {
    fn new(tail_bytes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        create(directory.path()).unwrap();
        let (appender, log) = open(directory.path(), SEGMENT_BYTES, tail_bytes, Found::default()).unwrap();
        let (all, counters, checkpoint, committed) = Default::default();
        Self { directory, appender, log, all, counters, checkpoint, committed }
    }

    /// One commit: for each op its origin and how long its value is.
    fn commit(&mut self, ops: &[(Origin, usize)]) {
        let before = self.base();
        let appends = self.append(ops);
        let durable = self.appender.append(&appends, &self.checkpoint, || before).unwrap();
        self.appender.publish(durable).unwrap();
        self.committed = self.checkpoint.clone();
    }

    /// The next ops, not in the log yet.
    fn append(&mut self, ops: &[(Origin, usize)]) -> Vec<Append> {
        let mut appends = Vec::new();
        for (origin, bytes) in ops {
            let counter = self.counters.entry(*origin).or_default();
            *counter += 1;
            let entry = Entry { key: "k".into(), value: Some("v".repeat(*bytes).into()), replaces: vec![] };
            let (dot, hlc, entries) = (origin.dot(*counter), self.checkpoint.hlc, vec![entry]);
            let op = Op { dot, parents: vec![], deps: vec![], hlc, entries, trace: None, idempotency_key: None };
            self.checkpoint.position += 1;
            let position = self.checkpoint.position;
            self.checkpoint.vector.raise(dot);
            self.all.push(StoredOp { position, dot, bytes: format::op::encode(&op).into() });
            appends.push(Append { position, op: Arc::new(op), states: vec![] });
        }
        appends
    }

    /// So many bytes, and the position that a new segment begins behind, committed at this time.
    fn fill_segment(&mut self, hlc: u64) -> u64 {
        self.checkpoint.hlc = Hlc(hlc);
        let [own, ..] = origins();
        for _ in 0..2 {
            self.commit(&[(own, SEGMENT_BYTES as usize / 2)]);
        }
        self.checkpoint.position
    }

    /// What the next commit goes on from.
    fn base(&self) -> Base {
        let Checkpoint { vector, hlc, .. } = self.committed.clone();
        Base { vector, hlc, ..Base::default() }
    }

    fn reopen(&mut self) {
        (self.appender, self.log) = open(self.directory.path(), SEGMENT_BYTES, 0, Found::default()).unwrap();
        assert_eq!(self.appender.last_position(), self.checkpoint.position);
    }

    fn trim(&mut self, through: u64) {
        let before = self.log.start();
        self.log.trim(through).unwrap();
        let start = self.log.start();
        self.all.retain(|op| op.position > start);
        let next = self.log.runs().first().map_or(self.checkpoint.position, |run| run.last);
        assert!(start == before || start <= through.min(next), "too much is gone");
        assert!(self.log.runs().is_empty() || next > through, "there is more to drop");
        let bytes = self.all.iter().map(|op| op.bytes.len() as u64).sum();
        assert_eq!(self.log.size(), LogSize { ops: self.all.len() as u64, bytes });
    }

    /// Goes on from another node's state, which includes these ops.
    fn leap(&mut self, position: u64, ops: &[(Origin, u64)]) {
        self.checkpoint.vector = ops.iter().map(|(origin, counter)| origin.dot(*counter)).collect();
        (self.checkpoint.position, self.committed) = (position, self.checkpoint.clone());
        let base = Base { leaped: true, ..self.base() };
        self.appender.go_on(position, base).unwrap();
    }

    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == ending)).collect();
        files.sort();
        files
    }

    fn check_after(&self, position: u64, limit: BatchLimit) {
        let expected = self.all.iter().filter(|op| op.position > position);
        let expected: Vec<&StoredOp> = expected.collect();
        self.check_batch(&self.log.ops_after(position, limit).unwrap(), &expected, limit);
    }

    fn check(&self, ranges: &[OpRange], limit: BatchLimit) {
        let in_range = |op: &&StoredOp| {
            ranges
                .iter()
                .any(|range| range.origin == op.dot.origin && (range.first..=range.last).contains(&op.dot.counter))
        };
        let expected: Vec<&StoredOp> = self.all.iter().filter(in_range).collect();
        let bytes: usize = expected.iter().map(|op| op.bytes.len()).sum();
        assert_eq!(self.log.op_bytes(ranges).unwrap(), bytes as u64);
        self.check_batch(&self.log.ops(ranges, limit).unwrap(), &expected, limit);
    }

    /// These are the first of the expected, and no more would have been allowed.
    fn check_batch(&self, found: &[StoredOp], expected: &[&StoredOp], limit: BatchLimit) {
        assert!(found.iter().eq(expected.iter().take(found.len()).copied()));
        let length = |ops: &[&StoredOp]| ops.iter().map(|op| op.bytes.len()).sum::<usize>();
        if found.len() < expected.len() {
            let one_more = &expected[..=found.len()];
            assert!(!found.is_empty() && (found.len() >= limit.ops || length(one_more) > limit.bytes));
        }
    }
}

fn origins() -> [Origin; 3] {
    [origin(0, 7), origin(1, 3), origin(2, 9)]
}

/// Commits of ops of a few origins, some long.
fn commits() -> impl Strategy<Value = Vec<Vec<(Origin, usize)>>> {
    let bytes = prop_oneof![4 => 0..200usize, 1 => Just(70_000)];
    let op = (prop::sample::select(origins().to_vec()), bytes);
    prop::collection::vec(prop::collection::vec(op, 1..12), 1..30)
}

fn ranges() -> impl Strategy<Value = Vec<OpRange>> {
    let one = |origin: Origin| (0..60u64, 0..60u64).prop_map(move |(first, count)| range(origin, first, first + count));
    let [first, second, third] = origins();
    (prop::bool::ANY, one(first), one(second), one(third))
        .prop_map(|(few, first, second, third)| if few { vec![second] } else { vec![third, first, second] })
}

#[test]
fn what_is_recent_is_looked_for_as_far_back_as_it_goes_or_so_many_bytes() {
    let mut subject = Subject::new(0);
    let before = |subject: &Subject, recent: u64| subject.log.position_before(Hlc(recent), u64::MAX).unwrap();
    assert_eq!(before(&subject, 1), 0, "nothing is there");
    let first = subject.fill_segment(10);
    assert_eq!(before(&subject, 20), 0);
    let second = subject.fill_segment(20);
    for reopened in [false, true] {
        for (recent, expected) in [(30, first), (20, first), (10, first), (9, 0), (1, 0)] {
            assert_eq!(before(&subject, recent), expected, "{recent}, reopened: {reopened}");
        }
        subject.reopen();
    }
    subject.fill_segment(30);
    for (recent, expected) in [(30, second), (20, second), (19, first), (10, first), (9, 0)] {
        assert_eq!(before(&subject, recent), expected, "{recent}");
    }
    for (bytes, expected) in [(0, second), (1, second), (SEGMENT_BYTES + 1_000, first), (3 * SEGMENT_BYTES, 0)] {
        assert_eq!(subject.log.position_before(Hlc(1), bytes).unwrap(), expected, "{bytes} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn ranges_are_read_as_they_were_appended(
        commits in commits(),
        ranges in prop::collection::vec(ranges(), 10),
        positions in prop::collection::vec(0..400u64, 10),
        tail_bytes in prop_oneof![Just(0), Just(3_000), Just(1 << 20)],
        ops in 0..20usize,
        trims in prop::collection::vec(0..400u64, 2),
    ) {
        let mut subject = Subject::new(tail_bytes);
        for commit in &commits {
            subject.commit(commit);
        }
        for through in [0].into_iter().chain(trims) {
            subject.trim(through);
            for ranges in &ranges {
                subject.check(ranges, ALL);
                subject.check(ranges, BatchLimit { ops, bytes: 1_000 });
            }
            for position in &positions {
                subject.check_after(*position, ALL);
                subject.check_after(*position, BatchLimit { ops, bytes: 1_000 });
            }
            subject.reopen();
        }
    }
}

/// Some commits over several files, the last of them not full.
fn several_files() -> Subject {
    let mut subject = Subject::new(0);
    let [first, second, _] = origins();
    for _ in 0..5 {
        subject.commit(&[(first, 2_000), (second, 1_000), (first, 2_000)]);
    }
    subject.commit(&[(second, 10)]);
    assert_eq!((subject.files("ops").len(), subject.files("index").len()), (6, 5));
    subject
}

#[test]
fn a_summary_says_what_reading_the_file_would() {
    let mut subject = several_files();
    subject.reopen();
    let with = subject.log.read_committed().index.clone();
    let summaries = subject.files("index");
    for (file, bytes) in [(0, None), (1, Some(vec![])), (2, Some(b"no summary".to_vec())), (3, Some(vec![7; 999]))] {
        match bytes {
            None => fs::remove_file(&summaries[file]).unwrap(),
            Some(bytes) => fs::write(&summaries[file], bytes).unwrap(),
        }
    }
    // One that belongs to another file.
    fs::copy(&summaries[3], &summaries[4]).unwrap();
    subject.reopen();
    assert_eq!(subject.log.read_committed().index, with);
}

#[test]
fn without_summaries_a_damaged_file_stops_opening() {
    let subject = several_files();
    for summary in subject.files("index") {
        fs::remove_file(summary).unwrap();
    }
    for file in subject.files("ops").into_iter().take(5) {
        let whole = fs::read(&file).unwrap();
        let mut altered = whole.clone();
        altered[3_000] ^= 1;
        for bytes in [&altered[..], &whole[..whole.len() - 1]] {
            fs::write(&file, bytes).unwrap();
            let error = open(subject.directory.path(), SEGMENT_BYTES, 0, Found::default()).map(drop).unwrap_err();
            assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
        }
        fs::write(&file, whole).unwrap();
    }
}

#[test]
fn an_op_missing_between_others_is_an_error() {
    for at_once in [true, false] {
        let mut subject = Subject::new(0);
        let [first, second, _] = origins();
        subject.commit(&[(first, 10), (second, if at_once { 10 } else { 5_000 })]);
        subject.counters.insert(first, 2);
        let (skipped, log) = (first.dot(2), subject.log.clone());
        // Readers are told by the commit, a later start by what it reads.
        let append = subject.append(&[(first, 10)]);
        let durable = subject.appender.append(&append, &subject.checkpoint, Base::default).unwrap();
        let expected = format!("op {skipped} is damaged: it is missing from the log");
        assert_eq!(subject.appender.publish(durable).unwrap_err().to_string(), expected);
        assert_eq!(log.ops(&[range(first, 1, 3)], ALL).unwrap().len(), 1);
        let error = open(subject.directory.path(), SEGMENT_BYTES, 0, Found::default()).map(drop).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

/// A process is killed when the next file is there and nothing in it yet; and all before that is trimmed.
#[test]
fn an_empty_file_at_the_end_goes_on_from_the_one_before() {
    let mut subject = several_files();
    let base = subject.base();
    subject.appender.begin_segment(subject.checkpoint.position + 1, Some(base)).unwrap();
    subject.reopen();
    subject.check(&[range(origins()[0], 1, 99), range(origins()[1], 1, 99)], ALL);
    let files = subject.files("ops");
    for file in &files[..files.len() - 1] {
        fs::remove_file(file).unwrap();
    }
    subject.all.clear();
    subject.reopen();
    assert_eq!(subject.log.start(), subject.checkpoint.position);
    subject.commit(&[(origins()[1], 10)]);
    subject.check(&[range(origins()[1], 1, 99)], ALL);
    // What was asked for is no longer there: the first that is comes.
    subject.check_after(0, ALL);
}

/// When its sync failed, the system may have it in memory only and take it for written: to sync it again would do nothing.
#[test]
fn the_last_commit_is_written_again_at_a_start() {
    let mut subject = Subject::new(0);
    subject.commit(&[(origins()[0], 10), (origins()[1], 10)]);
    let log = subject.files("ops").pop().unwrap();
    let before = fs::read(&log).unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    fs::File::options().write(true).open(&log).unwrap().set_modified(long_ago).unwrap();
    subject.reopen();
    assert!(fs::metadata(&log).unwrap().modified().unwrap() > long_ago);
    assert_eq!(fs::read(&log).unwrap(), before);
    subject.check(&[range(origins()[0], 1, 1), range(origins()[1], 1, 1)], ALL);
}

#[test]
fn a_range_is_read_past_ops_that_are_damaged_and_not_wanted() {
    let mut subject = Subject::new(0);
    let [first, second, _] = origins();
    // Farther apart than what is read at once.
    subject.commit(&[(first, 10), (second, 10)]);
    for _ in 0..9 {
        subject.commit(&[(second, 300_000)]);
    }
    subject.commit(&[(first, 10)]);
    let damaged = &subject.files("ops")[4];
    let mut bytes = fs::read(damaged).unwrap();
    bytes[100_000] ^= 1;
    fs::write(damaged, bytes).unwrap();
    subject.check(&[range(first, 1, 2)], ALL);
    let error = subject.log.ops(&[range(second, 1, 9)], ALL).unwrap_err();
    assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
}

/// Values that hold what a commit looks like in another file don't make an interrupted commit look like damage.
#[test]
fn a_value_can_not_pass_for_a_commit() {
    let mut subject = Subject::new(0);
    subject.commit(&[(origins()[0], 10)]);
    let mut forged = Vec::new();
    let commit = Commit { start: 1 << 40, position: 9, hlc: Hlc(1), totals: Default::default() };
    record::write_commit(&mut forged, subject.appender.segment.salt ^ 1, &commit);
    assert!(!record::has_commit_from_behind(0, &forged, subject.appender.segment.salt));
    assert!(record::has_commit_from_behind(0, &forged, subject.appender.segment.salt ^ 1));
    assert!(!record::has_commit_from_behind(1 << 40, &forged, subject.appender.segment.salt ^ 1));
}

/// As a directory of format 3 has them.
#[test]
fn files_without_bases_are_one_run_which_is_trimmed_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    Segment::create(directory.path(), 1, None).unwrap();
    let mut subject = Subject { directory, ..Subject::new(0) };
    subject.reopen();
    for counter in 0..4 {
        subject.fill_segment(10 + counter);
        if counter < 3 {
            let next = subject.checkpoint.position + 1;
            subject.appender.begin_segment(next, (counter == 2).then(|| subject.base())).unwrap();
        }
    }
    assert!(subject.log.first_vector().is_empty());
    let [run] = &subject.log.runs()[..] else { panic!("{:?}", subject.log.runs()) };
    assert_eq!((run.last, run.ended, run.vector.get(origins()[0])), (6, Hlc(12), 6));
    assert_eq!(subject.log.position_before(Hlc(12), u64::MAX).unwrap(), 6);
    assert_eq!(subject.log.position_before(Hlc(11), u64::MAX).unwrap(), 2);
    subject.trim(5);
    assert_eq!(subject.log.start(), 0);
    // It is cut off.
    let files = subject.files("ops");
    for file in &files[..2] {
        fs::remove_file(file).unwrap();
    }
    subject.reopen();
    assert_eq!((subject.log.start(), subject.log.first_vector().get(origins()[0])), (6, 6));
    assert_eq!(subject.files("ops"), files[3..]);
    // Without the rest of it nobody knows what came before.
    Segment::create(subject.directory.path(), 7, None).unwrap();
    let error = open(subject.directory.path(), SEGMENT_BYTES, 0, Found::default()).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "the op log is damaged: its beginning is missing");
}

#[test]
fn behind_a_leap_an_origin_goes_on_where_the_state_was() {
    let [own, jumps, folded] = origins();
    for reopens in [false, true] {
        let mut subject = Subject::new(1 << 20);
        subject.commit(&[(own, 10), (jumps, 10), (jumps, 3_000), (folded, 10)]);
        subject.leap(1_000, &[(own, 1), (jumps, 7)]);
        assert_eq!((subject.log.start(), subject.log.size().ops), (1_000, 4));
        subject.check_after(1_000, ALL);
        subject.counters.insert(jumps, 7);
        subject.counters.insert(folded, 20);
        subject.commit(&[(own, 10), (jumps, 10)]);
        subject.commit(&[(folded, 10), (jumps, 10)]);
        if reopens {
            subject.reopen();
        }
        // What came before a jump is of no use any more.
        subject.all.retain(|op| op.dot.origin == own || op.position > 1_000);
        subject.check(&[range(own, 1, 9), range(jumps, 1, 99), range(folded, 1, 99)], ALL);
        assert_eq!((subject.log.size().ops, subject.log.start()), (5, 1_000));
        let since: Vec<u64> = subject.log.ops_after(0, ALL).unwrap().iter().map(|op| op.position).collect();
        assert_eq!(since, [1_001, 1_002, 1_003, 1_004]);
        subject.trim(1_000);
        assert_eq!(subject.log.runs(), []);
        subject.reopen();
        subject.check(&[range(own, 1, 9), range(jumps, 1, 99), range(folded, 1, 99)], ALL);
    }
}

#[test]
fn a_gap_behind_a_leap_is_noticed() {
    let [own, jumps, _] = origins();
    let mut subject = Subject::new(0);
    subject.commit(&[(own, 10), (jumps, 10)]);
    subject.leap(1_000, &[(jumps, 7)]);
    subject.counters.insert(jumps, 8);
    let append = subject.append(&[(jumps, 10)]);
    let durable = subject.appender.append(&append, &subject.checkpoint, Base::default).unwrap();
    let expected = format!("op {} is damaged: it is missing from the log", jumps.dot(2));
    assert_eq!(subject.appender.publish(durable).unwrap_err().to_string(), expected);
    let error = open(subject.directory.path(), SEGMENT_BYTES, 0, Found::default()).map(drop).unwrap_err();
    assert_eq!(error.to_string(), expected);
}
