//! Several nodes on this machine.

use std::collections::BTreeMap;

use serde_json::Value;
use tempfile::TempDir;

use super::api::Api;
use super::link::Link;
use super::process::{Launch, Process};
use super::{free_ports, until};

/// Three nodes, and the directory that goes when they go.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Process>,
    pub(crate) launches: Vec<Launch>,
    /// (from, to) → the way, where the cluster was started with ways that can be cut.
    pub(crate) links: BTreeMap<(usize, usize), Link>,
    _directory: TempDir,
}

impl Cluster {
    /// Three nodes that all reach each other, started as the reference starts them.
    pub(crate) async fn mesh() -> Self {
        Self::mesh_with(|_, launch| launch).await
    }

    /// The same, each started in its own way.
    pub(crate) async fn mesh_with(change: impl Fn(u32, Launch) -> Launch) -> Self {
        let directory = TempDir::new().unwrap();
        let ports = free_ports::<3>();
        let launch = |(port, id): (&u16, u32)| {
            change(id, Launch::by_arguments(&directory.path().join(id.to_string()), id, *port, &ports))
        };
        let launches = ports.iter().zip(0..).map(launch).collect();
        Self::start(directory, launches, BTreeMap::new()).await
    }

    /// Three nodes of which only node0 and node1, and node1 and node2, know each other.
    pub(crate) async fn chain() -> Self {
        let directory = TempDir::new().unwrap();
        let ports = free_ports::<3>();
        let known: [&[u32]; 3] = [&[0, 1], &[0, 1, 2], &[1, 2]];
        let launches = known.iter().zip(0..).map(|(known, id)| {
            let peers: Vec<_> = known.iter().map(|peer| (*peer, ports[*peer as usize])).collect();
            Launch::by_environment(&directory.path().join(id.to_string()), id, ports[id as usize], &peers)
        });
        let launches = launches.collect();
        Self::start(directory, launches, BTreeMap::new()).await
    }

    /// Three nodes that reach each other over ways that can be cut.
    pub(crate) async fn linked() -> Self {
        let directory = TempDir::new().unwrap();
        let ports = free_ports::<3>();
        let mut links = BTreeMap::new();
        let mut launches = Vec::new();
        for (from, own_port) in ports.into_iter().enumerate() {
            let mut peers = Vec::new();
            for (to, port) in ports.into_iter().enumerate() {
                if from == to {
                    peers.push((to as u32, port));
                } else {
                    let link = Link::to(port).await;
                    peers.push((to as u32, link.port));
                    links.insert((from, to), link);
                }
            }
            let own = directory.path().join(from.to_string());
            launches.push(Launch::by_environment(&own, from as u32, own_port, &peers));
        }
        Self::start(directory, launches, links).await
    }

    /// Nodes that are started in these ways.
    pub(crate) async fn start(
        directory: TempDir,
        launches: Vec<Launch>,
        links: BTreeMap<(usize, usize), Link>,
    ) -> Self {
        let mut nodes: Vec<Process> = launches.iter().map(Launch::start).collect();
        for node in &mut nodes {
            node.until_ready().await;
        }
        Self { nodes, launches, links, _directory: directory }
    }

    /// Cuts the ways from and to a node.
    pub(crate) fn cut_off(&self, node: usize) {
        let of_node = self.links.iter().filter(|((from, to), _)| [*from, *to].contains(&node));
        of_node.for_each(|(_, link)| link.cut());
    }

    /// The client of a node.
    pub(crate) fn api(&self, node: usize) -> &Api {
        &self.nodes[node].api
    }

    /// Waits until all nodes have the same version vector, with at least `ops` ops in it.
    pub(crate) async fn until_equal(&self, ops: u64) {
        let equal = async || {
            let vectors = self.vectors().await;
            let count: u64 = vectors[0].as_object()?.values().filter_map(Value::as_u64).sum();
            (count >= ops && vectors.iter().all(|vector| *vector == vectors[0])).then_some(())
        };
        until(equal, async || format!("not equal: {:?}", self.vectors().await)).await;
    }

    /// Waits until every node knows of every other that it lacks nothing.
    pub(crate) async fn until_acknowledged(&self) {
        for node in &self.nodes {
            let status = async || node.api.status().await;
            let known = async || {
                status().await["peers"].as_array()?.iter().all(|peer| peer["up_to_date"] == true).then_some(())
            };
            until(known, async || format!("something is not acknowledged: {}", status().await)).await;
        }
    }

    async fn vectors(&self) -> Vec<Value> {
        let mut vectors = Vec::new();
        for node in &self.nodes {
            vectors.push(node.api.status().await["vector"].clone());
        }
        vectors
    }
}
