//! System calls on the data that end with an error: the n-th of each kind, once or from then on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use super::disk::{Disk, Wrote};
use crate::support::process::Process;
use crate::support::{skip, until};

/// How many calls of a kind fail, one run after the other, when nothing else is said.
const SAMPLE: usize = 2;
/// How many writes there are while calls fail.
const WRITES: usize = 5;
/// How many nodes run at once.
const AT_ONCE: usize = 4;

/// The calls by which a node uses its data, and the errors that they end with.
const CALLS: [(&str, &[Error]); 11] = [
    ("fdatasync", &[EIO, ENOSPC]),
    ("fsync", &[EIO]),
    ("write", &[EIO, ENOSPC]),
    ("pwrite64", &[EIO, ENOSPC]),
    ("ftruncate", &[EIO]),
    ("openat", &[EIO, ENOSPC]),
    ("read", &[EIO]),
    ("pread64", &[EIO]),
    ("statx", &[EIO]),
    ("mkdir", &[ENOSPC]),
    ("rename", &[EIO]),
];

/// An error by its name, and as it is shown to people.
type Error = (&'static str, &'static str);
const EIO: Error = ("EIO", "Input/output error");
const ENOSPC: Error = ("ENOSPC", "No space left on device");

/// Calls of one kind.
#[derive(Clone, Copy, Debug)]
struct Kind {
    call: &'static str,
    error: Error,
    /// Not only that call fails but all that follow it.
    for_good: bool,
    /// The directory is empty at the start.
    first_start: bool,
}

#[tokio::test]
async fn calls_that_fail_lose_nothing_and_are_told() {
    if let Err(why) = strace_works() {
        return skip(&format!("disk_faults::calls: {why}"));
    }
    LocalSet::new().run_until(fail_all()).await;
}

async fn fail_all() {
    let most = std::env::var("CAUSEWAY_TEST_DISK_FAULTS").map_or(SAMPLE, |text| text.parse().unwrap());
    let at_once = Rc::new(Semaphore::new(AT_ONCE));
    let mut groups = JoinSet::new();
    for (call, errors) in CALLS {
        for error in errors {
            for (for_good, first_start) in [(false, false), (true, false), (false, true)] {
                let kind = Kind { call, error: *error, for_good, first_start };
                groups.spawn_local(fail_each(kind, most, at_once.clone()));
            }
        }
    }
    let (mut runs, mut without) = (0, Vec::new());
    while let Some(group) = groups.join_next().await {
        match group.unwrap() {
            (kind, 0) => without.push(format!("{}{}", kind.call, if kind.first_start { " (first start)" } else { "" })),
            (_, count) => runs += count,
        }
    }
    eprintln!("disk faults: {runs} runs with a call that failed; no such calls: {without:?}");
    for call in ["fdatasync", "pwrite64", "openat", "read"] {
        assert!(!without.contains(&call.to_owned()), "no {call} failed");
    }
}

/// Fails the first call of a kind, then the second, and so on while there are that many; says how many there were.
async fn fail_each(kind: Kind, most: usize, at_once: Rc<Semaphore>) -> (Kind, usize) {
    let mut disk = prepared(&at_once).await;
    let mut paths = disk.paths();
    for number in 1..=most {
        let _permit = at_once.acquire().await.unwrap();
        if kind.first_start {
            let known = paths.iter().map(|path| path.strip_prefix(disk.data()).unwrap().to_owned());
            let known: Vec<PathBuf> = known.collect();
            disk = Disk::new();
            // It is made under another name first.
            let made =
                |path: &PathBuf| path.strip_prefix("store").ok().map(|inside| Path::new("store.new").join(inside));
            let unfinished = known.iter().filter_map(made);
            paths = known.iter().cloned().chain(unfinished).map(|path| disk.data().join(path)).collect();
            paths.sort();
            paths.dedup();
        }
        if !fails(&mut disk, kind, number, &paths).await {
            return (kind, number - 1);
        }
        disk.check().await;
    }
    (kind, most)
}

/// A disk that holds something.
async fn prepared(at_once: &Semaphore) -> Disk {
    let _permit = at_once.acquire().await.unwrap();
    let mut disk = Disk::new();
    disk.check().await;
    disk.check().await;
    disk
}

/// Runs a node whose `number`-th call of a kind on these paths fails. Whether there was such a call.
async fn fails(disk: &mut Disk, kind: Kind, number: usize, paths: &[PathBuf]) -> bool {
    let trace = disk.beside("trace");
    let mut node = disk.launch.clone().under(strace(kind, number, paths, &trace)).start();
    let before = node.log().len();
    let mut wrote = Vec::new();
    match node.until_ready_or_ended().await {
        Some(status) => {
            let log = node.log()[before..].to_owned();
            assert_eq!(status.code(), Some(1), "{kind:?} {number}: {log}");
            // A file that can't be looked at may be taken for one that is not there, by others than us; then it is
            // in the way.
            let why = log.contains(kind.error.1) || kind.call == "statx";
            assert!(
                log.contains("this node did not start") && why,
                "{kind:?} {number}: why it ended is not said: {log}"
            );
        }
        None => {
            for _ in 0..WRITES {
                wrote.push(disk.write(&node.api, 1).await);
            }
            told(disk, &node, kind, &wrote).await;
        }
    }
    let log = node.log()[before..].to_owned();
    let id = node.id();
    node.kill();
    assert!(!log.contains("panicked"), "{kind:?} {number}: {log}");
    let traced = until(
        async || fs::read_to_string(&trace).ok().filter(|text| ended(text, id)),
        async || format!("strace did not end: {}", fs::read_to_string(&trace).unwrap()),
    );
    let injected = traced.await.contains("(INJECTED)");
    let all_is_well = wrote.len() == WRITES && wrote.iter().all(|wrote| *wrote == Wrote::Acknowledged);
    assert!(injected || all_is_well, "{kind:?} {number}: no call failed, yet {wrote:?}: {log}");
    injected
}

/// A node whose writes fail must say so everywhere, and still read.
async fn told(disk: &Disk, node: &Process, kind: Kind, wrote: &[Wrote]) {
    let reads = disk.reads(&node.api).await;
    assert!(reads || kind.call == "pread64", "{kind:?}: a read failed");
    let failed = wrote.iter().position(|wrote| *wrote == Wrote::Unknown);
    let read_only = wrote.iter().position(|wrote| *wrote == Wrote::ReadOnly);
    let ready = node.api.get("/readyz").await;
    match failed {
        None => assert_eq!((ready.status, read_only), (200, None), "{kind:?}: {wrote:?}"),
        Some(failed) => {
            assert!(wrote[failed + 1..].iter().all(|wrote| *wrote == Wrote::ReadOnly), "{kind:?}: {wrote:?}");
            assert_eq!((ready.status, &ready.json()["type"]), (503, &"/problems/read-only".into()), "{kind:?}");
            let log = node.log();
            assert!(log.contains("READ-ONLY") && log.contains(kind.error.1), "{kind:?}: {log}");
        }
    }
}

/// The command that makes calls fail. The process started becomes the node; `strace` goes beside it.
fn strace(kind: Kind, number: usize, paths: &[PathBuf], trace: &Path) -> Vec<String> {
    let Kind { call, error: (error, _), for_good, .. } = kind;
    let when = if for_good { format!("{number}+") } else { number.to_string() };
    let mut command: Vec<String> = ["strace", "-D", "-f", "-q", "--seccomp-bpf", "-o"].map(str::to_owned).into();
    command.push(trace.to_str().unwrap().to_owned());
    command.extend(["-e".to_owned(), format!("trace={call}")]);
    command.extend(["-e".to_owned(), format!("inject={call}:error={error}:when={when}")]);
    command.extend(paths.iter().flat_map(|path| ["-P".to_owned(), path.to_str().unwrap().to_owned()]));
    command
}

/// Whether all of a process was traced to its end.
fn ended(trace: &str, process: u32) -> bool {
    let last =
        |line: &str| line.split_once(' ').is_some_and(|(id, rest)| id == process.to_string() && rest.contains("+++"));
    trace.lines().any(last)
}

/// Whether processes can be traced here; else why not.
fn strace_works() -> Result<(), String> {
    let needed = "needs strace, and the right to trace";
    let output = Command::new("strace").args(["-f", "-q", "--seccomp-bpf", "-e", "trace=fsync", "true"]).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{needed}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{needed}: {error}")),
    }
}
