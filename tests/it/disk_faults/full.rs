//! A small disk that is filled up and freed.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use tempfile::TempDir;

use super::disk::{Disk, Wrote};
use crate::support::namespace::{SmallDisk, enter_mounts};
use crate::support::process::Process;

/// How often it is filled up and freed.
const TIMES: usize = 2;
/// More writes than fit.
const TOO_MANY: usize = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_for_the_next_commit() {
    if enter_mounts("disk_faults::full::a_disk_without_room_for_the_next_commit") {
        fill_and_free(12 << 20, 2 << 20, 3_000).await;
    }
}

/// The engine's tables are written beside the commits; each takes as much room as a write buffer.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_for_a_table() {
    if enter_mounts("disk_faults::full::a_disk_without_room_for_a_table") {
        fill_and_free(192 << 20, 40 << 20, 200_000).await;
    }
}

/// On a disk of so many bytes, of which so many are left to the node, with values of so many.
async fn fill_and_free(bytes: u64, room: u64, value_bytes: usize) {
    let directory = TempDir::new().unwrap();
    let mounted_at = directory.path().join("mounted");
    let (data, ballast) = (mounted_at.join("data"), mounted_at.join("ballast"));
    let mut disk = Disk::at(directory, data);
    let _small = SmallDisk::mount(&mounted_at, bytes);
    disk.check().await;
    for time in 1..=TIMES {
        let node = disk.launch.start_ready().await;
        let before = node.log().len();
        leave(&ballast, room);
        let mut wrote = Wrote::Acknowledged;
        let mut count = 0;
        while wrote == Wrote::Acknowledged {
            wrote = disk.write(&node.api, value_bytes).await;
            count += 1;
            assert!(count < TOO_MANY, "the disk never fills up");
        }
        assert_eq!(wrote, Wrote::Unknown, "time {time}");
        told(&mut disk, &node, before).await;
        node.kill();

        // It is still full: a start reads, or says why it can't.
        let mut node = disk.launch.start();
        let before = node.log().len();
        match node.until_ready_or_ended().await {
            None => assert!(disk.reads(&node.api).await),
            Some(status) => {
                let log = node.log()[before..].to_owned();
                assert!(status.code() == Some(1) && log.contains("No space left on device"), "{status}: {log}");
            }
        }
        let log = node.log();
        assert!(!log.contains("panicked"), "{log}");
        node.kill();
        fs::remove_file(&ballast).unwrap();
        disk.check().await;
    }
}

/// A node on a full disk says so, and reads, until it is restarted.
async fn told(disk: &mut Disk, node: &Process, before: usize) {
    assert!(disk.reads(&node.api).await);
    assert_eq!(disk.write(&node.api, 1).await, Wrote::ReadOnly);
    let ready = node.api.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["type"]), (503, &"/problems/read-only".into()));
    assert_eq!(node.api.status().await["read_only"], true);
    let log = node.log()[before..].to_owned();
    assert!(log.contains("READ-ONLY") && log.contains("No space left on device"), "{log}");
}

/// Fills up the disk but for so many bytes.
fn leave(ballast: &Path, room: u64) {
    let mut file = File::create(ballast).unwrap();
    let block = vec![1; 64 << 10];
    loop {
        match file.write_all(&block) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => break,
            Err(error) => panic!("{}: {error}", ballast.display()),
        }
    }
    let length = file.metadata().unwrap().len();
    file.set_len(length - room).unwrap();
}
