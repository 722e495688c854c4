//! The load of [`crate::histories`], on containers: what clients see while one is cut off, killed or paused goes to
//! the checker.

use std::time::Duration;

use causeway_checker::history::{NodeId, Volume, What};

use super::cluster::{ALL, Cluster, NODES, docker};
use crate::support::api::Api;
use crate::support::history::Recorder;
use crate::support::load::{Load, Plan};
use crate::support::random::Random;
use crate::support::until;

const ROUNDS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_of_containers_see_is_what_is_promised() {
    // A history begins with nothing.
    let Some(cluster) = Cluster::fresh() else { return };
    let seed = Random::seed("compose::histories");
    let mut random = Random::new(!seed);
    let recorder = Recorder::new();
    let nodes: Vec<(NodeId, Api)> = ALL.map(|node| (node as NodeId, Api::new(8000 + node as u16))).into();
    for (node, api) in &nodes {
        until(async || api.is_ready().await.then_some(()), async || format!("node{node} is not ready")).await;
        recorder.node(*node, What::Up(Volume::Empty));
    }
    let think = Duration::from_millis(15);
    let plan = Plan { seed, sessions: 9, keys: 24, value_digits: 1, think, requests: usize::MAX, nodes };
    let load = Load::start(&plan, &recorder);
    for round in 0..ROUNDS {
        let (alone, victim) = (random.below(3) as usize, random.below(3) as usize);
        cluster.disconnect(alone);
        moment(&mut random).await;
        let (node, api) = &plan.nodes[victim];
        recorder.node(*node, What::Down);
        // Killed or paused, and some time later back.
        let (down, up) = [("kill", "start"), ("pause", "unpause")][round % 2];
        docker(&[down, NODES[victim]]);
        moment(&mut random).await;
        docker(&[up, NODES[victim]]);
        until(async || api.is_ready().await.then_some(()), async || format!("node{node} is not back")).await;
        recorder.node(*node, What::Up(Volume::Kept));
        moment(&mut random).await;
        cluster.connect(alone);
        moment(&mut random).await;
    }
    load.stop().await;
    recorder.finals(&plan.nodes).await;
    recorder.judge("compose-histories");
}

async fn moment(random: &mut Random) {
    tokio::time::sleep(Duration::from_millis(random.below(1_500))).await;
}
