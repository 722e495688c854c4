//! Sessions that go on while nodes are killed and cut off, and answers are lost: what was acknowledged is there in the end,
//! and was made once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use causeway_client::{Client, Event, Siblings};
use futures_util::StreamExt;

use crate::nodes::{Cluster, until};
use crate::relay::Relay;

const WRITERS: usize = 3;
/// How many updates are made, at least, before and after each fault.
const STRIDE: usize = 9;
const KEY: &str = "set";

fn merged(siblings: &Siblings) -> BTreeSet<String> {
    siblings.values().flat_map(|value| value.split(' ')).map(str::to_owned).collect()
}

#[derive(Default)]
struct Progress {
    has_ended: AtomicBool,
    made: AtomicUsize,
}

/// One session, which adds names of its own to a set that all write to; gives the names and the dots.
async fn write(urls: Vec<String>, writer: usize, progress: Arc<Progress>) -> Vec<(String, String)> {
    let seconds = Duration::from_secs_f64;
    let client = Client::builder(urls).timeout(seconds(60.0)).attempt_timeout(seconds(1.0));
    let mut session = client.connect_timeout(seconds(0.5)).wait(seconds(0.5)).build().unwrap().session();
    let mut done: Vec<(String, String)> = Vec::new();
    while !progress.has_ended.load(Ordering::SeqCst) {
        let item = format!("{writer}.{}", done.len());
        let with_item = |siblings: &Siblings| {
            let mut items = merged(siblings);
            items.insert(item.clone());
            items.into_iter().collect::<Vec<_>>().join(" ")
        };
        let written = session.update(KEY, with_item).await.unwrap();
        done.push((item, written.dot));
        let seen = merged(&session.read(KEY).await.unwrap());
        assert!(done.iter().all(|(item, _)| seen.contains(item)), "a session went back in time");
        progress.made.fetch_add(1, Ordering::SeqCst);
    }
    done
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_or_doubled() {
    let mut cluster = Cluster::start().await;
    let mut relays = Vec::new();
    for node in &cluster.nodes {
        relays.push(Relay::to(node.port).await);
    }
    let progress = Arc::new(Progress::default());
    let writers = (0..WRITERS).map(|writer| {
        // Each prefers another node.
        let mut urls: Vec<_> = relays.iter().map(Relay::url).collect();
        urls.rotate_left(writer);
        tokio::spawn(write(urls, writer, progress.clone()))
    });
    let writers: Vec<_> = writers.collect();
    let go_on = async || {
        let wanted = progress.made.load(Ordering::SeqCst) + STRIDE;
        let failed = || writers.iter().any(tokio::task::JoinHandle::is_finished);
        until("updates are made", async || (failed() || progress.made.load(Ordering::SeqCst) >= wanted).then_some(()))
            .await;
    };
    go_on().await;
    for node in 0..cluster.nodes.len() {
        cluster.cut_off(node);
        // Other nodes can't know the writes whose answers are lost.
        let before: usize = relays.iter().map(Relay::writes).sum();
        relays[node].lose_answers(true);
        until("answers are lost", async || (relays.iter().map(Relay::writes).sum::<usize>() > before).then_some(()))
            .await;
        relays[node].lose_answers(false);
        go_on().await;
        cluster.heal(node);
        cluster.nodes[node].kill();
        cluster.nodes[node].start().await;
        go_on().await;
    }
    progress.has_ended.store(true, Ordering::SeqCst);
    let mut done = Vec::new();
    for writer in writers {
        done.extend(writer.await.unwrap());
    }
    cluster.until_equal().await;
    let items: BTreeSet<_> = done.iter().map(|(item, _)| item.clone()).collect();
    let dots: BTreeSet<_> = done.iter().map(|(_, dot)| dot.clone()).collect();
    assert_eq!((items.len(), dots.len()), (done.len(), done.len()));
    for url in cluster.urls() {
        assert_eq!(merged(&Client::new([url]).unwrap().session().read(KEY).await.unwrap()), items);
    }
    // The log has one write for each that was answered, whatever was sent again.
    let client = Client::new([cluster.url(0)]).unwrap();
    client.session().set("set/end", "").await.unwrap();
    let mut watch = client.watch(KEY).from_cursor("0");
    let mut made = Vec::new();
    while let Some(event) = watch.next().await {
        match event.unwrap() {
            Event::Change(change) if change.entries[0].key == KEY => made.push(change.dot),
            Event::Change(_) => break,
            _ => {}
        }
    }
    assert_eq!(made.len(), dots.len());
    assert_eq!(made.into_iter().collect::<BTreeSet<_>>(), dots);
}
