//! Watches: every change once, over cuts and restarts, and told when that can't be.

use std::time::Duration;

use causeway_client::{Acks, Change, Client, Event, Values, Watch, WriteOptions};
use futures_util::StreamExt;

use crate::nodes::Cluster;

async fn next(watch: &mut Watch) -> Event {
    watch.next().await.unwrap().unwrap()
}

async fn change(watch: &mut Watch) -> Change {
    match next(watch).await {
        Event::Change(change) => change,
        other => panic!("{other:?}"),
    }
}

async fn value(watch: &mut Watch) -> String {
    change(watch).await.entries[0].value.clone().unwrap()
}

#[tokio::test]
async fn a_watch_goes_on_over_restarts_and_from_its_cursor() {
    let mut cluster = Cluster::start().await;
    let client = Client::builder(cluster.urls()).timeout(Duration::from_secs(120)).build().unwrap();
    let mut watch = client.watch("k");
    let Event::Start { context, cursor } = next(&mut watch).await else { panic!("no start") };
    assert_eq!(watch.cursor(), Some(cursor.clone()));
    assert!(client.session_from(context).read("k").await.unwrap().is_empty());
    let mut session = client.session();
    let first = session.write(Values::new().set("k", "1").set("elsewhere", "x"), WriteOptions::new()).await.unwrap();
    let told = change(&mut watch).await;
    assert_eq!((&told.dot, told.node, told.entries.len()), (&first.dot, 0, 1));
    let all = WriteOptions::new().acks(Acks::All).wait(Duration::from_secs(60));
    session.write(Values::new().delete("k"), all).await.unwrap();
    let told = change(&mut watch).await;
    assert_eq!((&told.entries[0].value, &told.entries[0].replaces), (&None, &vec![first.dot.clone()]));

    cluster.nodes[0].kill();
    let mut elsewhere = Client::new([cluster.url(1)]).unwrap().session();
    elsewhere.set("k", "3").await.unwrap();
    // Whoever waits may be dropped: nothing is lost.
    let _ = tokio::time::timeout(Duration::from_millis(100), watch.next()).await;
    cluster.nodes[0].start().await;
    assert_eq!(value(&mut watch).await, "3");

    let mut again = client.watch("k").from_cursor(&told.cursor);
    assert_eq!(value(&mut again).await, "3");
    let mut again = client.watch("k").from_cursor("0");
    assert!(matches!(next(&mut again).await, Event::Start { .. }));
    assert_eq!(change(&mut again).await.dot, first.dot);
}

#[tokio::test]
async fn a_watch_whose_node_stays_away_begins_anew_and_says_so() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    let mut watch = client.watch("k").timeout(Duration::from_secs(10));
    assert!(matches!(next(&mut watch).await, Event::Start { .. }));
    let mut session = client.session();
    let all = WriteOptions::new().acks(Acks::All).wait(Duration::from_secs(8));
    session.write(Values::new().set("k", "1"), all).await.unwrap();
    assert_eq!(value(&mut watch).await, "1");
    cluster.nodes[0].kill();
    assert_eq!(next(&mut watch).await, Event::Reset);
    let Event::Start { context, cursor } = next(&mut watch).await else { panic!("no start") };
    assert!(cursor.ends_with(cluster.url(1)) || cursor.ends_with(cluster.url(2)), "{cursor}");
    assert_eq!(client.session_from(context).read("k").await.unwrap().value(), Some("1"));
    session.set("k", "2").await.unwrap();
    assert_eq!(value(&mut watch).await, "2");
    // Nobody is there: it is told, and goes on from there when somebody is.
    let mut watch = watch.timeout(Duration::from_secs(2));
    let cursor = watch.cursor();
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    assert!(watch.next().await.unwrap().is_err());
    assert_eq!(watch.cursor(), cursor);
    for node in &mut cluster.nodes {
        node.start().await;
    }
    let mut watch = watch.timeout(Duration::from_secs(60));
    session.with_timeout(Duration::from_secs(60)).set("k", "3").await.unwrap();
    assert_eq!(value(&mut watch).await, "3");
}
