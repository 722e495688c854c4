//! `causeway status`: the whole cluster, as one of its nodes knows it.

mod view;

use std::time::Duration;

use clap::Args;
use reqwest::Url;

use super::client::{Ask, Client, EVENTS, TIMEOUT};
use super::events::Events;
use super::failure::Failure;
use super::nodes::{Nodes, OwnNode, shown};
use super::output;
use view::Cluster;
pub(super) use view::age;

/// How long a node that went away is left alone between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Moves to the upper left, and clears what is below.
const CLEAR: &[u8] = b"\x1b[H\x1b[J";

/// What `status` takes.
#[derive(Clone, Debug, Args)]
pub struct Status {
    /// Shows it again whenever something has changed
    #[arg(long)]
    watch: bool,
    /// Prints the node's JSON, with --watch on a line each time
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    nodes: Nodes,
}

pub(super) async fn run(status: &Status, own: OwnNode<'_>) -> Result<(), Failure> {
    let client = Client::new(&status.nodes, own)?;
    if status.watch {
        return watch(status, &client).await;
    }
    let answer = client.ask(&Ask::get("cluster")).await?.taken()?;
    let cluster: Cluster = answer.json()?;
    match status.json {
        true => output::bytes(&[&answer.body[..], b"\n"].concat()),
        false => output::line(cluster),
    }
}

async fn watch(status: &Status, client: &Client) -> Result<(), Failure> {
    let mut node: Option<Url> = None;
    loop {
        // Whoever answered before is asked first, then the others: each knows the whole cluster.
        let nodes: Vec<Url> = node.iter().chain(client.nodes()).cloned().collect();
        match client.stream(&nodes, &Ask::get("cluster/events").timeout(TIMEOUT), EVENTS).await {
            Ok((answered, response)) => {
                show(status, Events::of(response)).await?;
                output::note(format_args!("{}: the connection was lost; trying again", shown(&answered)));
                node = Some(answered);
            }
            Err(failure) if node.is_some() && failure.may_pass() => {}
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn show(status: &Status, mut events: Events) -> Result<(), Failure> {
    while let Some(event) = events.next().await {
        if event.name != "cluster" {
            continue;
        }
        if status.json {
            output::line(event.data)?;
            continue;
        }
        let cluster: Cluster = serde_json::from_str(&event.data)
            .map_err(|error| Failure::NotDone(format!("not an event of a node: {error}")))?;
        if output::is_terminal() {
            output::bytes(CLEAR)?;
        }
        output::line(format_args!("{cluster}\n"))?;
    }
    Ok(())
}
