//! `causeway set`: one write, all or nothing.

use std::io::{self, Read};

use clap::Args;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::client::{Ask, Client};
use super::failure::{EMPTY_KEY, Failure, NoAnswer};
use super::nodes::{Nodes, OwnNode};
use super::output;
use super::session::Session;

/// More than a node takes with the largest limits.
const MAX_STDIN_BYTES: usize = 32 << 20;

/// What `set` takes.
#[derive(Clone, Debug, Args)]
pub struct Set {
    /// KEY=VALUE, as many as you like, or one KEY VALUE; '-' as the VALUE stands for standard input
    #[arg(value_name = "KEY=VALUE", required_unless_present = "delete")]
    entries: Vec<String>,
    /// Deletes a key, in the same write; can be given again
    #[arg(long, value_name = "KEY")]
    delete: Vec<String>,
    /// How many nodes must have it on disk: a number, majority or all [default: 1]
    #[arg(long, value_parser = acks)]
    acks: Option<String>,
    /// What it replaces: what was seen, or all that the node holds [default: seen, if there is a context]
    #[arg(long, value_parser = ["seen", "held"])]
    replaces: Option<String>,
    /// A name for this write, up to 64 characters: sent again to the same node, it is not made again
    #[arg(long, value_name = "NAME")]
    idempotency_key: Option<String>,
    /// Prints the node's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    session: Session,
    #[command(flatten)]
    nodes: Nodes,
}

#[derive(Deserialize)]
struct Written {
    dot: String,
    durable_on: Vec<u32>,
}

pub(super) async fn run(set: &Set, own: OwnNode<'_>) -> Result<(), Failure> {
    let client = Client::new(&set.nodes, own)?;
    let values = values(&set.entries, &set.delete, &mut io::stdin().lock())?;
    let mut ask = Ask::new(Method::PATCH, "set").json(json!({ "values": values }).to_string());
    if let Some(acks) = &set.acks {
        ask = ask.query("acks", acks);
    }
    if let Some(replaces) = &set.replaces {
        if replaces == "seen" && !set.session.has_context()? {
            let detail = "--replaces seen needs what was seen: --context, or a --context-file with a context in it";
            return Err(Failure::Usage(detail.to_owned()));
        }
        ask = ask.query("replaces", replaces);
    }
    if let Some(name) = &set.idempotency_key {
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::Usage("an idempotency key is of visible ASCII characters".to_owned()));
        }
        ask = ask.header("idempotency-key", name);
    }
    let answer = match client.ask(&set.session.sent_with(ask)?).await {
        Err(Failure::NoAnswer(NoAnswer { tried, asked: true })) => {
            let unknown = "whether the write was made is unknown; with --idempotency-key it can be sent again";
            return Err(Failure::NotDone(format!("no answer from {tried}; {unknown}")));
        }
        answer => set.session.taken(answer?)?,
    };
    set.session.keep(&answer)?;
    let written: Written = answer.json()?;
    match set.json {
        true => output::bytes(&[&answer.body[..], b"\n"].concat())?,
        false => output::line(&written.dot)?,
    }
    if answer.header("idempotency-replayed") == Some("true") {
        output::note("this write was made before, and was not made again");
    }
    if answer.status == StatusCode::ACCEPTED {
        let nodes: Vec<String> = written.durable_on.iter().map(u32::to_string).collect();
        let nodes = nodes.join(", ");
        return Err(Failure::No(format!(
            "written, but not acknowledged in time by as many nodes as you asked for: it is on disk at node {nodes}, and \
             goes on to the others"
        )));
    }
    Ok(())
}

/// How many nodes on the command line. How many there are, only a node can say.
fn acks(text: &str) -> Result<String, String> {
    let is_number = text.parse().is_ok_and(|count: u64| count > 0) && !text.starts_with('+');
    let is_good = is_number || ["majority", "all"].contains(&text);
    is_good.then(|| text.to_owned()).ok_or_else(|| "expected a number from 1, majority or all".to_owned())
}

/// The values to write, as the node takes them.
fn values(entries: &[String], delete: &[String], stdin: &mut impl Read) -> Result<Map<String, Value>, Failure> {
    let pairs: Vec<(&str, &str)> = match entries {
        [key, value] if !key.contains('=') => vec![(key, value)],
        entries => entries.iter().map(|entry| pair(entry)).collect::<Result<_, _>>()?,
    };
    if pairs.iter().filter(|(_, value)| *value == "-").count() > 1 {
        return Err(Failure::Usage("standard input can be the value of one key only".to_owned()));
    }
    let mut values = Map::new();
    let mut add = |key: &str, value: Value| match values.insert(key.to_owned(), value) {
        _ if key.is_empty() => Err(Failure::Usage(EMPTY_KEY.to_owned())),
        None => Ok(()),
        Some(_) => Err(Failure::Usage(format!("the key '{}' is given twice", output::shown(key)))),
    };
    for (key, value) in pairs {
        add(key, if value == "-" { read(stdin)?.into() } else { value.into() })?;
    }
    for key in delete {
        add(key, Value::Null)?;
    }
    Ok(values)
}

fn pair(entry: &str) -> Result<(&str, &str), Failure> {
    entry.split_once('=').ok_or_else(|| {
        Failure::Usage(format!(
            "'{}' is not KEY=VALUE; one key alone can be written as KEY VALUE",
            output::shown(entry)
        ))
    })
}

fn read(stdin: &mut impl Read) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = stdin.take(MAX_STDIN_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|source| Failure::File { path: "standard input".into(), source })?;
    if bytes.len() > MAX_STDIN_BYTES {
        return Err(Failure::Usage(format!("standard input has more than {MAX_STDIN_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Failure::Usage("standard input is not UTF-8, which values are".to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parsed(entries: &[&str], delete: &[&str]) -> Result<String, String> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let values = values(&owned(entries), &owned(delete), &mut &b"from\nstdin\n"[..]);
        values.map(|values| Value::from(values).to_string()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn entries_are_pairs_or_one_key_and_its_value() {
        assert_eq!(parsed(&["a=b=c", "d="], &["e"]).unwrap(), r#"{"a":"b=c","d":"","e":null}"#);
        assert_eq!(parsed(&["key", "a=b"], &[]).unwrap(), r#"{"key":"a=b"}"#);
        assert_eq!(parsed(&["key", "-"], &[]).unwrap(), r#"{"key":"from\nstdin\n"}"#);
        assert_eq!(parsed(&["a=-", "b=c"], &[]).unwrap(), r#"{"a":"from\nstdin\n","b":"c"}"#);
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        for (entries, delete, why) in [
            (&["key"][..], &[][..], "'key' is not KEY=VALUE"),
            (&["a=b", "value"], &[], "'value' is not KEY=VALUE"),
            (&["a=b", "a=c"], &[], "'a' is given twice"),
            (&["a=b"], &["a"], "'a' is given twice"),
            (&["a=-", "b=-"], &[], "one key only"),
        ] {
            let message = parsed(entries, delete).unwrap_err();
            assert!(message.contains(why), "{message}");
        }
    }
}
