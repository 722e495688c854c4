//! Nodes that are started, restarted with other lists and stopped, with ways between all of them that can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::RwLock;

use crate::support::api::Api;
use crate::support::link::Link;
use crate::support::process::{Launch, Process};
use crate::support::{free_ports, until};

/// What a node is configured with besides its own id.
#[derive(Clone, Debug, Default)]
pub(super) struct Config {
    /// The ids of the list.
    pub(super) list: Vec<u32>,
    /// Those named as removed.
    pub(super) removed: Vec<u32>,
}

impl Config {
    pub(super) fn of(list: &[u32]) -> Self {
        Self { list: list.to_vec(), removed: Vec::new() }
    }

    pub(super) fn without(list: &[u32], removed: &[u32]) -> Self {
        Self { list: list.to_vec(), removed: removed.to_vec() }
    }
}

/// A node's client, for those who may write to it while nobody restarts it.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) id: u32,
    /// The client, unless the node does not take writes. Whoever uses it keeps the lock until the answer is there.
    pub(super) api: Arc<RwLock<Option<Api>>>,
}

/// The nodes that may be written to.
pub(super) type Doors = Arc<Mutex<Vec<Door>>>;

/// Some nodes, and the directory that goes when they go.
pub(super) struct Group {
    ports: BTreeMap<u32, u16>,
    nodes: BTreeMap<u32, Process>,
    links: BTreeMap<(u32, u32), Link>,
    pub(super) doors: Doors,
    directory: TempDir,
}

impl Group {
    /// These nodes, each with all of them in its list.
    pub(super) async fn start(ids: &[u32]) -> Self {
        let directory = TempDir::new().unwrap();
        let (ports, nodes, links, doors) = Default::default();
        let mut group = Self { ports, nodes, links, doors, directory };
        for id in ids {
            group.run(*id, &Config::of(ids)).await;
        }
        group
    }

    /// Starts a node, or restarts it with another configuration.
    pub(super) async fn run(&mut self, id: u32, config: &Config) {
        let door = self.door(id);
        let mut api = door.api.write().await;
        if let Some(node) = self.nodes.remove(&id) {
            assert_eq!(node.terminate().await.0.code(), Some(0));
        }
        let mut peers = Vec::new();
        for peer in &config.list {
            peers.push((*peer, if *peer == id { self.port(id) } else { self.way(id, *peer).await }));
        }
        let removed = config.removed.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let launch = Launch::by_environment(&self.directory.path().join(id.to_string()), id, self.port(id), &peers);
        let node = launch.with("CAUSEWAY_REMOVED", &removed).start_ready().await;
        *api = Some(node.api.clone());
        self.nodes.insert(id, node);
    }

    /// Stops a node for good.
    pub(super) async fn stop(&mut self, id: u32) {
        self.close(id).await;
        assert_eq!(self.nodes.remove(&id).unwrap().terminate().await.0.code(), Some(0));
    }

    /// Nobody writes to a node any more.
    pub(super) async fn close(&self, id: u32) {
        *self.door(id).api.write().await = None;
    }

    fn door(&self, id: u32) -> Door {
        let mut doors = self.doors.lock().unwrap();
        if let Some(door) = doors.iter().find(|door| door.id == id) {
            return door.clone();
        }
        doors.push(Door { id, api: Arc::default() });
        doors.last().unwrap().clone()
    }

    pub(super) fn port(&mut self, id: u32) -> u16 {
        *self.ports.entry(id).or_insert_with(|| free_ports::<1>()[0])
    }

    async fn way(&mut self, from: u32, to: u32) -> u16 {
        if !self.links.contains_key(&(from, to)) {
            let link = Link::to(self.port(to)).await;
            self.links.insert((from, to), link);
        }
        self.links[&(from, to)].port
    }

    /// Cuts all ways between some nodes and all others.
    pub(super) fn cut(&self, side: &[u32]) {
        let crossing = self.links.iter().filter(|((from, to), _)| side.contains(from) != side.contains(to));
        crossing.for_each(|(_, link)| link.cut());
    }

    pub(super) fn heal(&self) {
        self.links.values().for_each(Link::heal);
    }

    pub(super) fn ids(&self) -> Vec<u32> {
        self.nodes.keys().copied().collect()
    }

    pub(super) fn api(&self, id: u32) -> &Api {
        &self.nodes[&id].api
    }

    pub(super) fn log(&self, id: u32) -> String {
        self.nodes[&id].log()
    }

    /// Waits until all nodes that run have the same version vector, and every one of these keys.
    pub(super) async fn until_equal(&self, written: &BTreeSet<String>) {
        let equal = async || {
            let vectors = self.vectors().await;
            vectors.iter().all(|vector| *vector == vectors[0]).then_some(())
        };
        until(equal, async || format!("not equal: {:?}", self.vectors().await)).await;
        for id in self.ids() {
            let keys = self.keys(id).await;
            let missing: Vec<&String> = written.difference(&keys).collect();
            assert!(missing.is_empty(), "node {id} lost what was acknowledged: {missing:?}");
        }
    }

    async fn vectors(&self) -> Vec<Value> {
        let mut vectors = Vec::new();
        for node in self.nodes.values() {
            vectors.push(node.api.status().await["vector"].clone());
        }
        vectors
    }

    /// All keys of a node.
    async fn keys(&self, id: u32) -> BTreeSet<String> {
        let (mut keys, mut after) = (BTreeSet::new(), String::new());
        loop {
            let page = self.api(id).get(&format!("/keys?limit=1000{after}")).await.json();
            let names = page["keys"].as_array().unwrap().iter().map(|key| key["key"].as_str().unwrap().to_owned());
            keys.extend(names);
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return keys,
            }
        }
    }
}
