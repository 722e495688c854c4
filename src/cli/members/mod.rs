//! `causeway members`: what each node believes who belongs to the cluster, and where nodes disagree.

mod view;

use clap::Args;

use super::client::{Ask, Client};
use super::failure::Failure;
use super::nodes::{Nodes, OwnNode};
use super::output::{self, counted};
use view::Cluster;

/// What `members` takes.
#[derive(Clone, Debug, Args)]
pub struct Members {
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    nodes: Nodes,
}

pub(super) async fn run(members: &Members, own: OwnNode<'_>) -> Result<(), Failure> {
    let client = Client::new(&members.nodes, own)?;
    let cluster: Cluster = client.ask(&Ask::get("cluster")).await?.taken()?.json()?;
    let disagreements = cluster.disagreements();
    match members.json {
        true => output::line(cluster.report(&disagreements))?,
        false => output::line(cluster.shown(&disagreements))?,
    }
    match disagreements.len() {
        0 => Ok(()),
        count => Err(Failure::No(format!("the nodes disagree: {}", counted(count as u64, "difference")))),
    }
}
