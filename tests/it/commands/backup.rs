//! `causeway backup` and `causeway restore`: a round trip of everything that a store may hold, and what is refused.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use causeway::backup::{BackupError, BackupFile};
use causeway::causality::NodeId;
use causeway::storage::{DiskStorage, Identity, OpenError, Storage};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Run, alone, ask, run};
use crate::support::api::{Api, send};
use crate::support::free_ports;
use crate::support::process::{Launch, Process, causeway};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn restore(file: &Path, to: &Path, node: u32) -> Run {
    run(&["restore", text(file), "--data-dir", text(to), "--node-id", &node.to_string()])
}

/// A node that knows no other, on such a directory.
async fn on(directory: &TempDir, data: &Path, node: u32) -> (Process, u16) {
    let [port] = free_ports();
    let launch = Launch::by_environment(directory.path(), node, port, &[(node, port)]);
    (launch.with("CAUSEWAY_DATA_DIR", text(data)).start_ready().await, port)
}

async fn set(api: &Api, values: Value, context: Option<&str>) {
    let request =
        context.into_iter().fold(api.patch("", &values), |request, context| request.header("causal-context", context));
    let answer = send(request).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Conflicts, deletes, keys of every kind, large values.
async fn fill(api: &Api) {
    let before = api.get("/read?key=none").await.header("causal-context").unwrap().to_owned();
    let odd = ["ü", "\u{0}", "\u{10ffff}", "a/b c?d=é&f", "\n", "\u{7f}\u{80}", " "];
    set(api, odd.iter().map(|key| ((*key).to_owned(), json!(format!("of {key:?}")))).collect(), None).await;
    set(api, json!({"empty": "", "gone": "1", "conflict": "one", "k".repeat(1_000): "v"}), None).await;
    set(api, json!({"gone": null}), None).await;
    for value in ["two", "three"] {
        set(api, json!({"conflict": value}), Some(&before)).await;
    }
    for number in 0..3 {
        set(api, json!({format!("large {number}"): "0123456789abcdé\u{0}".repeat(60_000)}), None).await;
    }
    for page in 0..5 {
        let keys = (0..1_000).map(|key| (format!("many/{page}/{key:03}"), json!(format!("value {key}"))));
        set(api, keys.collect(), None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_backed_up_is_what_is_restored() {
    let (node, port, directory) = alone().await;
    fill(&node.api).await;
    let (file, data) = (directory.path().join("a backup"), directory.path().join("deep/er/data"));
    let printed = ask(port, &["backup", text(&file)]).printed();
    assert!(
        printed.contains(": 5013 keys, ") && printed.contains("node 0 of cluster 'causeway' as of 20"),
        "{printed}"
    );
    assert_eq!(run(&["backup", "--check", text(&file)]).printed(), printed);
    let told: Value = serde_json::from_str(&run(&["backup", "--check", "--json", text(&file)]).printed()).unwrap();
    let status = node.api.status().await;
    assert_eq!((&told["keys"], &told["node"], &told["vector"]), (&json!(5013), &json!(0), &status["vector"]));
    assert_eq!(told["bytes"], fs::metadata(&file).unwrap().len());
    // What comes later is not in it.
    set(&node.api, json!({"later": "1", "conflict": "four"}), None).await;

    let printed = restore(&file, &data, 7).printed();
    assert!(printed.contains("is the data of node 7 of cluster 'causeway' now"), "{printed}");
    let (restored, restored_port) = on(&directory, &data, 7).await;
    assert_eq!(restored.api.read("later").await, None);
    assert_eq!(restored.api.read("gone").await, None);
    assert_eq!(restored.api.read("conflict").await.as_deref(), Some("three"), "as it was there");
    let values: Vec<_> = restored.api.siblings("conflict").await.into_iter().map(|(value, _)| value).collect();
    assert_eq!(values, ["one", "three", "two"]);
    let conflicts = restored.api.get("/conflicts").await.json();
    assert_eq!(conflicts["keys"].as_array().unwrap().len(), 1, "{conflicts}");

    // Of all keys, and to the byte: the one that was backed up again, and what it was restored from.
    let again = directory.path().join("again");
    ask(restored_port, &["backup", text(&again)]).printed();
    let second = directory.path().join("second");
    run(&["restore", text(&again), "--data-dir", text(&second), "--node-id", "8"]).printed();
    let (_second, second_port) = on(&directory, &second, 8).await;
    let ports = format!("{restored_port},{second_port}");
    assert!(run(&["verify", "--node", &ports]).printed().starts_with("equal: 2 nodes, 5013 keys"));
    let large = "large 1";
    assert_eq!(restored.api.read(large).await, node.api.read(large).await);
    // It writes like any other.
    set(&restored.api, json!({"conflict": "settled"}), None).await;
    assert_eq!(restored.api.siblings("conflict").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_keys_is_a_backup_too() {
    let (_node, port, directory) = alone().await;
    let (file, data) = (directory.path().join("file"), directory.path().join("data"));
    ask(port, &["backup", text(&file)]).printed();
    fs::create_dir(&data).unwrap();
    run(&["restore", text(&file), "--data-dir", text(&data), "--node-id", "0", "--cluster", "another"]).printed();
    let identity = Identity { cluster: "another".to_owned(), node: NodeId(0) };
    let (storage, _) = DiskStorage::open(&data, &identity).unwrap();
    assert!(storage.snapshot().unwrap().keys("", None, 9).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_directories_that_are_there_are_left_alone() {
    let (node, port, directory) = alone().await;
    set(&node.api, json!({"key": "value"}), None).await;
    let file = directory.path().join("file");
    fs::write(&file, "precious").unwrap();
    let message = ask(port, &["backup", text(&file)]).failed(2);
    assert!(message.contains("is there already; --force replaces it"), "{message}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    ask(port, &["backup", "--force", text(&file)]).printed();
    run(&["backup", "--check", text(&file)]).printed();
    // One that was cut off, or is under way.
    let unfinished = directory.path().join("other.unfinished");
    fs::write(&unfinished, "half").unwrap();
    let other = directory.path().join("other");
    let message = ask(port, &["backup", text(&other)]).failed(2);
    assert!(message.contains("other.unfinished is there: "), "{message}");
    ask(port, &["backup", "--force", text(&other)]).printed();
    assert!(!unfinished.exists());

    let data = directory.path().join("data");
    restore(&file, &data, 0).printed();
    let message = restore(&file, &data, 0).failed(2);
    assert!(message.contains("holds data already"), "{message}");
    let message = restore(&file, directory.path(), 0).failed(2);
    assert!(message.contains("is not empty and holds no causeway data"), "{message}");
    let (_node, _) = on(&directory, &data, 0).await;
    let message = restore(&file, &data, 0).failed(2);
    assert!(message.contains("holds data already"), "{message}");
}

/// The one that was begun before neither gives the other's file its name nor removes it.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_with_force_under_one_name_the_one_that_was_begun_last_is_the_backup() {
    let (node, port, directory) = alone().await;
    set(&node.api, json!({"key": "value"}), None).await;
    let (file, other) = (directory.path().join("file"), directory.path().join("other"));
    ask(port, &["backup", text(&other)]).printed();
    let whole = fs::read(other).unwrap();
    let begin = || BackupFile::create(&file, true).unwrap();
    let (mut before, mut last) = (begin(), begin());
    before.write(&whole).unwrap();
    last.write(&whole[..50]).unwrap();
    let superseded = before.finish();
    assert!(matches!(superseded, Err(BackupError::Superseded { .. })), "{superseded:?}");
    assert!(!file.exists());
    last.write(&whole[50..]).unwrap();
    last.finish().unwrap();
    assert_eq!(fs::read(&file).unwrap(), whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_a_node_or_can_not_be_reached_leaves_no_file() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    let [nobody] = free_ports();
    assert!(ask(nobody, &["backup", text(&file)]).failed(3).contains("no answer from"));
    let stranger = super::stranger("200 OK\r\ncontent-type: text/html", "<h1>hello</h1>");
    assert!(ask(stranger, &["backup", text(&file)]).failed(3).contains("not the answer of a node"));
    let short = super::stranger("200 OK\r\ncontent-type: application/vnd.causeway.backup", "");
    assert!(ask(short, &["backup", text(&file)]).failed(1).contains("backup is cut short: 0 bytes"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    assert!(run(&["restore", text(&file), "--data-dir", "x", "--node-id", "0"]).failed(3).contains("No such file"));
    assert!(run(&["backup", "--check", text(&file)]).failed(3).contains("No such file"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_stopped_leaves_no_file() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for signal in ["INT", "TERM"] {
        let mut command = causeway();
        command.args(["backup", text(&file), "--node", &port.to_string()]).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        // It has the file by then, and waits for ever.
        let connection = listener.accept().unwrap();
        assert!(directory.path().join("file.unfinished").exists());
        let status = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(status.success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "causeway: stopped before the backup was whole\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        drop(connection);
    }
}

/// Where each part of a backup begins, and the end.
fn parts(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    while *starts.last().unwrap() < bytes.len() {
        let start = *starts.last().unwrap();
        let length = u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap());
        starts.push(start + 4 + length as usize);
    }
    starts
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_whole_backup_is_refused_and_nothing_is_written() {
    let (node, port, directory) = alone().await;
    fill(&node.api).await;
    let file = directory.path().join("file");
    ask(port, &["backup", text(&file)]).printed();
    let whole = fs::read(&file).unwrap();
    let starts = parts(&whole);
    assert!(starts.len() > 6, "it has several parts of keys: {starts:?}");
    let part = |number: usize| &whole[starts[number]..starts[number + 1]];
    let last = starts.len() - 2;
    let flipped = |at: usize| [&whole[..at], &[whole[at] ^ 1], &whole[at + 1..]].concat();
    let of = |numbers: &[usize]| numbers.iter().map(|number| part(*number)).collect::<Vec<_>>().concat();
    let all: Vec<usize> = (0..=last).collect();
    let mut swapped = all.clone();
    swapped.swap(1, 2);
    let lost: Vec<usize> = all.iter().copied().filter(|number| *number != 2).collect();
    let newer = [&[6, 0, 0, 0][..], &causeway::format::frame::seal(9, |bytes| bytes.push(0))].concat();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "backup is cut short: 0 bytes"),
        (whole[..whole.len() - 1].to_vec(), "backup is cut short"),
        (whole[..starts[3] + 100].to_vec(), "backup is cut short"),
        (whole[..starts[last]].to_vec(), "backup is cut short"),
        (flipped(starts[2] + 5_000), "part of a backup does not match its checksum (in the part that begins at byte"),
        (flipped(10), "part of a backup does not match its checksum"),
        (of(&swapped), "its parts are not in order"),
        (of(&lost), "it should have 5013 keys, and has"),
        ([&whole[..], b"x"].concat(), "there is more behind its end"),
        (b"not a backup, but a text that is long enough".to_vec(), "it does not begin with its head"),
        (newer, "part of a backup has version 9, the newest known here is 1"),
    ];
    let (damaged, data) = (directory.path().join("damaged"), directory.path().join("data"));
    for (bytes, says) in cases {
        fs::write(&damaged, bytes).unwrap();
        let message = restore(&damaged, &data, 0).failed(1);
        assert!(message.contains(says) && message.contains("damaged: "), "{says}: {message}");
        assert!(!data.exists(), "{says}");
        assert!(run(&["backup", "--check", text(&damaged)]).failed(1).contains(says), "{says}");
    }
    restore(&file, &data, 0).printed();
}

/// What a directory is to who starts on it: `None`, nothing yet; else how many keys it has.
fn found(data: &Path) -> Result<Option<u64>, OpenError> {
    let identity = Identity { cluster: "causeway".to_owned(), node: NodeId(0) };
    if !data.join("identity").exists() && !data.join("causeway-restoring").exists() {
        return Ok(None);
    }
    DiskStorage::open(data, &identity).map(|(_, recovered)| Some(recovered.checkpoint.totals.keys))
}

/// A node does not start there, says why, and changes nothing.
async fn is_refused(directory: &TempDir, data: &Path) {
    let [port] = free_ports();
    let launch = Launch::by_environment(directory.path(), 0, port, &[(0, port)]);
    let mut node = launch.with("CAUSEWAY_DATA_DIR", text(data)).start();
    let status = node.until_ready_or_ended().await;
    assert_eq!(status.and_then(|status| status.code()), Some(1));
    assert!(node.log().contains("is not restored as a whole"), "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_there_is_nothing_to_start_on_and_it_can_be_done_again() {
    let (node, port, directory) = alone().await;
    fill(&node.api).await;
    let (file, data) = (directory.path().join("file"), directory.path().join("data"));
    ask(port, &["backup", text(&file)]).printed();
    let mut refused = 0;
    // Later each time, until it is faster than the kill.
    for wait in 0.. {
        let mut command = causeway();
        command.args(["restore", text(&file), "--data-dir", text(&data), "--node-id", "0"]).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stage: &[fn(&Path) -> PathBuf] = &[
            |data| data.to_owned(),
            |data| data.join("causeway-restoring"),
            |data| data.join("causeway-restoring/store/keys.1"),
            |data| data.join("store"),
        ];
        while child.try_wait().unwrap().is_none() && !stage[wait.min(3)](&data).exists() {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(3 * (wait as u64 / 4)));
        child.kill().unwrap();
        child.wait().unwrap();
        match found(&data) {
            Ok(None) => {}
            Ok(Some(keys)) => {
                assert_eq!(keys, 5013);
                break;
            }
            Err(OpenError::Restoring { .. }) => {
                refused += 1;
                if refused == 1 {
                    is_refused(&directory, &data).await;
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0);
    let (restored, _) = on(&directory, &data, 0).await;
    assert_eq!(restored.api.siblings("conflict").await.len(), 3);
}
