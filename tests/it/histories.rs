//! Three nodes under load while ways between them are cut and broken, and while they are killed and paused: the
//! history of it all goes to the checker.
//!
//! `CAUSEWAY_TEST_ROUNDS` says for how many rounds, `CAUSEWAY_TEST_SEED` repeats what is random.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use causeway_checker::history::{NodeId, Volume, What};

use crate::support::cluster::Cluster;
use crate::support::history::Recorder;
use crate::support::load::{Load, Plan};
use crate::support::random::Random;

/// How many rounds there are when nothing else is said.
const ROUNDS: usize = 12;
/// So many requests are enough, however long it takes.
const REQUESTS: usize = 400_000;

/// What is done to the ways between the nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Network {
    /// Two nodes hear nothing of each other.
    CutPair,
    /// One way carries nothing, the way back does.
    CutOneWay,
    /// One node is alone.
    CutNode,
    /// Every node is alone.
    CutAll,
    /// All connections fall silent without a reset; new ones work.
    HalfOpen,
}

/// What is done to a node meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Killed, and started some time later.
    Kill,
    /// Stopped, and some time later it goes on as if nothing had been.
    Pause,
    Nothing,
}

const NETWORK: [Network; 5] =
    [Network::CutPair, Network::CutOneWay, Network::CutNode, Network::CutAll, Network::HalfOpen];
const FAULTS: [Fault; 3] = [Fault::Kill, Fault::Pause, Fault::Nothing];

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_see_under_faults_is_what_is_promised() {
    let rounds = std::env::var("CAUSEWAY_TEST_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let seed = Random::seed("histories");
    let cluster = Cluster::linked().await;
    let recorder = Recorder::new();
    for node in 0..3 {
        recorder.node(node, What::Up(Volume::Empty));
    }
    let nodes = (0..).zip(&cluster.nodes).map(|(id, node)| (id, node.api.clone())).collect();
    let think = Duration::from_millis(15);
    let plan = Plan { seed, sessions: 9, keys: 24, value_digits: 1, think, requests: REQUESTS, nodes };
    let load = Load::start(&plan, &recorder);
    let mut chaos = Chaos { cluster, recorder, random: Random::new(!seed), done: BTreeMap::new() };
    let (mut networks, mut faults) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let network = draw(&mut networks, &NETWORK, &mut chaos.random);
        let fault = draw(&mut faults, &FAULTS, &mut chaos.random);
        chaos.round(network, fault).await;
    }
    load.stop().await;
    chaos.recorder.finals(&plan.nodes).await;
    eprintln!("histories: {} events; {:?}", chaos.recorder.len(), chaos.done);
    // What was never done proves nothing.
    if rounds >= NETWORK.len() {
        let kinds = NETWORK.map(|kind| format!("{kind:?}")).into_iter().chain(FAULTS.map(|kind| format!("{kind:?}")));
        kinds.for_each(|kind| assert!(chaos.done.contains_key(&kind), "no {kind}: {:?}", chaos.done));
    }
    chaos.recorder.judge("histories");
}

/// The next card of a deck that is shuffled anew when it is used up: all kinds come, in any order.
fn draw<T: Copy>(deck: &mut Vec<T>, kinds: &[T], random: &mut Random) -> T {
    if deck.is_empty() {
        deck.extend(kinds);
    }
    deck.swap_remove(random.below(deck.len() as u64) as usize)
}

/// The cluster, and what has been done to it.
struct Chaos {
    cluster: Cluster,
    recorder: Arc<Recorder>,
    random: Random,
    done: BTreeMap<String, usize>,
}

impl Chaos {
    async fn round(&mut self, network: Network, fault: Fault) {
        *self.done.entry(format!("{network:?}")).or_default() += 1;
        *self.done.entry(format!("{fault:?}")).or_default() += 1;
        let node = self.random.below(3) as usize;
        let other = (node + 1 + self.random.below(2) as usize) % 3;
        for ((from, to), link) in &self.cluster.links {
            let both = [*from, *to];
            match network {
                Network::CutPair if both.contains(&node) && both.contains(&other) => link.cut(),
                Network::CutOneWay if both == [node, other] => link.cut(),
                Network::CutNode if both.contains(&node) => link.cut(),
                Network::CutAll => link.cut(),
                Network::HalfOpen => link.break_connections(),
                _ => {}
            }
        }
        self.moment(400).await;
        let victim = self.random.below(3) as usize;
        match fault {
            Fault::Kill => self.kill(victim).await,
            Fault::Pause => self.pause(victim).await,
            Fault::Nothing => {}
        }
        self.moment(800).await;
        self.cluster.links.values().for_each(|link| link.heal());
        // Sometimes the next cut comes before all have caught up.
        self.moment(1_200).await;
    }

    async fn kill(&mut self, node: usize) {
        self.recorder.node(node as NodeId, What::Down);
        self.cluster.nodes.remove(node).kill();
        self.moment(500).await;
        let started = self.cluster.launches[node].start_ready().await;
        self.cluster.nodes.insert(node, started);
        self.recorder.node(node as NodeId, What::Up(Volume::Kept));
    }

    /// Now and then for longer than a peer waits for an answer.
    async fn pause(&mut self, node: usize) {
        self.recorder.node(node as NodeId, What::Down);
        self.cluster.nodes[node].signal("STOP");
        self.moment(3_000).await;
        self.cluster.nodes[node].signal("CONT");
        self.cluster.nodes[node].until_ready().await;
        self.recorder.node(node as NodeId, What::Up(Volume::Kept));
    }

    /// Lets up to so many milliseconds pass.
    async fn moment(&mut self, most: u64) {
        tokio::time::sleep(Duration::from_millis(self.random.below(most + 1))).await;
    }
}
