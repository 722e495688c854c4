//! A process that ends while a state is filled or adopted, at any step: the next finds the old state or the new one, whole.

use tempfile::TempDir;

use super::*;
use crate::causality::Hlc;
use crate::replica::{Sibling, Value};
use crate::storage::PeerState;

const OLD: [(&str, &str); 2] = [("k", "own"), ("mine", "1")];
/// The peer has seen what this node has, and deleted one of the keys.
const NEW: [(&str, &str); 2] = [("k", "theirs"), ("yours", "2")];

/// A directory, and images of it at every step.
struct Images {
    directory: OnDisk,
    log: Log,
    taken: TempDir,
}

impl Images {
    fn new() -> Self {
        let directory = OnDisk::new();
        let (store, _) = directory.open();
        let mut log = Log::default();
        log.write(&store, origin(0, 7).dot(1), &OLD.map(|(key, value)| (key, Some(value))));
        let images = Self { directory, log, taken: tempfile::tempdir().unwrap() };
        images.take("begun before");
        let mut fill = store.begin_fill(peer(), Basis::State).unwrap();
        images.take("begun");
        let keys = ["k", "yours"].map(|key| (key.into(), theirs(key)));
        fill.put(keys[..1].to_vec(), Some("k")).unwrap();
        fill.put(keys[1..].to_vec(), None).unwrap();
        fill.catch_up().unwrap();
        images.take("filled");
        let old = store.snapshot().unwrap();
        store.adopt(fill).unwrap();
        images.take("adopted");
        drop(old);
        drop(store);
        images.change("closed", |path| fs::remove_file(path.join(LEAPT)).unwrap());
        images.change("half begun", |path| {
            let bytes = fs::read(path.join(LEAPT)).unwrap();
            fs::remove_file(path.join(LEAPT)).unwrap();
            fs::write(path.join("store/log/ops.new"), &bytes[..bytes.len() / 2]).unwrap();
        });
        images
    }

    fn take(&self, name: &str) {
        copy(&path(&self.directory), &self.path(name));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.taken.path().join(name)
    }

    /// One that is made of the last.
    fn change(&self, name: &str, change: impl FnOnce(&Path)) {
        copy(&self.path("adopted"), &self.path(name));
        change(&self.path(name));
    }
}

/// The position behind the leap.
const LEAPT: &str = "store/log/00000000006442450946.ops";

fn peer() -> PeerState {
    let vector = [origin(0, 7).dot(1), origin(1, 3).dot(2)].into_iter().collect();
    PeerState { vector, ancestry: Ancestry::new() }
}

fn theirs(key: &str) -> Siblings {
    let (counter, value) = if key == "k" { (1, "theirs") } else { (2, "2") };
    let dot = origin(1, 3).dot(counter);
    Siblings::new(vec![Sibling { dot, hlc: Hlc(counter), arrival: counter, value: Value::from(value) }])
}

fn held(store: &DiskStorage) -> Vec<(String, String)> {
    let keys = store.snapshot().unwrap().keys("", None, 9).unwrap();
    keys.into_iter().map(|(key, siblings)| (key, values(&siblings).join(" "))).collect()
}

fn generations(path: &Path) -> Vec<String> {
    let names =
        fs::read_dir(path.join("store")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("keys")).collect();
    names.sort();
    names
}

/// What a start finds there, and that it goes on from it.
fn check(images: &Images, path: &Path, expected: &[(&str, &str)]) {
    let (store, recovered) = open(path).unwrap();
    let expected: Vec<_> = expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    assert_eq!(held(&store), expected);
    assert_eq!(generations(path).len(), 1);
    let mut log = Log { checkpoint: recovered.checkpoint, ancestry: images.log.ancestry.clone(), ..Log::default() };
    log.write(&store, origin(0, 7).dot(2), &[("k", Some("later"))]);
    drop(store);
    let (store, recovered) = open(path).unwrap();
    assert_eq!(recovered.checkpoint, log.checkpoint);
    assert_eq!(values(&store.siblings("k").unwrap()), ["later"]);
    // It can be done again.
    let mut fill = store.begin_fill(peer(), Basis::State).unwrap();
    fill.put(["k", "yours"].map(|key| (key.into(), theirs(key))).to_vec(), None).unwrap();
    store.adopt(fill).unwrap();
    assert_eq!(held(&store).last().unwrap().1, "2");
}

#[test]
fn a_start_finds_the_old_state_or_the_new_one() {
    let images = Images::new();
    for name in ["begun before", "begun", "filled", "closed", "half begun"] {
        check(&images, &images.path(name), &OLD);
    }
    check(&images, &images.path("adopted"), &NEW);
}

/// Files of the keys that do not count may be there in any part.
#[test]
fn what_is_left_of_other_keys_does_not_matter() {
    let images = Images::new();
    for (name, keys, expected) in [("closed", "store/keys.1", &OLD[..]), ("adopted", "store/keys", &NEW)] {
        let files = contents(&images.path(name).join(keys)).len();
        for gone in 0..=files {
            let path = images.path(&format!("{name} {gone}"));
            copy(&images.path(name), &path);
            contents(&path.join(keys)).into_iter().take(gone).for_each(|(file, _)| fs::remove_file(file).unwrap());
            check(&images, &path, expected);
        }
    }
}

#[test]
fn keys_that_were_adopted_and_are_missing_are_noticed() {
    let images = Images::new();
    images.change("gone", |path| fs::remove_dir_all(path.join("store/keys.1")).unwrap());
    images.change("empty", |path| {
        fs::remove_dir_all(path.join("store/keys.1")).unwrap();
        fs::create_dir(path.join("store/keys.1")).unwrap();
    });
    images.change("old", |path| {
        fs::remove_dir_all(path.join("store/keys.1")).unwrap();
        fs::rename(path.join("store/keys"), path.join("store/keys.1")).unwrap();
    });
    for name in ["gone", "empty", "old"] {
        assert!(matches!(refusal(&images.path(name)), OpenError::Damaged { .. }), "{name}");
    }
}

#[test]
fn a_damaged_base_is_noticed() {
    let images = Images::new();
    for byte in [0, 20, 33, 45, 60] {
        images.change(&format!("byte {byte}"), |path| {
            let mut bytes = fs::read(path.join(LEAPT)).unwrap();
            bytes[byte] ^= 1;
            fs::write(path.join(LEAPT), bytes).unwrap();
        });
        assert!(matches!(refusal(&images.path(&format!("byte {byte}"))), OpenError::Damaged { .. }), "{byte}");
    }
}

#[test]
fn old_keys_go_with_the_last_who_reads_them() {
    let directory = OnDisk::new();
    let (store, _) = directory.open();
    Log::default().write(&store, origin(0, 7).dot(1), &OLD.map(|(key, value)| (key, Some(value))));
    let old = store.snapshot().unwrap();
    let given_up = store.begin_fill(peer(), Basis::State).unwrap();
    assert_eq!(generations(&path(&directory)), ["keys", "keys.1"]);
    drop(given_up);
    let mut fill = store.begin_fill(peer(), Basis::State).unwrap();
    fill.put(vec![], None).unwrap();
    store.adopt(fill).unwrap();
    store.home.removals.wait();
    assert_eq!(generations(&path(&directory)), ["keys", "keys.2"]);
    assert_eq!(old.keys("", None, 9).unwrap().len(), 2);
    drop(old);
    store.home.removals.wait();
    assert_eq!(generations(&path(&directory)), ["keys.2"]);
}
