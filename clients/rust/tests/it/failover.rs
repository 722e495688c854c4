//! Nodes that go away, answers that are lost: nothing is made twice, and what can go on goes on.

use std::time::Duration;

use causeway_client::{Acks, Client, Error, Values, WriteOptions};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::nodes::{Cluster, free_port, until};
use crate::relay::Relay;

#[tokio::test]
async fn a_session_goes_on_when_its_node_is_killed() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    let mut session = client.session();
    let all = WriteOptions::new().acks(Acks::All).wait(Duration::from_secs(8));
    session.write(Values::new().set("k", "1"), all).await.unwrap();
    cluster.nodes[0].kill();
    assert_eq!(session.read("k").await.unwrap().value(), Some("1"));
    assert_eq!(session.set("k", "2").await.unwrap().durable_on, [1]);
    // Others begin where somebody is.
    assert_eq!(client.session_from(session.context().unwrap()).read("k").await.unwrap().value(), Some("2"));
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let error = session.clone().with_timeout(Duration::from_millis(500)).read("k").await.unwrap_err();
    let Error::Unreachable { reasons } = error else { panic!("{error}") };
    assert_eq!(reasons.into_keys().collect::<Vec<_>>(), {
        let mut urls = cluster.urls();
        urls.sort();
        urls
    });
    cluster.nodes[1].start().await;
    assert_eq!(session.with_timeout(Duration::from_secs(60)).read("k").await.unwrap().value(), Some("2"));
}

#[tokio::test]
async fn lost_answers_and_silent_nodes() {
    let cluster = Cluster::start().await;
    let relay = Relay::to(cluster.nodes[0].port).await;
    let urls = [relay.url(), cluster.url(1).to_owned()];

    // A write whose answer was lost is made once.
    let client = Client::builder(&urls).timeout(Duration::from_secs(30)).build().unwrap();
    let mut session = client.session();
    session.read("once").await.unwrap();
    relay.lose_answers(true);
    let before = relay.writes();
    let heal = async {
        until("the write is sent twice", async || (relay.writes() >= before + 2).then_some(())).await;
        relay.lose_answers(false);
    };
    let (written, ()) = futures_util::future::join(session.set("once", "v"), heal).await;
    let written = written.unwrap();
    assert!(written.replayed);
    assert_eq!(written.durable_on, [0]);
    let found = session.read("once").await.unwrap();
    assert_eq!(found.iter().map(|sibling| &sibling.dot).collect::<Vec<_>>(), [&written.dot]);

    // One whose outcome stays unknown says so, and can be sent elsewhere.
    let mut session = client.session().with_timeout(Duration::from_secs(1));
    session.read("unknown").await.unwrap();
    relay.lose_answers(true);
    let error = session.set("unknown", "v").await.unwrap_err();
    let Error::OutcomeUnknown(unknown) = error else { panic!("{error}") };
    assert_eq!((&unknown.node, &unknown.values), (&relay.url(), &Values::new().set("unknown", "v")));
    let options = WriteOptions::new().idempotency_key(unknown.idempotency_key);
    let mut session = session.with_timeout(Duration::from_secs(10));
    let written = session.write(unknown.values, options).await.unwrap();
    // node1 may have got it already, from node0.
    assert_eq!(written.durable_on, [1]);
    assert!(session.read("unknown").await.unwrap().values().all(|value| value == "v"));
    relay.lose_answers(false);

    // A silent node is left in time.
    let hasty = Client::builder(&urls).attempt_timeout(Duration::from_millis(300)).wait(Duration::from_millis(100));
    let mut session = hasty.timeout(Duration::from_secs(60)).build().unwrap().session();
    let all = WriteOptions::new().acks(Acks::All).wait(Duration::from_secs(8));
    session.write(Values::new().set("silent", "v"), all).await.unwrap();
    relay.cut();
    assert_eq!(session.read("silent").await.unwrap().value(), Some("v"));
}

#[tokio::test]
async fn nobody_there_is_told() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let client = Client::builder([&url]).timeout(Duration::from_millis(200)).build().unwrap();
    let error = client.session().set("k", "v").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

/// A port at which connections are neither taken nor refused, as where a firewall drops what comes; for as long as the rest lives.
async fn silent_port() -> (u16, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(("127.0.0.1", port))).await {
        queued.push(stream.unwrap());
        assert!(queued.len() < 100, "there is always room for one more");
    }
    (port, listener, queued)
}

/// To wait for a connection is not to have sent anything.
#[tokio::test]
async fn a_write_that_found_no_connection_in_time_goes_to_another_node() {
    let cluster = Cluster::start().await;
    let (port, _listener, _queued) = silent_port().await;
    let urls = [format!("http://127.0.0.1:{port}"), cluster.url(1).to_owned()];
    let hasty = Client::builder(&urls).attempt_timeout(Duration::from_millis(300)).wait(Duration::from_millis(100));
    let mut session = hasty.timeout(Duration::from_secs(30)).build().unwrap().session();
    assert_eq!(session.set("k", "v").await.unwrap().durable_on, [1]);
    let alone = Client::builder(&urls[..1]).timeout(Duration::from_millis(1_500)).build().unwrap();
    let error = alone.session().set("k", "v").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}
