//! `causeway drain`: lets a node take no more writes, and waits until all that it has is at every other configured node.

use std::time::{Duration, Instant};

use clap::Args;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::json;

use super::client::{Answer, Ask, Client};
use super::failure::Failure;
use super::nodes::{Nodes, OwnNode};
use super::output::{self, counted, shown};
use super::session::seconds;

/// How long the node is left alone between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// What `drain` takes.
#[derive(Clone, Debug, Args)]
pub struct Drain {
    /// Ends it: the node takes writes again
    #[arg(long)]
    undo: bool,
    /// How long the other nodes may take to get all
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    wait: f64,
    /// Prints the node's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    nodes: Nodes,
}

/// What the node says of it.
#[derive(Clone, Debug, Deserialize)]
struct State {
    node: u32,
    drain: Option<Progress>,
}

#[derive(Clone, Debug, Deserialize)]
struct Progress {
    done: bool,
    writes_under_way: u64,
    behind: Vec<Behind>,
}

#[derive(Clone, Debug, Deserialize)]
struct Behind {
    node: Option<u32>,
    address: String,
    ops: Option<u64>,
    away_since: Option<String>,
    why: Option<String>,
}

pub(super) async fn run(drain: &Drain, own: OwnNode<'_>) -> Result<(), Failure> {
    let client = Client::new(&drain.nodes, own)?;
    let [node] = client.nodes() else {
        return Err(Failure::Usage("drain is about one node: name one, with --node or in CAUSEWAY_NODE".to_owned()));
    };
    let ask = Ask::new(Method::PUT, "draining").json(json!({"draining": !drain.undo}).to_string());
    let answer = client.ask_node(node, &ask).await?.taken()?;
    if drain.undo {
        let State { node, .. } = answer.json()?;
        return print(drain, &answer, format_args!("node {node} takes writes"));
    }
    let deadline = Instant::now() + Duration::from_secs_f64(drain.wait);
    let (answer, state) = wait(&client, node, answer, deadline).await?;
    let id = state.node;
    match why_not(&state) {
        None => {
            let done = "every other configured node has all that it has";
            print(drain, &answer, format_args!("node {id} is drained: {done}; it can be stopped and removed"))
        }
        Some(why) => {
            if drain.json {
                print(drain, &answer, "")?;
            }
            Err(Failure::No(format!(
                "node {id} is not drained: {why}. It still takes no writes; drain again to wait for more, or --undo"
            )))
        }
    }
}

/// Looks at the node until it is drained, or it is too late, or it never will be.
async fn wait(client: &Client, node: &Url, first: Answer, deadline: Instant) -> Result<(Answer, State), Failure> {
    let mut answer = first;
    let mut told = String::new();
    loop {
        let state: State = answer.json()?;
        let Some(why) = why_not(&state) else { return Ok((answer, state)) };
        let never = state.drain.as_ref().is_none_or(|drain| drain.behind.is_empty() && drain.writes_under_way == 0);
        let now = Instant::now();
        if never || now >= deadline {
            return Ok((answer, state));
        }
        if told != why {
            output::progress(format_args!("not yet: {why}"));
            told = why;
        }
        tokio::time::sleep(PAUSE.min(deadline - now)).await;
        answer = client.ask_node(node, &Ask::get("draining")).await?.taken()?;
    }
}

/// Why the node can't be removed yet; `None`: it can.
fn why_not(state: &State) -> Option<String> {
    let Some(drain) = &state.drain else {
        return Some("it was restarted, or somebody else has ended it".to_owned());
    };
    match (drain.done, &drain.behind[..]) {
        (true, _) => None,
        (false, []) if drain.writes_under_way > 0 => {
            Some(format!("{} under way", counted(drain.writes_under_way, "write")))
        }
        (false, []) => Some("there is no other node in its list, so nobody else has what it has".to_owned()),
        (false, behind) => Some(behind.iter().map(lacks).collect::<Vec<_>>().join("; ")),
    }
}

fn lacks(behind: &Behind) -> String {
    let address = shown(&behind.address);
    let who = behind.node.map_or(format!("the node at {address}"), |node| format!("node {node} ({address})"));
    let what = match behind.ops {
        None => "has never said what it has".to_owned(),
        Some(0) => "had all of it".to_owned(),
        Some(ops) => format!("lacks {}", counted(ops, "op")),
    };
    let why = behind.why.as_deref().map_or(String::new(), |why| format!(": {}", shown(why)));
    match &behind.away_since {
        None => format!("{who} {what}"),
        Some(since) => format!("{who} {what} and has not answered since {}{why}", shown(since)),
    }
}

fn print(drain: &Drain, answer: &Answer, text: impl std::fmt::Display) -> Result<(), Failure> {
    match drain.json {
        true => output::bytes(&[&answer.body[..], b"\n"].concat()),
        false => output::line(text),
    }
}
