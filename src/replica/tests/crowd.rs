//! One replica with many peers, which the test plays: how often it asks each what it has.

use super::super::*;
use super::faults::{Lone, op, statement};

/// A node of a cluster of many. Its peers answer at once.
struct Crowd {
    lone: Lone,
    peers: Vec<Peer>,
}

#[derive(Clone)]
struct Peer {
    answers: bool,
    holds: Vec<Dot>,
    statements: u64,
    asked: u64,
    /// How many of these pushes were to carry ops.
    offered: u64,
}

impl Crowd {
    fn of(peers: usize) -> Self {
        let nodes = (1..=peers as u32).map(|node| Some(NodeId(node))).collect();
        let lone = Lone::with(ReplicaOptions::new("test", NodeId(0), nodes));
        let peer = Peer { answers: true, holds: Vec::new(), statements: 0, asked: 0, offered: 0 };
        let mut crowd = Self { lone, peers: vec![peer; peers] };
        (0..peers).for_each(|link| drop(crowd.answer(LinkId(link))));
        crowd
    }

    fn answer(&mut self, link: LinkId) -> Vec<Effect> {
        let peer = &mut self.peers[link.0];
        peer.asked += 1;
        peer.statements += 1;
        let receiver = statement(NodeId(link.0 as u32 + 1), 7, peer.statements, &peer.holds);
        let answer = Answer { receiver, implied: Vec::new(), missing: Vec::new(), redundant: 0, twin_ms: None };
        self.lone.feed(match peer.answers {
            true => Input::Answered { link, carried: Vec::new(), answer },
            false => Input::SendFailed { link, rejection: None },
        })
    }

    /// Some time passes, and then it ticks: says whether that made it send anything.
    fn tick(&mut self, ms: u64) -> bool {
        let mut effects = self.lone.after(ms).feed(Input::Tick);
        let sends = !effects.is_empty();
        while let Some(effect) = effects.pop() {
            if let Effect::Send(Send { link, probe, .. }) = effect {
                self.peers[link.0].offered += u64::from(!probe);
                effects.extend(self.answer(link));
            }
        }
        sends
    }

    /// How often each peer is asked while so much time passes.
    fn asked_in(&mut self, ms: u64) -> Vec<u64> {
        self.peers.iter_mut().for_each(|peer| peer.asked = 0);
        for _ in 0..ms / TICK_MS {
            self.tick(TICK_MS);
        }
        self.peers.iter().map(|peer| peer.asked).collect()
    }
}

fn of_another_node(counter: u64) -> Dot {
    Origin::new(NodeId(40), Incarnation(9)).dot(counter)
}

#[test]
fn what_an_idle_node_sends_does_not_grow_with_the_number_of_its_peers() {
    for (peers, each) in [(2, 20), (8, 20), (16, 10), (40, 4)] {
        assert_eq!(Crowd::of(peers).asked_in(10_000), vec![each; peers]);
    }
}

#[test]
fn a_peer_that_gets_nothing_is_found_soon_however_many_there_are() {
    let mut crowd = Crowd::of(40);
    crowd.lone.takes(op(of_another_node(1), &[]));
    crowd.peers[1..].iter_mut().for_each(|peer| peer.holds.push(of_another_node(1)));
    // The first statement shows the lack; half a second later the next shows that nothing came.
    crowd.asked_in(2_500 + 500);
    assert!(crowd.peers[0].offered > 0);
    assert!(crowd.peers[1..].iter().all(|peer| peer.offered == 0));
}

/// Under load a peer's statement always lacks what is on its way to it.
#[test]
fn a_peer_that_gets_on_is_not_asked_more_often_because_it_lags() {
    let mut crowd = Crowd::of(40);
    let mut asked = 0;
    for counter in 1..=100 {
        crowd.lone.takes(op(of_another_node(counter), &[]));
        let holds: Vec<Dot> = (1..counter).last().map(of_another_node).into_iter().collect();
        crowd.peers.iter_mut().for_each(|peer| peer.holds.clone_from(&holds));
        asked += crowd.asked_in(100).iter().sum::<u64>();
    }
    assert_eq!(asked, 4 * 40, "in ten seconds");
}

#[test]
fn peers_that_do_not_answer_have_no_turn() {
    let mut crowd = Crowd::of(40);
    crowd.peers[1..].iter_mut().for_each(|peer| peer.answers = false);
    crowd.asked_in(5_000);
    assert_eq!(crowd.asked_in(10_000)[0], 20);
    crowd.peers.iter_mut().for_each(|peer| peer.answers = true);
    crowd.asked_in(5_000);
    assert_eq!(crowd.asked_in(10_000), [4; 40]);
}

#[test]
fn time_alone_changes_nothing_before_the_replica_is_due() {
    let mut crowd = Crowd::of(3);
    for _ in 0..20_000 {
        crowd.peers[2].answers = crowd.lone.now_ms % 3_000 < 2_000;
        let due = crowd.lone.replica.due().unwrap();
        assert_eq!(crowd.tick(1), due.0 <= crowd.lone.now_ms, "at {} ms", crowd.lone.now_ms);
    }
}
