//! A peer's state that comes in pieces, while the node goes on.

use super::*;
use crate::causality::VersionVector;
use crate::format::state::{StateHead, StatePiece, Taken};
use crate::storage::Piece;

/// Another node's state, as its sender sends it.
struct Peer {
    node: NodeId,
    storage: MemoryStorage,
    transfer: u64,
    boot: u64,
}

impl Peer {
    /// A node that wrote these.
    async fn of(id: u32, transfer: u64, written: &[(&str, &str)]) -> Self {
        let storage = MemoryStorage::new();
        let mut options = options(ROOMY);
        options.replica.node = NodeId(id);
        options.seed = Seed { boot: u64::from(id), random: u64::from(id) };
        let running = start(options, Arc::new(storage.clone()), Recovered::default(), Arc::new(NoObserver)).unwrap();
        for (key, value) in written {
            running.handle.write(write(key, value)).await.unwrap();
        }
        tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
        Self { node: NodeId(id), storage, transfer, boot: u64::from(id) }
    }

    fn vector(&self) -> VersionVector {
        self.storage.snapshot().unwrap().vector().clone()
    }

    /// The piece of so many keys behind a key.
    fn piece(&self, after: Option<&str>, keys: usize) -> StatePiece {
        let limit = BatchLimit { ops: keys, bytes: 1 << 20 };
        let Piece { keys, is_last } = self.storage.snapshot().unwrap().piece(after, limit).unwrap();
        let decode =
            |(key, bytes): (String, bytes::Bytes)| (key.into(), crate::format::siblings::decode(&bytes).unwrap());
        let statement = Statement {
            node: self.node,
            boot: self.boot,
            number: 1,
            vector: self.vector(),
            protocol: Protocol::OWN,
            wants_state: false,
        };
        let push = Push { cluster: "test".into(), to: Some(NodeId(0)), sender: statement, ops: vec![], echo: None };
        let recovered = self.storage.recovered();
        let head =
            StateHead { vector: self.vector(), ancestry: recovered.ancestry, keys: recovered.checkpoint.totals.keys };
        let head = after.is_none().then_some(head);
        let after = after.map(Into::into);
        StatePiece { push, transfer: self.transfer, after, head, keys: keys.into_iter().map(decode).collect(), is_last }
    }
}

async fn give(node: &NodeHandle, piece: StatePiece) -> Taken {
    node.take_state(piece, 100).await.unwrap().taken
}

fn up_to(key: &str) -> Taken {
    Taken::UpTo(Some(key.into()))
}

fn shown(node: &NodeHandle, key: &str) -> Option<String> {
    let siblings = node.snapshot().unwrap().siblings(key).unwrap();
    siblings.latest().map(|sibling| sibling.value.to_string())
}

#[tokio::test]
async fn a_state_comes_in_pieces_and_shows_at_once() {
    let peer = Peer::of(1, 7, &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]).await;
    let running = start_on(Arc::default(), ROOMY);
    let node = running.handle.clone();
    node.write(write("b", "own")).await.unwrap();

    assert_eq!(give(&node, peer.piece(None, 2)).await, up_to("b"));
    assert_eq!(shown(&node, "a"), None, "not before all of it is here");
    let progress = node.status().filling.unwrap();
    assert_eq!((progress.peer, progress.keys, progress.bytes, progress.all_keys), (peer.node, 2, 100, 4));
    node.write(write("e", "meanwhile")).await.unwrap();
    assert_eq!(give(&node, peer.piece(None, 2)).await, up_to("b"), "it came before");
    assert_eq!(give(&node, peer.piece(Some("c"), 1)).await, up_to("b"), "one is missing before it");
    assert_eq!(give(&node, peer.piece(Some("b"), 1)).await, up_to("c"));
    assert_eq!(give(&node, peer.piece(Some("c"), 5)).await, Taken::All);

    let all = ["a", "b", "c", "d", "e"].map(|key| shown(&node, key).unwrap());
    assert_eq!(all, ["1", "2", "3", "4", "meanwhile"], "what came with the state came last");
    assert_eq!(node.snapshot().unwrap().siblings("b").unwrap().len(), 2);
    let view = node.status().view;
    assert!(view.ancestry.includes(&view.vector, &peer.vector()));
    assert_eq!((view.totals.keys, view.totals.conflicts, view.adoptions), (5, 1, 1));
    assert_eq!(node.status().filling, None);
    node.write(write("b", "settled")).await.unwrap();
    assert_eq!(node.snapshot().unwrap().siblings("b").unwrap().len(), 1);
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[tokio::test]
async fn a_state_that_is_not_known_begins_with_its_first_piece_and_one_that_brings_nothing_is_not_taken() {
    let peer = Peer::of(1, 7, &[("a", "1"), ("b", "2")]).await;
    let running = start_on(Arc::default(), ROOMY);
    let node = running.handle.clone();
    assert_eq!(give(&node, peer.piece(Some("a"), 1)).await, Taken::UpTo(None));
    assert_eq!(give(&node, peer.piece(None, 2)).await, Taken::All);
    assert_eq!(give(&node, peer.piece(None, 1)).await, Taken::All, "all of it was here before");
    assert_eq!(node.status().view.adoptions, 1);
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[tokio::test]
async fn one_peer_fills_a_node_at_a_time_and_may_begin_again() {
    let one = Peer::of(1, 7, &[("a", "1"), ("b", "2")]).await;
    let other = Peer::of(2, 8, &[("c", "3"), ("d", "4")]).await;
    let running = start_on(Arc::default(), ROOMY);
    let node = running.handle.clone();
    assert_eq!(give(&node, one.piece(None, 1)).await, up_to("a"));
    assert_eq!(give(&node, other.piece(None, 1)).await, Taken::Busy { with: one.node });
    let again = Peer { transfer: 9, ..one };
    assert_eq!(give(&node, again.piece(None, 1)).await, up_to("a"));
    assert_eq!(give(&node, Peer { transfer: 7, ..again }.piece(Some("a"), 1)).await, Taken::UpTo(None));
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[tokio::test]
async fn of_two_that_run_under_one_id_the_first_fills_a_node() {
    let one = Peer::of(1, 7, &[("a", "1"), ("b", "2")]).await;
    let copy = Peer { transfer: 8, boot: 9, ..Peer::of(1, 7, &[("a", "1"), ("b", "3")]).await };
    let running = start_on(Arc::default(), ROOMY);
    let node = running.handle.clone();
    assert_eq!(give(&node, one.piece(None, 1)).await, up_to("a"));
    assert_eq!(give(&node, copy.piece(None, 1)).await, Taken::Busy { with: one.node });
    assert_eq!(give(&node, one.piece(Some("a"), 1)).await, Taken::All, "else neither got to its end");
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[tokio::test]
async fn what_is_written_while_a_state_is_adopted_waits_and_is_kept() {
    let peer = Peer::of(1, 7, &[("a", "1"), ("b", "2")]).await;
    let storage = Arc::new(Gated::default());
    let running = start_on(storage.clone(), ROOMY);
    let node = running.handle.clone();
    assert_eq!(give(&node, peer.piece(None, 1)).await, up_to("a"));
    let held = storage.gate.lock().await;
    let writing = |value: &'static str| {
        let node = node.clone();
        tokio::spawn(async move { node.write(write("a", value)).await })
    };
    let before = writing("before");
    wait_until(|| node.status().waiting_requests == 1).await;
    let adopting = tokio::spawn({
        let (node, piece) = (node.clone(), peer.piece(Some("a"), 5));
        async move { give(&node, piece).await }
    });
    // All of it is here and waits for the commit; what comes now waits for it, or just comes before it.
    wait_until(|| node.status().filling.is_some_and(|progress| progress.keys == 2)).await;
    let other = Peer::of(2, 8, &[("c", "3")]).await;
    let after = writing("after");
    wait_until(|| node.status().waiting_requests == 2).await;
    assert!(node.is_filling(), "nothing of it shows yet");
    drop(held);
    before.await.unwrap().unwrap();
    assert_eq!(adopting.await.unwrap(), Taken::All);
    after.await.unwrap().unwrap();
    assert!(!node.is_filling());
    // Another's may come again.
    assert_eq!(give(&node, other.piece(None, 1)).await, Taken::All);
    let siblings = node.snapshot().unwrap().siblings("a").unwrap();
    let values: Vec<_> = siblings.iter().map(|sibling| &*sibling.value).collect();
    assert!(values == ["after"] || values == ["after", "1"], "{values:?}");
    assert_eq!(shown(&node, "b").as_deref(), Some("2"));
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[tokio::test]
async fn a_state_all_of_which_came_in_another_way_is_dropped() {
    let peer = Peer::of(1, 7, &[("a", "1"), ("b", "2")]).await;
    let running = start_on(Arc::default(), ROOMY);
    let node = running.handle.clone();
    assert_eq!(give(&node, peer.piece(None, 1)).await, up_to("a"));
    assert!(node.is_filling());
    let stored = peer.storage.ops_after(0, BatchLimit { ops: 10, bytes: 1 << 20 }).unwrap();
    let ops = stored.iter().map(|op| Arc::new(crate::format::op::decode(&op.bytes).unwrap())).collect();
    node.push(Push { ops, ..peer.piece(None, 1).push }).await.unwrap();
    wait_until(|| !node.is_filling()).await;
    assert_eq!(give(&node, peer.piece(Some("a"), 1)).await, Taken::UpTo(None));
    assert_eq!(give(&node, peer.piece(None, 1)).await, Taken::All);
    assert_eq!(node.status().view.adoptions, 0);
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[tokio::test]
async fn a_state_that_could_not_be_begun_is_not_on_its_way() {
    let peer = Peer::of(1, 7, &[("a", "1"), ("b", "2")]).await;
    let storage = Arc::new(Gated::default());
    let running = start_on(storage.clone(), ROOMY);
    let node = running.handle.clone();
    assert_eq!(give(&node, peer.piece(None, 1)).await, up_to("a"));
    storage.fail.store(true, Ordering::SeqCst);
    let again = Peer { transfer: 9, ..peer };
    node.take_state(again.piece(None, 1), 100).await.unwrap_err();
    assert!(!node.is_filling());
    assert_eq!(node.status().moved.received_keys, 1, "only of pieces that were taken");
    storage.fail.store(false, Ordering::SeqCst);
    assert_eq!(give(&node, again.piece(None, 2)).await, Taken::All);
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[tokio::test]
async fn who_comes_while_anothers_piece_is_written_is_told_whose() {
    let one = Peer::of(1, 7, &[("a", "1"), ("b", "2")]).await;
    let other = Peer::of(2, 8, &[("c", "3"), ("d", "4")]).await;
    let storage = Arc::new(Gated::default());
    let running = start_on(storage.clone(), ROOMY);
    let node = running.handle.clone();
    assert_eq!(give(&node, one.piece(None, 1)).await, up_to("a"));
    let held = storage.fill_gate.lock().await;
    let again = Peer { transfer: 9, ..one };
    let writing = tokio::spawn({
        let (node, piece) = (node.clone(), again.piece(None, 1));
        async move { give(&node, piece).await }
    });
    wait_until(|| storage.fills_waiting.load(Ordering::SeqCst)).await;
    assert_eq!(give(&node, other.piece(None, 1)).await, Taken::Busy { with: again.node });
    drop(held);
    assert_eq!(writing.await.unwrap(), up_to("a"));
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[tokio::test]
async fn a_piece_of_another_cluster_is_refused() {
    let peer = Peer::of(1, 7, &[("a", "1")]).await;
    let running = start_on(Arc::default(), ROOMY);
    let mut piece = peer.piece(None, 5);
    piece.push.cluster = "other".into();
    let refused = running.handle.take_state(piece, 100).await;
    assert!(matches!(refused, Err(PushError::Rejected(Rejection::WrongCluster { .. }))), "{refused:?}");
    assert_eq!(shown(&running.handle, "a"), None);
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}
