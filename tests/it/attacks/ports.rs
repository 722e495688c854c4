//! Who reaches the client port only, of a node whose peers come in at a port of their own: of what peers may do nothing is
//! done there, with whatever signature.

use causeway::auth::{Caller, digest};
use causeway::peers::{FACTS_CALL, HELLO_CALL, STATE_CALL};
use tempfile::TempDir;

use super::tap::{Caught, Tap};
use super::{SECRET, file, keyring, with_secret};
use crate::support::api::Api;
use crate::support::free_ports;

#[tokio::test(flavor = "multi_thread")]
async fn what_peers_may_is_not_to_be_had_at_the_client_port_whoever_signs() {
    let directory = TempDir::new().unwrap();
    let secret = file(directory.path(), "secret", &[SECRET]);
    let [clients, peers, other] = free_ports();
    let way = Tap::to(peers).await;
    let launch = |id, port, nodes: &[(u32, u16)]| with_secret(directory.path(), &secret, id, port, nodes);
    let node0 =
        launch(0, clients, &[(0, peers), (1, other)]).with("CAUSEWAY_PEER_LISTEN", &format!("127.0.0.1:{peers}"));
    let node0 = node0.start_ready().await;
    let node1 = launch(1, other, &[(0, way.port), (1, other)]).start_ready().await;
    node1.api.set("before", "value").await;
    node0.api.until_reads("before", "value").await;

    let push = way.catch("held", &node1.api).await;
    let hello = Caller::new(1, 99).sign(&keyring(SECRET, "causeway"), "POST", HELLO_CALL, None, digest(b"")).unwrap();
    let hello = Caught { path: HELLO_CALL.to_owned(), proof: Some(hello.header().to_owned()), body: Vec::new() };
    let before = node0.api.status().await["vector"].clone();
    let elsewhere = [STATE_CALL, FACTS_CALL].map(|path| Caught { path: path.to_owned(), ..push.clone() });
    for request in [&push, &hello].into_iter().chain(&elsewhere) {
        let answer = request.send(&node0.api).await;
        assert_eq!((answer.status, &answer.json()["type"]), (404, &"/problems/not-found".into()), "{}", request.path);
        assert_eq!(answer.header("causeway-peer-auth"), None);
    }
    assert_eq!(node0.api.status().await["vector"], before);
    assert_eq!(node0.api.read("held").await, None);

    // Both were right, and nobody has taken them yet.
    let port = Api::new(peers);
    assert_eq!(hello.send(&port).await.status, 200);
    assert_eq!(push.send(&port).await.status, 200, "{}", push.path);
    assert_eq!(node0.api.read("held").await.as_deref(), Some("value"));
}
