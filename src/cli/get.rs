//! `causeway get`: one key.

use clap::Args;
use reqwest::StatusCode;
use serde::Deserialize;

use super::client::{Ask, Client};
use super::failure::{EMPTY_KEY, Failure};
use super::nodes::{Nodes, OwnNode};
use super::output::{self, Table};
use super::session::Session;

/// What `get` takes.
#[derive(Clone, Debug, Args)]
pub struct Get {
    /// The key
    key: String,
    /// Shows all siblings, a line each; the one that a plain read shows comes first
    #[arg(long)]
    all: bool,
    /// Of several siblings, takes the one written last by the clocks: the same on every node
    #[arg(long, conflicts_with = "all")]
    newest: bool,
    /// Prints all siblings as the node's JSON
    #[arg(long, conflicts_with_all = ["all", "newest"])]
    json: bool,
    #[command(flatten)]
    session: Session,
    #[command(flatten)]
    nodes: Nodes,
}

/// As much of the JSON as the table shows.
#[derive(Deserialize)]
struct Siblings {
    siblings: Vec<Sibling>,
    #[serde(default)]
    left_out: u64,
}

#[derive(Deserialize)]
struct Sibling {
    value: String,
    dot: String,
    written_at: String,
    arrival: u64,
}

pub(super) async fn run(get: &Get, own: OwnNode<'_>) -> Result<(), Failure> {
    let client = Client::new(&get.nodes, own)?;
    let resolve = match (get.all || get.json, get.newest) {
        (true, _) => "all",
        (_, true) => "newest",
        _ => "arrival",
    };
    if get.key.is_empty() {
        return Err(Failure::Usage(EMPTY_KEY.to_owned()));
    }
    let ask = Ask::get("read").query("key", &get.key).query("resolve", resolve);
    let answer = client.ask(&get.session.sent_with(ask)?).await?;
    if answer.status == StatusCode::NOT_FOUND && answer.header("causeway-siblings") == Some("0") {
        get.session.keep(&answer)?;
        return Err(Failure::No(format!("key not found: '{}'", output::shown(&get.key))));
    }
    let answer = get.session.taken(answer)?;
    get.session.keep(&answer)?;
    if get.all {
        return table(answer.json()?);
    }
    output::bytes(&answer.body)?;
    if get.json || (output::is_terminal() && answer.body.last() != Some(&b'\n')) {
        output::bytes(b"\n")?;
    }
    match answer.header("causeway-siblings") {
        Some(count) if !get.json && count != "1" => {
            output::note(format_args!("the key has {count} siblings, of which this is one; --all shows them"));
        }
        _ => {}
    }
    Ok(())
}

fn table(answer: Siblings) -> Result<(), Failure> {
    let mut table = Table::new(&["WRITTEN AT", "DOT", "ARRIVAL", "VALUE"]);
    for Sibling { value, dot, written_at, arrival } in answer.siblings {
        table.row(vec![written_at.into(), dot.into(), arrival.to_string().into(), output::shown(&value).into()]);
    }
    output::line(table)?;
    if answer.left_out > 0 {
        output::note(format_args!("{} more siblings did not fit into the answer", answer.left_out));
    }
    Ok(())
}
