//! The owner and the committer, on a store that can be held up or made to fail.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

mod state;

use super::*;
use crate::causality::{CausalContext, NodeId, VersionVector};
use crate::replica::*;
use crate::storage::{
    Basis, BatchLimit, Damage, DiskSpace, Fill, LogHold, LogId, LogRun, LogSize, MemoryStorage, PeerState, Snapshot,
    Storage, StorageError, StoredOp,
};

/// A store whose commits wait while `gate` is locked, fail when told to, and are counted; trims, and looks at damage, are
/// counted too.
#[derive(Default)]
struct Gated {
    inner: MemoryStorage,
    gate: tokio::sync::Mutex<()>,
    fail: AtomicBool,
    /// No state is begun while it is locked; and whether one waits for that.
    fill_gate: tokio::sync::Mutex<()>,
    fills_waiting: AtomicBool,
    groups: Mutex<Vec<usize>>,
    trims: AtomicUsize,
    looks: AtomicUsize,
}

impl Gated {
    fn fails_when_told(&self) -> Result<(), StorageError> {
        if self.fail.load(Ordering::SeqCst) {
            return Err(StorageError::Engine("no space left on device".to_owned()));
        }
        Ok(())
    }
}

impl KeyStates for Gated {
    fn siblings(&self, key: &str) -> Result<Siblings, Unreadable> {
        self.inner.siblings(key)
    }
}

impl Storage for Gated {
    fn commit(&self, appends: &[Append], checkpoint: &Checkpoint) -> Result<(), StorageError> {
        let _open = self.gate.blocking_lock();
        self.fails_when_told()?;
        self.groups.lock().unwrap().push(appends.len());
        self.inner.commit(appends, checkpoint)
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StorageError> {
        self.inner.snapshot()
    }

    fn ops(&self, ranges: &[OpRange], limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        self.inner.ops(ranges, limit)
    }

    fn ops_after(&self, position: u64, limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        self.inner.ops_after(position, limit)
    }

    fn log_start(&self) -> u64 {
        self.inner.log_start()
    }

    fn log_runs(&self) -> Vec<LogRun> {
        self.inner.log_runs()
    }

    fn trim(&self, through: u64) -> Result<VersionVector, StorageError> {
        self.trims.fetch_add(1, Ordering::SeqCst);
        self.inner.trim(through)
    }

    fn hold_log(&self) -> LogHold {
        self.inner.hold_log()
    }

    fn begin_fill(&self, peer: PeerState, basis: Basis) -> Result<Box<dyn Fill>, StorageError> {
        self.fills_waiting.store(true, Ordering::SeqCst);
        let _open = self.fill_gate.blocking_lock();
        self.fails_when_told()?;
        self.inner.begin_fill(peer, basis)
    }

    fn give_up_log(&self) -> Result<VersionVector, StorageError> {
        self.inner.give_up_log()
    }

    fn damage(&self) -> Damage {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.inner.damage()
    }

    fn adopt(&self, fill: Box<dyn Fill>) -> Result<Adopted, StorageError> {
        self.inner.adopt(fill)
    }

    fn log_id(&self) -> LogId {
        self.inner.log_id()
    }

    fn op_bytes(&self, ranges: &[OpRange]) -> Result<u64, StorageError> {
        self.inner.op_bytes(ranges)
    }

    fn log_size(&self) -> Result<LogSize, StorageError> {
        self.inner.log_size()
    }

    fn disk_bytes(&self) -> Result<u64, StorageError> {
        self.inner.disk_bytes()
    }

    fn disk_space(&self) -> Result<DiskSpace, StorageError> {
        self.inner.disk_space()
    }
}

fn options(admission: AdmissionLimit) -> NodeOptions {
    NodeOptions {
        replica: ReplicaOptions::new("test", NodeId(0), Vec::new()),
        seed: Seed { boot: 9, random: 9 },
        admission,
        addresses: vec![],
        min_free_bytes: 0,
        max_log_bytes: 1 << 30,
    }
}

fn start_on(storage: Arc<Gated>, admission: AdmissionLimit) -> Running {
    start(options(admission), storage, Recovered::default(), Arc::new(NoObserver)).unwrap()
}

const ROOMY: AdmissionLimit = AdmissionLimit { requests: 1_000, bytes: 1 << 20, wait: Duration::from_millis(20) };

fn write(key: &str, value: &str) -> Write {
    Write { entries: vec![(key.into(), Some(value.into()))], replaces: Replaces::Held, trace: None, once: None }
}

async fn wait_until(condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "not within ten seconds");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_write_is_readable_and_reached_as_soon_as_it_is_answered() {
    let running = start_on(Arc::default(), ROOMY);
    let handle = running.handle.clone();
    let written = handle.write(write("k", "v")).await.unwrap();
    assert_eq!(&*handle.snapshot().unwrap().siblings("k").unwrap().latest().unwrap().value, "v");
    handle.reached(&written.context.wait, Duration::ZERO).await.unwrap();
    assert_eq!(handle.durable_on(written.dot, 1, Duration::ZERO).await, [NodeId(0)].into());
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[tokio::test]
async fn what_gathers_during_a_commit_goes_into_the_next_as_one_group() {
    let storage = Arc::new(Gated::default());
    let running = start_on(storage.clone(), ROOMY);
    let handle = running.handle.clone();
    let held = storage.gate.lock().await;
    let writes: Vec<_> = (0..20)
        .map(|index| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.write(write("k", &index.to_string())).await })
        })
        .collect();
    wait_until(|| handle.status().waiting_requests == 20).await;
    assert!(handle.snapshot().unwrap().siblings("k").unwrap().is_empty(), "nothing is readable before it is durable");
    drop(held);
    let mut contexts: Vec<CausalContext> = Vec::new();
    for write in writes {
        contexts.push(write.await.unwrap().unwrap().context);
    }
    let groups = storage.groups.lock().unwrap().clone();
    assert_eq!(groups.iter().sum::<usize>(), 20);
    assert!(groups.len() <= 3, "{groups:?}");
    assert_eq!(handle.snapshot().unwrap().siblings("k").unwrap().len(), 1, "each knew the one before");
    contexts.dedup();
    assert_eq!(contexts.len(), 20, "each has its own place in the log");
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[tokio::test]
async fn who_waits_for_the_log_to_go_on_is_told_when_it_has_and_when_it_can_not() {
    let storage = Arc::new(Gated::default());
    let running = start_on(storage.clone(), ROOMY);
    let handle = running.handle.clone();
    let held = storage.gate.lock().await;
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.advanced(0).await }
    });
    let written = tokio::spawn({
        let handle = handle.clone();
        async move { handle.write(write("k", "v")).await }
    });
    wait_until(|| handle.status().waiting_requests == 1).await;
    assert_eq!(handle.status().view.position, 0, "nothing is visible before it is durable");
    assert!(!waiting.is_finished());
    drop(held);
    let dot = written.await.unwrap().unwrap().dot;
    assert_eq!(waiting.await.unwrap().unwrap().position, 1);
    let ops = handle.ops_after(0, BatchLimit { ops: 9, bytes: 9 }).unwrap();
    assert_eq!(ops.iter().map(|op| (op.position, op.dot)).collect::<Vec<_>>(), [(1, dot)]);
    let waiting = tokio::spawn(async move { handle.advanced(1).await });
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
    assert!(waiting.await.unwrap().is_none());
}

#[tokio::test]
async fn a_failed_commit_leaves_a_read_only_node_that_says_so() {
    let storage = Arc::new(Gated::default());
    let running = start_on(storage.clone(), ROOMY);
    let handle = running.handle.clone();
    handle.write(write("k", "before")).await.unwrap();
    storage.fail.store(true, Ordering::SeqCst);
    let unknown = handle.write(write("k", "lost")).await;
    assert!(matches!(unknown, Err(SetError::Refused(WriteError::OutcomeUnknown))), "{unknown:?}");
    storage.fail.store(false, Ordering::SeqCst);
    let refused = handle.write(write("k", "after")).await;
    assert!(matches!(refused, Err(SetError::Refused(WriteError::ReadOnly))), "{refused:?}");
    assert!(handle.status().view.read_only);
    assert_eq!(&*handle.snapshot().unwrap().siblings("k").unwrap().latest().unwrap().value, "before");
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[tokio::test]
async fn a_read_only_node_trims_nothing() {
    let storage = Arc::new(Gated::default());
    let options = NodeOptions { max_log_bytes: 0, ..options(ROOMY) };
    let running = start(options, storage.clone(), Recovered::default(), Arc::new(NoObserver)).unwrap();
    let handle = running.handle.clone();
    // What is to be trimmed stays, and with it the reason to trim.
    let _hold = handle.hold_log();
    for value in ["1", "2"] {
        handle.write(write("k", value)).await.unwrap();
    }
    let count = |counted: &AtomicUsize| counted.load(Ordering::SeqCst);
    wait_until(|| count(&storage.trims) > 0).await;
    storage.fail.store(true, Ordering::SeqCst);
    handle.write(write("k", "lost")).await.unwrap_err();
    let (trims, looks) = (count(&storage.trims), count(&storage.looks));
    wait_until(|| count(&storage.looks) >= looks + 2).await;
    assert_eq!(count(&storage.trims), trims);
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[tokio::test]
async fn past_its_limit_a_node_refuses_at_once_and_recovers() {
    let storage = Arc::new(Gated::default());
    let running =
        start_on(storage.clone(), AdmissionLimit { requests: 2, bytes: 1 << 20, wait: Duration::from_millis(20) });
    let handle = running.handle.clone();
    let held = storage.gate.lock().await;
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.write(write("k", "v")).await })
        })
        .collect();
    wait_until(|| handle.status().waiting_requests == 2).await;
    assert!(matches!(handle.write(write("k", "v")).await, Err(SetError::Overloaded(_))));
    drop(held);
    for write in waiting {
        write.await.unwrap().unwrap();
    }
    handle.write(write("k", "v")).await.unwrap();
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[tokio::test]
async fn a_node_that_is_being_drained_does_not_ask_for_the_body_of_a_write() {
    let running = start_on(Arc::default(), ROOMY);
    let handle = running.handle.clone();
    handle.would_write(1).unwrap();
    handle.set_draining(true);
    assert!(matches!(handle.would_write(1), Err(SetError::Draining(_))));
    handle.set_draining(false);
    handle.would_write(1).unwrap();
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

/// However many clients there are, peers are heard.
#[tokio::test]
async fn writes_that_wait_do_not_keep_pushes_out() {
    let storage = Arc::new(Gated::default());
    let running = start_on(storage.clone(), AdmissionLimit { requests: 1, ..ROOMY });
    let handle = running.handle.clone();
    let held = storage.gate.lock().await;
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.write(write("k", "v")).await }
    });
    wait_until(|| handle.status().waiting_requests == 1).await;
    assert!(matches!(handle.would_write(1), Err(SetError::Overloaded(_))));
    let sender = Statement {
        node: NodeId(1),
        boot: 1,
        number: 1,
        vector: VersionVector::default(),
        protocol: Protocol::OWN,
        wants_state: false,
    };
    let digest = Push { cluster: "test".into(), to: Some(NodeId(0)), sender, ops: Vec::new(), echo: None };
    // That it is no peer of this node is none of admission's business.
    let answer = tokio::time::timeout(Duration::from_secs(10), handle.push(digest)).await.unwrap();
    assert!(!matches!(answer, Err(PushError::Overloaded(_))), "{answer:?}");
    drop(held);
    waiting.await.unwrap().unwrap();
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[tokio::test]
async fn writes_whose_clients_went_away_count_until_the_disk_has_them() {
    let storage = Arc::new(Gated::default());
    let running =
        start_on(storage.clone(), AdmissionLimit { requests: 2, bytes: 1 << 20, wait: Duration::from_millis(20) });
    let handle = running.handle.clone();
    let held = storage.gate.lock().await;
    for _ in 0..2 {
        let gone = tokio::time::timeout(Duration::from_millis(1), handle.write(write("k", "v"))).await;
        assert!(gone.is_err());
    }
    assert!(matches!(handle.write(write("k", "v")).await, Err(SetError::Overloaded(_))));
    drop(held);
    wait_until(|| handle.status().waiting_requests == 0).await;
    handle.write(write("k", "v")).await.unwrap();
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[tokio::test]
async fn a_stop_finishes_what_was_taken_in() {
    let storage = Arc::new(Gated::default());
    let running = start_on(storage.clone(), ROOMY);
    let handle = running.handle.clone();
    let held = storage.gate.lock().await;
    let under_way = tokio::spawn({
        let handle = handle.clone();
        async move { handle.write(write("k", "v")).await }
    });
    wait_until(|| handle.status().waiting_requests == 1).await;
    let stopping = tokio::task::spawn_blocking(|| running.stop());
    drop(held);
    under_way.await.unwrap().unwrap();
    stopping.await.unwrap();
    assert!(matches!(handle.write(write("k", "v")).await, Err(SetError::Stopping)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_stops_while_clients_go_on_writing() {
    let running = start_on(Arc::default(), ROOMY);
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let handle = running.handle.clone();
            tokio::spawn(async move { while handle.write(write("k", "v")).await.is_ok() {} })
        })
        .collect();
    wait_until(|| running.handle.status().view.vector.len() == 1).await;
    let stopping = tokio::task::spawn_blocking(|| running.stop());
    tokio::time::timeout(Duration::from_secs(10), stopping).await.expect("it ends though clients go on").unwrap();
    for client in clients {
        client.await.unwrap();
    }
}
