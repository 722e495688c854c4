//! Clients that write and read at any node that runs, all the time, and are never refused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;

use super::group::Doors;
use crate::support::api::{Api, send};
use crate::support::random::Random;
use crate::support::until;

const WRITERS: u64 = 6;
const PAUSE: Duration = Duration::from_millis(5);

/// Writers at work.
pub(super) struct Traffic {
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<BTreeSet<String>>>,
}

impl Traffic {
    pub(super) fn start(doors: &Doors, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writers = (0..WRITERS).map(|writer| tokio::spawn(write(doors.clone(), seed, writer, stop.clone())));
        Self { writers: writers.collect(), stop }
    }

    /// Ends it; the keys of all writes, every one of which was acknowledged.
    pub(super) async fn stop(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut written = BTreeSet::new();
        for writer in self.writers {
            written.extend(writer.await.unwrap());
        }
        written
    }
}

async fn write(doors: Doors, seed: u64, writer: u64, stop: Arc<AtomicBool>) -> BTreeSet<String> {
    let mut random = Random::new(seed.wrapping_add(writer));
    let mut written = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        let door = random.pick(&doors.lock().unwrap()).cloned();
        // Whoever restarts a node waits for the answers under way.
        if let Some(api) = door.as_ref().and_then(|door| door.api.try_read().ok())
            && let Some(api) = &*api
        {
            let key = format!("of-{writer}-{}", written.len());
            write_one(api, &key).await;
            written.insert(key);
        }
        tokio::time::sleep(PAUSE).await;
    }
    written
}

async fn write_one(api: &Api, key: &str) {
    let answer = send(api.patch("", &json!({ key: key }))).await.unwrap();
    assert_eq!(answer.status, 200, "{key}: {}", answer.body);
    assert_eq!(api.read(key).await.as_deref(), Some(key));
}

/// Waits until a node has so many more keys than now.
pub(super) async fn until_more(api: &Api, more: u64) {
    let keys = async || api.status().await["keys"].as_u64().unwrap();
    let before = keys().await;
    until(async || (keys().await >= before + more).then_some(()), async || "nothing is written".to_owned()).await;
}
