//! What sessions read, write and merge.

use std::time::Duration;

use causeway_client::{Acks, Client, Error, ProblemKind, Replaces, Siblings, Values, WriteOptions};
use futures_util::TryStreamExt;

use crate::nodes::Cluster;

fn joined(siblings: &Siblings) -> String {
    let mut values: Vec<&str> = siblings.values().collect();
    values.sort_unstable();
    values.join("+")
}

#[tokio::test]
async fn a_session_reads_what_it_wrote_wherever_it_goes_on() {
    let cluster = Cluster::start().await;
    let mut session = cluster.client().session();
    assert_eq!(session.context(), None);
    assert!(session.read("a").await.unwrap().is_empty());
    let values = Values::new().set("a", "1").set("b", "2").set("b/ä&+", "3");
    let written = session.write(values, WriteOptions::new()).await.unwrap();
    assert_eq!((written.durable_on.as_slice(), written.enough, written.replayed), (&[0][..], true, false));
    for node in [2, 1, 0] {
        let elsewhere = Client::new([cluster.url(node)]).unwrap();
        let mut later = elsewhere.session_from(session.context().unwrap());
        let found = later.read("a").await.unwrap();
        assert_eq!((found.value(), found.in_conflict(), found.len()), (Some("1"), false, 1));
        let sibling = &found.siblings[0];
        assert_eq!((&sibling.dot, sibling.node), (&written.dot, 0));
        assert!(sibling.written_at.elapsed().unwrap() < Duration::from_secs(600));
        later.set("c", node.to_string()).await.unwrap();
        session = cluster.client().session_from(later.context().unwrap());
    }
    let keys: Vec<String> = session.keys("b").try_collect().await.unwrap();
    assert_eq!(keys, ["b", "b/ä&+"]);
    let found = session.read_many(["b", "none", "b/ä&+", "b"]).await.unwrap();
    let shown: Vec<_> = found.iter().map(|(key, siblings)| (key.as_str(), siblings.value())).collect();
    assert_eq!(shown, [("b", Some("2")), ("b/ä&+", Some("3")), ("none", None)]);
    session.delete("b").await.unwrap();
    assert!(session.read("b").await.unwrap().is_empty());
    let all = WriteOptions::new().acks(Acks::All).wait(Duration::from_secs(8));
    let written = session.write(Values::new().set("b", "4"), all).await.unwrap();
    assert_eq!((written.durable_on.as_slice(), written.enough), (&[0, 1, 2][..], true));
    cluster.cut_off(0);
    let all = WriteOptions::new().acks(Acks::All).wait(Duration::from_millis(100));
    let written = session.write(Values::new().set("b", "5"), all).await.unwrap();
    assert!(!written.enough && written.durable_on.contains(&0), "{written:?}");
    // What only node0 has can't be had of another.
    let other = Client::builder([cluster.url(1)]).timeout(Duration::from_secs(2)).wait(Duration::from_millis(100));
    let mut other = other.build().unwrap().session_from(session.context().unwrap());
    let error = other.read("b").await.unwrap_err();
    assert_eq!(error.kind(), Some(ProblemKind::ContextNotReached), "{error}");
    assert!(!error.problem().unwrap().lacking().is_empty());
    cluster.heal(0);
}

#[tokio::test]
async fn siblings_are_shown_merged_and_settled() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let in_conflict = async |key: &str| {
        let (mut one, mut other) = (client.session(), client.session());
        one.read(key).await.unwrap();
        other.read(key).await.unwrap();
        one.set(key, "tea").await.unwrap();
        other.set(key, "jam").await.unwrap();
        one
    };
    let mut session = in_conflict("cart/1").await;
    let found = client.session().read("cart/1").await.unwrap();
    assert_eq!((found.values().collect::<Vec<_>>(), found.in_conflict()), (vec!["jam", "tea"], true));
    let written = session.update("cart/1", joined).await.unwrap();
    assert_eq!(written.value(), Some("jam+tea"));
    assert_eq!(session.read("cart/1").await.unwrap().values().collect::<Vec<_>>(), ["jam+tea"]);

    in_conflict("cart/2").await;
    in_conflict("cart/3").await;
    let conflicts: Vec<Siblings> = session.conflicts("cart/").try_collect().await.unwrap();
    assert_eq!(conflicts.iter().map(|found| found.key.as_str()).collect::<Vec<_>>(), ["cart/2", "cart/3"]);
    for found in conflicts {
        assert_eq!(session.resolve(found.key, joined).await.unwrap().as_deref(), Some("jam+tea"));
    }
    let unmerged = |_: &Siblings| -> String { panic!("there is nothing to merge") };
    assert_eq!(session.resolve("cart/1", unmerged).await.unwrap().as_deref(), Some("jam+tea"));
    let conflicts: Vec<Siblings> = session.conflicts("").try_collect().await.unwrap();
    assert!(conflicts.is_empty());

    // A write without what it has seen replaces all that is held.
    in_conflict("cart/4").await;
    let mut unseen = client.session();
    let held = WriteOptions::new().replaces(Replaces::Held);
    unseen.write(Values::new().set("cart/4", "bread"), held).await.unwrap();
    assert_eq!(unseen.read("cart/4").await.unwrap().len(), 1);
    session.update("cart/4", |_| None).await.unwrap();
}

#[tokio::test]
async fn refusals_say_what_they_are_about() {
    let cluster = Cluster::start().await;
    let mut session = cluster.client().session();
    let kind = |error: Error| (error.kind(), error.problem().map(|problem| problem.problem_type.clone()));
    let told = |kind, name: &str| (Some(kind), Some(format!("/problems/{name}")));
    let error = session.set("", "v").await.unwrap_err();
    assert_eq!(kind(error), told(ProblemKind::BadRequest, "empty-key"));
    let error = session.set("k", "v".repeat(2 << 20)).await.unwrap_err();
    assert_eq!(error.problem().unwrap().limit(), Some(1 << 20));
    assert_eq!(kind(error), told(ProblemKind::TooLarge, "value-too-long"));
    let named = || WriteOptions::new().idempotency_key("order-4711");
    let first = session.write(Values::new().set("k", "1"), named()).await.unwrap();
    let again = session.write(Values::new().set("k", "1"), named()).await.unwrap();
    assert_eq!((again.dot, first.replayed, again.replayed), (first.dot, false, true));
    let error = session.write(Values::new().set("k", "2"), named()).await.unwrap_err();
    assert_eq!(kind(error), told(ProblemKind::IdempotencyKeyReused, "idempotency-key-reused"));
    let error = cluster.client().session_from("no-context").read("k").await.unwrap_err();
    assert_eq!(kind(error), told(ProblemKind::BadRequest, "bad-context"));
}
