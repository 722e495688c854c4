//! One transport against ends that misbehave.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::failure::Failure;
use super::transport::Transport;
use super::*;
use crate::auth::{Keyring, Keys, Secrets};
use crate::causality::{NodeId, VersionVector};
use crate::format::message;
use crate::format::state::{self, StateAnswer, Taken};
use crate::replica::{Answer, Protocol, Rejection, Statement};

const PROGRESS_TIMEOUT: Duration = Duration::from_secs(1);

fn transport(url: &str) -> Transport {
    transport_with(url, Keys::default())
}

fn transport_with(url: &str, keys: Keys) -> Transport {
    let options = SenderOptions { progress_timeout: PROGRESS_TIMEOUT, ..SenderOptions::default() };
    Transport::new(
        url,
        &options,
        Calls::new(keys, NodeId(0)),
        Connector::new(options.connect_timeout, options.tls.clone()),
    )
}

fn an_answer() -> Answer {
    let receiver = Statement {
        node: NodeId(1),
        boot: 1,
        number: 1,
        vector: VersionVector::new(),
        protocol: Protocol::OWN,
        wants_state: false,
    };
    Answer { receiver, implied: Vec::new(), missing: Vec::new(), redundant: 0, twin_ms: None }
}

/// An answer as it goes over the wire.
fn response(status: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn good() -> Vec<u8> {
    response("200 OK", message::CONTENT_TYPE, &message::encode_answer(&an_answer()))
}

/// A peer that answers each connection with the next of these bytes, and closes it after the last.
async fn peer(answers: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for answer in answers {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let read = connection.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"POST /replication/v1/"));
            connection.write_all(&answer).await.unwrap();
        }
    });
    url
}

async fn fails(url: &str) -> Failure {
    transport(url).push(b"push".to_vec()).await.unwrap_err()
}

#[tokio::test]
async fn an_answer_comes_back() {
    let url = peer(vec![good()]).await;
    assert_eq!(transport(&url).push(b"push".to_vec()).await.unwrap(), an_answer());
}

#[tokio::test]
async fn every_failure_has_its_word() {
    let rejection = Rejection::Misdirected { actual: NodeId(2) };
    let rejected = response("421 Misdirected Request", message::CONTENT_TYPE, &message::encode_rejection(&rejection));
    let busy = response("503 Service Unavailable", "application/problem+json", b"{}");
    let elsewhere = response("302 Found", "text/html", b"");
    let cut_short = good()[..good().len() - 3].to_vec();
    let no_answer = response("200 OK", message::CONTENT_TYPE, b"no answer");
    let page = response("200 OK", "text/html", b"<p>a page</p>");
    let endless = response("200 OK", message::CONTENT_TYPE, &vec![0; 2 << 20]);
    let cases = [
        ("misdirected", rejected),
        ("unavailable", busy),
        ("unexpected-answer", elsewhere),
        ("unexpected-answer", no_answer),
        ("unexpected-answer", page),
        ("unexpected-answer", endless),
        ("connection-lost", cut_short),
        ("connection-lost", Vec::new()),
        ("connection-lost", b"not HTTP at all\r\n\r\n".to_vec()),
    ];
    for (error_type, answer) in cases {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        let failure = fails(&peer(vec![answer]).await).await;
        assert_eq!(failure.error_type(), error_type, "{shown:?}: {failure}");
    }
    let refused = fails("http://127.0.0.1:1").await;
    assert_eq!(refused.error_type(), "connect", "{refused}");
    // Where no name server answers, the look-up takes as long as a connection may.
    let unknown = fails("http://no-such-node.invalid:7000").await;
    assert!(["lookup", "connect-timeout"].contains(&unknown.error_type()), "{unknown}");
}

/// A node with a secret takes nothing for an answer that is not proven to be one, and says what is wrong.
#[tokio::test]
async fn with_a_secret_only_a_proven_answer_is_one() {
    let secrets = Secrets::parse("a secret that is long enough for anybody").unwrap();
    let keys = Keys::new(Keyring::new(&secrets, "c"));
    let rejection = message::encode_rejection(&Rejection::Misdirected { actual: NodeId(2) });
    let refused = |reason: &str| {
        let wanted = format!("application/problem+json\r\nwww-authenticate: Causeway-Peer reason={reason}");
        response("401 Unauthorized", &wanted, b"{}")
    };
    let mut signed = good();
    let proof = format!("causeway-peer-auth: v1 {}\r\n", "A".repeat(43));
    signed.splice(17..17, proof.into_bytes());
    let cases = [
        ("answer-not-authenticated", good(), "its answer is not signed"),
        ("answer-not-authenticated", signed, "its answer is not the one that was signed"),
        ("not-authenticated", response("404 Not Found", "text/plain", b""), "upgrade it first"),
        ("not-authenticated", refused("no-secret"), "this node has a secret and it has none"),
        ("not-authenticated", refused("unknown-key"), "it does not know the secret"),
        ("not-authenticated", refused("of-tomorrow"), "gives no reason that is known here"),
        ("unavailable", response("503 Service Unavailable", "text/plain", b"busy"), "busy"),
        ("unexpected-answer", response("421 Misdirected Request", message::CONTENT_TYPE, &rejection), "421"),
    ];
    for (error_type, answer, why) in cases {
        let url = peer(vec![answer]).await;
        let failure = transport_with(&url, keys.clone()).push(b"push".to_vec()).await.unwrap_err();
        assert_eq!(failure.error_type(), error_type, "{failure}");
        assert!(failure.to_string().contains(why), "{failure}");
        assert_eq!(failure.rejection(), None);
    }
    let refused = fails(&peer(vec![refused("secret-missing")]).await).await;
    assert_eq!(refused.error_type(), "not-authenticated");
    assert!(refused.to_string().contains("this node sent none"), "{refused}");
}

#[tokio::test]
async fn a_peer_of_a_version_without_state_transfer_is_told_from_one_that_is_not_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let read = connection.read(&mut request).await.unwrap();
        assert!(request[..read].starts_with(b"POST /replication/v1/state HTTP/1.1\r\n"));
        connection.write_all(&response("404 Not Found", "application/problem+json", b"{}")).await.unwrap();
    });
    let failure = transport(&url).piece(b"piece".to_vec().into(), false).await.unwrap_err();
    assert_eq!(failure.error_type(), "takes-no-state");
    assert!(failure.to_string().contains("upgrade it"), "{failure}");
}

#[tokio::test]
async fn the_last_piece_may_be_answered_late() {
    let answer = StateAnswer { answer: an_answer(), taken: Taken::All };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let late = response("200 OK", message::CONTENT_TYPE, &state::encode_answer(&answer));
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = connection.read(&mut request).await.unwrap();
        sleep(PROGRESS_TIMEOUT * 2).await;
        connection.write_all(&late).await.unwrap();
        sleep(PROGRESS_TIMEOUT * 8).await;
    });
    assert_eq!(transport(&url).piece(b"piece".to_vec().into(), true).await.unwrap(), answer);
}

#[tokio::test]
async fn a_rejection_is_passed_on() {
    let expected = Rejection::WrongCluster { actual: "other".into() };
    let answer = response("403 Forbidden", message::CONTENT_TYPE, &message::encode_rejection(&expected));
    assert_eq!(fails(&peer(vec![answer]).await).await.rejection(), Some(expected));
}

#[tokio::test]
async fn versions_that_do_not_fit_are_said() {
    let why = "node 0 speaks version 1 of the protocol, this node versions 3 to 4: upgrade the older of them";
    let refused = fails(&peer(vec![response("400 Bad Request", "text/plain", why.as_bytes())]).await).await;
    assert_eq!(refused.to_string(), format!("it answered 400 Bad Request: {why}"));
    let mut newer = an_answer();
    newer.receiver.protocol = Protocol { oldest: 3, newest: 4 };
    let answer = response("200 OK", message::CONTENT_TYPE, &message::encode_answer(&newer));
    let failure = fails(&peer(vec![answer]).await).await;
    let expected = "its answer can't be read: node 1 speaks versions 3 to 4 of the protocol, this node versions 1 to 2";
    assert!(failure.to_string().starts_with(expected), "{failure}");
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let failure = fails(&format!("http://{}", listener.local_addr().unwrap())).await;
    assert!(matches!(failure, Failure::Stalled(PROGRESS_TIMEOUT)), "{failure}");
}

#[tokio::test]
async fn after_a_failure_the_next_push_has_a_connection_of_its_own() {
    let url = peer(vec![b"garbage\r\n\r\n".to_vec(), good()]).await;
    let mut transport = transport(&url);
    transport.push(b"push".to_vec()).await.unwrap_err();
    transport.push(b"push".to_vec()).await.unwrap();
}

/// What the buffers on the way may hold, and more.
const BUFFERED_BYTES: usize = 16 << 20;

/// Takes a request little by little, for much longer than a push may go on without progress; but what the
/// buffers hold at the end, which its sender can't see shrink, in one go.
async fn take_slowly(mut connection: TcpStream, bytes: usize) {
    let mut left = bytes;
    let mut piece = vec![0; bytes / 16];
    while left > 0 {
        let read = connection.read(&mut piece).await.unwrap();
        left = left.saturating_sub(read);
        if left > BUFFERED_BYTES {
            sleep(PROGRESS_TIMEOUT / 8).await;
        }
    }
    connection.write_all(&good()).await.unwrap();
}

#[tokio::test]
async fn a_slow_peer_is_not_given_up_while_it_takes_more() {
    const BYTES: usize = 4 * BUFFERED_BYTES;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { take_slowly(listener.accept().await.unwrap().0, BYTES).await });
    assert_eq!(transport(&url).push(vec![7; BYTES]).await.unwrap(), an_answer());
}
