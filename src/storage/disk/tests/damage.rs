//! Records that are damaged or do not fit together: an error, never "not found", and never taken for whole.

use super::*;
use crate::causality::Origin;

const OWN: Origin = Origin { node: NodeId(0), incarnation: crate::causality::Incarnation(7) };

/// Everything goes to tables at once, and files of the log have a commit each.
const IN_PIECES: DiskOptions = DiskOptions {
    cache_bytes: 1 << 20,
    hot_bytes: 1 << 20,
    outline_bytes: 0,
    write_buffer_bytes: 1,
    tail_bytes: 0,
    segment_bytes: 1,
};

fn open_in_pieces(directory: &OnDisk) -> Result<(DiskStorage, Recovered), OpenError> {
    DiskStorage::open_with(&path(directory), &identity(), IN_PIECES)
}

/// A store with a few commits, open, all of it in tables.
fn store() -> (OnDisk, DiskStorage, Log) {
    let directory = OnDisk::new();
    let (store, _) = open_in_pieces(&directory).unwrap();
    let mut log = Log::default();
    for counter in 1..=3 {
        log.write(&store, OWN.dot(counter), &[("k", Some("v")), ("other", Some("v"))]);
    }
    keys(&store).engine().wait_for_tables().unwrap();
    (directory, store, log)
}

/// Writes one record behind the store's back, with the engine's own checksums right.
fn put(store: &DiskStorage, key: &[u8], value: Vec<u8>) {
    keys(store).engine().plant(key, value);
    // Readers see it as after a commit.
    let snapshot = DiskSnapshot::take(keys(store), &Checkpoint::default());
    store.sources.published.store(Arc::new(snapshot));
}

fn flip(mut bytes: Vec<u8>) -> Vec<u8> {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes
}

fn flip_record(store: &DiskStorage, key: &[u8]) {
    let bytes = keys(store).engine().get(&keys(store).engine().now(), key).unwrap().unwrap();
    put(store, key, flip(bytes.to_vec()));
}

/// The files of the log, one a commit.
fn files(directory: &OnDisk) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(path(directory).join("store/log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "ops"))
        .collect();
    files.sort();
    files
}

fn flip_file(path: &Path) {
    fs::write(path, flip(fs::read(path).unwrap())).unwrap();
}

/// What opening says about a store after `change` was done to its files.
fn problem_after(change: impl FnOnce(&OnDisk)) -> String {
    let (directory, store, _) = store();
    drop(store);
    change(&directory);
    match open_in_pieces(&directory) {
        Err(OpenError::Damaged { problem, .. }) => problem,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was opened"),
    }
}

#[test]
fn a_flipped_bit_in_a_key_is_an_error_and_not_a_missing_key() {
    let (_directory, store, _) = store();
    flip_record(&store, b"k");
    let error = store.sources.published.load().siblings_once("k").unwrap_err();
    assert_eq!(error.to_string(), "key 'k' is damaged: key record does not match its checksum");
    let snapshot = store.snapshot().unwrap();
    assert!(matches!(snapshot.siblings("k"), Err(StorageError::Damaged { .. })));
    assert!(matches!(snapshot.keys("", None, 10), Err(StorageError::Damaged { .. })));
    assert_eq!(values(&snapshot.siblings("other").unwrap()), ["v"], "others can still be read");
}

#[test]
fn a_flipped_bit_in_an_op_is_an_error() {
    let (directory, store, _) = store();
    flip_file(&files(&directory)[1]);
    assert!(matches!(store.ops(&[range(OWN, 1, 3)], ALL), Err(StorageError::Damaged { .. })));
    assert!(matches!(store.op_bytes(&[range(OWN, 1, 1)]), Ok(bytes) if bytes > 0));
    assert_eq!(store.ops(&[range(OWN, 3, 3)], ALL).unwrap().len(), 1);
}

#[test]
fn a_damaged_checkpoint_stops_opening() {
    let (directory, store, _) = store();
    flip_record(&store, record::CHECKPOINT);
    drop(store);
    assert!(matches!(open_in_pieces(&directory).map(drop), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_missing_checkpoint_is_not_an_empty_store() {
    let directory = OnDisk::new();
    let (store, _) = open_in_pieces(&directory).unwrap();
    keys(&store).engine().plant(b"k", b"a table without a checkpoint".to_vec());
    drop(store);
    let OpenError::Damaged { problem, .. } = refusal(&path(&directory)) else { panic!("refused for another reason") };
    assert_eq!(problem, "the store is damaged: it has no checkpoint");
}

#[test]
fn a_log_ahead_of_its_checkpoint_is_noticed() {
    let (directory, store, log) = store();
    let stranger = origin(5, 5);
    let vector = [stranger.dot(1)].into_iter().collect();
    let checkpoint = Checkpoint { vector, ..log.checkpoint.clone() };
    keys(&store).engine().plant(record::CHECKPOINT, crate::format::checkpoint::encode(&checkpoint));
    drop(store);
    let OpenError::Damaged { problem, .. } = refusal(&path(&directory)) else { panic!("refused for another reason") };
    assert_eq!(problem, format!("op {} is damaged: it is in the log, but not in the checkpoint", OWN.dot(3)));
}

#[test]
fn a_damaged_ancestry_is_refused() {
    let (directory, store, _) = store();
    put(&store, &record::ancestry(OWN, &[]).0, b"no frame".to_vec());
    drop(store);
    match open_in_pieces(&directory).map(drop) {
        Err(OpenError::Damaged { problem, .. }) => {
            assert_eq!(
                problem,
                format!("the ancestry of {OWN} is damaged: ancestry record does not match its checksum")
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_that_went_back_is_noticed() {
    let problem = problem_after(|directory| {
        for file in &files(directory)[1..] {
            fs::remove_file(file).unwrap();
        }
    });
    assert_eq!(problem, "the store is damaged: its op log has positions 1 to 1, its keys are as of position 3");
}

#[test]
fn a_log_that_begins_too_late_is_noticed() {
    let (directory, store, _) = store();
    drop(store);
    fs::remove_file(&files(&directory)[0]).unwrap();
    // The keys are as of a later position, so nothing is missing: that is a trimmed log.
    drop(open_in_pieces(&directory).unwrap());
    fs::remove_dir_all(path(&directory).join("store/keys")).unwrap();
    let OpenError::Damaged { problem, .. } = refusal(&path(&directory)) else { panic!("refused for another reason") };
    assert_eq!(problem, "the store is damaged: its op log has positions 2 to 3, its keys are as of position 0");
}

#[test]
fn a_file_of_the_log_that_is_missing_or_empty_is_noticed() {
    let problem = problem_after(|directory| fs::remove_file(&files(directory)[1]).unwrap());
    assert_eq!(problem, "the op log is damaged: position 2 is missing: the next file begins at 3");
    let problem = problem_after(|directory| fs::write(&files(directory)[1], "").unwrap());
    assert!(problem.contains("00000000000000000002.ops is none of its files"), "{problem}");
    let problem = problem_after(|directory| files(directory).iter().for_each(|file| fs::remove_file(file).unwrap()));
    assert_eq!(problem, "the op log is damaged: it has no files");
}

/// Of keys put back from an older copy nothing is lost: the log goes on from there.
#[test]
fn keys_that_went_back_are_brought_up_to_the_log() {
    let (directory, store, mut log) = store();
    drop(store);
    let directory_of_keys = path(&directory).join("store/keys");
    let older = contents(&directory_of_keys);
    let (store, _) = open_in_pieces(&directory).unwrap();
    log.write(&store, OWN.dot(4), &[("k", Some("newer")), ("other", None)]);
    keys(&store).engine().wait_for_tables().unwrap();
    drop(store);
    fs::remove_dir_all(&directory_of_keys).unwrap();
    for (file, bytes) in older {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
    let (store, recovered) = open_in_pieces(&directory).unwrap();
    assert_eq!(recovered.checkpoint, log.checkpoint);
    assert_eq!(values(&store.siblings("k").unwrap()), ["newer"]);
    assert!(store.siblings("other").unwrap().is_empty());
}
