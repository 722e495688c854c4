//! Directories that are restored: whole, or nothing that a node starts on, whenever it is cut off.

use super::*;
use crate::causality::{Hlc, Origin};
use crate::replica::{Key, Sibling};
use crate::storage::PeerState;
use crate::storage::disk::directory::RESTORING;

fn state() -> PeerState {
    let (life, before) = (origin(0, 7), origin(0, 3));
    let mut ancestry = Ancestry::new();
    ancestry.insert(life, &[before.dot(9)]);
    PeerState { vector: [life.dot(2), origin(1, 5).dot(4)].into_iter().collect(), ancestry }
}

fn key(name: &str, written: &[(Origin, u64)]) -> (Key, Siblings) {
    let sibling = |(arrival, (origin, counter)): (usize, &(Origin, u64))| {
        let dot = origin.dot(*counter);
        Sibling { dot, hlc: Hlc(*counter), arrival: 100 + arrival as u64, value: format!("{name} of {dot}").into() }
    };
    (name.into(), Siblings::new(written.iter().enumerate().map(sibling).collect()))
}

fn keys() -> Vec<(Key, Siblings)> {
    let (own, other) = (origin(0, 7), origin(1, 5));
    vec![key("a", &[(own, 1)]), key("conflict", &[(other, 4), (own, 2)]), key("ü", &[(other, 3)])]
}

fn begin(path: &Path) -> Restoring {
    let mut restoring = Restoring::begin(path, &identity(), state()).unwrap();
    restoring.put(keys()[..1].to_vec()).unwrap();
    restoring
}

fn restore(path: &Path) {
    let mut restoring = begin(path);
    restoring.put(keys()[1..].to_vec()).unwrap();
    restoring.finish().unwrap();
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What a start finds, and that the node goes on from it.
fn check(path: &Path) {
    let (store, recovered) = open(path).unwrap();
    assert_eq!(names(path), ["identity", "lock", "store"]);
    assert_eq!((&recovered.checkpoint.vector, &recovered.floor), (&state().vector, &state().vector));
    assert_eq!(recovered.checkpoint.totals.keys, 3);
    assert!(recovered.ancestry.covers(&state().vector, origin(0, 3).dot(9)));
    let snapshot = store.snapshot().unwrap();
    let found = snapshot.keys("", None, 9).unwrap();
    assert!(
        found
            .iter()
            .map(|(key, found)| (&**key, values(found)))
            .eq(keys().iter().map(|(key, put)| (&**key, values(put))))
    );
    assert_eq!(snapshot.conflicts("", None, 9).unwrap().len(), 1);
    drop(snapshot);
    let mut log = Log { checkpoint: recovered.checkpoint, ancestry: recovered.ancestry, ..Log::default() };
    log.write(&store, origin(0, 8).dot(1), &[("a", Some("later"))]);
    drop(store);
    let (store, recovered) = open(path).unwrap();
    assert_eq!(recovered.checkpoint, log.checkpoint);
    assert!(values(&store.siblings("a").unwrap()).contains(&"later"));
}

#[test]
fn a_start_finds_what_was_put_in() {
    let directory = OnDisk::new();
    restore(&path(&directory));
    check(&path(&directory));
}

#[test]
fn a_directory_is_restored_also_where_nothing_is_in_it() {
    let directory = OnDisk::new();
    fs::create_dir_all(path(&directory).join("lost+found")).unwrap();
    Restoring::begin(&path(&directory), &identity(), state()).unwrap().finish().unwrap();
    let (store, recovered) = directory.open();
    assert_eq!((recovered.checkpoint.totals.keys, &recovered.checkpoint.vector), (0, &state().vector));
    assert!(store.snapshot().unwrap().keys("", None, 9).unwrap().is_empty());
}

#[test]
fn what_is_given_up_leaves_nothing() {
    let directory = OnDisk::new();
    drop(begin(&path(&directory)));
    assert_eq!(names(&path(&directory)), ["lock"]);
    assert_eq!(directory.open().1.checkpoint, Checkpoint::default());
}

/// As a process leaves it that ends at any step.
#[test]
fn one_that_was_cut_off_is_nothing_to_start_on_and_can_be_done_again() {
    let images = tempfile::tempdir().unwrap();
    let image = |name: &str| images.path().join(name);
    let directory = OnDisk::new();
    let restoring = begin(&path(&directory));
    copy(&path(&directory), &image("begun"));
    drop(restoring);
    restore(&path(&directory));
    copy(&path(&directory), &image("done"));
    // Back, step by step.
    copy(&image("done"), &image("without identity"));
    let made = image("without identity").join(RESTORING);
    fs::create_dir(&made).unwrap();
    fs::rename(image("without identity/identity"), made.join("identity")).unwrap();
    copy(&image("without identity"), &image("made"));
    fs::rename(image("made/store"), image("made").join(RESTORING).join("store")).unwrap();
    fs::create_dir_all(image("hardly begun").join(RESTORING)).unwrap();
    for name in ["hardly begun", "begun", "made", "without identity"] {
        let before = contents(&image(name));
        let refusal = refusal(&image(name));
        assert!(matches!(refusal, OpenError::Restoring { .. }), "{name}: {refusal}");
        assert_eq!(contents(&image(name)), before, "{name}");
        restore(&image(name));
        check(&image(name));
    }
    fs::create_dir(image("done").join(RESTORING)).unwrap();
    fs::write(image("done").join(RESTORING).join("lock"), "").unwrap();
    check(&image("done"));
}

#[test]
fn a_directory_with_something_in_it_is_refused_and_left_alone() {
    let refused = |path: &Path| {
        let before = contents(path);
        let refusal = Restoring::begin(path, &identity(), state()).map(drop).unwrap_err();
        assert_eq!(contents(path), before);
        refusal
    };
    let directory = written();
    assert!(matches!(refused(&path(&directory)), OpenError::NotEmpty { .. }));
    let directory = OnDisk::new();
    for names in [&["letter.txt"][..], &["store/log"], &["letter.txt", "causeway-restoring/store", "store/log"]] {
        for name in names {
            fs::create_dir_all(path(&directory).join(name)).unwrap();
        }
        assert!(matches!(refused(&path(&directory)), OpenError::Foreign { .. }), "{names:?}");
        fs::remove_dir_all(path(&directory)).unwrap();
    }
}

#[test]
fn two_at_once_or_a_node_meanwhile_are_refused() {
    let directory = OnDisk::new();
    let restoring = begin(&path(&directory));
    assert!(matches!(refusal(&path(&directory)), OpenError::Restoring { .. }));
    let second = Restoring::begin(&path(&directory), &identity(), state()).map(drop).unwrap_err();
    assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    drop(restoring);
    let (_store, _) = directory.open();
    assert!(Restoring::begin(&path(&directory), &identity(), state()).is_err());
}
