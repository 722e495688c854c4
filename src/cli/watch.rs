//! `causeway watch`: changes as they become visible on a node.

use std::fmt;
use std::time::Duration;

use clap::Args;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::client::{Ask, Client, EVENTS};
use super::events::{Event, Events};
use super::failure::Failure;
use super::nodes::{Nodes, OwnNode, shown};
use super::output;

/// How long a node that went away is left alone between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// What `watch` takes.
#[derive(Clone, Debug, Args)]
pub struct Watch {
    /// Only keys that start with this
    prefix: Option<String>,
    /// Begins behind this cursor of the same node, not at the state of now
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Prints a JSON object each write, with the cursor that goes on behind it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    nodes: Nodes,
}

/// As much of a change as a line for people shows.
#[derive(Deserialize)]
struct Change {
    dot: String,
    written_at: String,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    key: String,
    value: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, Entry { key, value }) in self.entries.iter().enumerate() {
            let end = if count > 0 { "\n" } else { "" };
            write!(f, "{end}{}  {}  {}", self.written_at, self.dot, output::shown(key))?;
            match value {
                Some(value) => write!(f, " = {}", output::shown(value))?,
                None => f.write_str(" deleted")?,
            }
        }
        Ok(())
    }
}

pub(super) async fn run(watch: &Watch, own: OwnNode<'_>) -> Result<(), Failure> {
    let client = Client::new(&watch.nodes, own)?;
    let mut cursor = watch.after.clone();
    let ended = tokio::select! {
        ended = follow(watch, &client, &mut cursor) => ended,
        // Without it the process would end here as well.
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    if let (Some(cursor), Ok(()) | Err(Failure::NotDone(_) | Failure::NoAnswer(_))) = (cursor, &ended) {
        output::note(format_args!("--after {cursor} goes on from here, at this node"));
    }
    ended
}

/// Prints what comes, for as long as somebody reads it.
async fn follow(watch: &Watch, client: &Client, cursor: &mut Option<String>) -> Result<(), Failure> {
    // A cursor is of one node: it stays with the one that answered first.
    let mut node: Option<Url> = None;
    loop {
        let nodes = node.as_ref().map_or(client.nodes(), std::slice::from_ref);
        let mut ask = Ask::get("watch");
        if let Some(prefix) = &watch.prefix {
            ask = ask.query("prefix", prefix);
        }
        if let Some(cursor) = &*cursor {
            ask = ask.query("after", cursor);
        }
        match client.stream(nodes, &ask, EVENTS).await {
            Ok((answered, response)) => {
                let lost = print(watch, Events::of(response), cursor).await?;
                output::note(format_args!("{}: {lost}; trying again", shown(&answered)));
                node = Some(answered);
            }
            Err(failure) if node.is_some() && failure.may_pass() => {}
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Prints events until there are no more; says why.
async fn print(watch: &Watch, mut events: Events, cursor: &mut Option<String>) -> Result<String, Failure> {
    while let Some(Event { id, name, data }) = events.next().await {
        match &*name {
            "change" if watch.json => output::line(with_cursor(&data, id.as_deref())?)?,
            "change" => output::line(parsed::<Change>(&data)?)?,
            "closed" => {
                let reason = parsed::<Map<String, Value>>(&data)?;
                return Ok(match reason.get("reason").and_then(Value::as_str) {
                    Some("too-slow") => "the output was read too slowly".to_owned(),
                    Some("stopping") => "the node is stopping".to_owned(),
                    Some("token-withdrawn") => "the token is not good for it any more".to_owned(),
                    other => format!("the node ended the watch: {}", other.unwrap_or_default()),
                });
            }
            "reset" => {
                // Nothing goes on behind it.
                *cursor = None;
                let why = "the node was caught up by another node's whole state, and what changed with it is not told one by \
                           one: read anew, and watch again";
                return Err(Failure::NotDone(why.to_owned()));
            }
            _ => {}
        }
        *cursor = id.or(cursor.take());
    }
    Ok("the connection was lost".to_owned())
}

fn parsed<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, Failure> {
    serde_json::from_str(data).map_err(|error| Failure::NotDone(format!("not an event of a node: {error}")))
}

fn with_cursor(data: &str, cursor: Option<&str>) -> Result<String, Failure> {
    let mut change: Map<String, Value> = parsed(data)?;
    change.insert("cursor".to_owned(), cursor.into());
    Ok(Value::from(change).to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const CHANGE: &str = r#"{"dot":"1.9c77d1f0a3b25e64.12","node":1,"written_at":"2026-11-24T14:08:11.532Z",
        "trace_id":null,"entries":[{"key":"a","value":"1\n2","replaces":[]},{"key":"b","value":null,"replaces":[]}]}"#;

    #[test]
    fn a_change_is_a_line_each_key() {
        let lines = parsed::<Change>(CHANGE).unwrap().to_string();
        assert_eq!(
            lines,
            "2026-11-24T14:08:11.532Z  1.9c77d1f0a3b25e64.12  a = 1\\n2\n\
             2026-11-24T14:08:11.532Z  1.9c77d1f0a3b25e64.12  b deleted"
        );
    }

    #[test]
    fn as_json_it_is_one_line_with_the_cursor() {
        let line = with_cursor(CHANGE, Some("7-1.9c77d1f0a3b25e64.12-0123456789abcdef")).unwrap();
        assert!(!line.contains('\n'), "{line}");
        let change: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(change["cursor"], "7-1.9c77d1f0a3b25e64.12-0123456789abcdef");
        assert_eq!(change["entries"][0]["value"], "1\n2");
    }
}
