//! A shopping cart that survives a partition: what was added on either side is in it after the heal.
//!
//!     cargo run --example shopping_cart -- show http://127.0.0.1:8000 http://127.0.0.1:8001
//!     cargo run --example shopping_cart -- add tea http://127.0.0.1:8000
//!     cargo run --example shopping_cart -- remove tea http://127.0.0.1:8001
//!
//! A cart is one value. Each thing that is put into it is an entry with a name of its own, and removing a thing removes the
//! entries that are seen: an equal thing that was added elsewhere meanwhile stays. So carts that did not know of each other
//! have one way to be merged: all entries of both, without those that either has removed.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::error::Error;

use causeway_client::{Client, Siblings};
use serde::{Deserialize, Serialize};

const KEY: &str = "carts/7";

/// The entries in a cart, and those that were. Removed ones are remembered: a cart of another node may still have them, and
/// come when nobody thinks of it any more.
#[derive(Default, Serialize, Deserialize)]
struct Cart {
    entries: BTreeMap<String, String>,
    removed: BTreeSet<String>,
}

impl Cart {
    /// One cart of any number.
    fn merged(siblings: &Siblings) -> Self {
        let mut merged = Self::default();
        for cart in siblings.values().filter_map(|value| serde_json::from_str::<Self>(value).ok()) {
            merged.entries.extend(cart.entries);
            merged.removed.extend(cart.removed);
        }
        let Self { entries, removed } = &mut merged;
        entries.retain(|entry, _| !removed.contains(entry));
        merged
    }

    fn add(&mut self, item: &str) -> Result<(), getrandom::Error> {
        let entry = format!("{:016x}", getrandom::u64()?);
        self.entries.insert(entry, item.to_owned());
        Ok(())
    }

    /// Takes out all that is seen of a thing.
    fn remove(&mut self, item: &str) {
        let seen = self.entries.iter().filter(|(_, found)| *found == item).map(|(entry, _)| entry.clone());
        self.removed.extend(seen.collect::<Vec<_>>());
        self.entries.retain(|_, found| found != item);
    }

    fn shown(&self) -> String {
        let mut items: Vec<&str> = self.entries.values().map(String::as_str).collect();
        items.sort_unstable();
        if items.is_empty() { "nothing".to_owned() } else { items.join(", ") }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["show", nodes @ ..] => {
            let siblings = Client::new(nodes)?.session().read(KEY).await?;
            println!("{}", Cart::merged(&siblings).shown());
        }
        [action @ ("add" | "remove"), item, nodes @ ..] => {
            let mut shown = String::new();
            // Made once: however often the carts are merged, it is one entry.
            let mut added = Cart::default();
            if *action == "add" {
                added.add(item)?;
            }
            let change = |siblings: &Siblings| {
                let mut cart = Cart::merged(siblings);
                cart.entries.extend(added.entries.clone());
                if *action == "remove" {
                    cart.remove(item);
                }
                shown = cart.shown();
                serde_json::to_string(&cart).ok()
            };
            Client::new(nodes)?.session().update(KEY, change).await?;
            println!("{shown}");
        }
        _ => return Err("usage: shopping_cart show|add ITEM|remove ITEM URL...".into()),
    }
    Ok(())
}
