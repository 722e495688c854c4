//! Who is there: everybody says so now and then, at whatever node is near, also when it is cut off.
//!
//!     cargo run --example presence -- say ada http://127.0.0.1:8000
//!     cargo run --example presence -- leave ada http://127.0.0.1:8000
//!     cargo run --example presence -- who http://127.0.0.1:8001
//!     cargo run --example presence -- follow http://127.0.0.1:8002
//!
//! Everybody has a key of their own, with the time when they were last seen. Of siblings (one person at two nodes that do not
//! reach each other) the latest time counts, so nothing has to be settled.

use std::env;
use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use causeway_client::{Client, Event, Replaces, Values, WriteOptions};
use futures_util::{StreamExt, TryStreamExt};

const PREFIX: &str = "presence/";
const AWAY: Duration = Duration::from_secs(60);

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Replaces what was said before, seen or not.
async fn write(client: &Client, values: Values) -> Result<(), causeway_client::Error> {
    client.session().write(values, WriteOptions::new().replaces(Replaces::Held)).await.map(drop)
}

/// Who was seen lately.
async fn who(client: &Client) -> Result<String, causeway_client::Error> {
    let mut session = client.session();
    let keys: Vec<String> = session.keys(PREFIX).try_collect().await?;
    let seen = session.read_many(keys).await?;
    let is_there =
        |time: &str| time.parse().is_ok_and(|seconds| now().as_secs().saturating_sub(seconds) < AWAY.as_secs());
    let there = seen.values().filter(|siblings| siblings.values().any(is_there));
    let names: Vec<&str> = there.filter_map(|siblings| siblings.key.strip_prefix(PREFIX)).collect();
    Ok(if names.is_empty() { "nobody".to_owned() } else { names.join(", ") })
}

/// Prints who comes and goes.
async fn follow(client: &Client) -> Result<(), causeway_client::Error> {
    let mut watch = client.watch(PREFIX);
    while let Some(event) = watch.next().await {
        match event? {
            Event::Start { .. } => println!("there: {}", who(client).await?),
            Event::Change(change) => {
                for entry in &change.entries {
                    let what = if entry.value.is_some() { "is there" } else { "leaves" };
                    println!("{} {what}", entry.key.trim_start_matches(PREFIX));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["say", name, nodes @ ..] => {
            let values = Values::new().set(format!("{PREFIX}{name}"), now().as_secs().to_string());
            write(&Client::new(nodes)?, values).await?;
        }
        ["leave", name, nodes @ ..] => {
            write(&Client::new(nodes)?, Values::new().delete(format!("{PREFIX}{name}"))).await?;
        }
        ["who", nodes @ ..] => println!("{}", who(&Client::new(nodes)?).await?),
        ["follow", nodes @ ..] => follow(&Client::new(nodes)?).await?,
        _ => return Err("usage: presence say NAME|leave NAME|who|follow URL...".into()),
    }
    Ok(())
}
