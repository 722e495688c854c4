//! Several nodes of Causeway, and when all of them have everything.
//!
//! Whether a node has caught up is found out by a *session read*: it carries the context of the state that is waited
//! for, and is answered as soon as the node includes it. One request instead of many, and no interval to be late by.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::causeway::{Launch, Node};
use crate::client;
use crate::process::PATIENCE;

/// A running cluster.
pub struct Cluster {
    /// How its nodes are started.
    pub launches: Vec<Launch>,
    /// The nodes that run, in the order of their ids.
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// Starts so many nodes with nothing in them.
    pub fn start(directory: &Path, nodes: usize, binary: &Path) -> Result<Self> {
        Self::start_with(directory, nodes, binary, |launch| launch)
    }

    /// The same, with settings.
    pub fn start_with(directory: &Path, nodes: usize, binary: &Path, set: impl Fn(Launch) -> Launch) -> Result<Self> {
        let launches: Vec<Launch> = Launch::cluster(directory, nodes)?.into_iter().map(set).collect();
        let nodes = launches.iter().map(|launch| launch.start(binary)).collect::<Result<Vec<_>>>()?;
        let cluster = Self { launches, nodes };
        // One op from each: everybody has been heard by everybody.
        for node in &cluster.nodes {
            node.write(&format!("hello from {}", node.port), "", &[])?;
        }
        cluster.settle()?;
        Ok(cluster)
    }

    /// The ports of the nodes that run.
    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.port).collect()
    }

    /// Their processes.
    pub fn ids(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| node.process.id()).collect()
    }

    /// How many ops all nodes together have received from each other, and in how many pushes.
    pub fn received(&self) -> Result<(u64, u64)> {
        self.nodes.iter().map(Node::received).try_fold((0, 0), |(ops, pushes), node| {
            let (more_ops, more_pushes) = node?;
            Ok((ops + more_ops, pushes + more_pushes))
        })
    }

    /// Waits until every node has all that any node has now.
    pub fn settle(&self) -> Result<()> {
        let (first, others) = self.nodes.split_first().context("a cluster has nodes")?;
        for node in others {
            until_included(first.port, &context(node.port)?).context("what another node has, on the first")?;
        }
        // Now it has everything.
        let everything = context(first.port)?;
        for node in others {
            until_included(node.port, &everything).context("what the first node has, on another")?;
        }
        Ok(())
    }

    /// Checks that all version vectors are equal, and that they count so many ops more than `before`.
    pub fn check(&self, before: u64, ops: u64) -> Result<()> {
        let vectors = self.nodes.iter().map(Node::vector).collect::<Result<Vec<_>>>()?;
        let first: u64 = vectors[0].values().sum();
        ensure!(vectors.iter().all(|vector| *vector == vectors[0]), "the nodes differ: {vectors:?}");
        ensure!(first == before + ops, "{first} ops instead of {before} and {ops} more");
        Ok(())
    }
}

/// The context of a node's state.
pub fn context(port: u16) -> Result<String> {
    let answer = client::get(port, "/read?key=nothing")?;
    Ok(answer.header("causal-context").context("a read without a context")?.to_owned())
}

/// Waits until a node includes a context.
pub fn until_included(port: u16, context: &str) -> Result<()> {
    let began = Instant::now();
    let headers = [("Causal-Context", context), ("Prefer", "wait=30")];
    while client::send(port, "GET", "/read?key=nothing", &headers, "")?.status == 503 {
        ensure!(began.elapsed() < PATIENCE, "is not there in time");
    }
    Ok(())
}
