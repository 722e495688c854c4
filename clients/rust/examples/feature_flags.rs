//! Feature flags that a service has in memory, always, and that follow what is set anywhere.
//!
//!     cargo run --example feature_flags -- set new-checkout on http://127.0.0.1:8000
//!     cargo run --example feature_flags -- follow http://127.0.0.1:8001 http://127.0.0.1:8002
//!
//! The copy in memory is kept by a watch. It asks nobody when a flag is looked at, stays as it is while no node answers, and
//! is made anew when the watch begins and when changes may have been missed. Where two settings did not know of each other,
//! `off` wins: that is the safe side here.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;

use causeway_client::{Client, Event, Replaces, Values, WriteOptions};
use futures_util::{StreamExt, TryStreamExt};

const PREFIX: &str = "flags/";

/// All flags, as this process knows them: the siblings of each key by their dots.
#[derive(Default)]
struct Flags(BTreeMap<String, BTreeMap<String, String>>);

impl Flags {
    /// Whether a flag is on; unknown ones are off.
    fn is_on(&self, name: &str) -> bool {
        let siblings = self.0.get(&format!("{PREFIX}{name}"));
        siblings.is_some_and(|siblings| !siblings.is_empty() && siblings.values().all(|value| value == "on"))
    }

    /// The flags that are on.
    fn on(&self) -> String {
        let names = self.0.keys().filter_map(|key| key.strip_prefix(PREFIX));
        let on: Vec<&str> = names.filter(|name| self.is_on(name)).collect();
        if on.is_empty() { "none".to_owned() } else { on.join(", ") }
    }

    /// Reads what there is, no older than the watch: what it includes comes once more, and changes nothing.
    async fn read(client: &Client, context: String) -> Result<Self, causeway_client::Error> {
        let mut session = client.session_from(context);
        let keys: Vec<String> = session.keys(PREFIX).try_collect().await?;
        let found = session.read_many(keys).await?.into_iter().map(|(key, siblings)| {
            (key, siblings.siblings.into_iter().map(|sibling| (sibling.dot, sibling.value)).collect())
        });
        Ok(Self(found.collect()))
    }

    /// Takes in what a watch tells.
    async fn take(&mut self, client: &Client, event: Event) -> Result<(), causeway_client::Error> {
        match event {
            Event::Start { context, .. } => *self = Self::read(client, context).await?,
            Event::Change(change) => {
                for entry in change.entries {
                    let siblings = self.0.entry(entry.key).or_default();
                    siblings.retain(|dot, _| !entry.replaces.contains(dot));
                    siblings.extend(entry.value.map(|value| (change.dot.clone(), value)));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Prints the flags that are on, whenever something changes. What goes wrong begins a new watch.
async fn follow(client: &Client) {
    let mut flags = Flags::default();
    loop {
        let mut watch = client.watch(PREFIX);
        while let Some(event) = watch.next().await {
            let taken = match event {
                Ok(Event::Reset) => continue,
                Ok(event) => flags.take(client, event).await,
                Err(error) => Err(error),
            };
            match taken {
                Ok(()) => println!("on: {}", flags.on()),
                Err(error) => {
                    eprintln!("the flags stay as they are: {error}");
                    break;
                }
            }
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["set", name, value, nodes @ ..] => {
            let values = Values::new().set(format!("{PREFIX}{name}"), *value);
            let options = WriteOptions::new().replaces(Replaces::Held);
            Client::new(nodes)?.session().write(values, options).await?;
        }
        ["follow", nodes @ ..] => follow(&Client::new(nodes)?).await,
        _ => return Err("usage: feature_flags set NAME on|off|follow URL...".into()),
    }
    Ok(())
}
