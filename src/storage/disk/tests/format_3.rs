//! Directories that a version wrote whose logs had no bases: `fixtures/format-3`, one that was closed, one whose process was
//! killed.

use super::*;

fn fixture(name: &str) -> OnDisk {
    let directory = OnDisk::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/storage/disk/tests/fixtures/format-3");
    copy(&fixtures.join(name), &path(&directory));
    directory
}

fn stored_format(directory: &OnDisk) -> u32 {
    identity::decode(&fs::read(path(directory).join("identity")).unwrap()).unwrap().format
}

fn held(store: &DiskStorage) -> Vec<(String, Vec<String>)> {
    let keys = store.snapshot().unwrap().keys("", None, 99).unwrap();
    let owned = |siblings: &Siblings| values(siblings).into_iter().map(str::to_owned).collect();
    keys.into_iter().map(|(key, siblings)| (key, owned(&siblings))).collect()
}

#[test]
fn a_directory_of_format_3_is_opened_and_upgraded() {
    for name in ["closed", "killed"] {
        let directory = fixture(name);
        assert_eq!(stored_format(&directory), 3);
        let log_id = identity::decode(&fs::read(path(&directory).join("identity")).unwrap()).unwrap().log;
        let mut expected = [("grün", "Wert"), ("one", "again"), ("two", "zwei")]
            .map(|(key, value)| (key.to_owned(), vec![value.to_owned()]));
        expected.sort();
        for _ in 0..2 {
            let (store, recovered) = directory.open();
            assert_eq!((held(&store), store.log_id()), (expected.to_vec(), LogId(log_id)));
            assert_eq!((recovered.checkpoint.position, recovered.checkpoint.totals.keys), (4, 3));
            assert!(recovered.floor.is_empty() && store.log_runs().is_empty());
            assert_eq!(store.ops_after(0, ALL).unwrap().len(), 4);
            assert_eq!(stored_format(&directory), directory::FORMAT);
        }
    }
}

#[test]
fn an_upgraded_log_goes_on_and_is_trimmed() {
    let directory = fixture("killed");
    let options = DiskOptions { segment_bytes: 1, write_buffer_bytes: 1, ..DiskOptions::default() };
    let open = || DiskStorage::open_with(&path(&directory), &identity(), options).unwrap();
    let (store, recovered) = open();
    let old = recovered.checkpoint.clone();
    let mut log = Log { checkpoint: recovered.checkpoint, ancestry: recovered.ancestry, ..Log::default() };
    log.write(&store, origin(5, 5).dot(1), &[("new", Some("v"))]);
    let runs = store.log_runs();
    assert_eq!((runs.len(), runs[0].last, &runs[0].vector), (1, 4, &old.vector));
    keys(&store).engine().wait_for_tables().unwrap();
    assert_eq!(store.trim(4).unwrap(), old.vector);
    drop(store);
    let (store, recovered) = open();
    assert_eq!((recovered.floor, store.log_start()), (old.vector, 4));
    assert_eq!((store.ops_after(0, ALL).unwrap().len(), held(&store).len()), (1, 4));
}

#[test]
fn a_directory_of_format_3_that_can_not_be_opened_stays_as_it_was() {
    let directory = fixture("closed");
    let log = path(&directory).join("store/log/00000000000000000001.ops");
    let mut bytes = fs::read(&log).unwrap();
    bytes[100] ^= 1;
    fs::write(&log, bytes).unwrap();
    let before = contents(&path(&directory));
    assert!(matches!(refusal(&path(&directory)), OpenError::Damaged { .. }));
    fs::remove_file(path(&directory).join("lock")).unwrap();
    assert_eq!(contents(&path(&directory)), before);
}
