//! The same bounds where TLS is spoken.

use rcgen::{CertificateParams, KeyPair};
use rustls::HandshakeKind;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::tls::{Authorities, Believes, Identity, Material, Tls, calls};

fn material() -> Material {
    let (certificate, key) = pem();
    Material { identity: Some(Identity::parse(&certificate, &key).unwrap()), authorities: None }
}

/// A certificate that is its own authority, and its key.
fn pem() -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap().pem();
    (certificate.into_bytes(), key.serialize_pem().into_bytes())
}

fn over_tls(options: ListenOptions) -> ListenOptions {
    ListenOptions { tls: Tls::new(Arc::new(material())).clients(), ..options }
}

async fn connect(address: SocketAddr) -> TlsStream<TcpStream> {
    try_connect(address).await.unwrap()
}

async fn try_connect(address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::new(calls(Believes::Anybody, None).unwrap()));
    let stream = TcpStream::connect(address).await.unwrap();
    connector.connect(ServerName::from(address.ip()), stream).await
}

/// Waits until one more is served, as it is when others are gone.
async fn until_there_is_room(address: SocketAddr) {
    let deadline = Instant::now() + DEADLINE;
    while try_connect(address).await.is_err() {
        assert!(Instant::now() < deadline, "there is no room");
    }
}

/// The answer; its end has to be one of TLS, which nobody on the way can make up.
async fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = connect(address).await;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("an end").unwrap();
    answer
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_waits_for_no_handshake() {
    for workers in [None, some_workers()] {
        let options = over_tls(ListenOptions { stop_grace: DEADLINE, workers, ..ListenOptions::default() });
        let listening = listening(options).await;
        let address = listening.address;
        let silent = TcpStream::connect(address).await.unwrap();
        let mut half_open = TcpStream::connect(address).await.unwrap();
        half_open.write_all(b"\x16\x03\x01").await.unwrap();
        let idle = connect(address).await;
        let asked = tokio::spawn(async move { ask(address, "/slow").await });
        listening.begun.notified().await;
        listening.stop.send(()).unwrap();
        listening.finish.add_permits(1);
        assert!(asked.await.unwrap().ends_with("done"));
        assert_eq!(timeout(DEADLINE, listening.ended).await.unwrap().unwrap(), Stopped { cut: 0 });
        drop((silent, half_open, idle));
    }
}

#[tokio::test]
async fn who_does_not_finish_a_handshake_keeps_others_out_for_a_while_only() {
    let options =
        ListenOptions { head_timeout: Duration::from_millis(200), max_connections: 8, ..ListenOptions::default() };
    let listening = listening(over_tls(options)).await;
    let mut half_open = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(listening.address).await.unwrap();
        stream.write_all(b"\x16\x03\x01").await.unwrap();
        half_open.push(stream);
    }
    until_there_is_room(listening.address).await;
    drop(half_open);
}

#[tokio::test]
async fn a_connection_that_takes_nothing_of_its_answer_is_closed() {
    let options =
        ListenOptions { take_timeout: Duration::from_millis(100), max_connections: 1, ..ListenOptions::default() };
    let listening = listening(over_tls(options)).await;
    let mut stuck = connect(listening.address).await;
    stuck.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // There is room for another only when it is gone.
    until_there_is_room(listening.address).await;
    let mut rest = Vec::new();
    assert!(stuck.read_to_end(&mut rest).await.is_err());
}

#[tokio::test]
async fn a_large_answer_comes_whole() {
    let listening = listening(over_tls(ListenOptions::default())).await;
    let answer = ask(listening.address, "/large").await;
    assert!(answer.len() > 64 << 20, "{}", answer.len());
}

/// Others are shown what was put in force, and who is there already goes on.
#[tokio::test]
async fn what_is_replaced_counts_from_the_next_connection_on() {
    let tls = Tls::new(Arc::new(material()));
    let listening = listening(ListenOptions { tls: tls.clients(), ..ListenOptions::default() }).await;
    let mut before = connect(listening.address).await;
    tls.replace(Arc::new(material()));
    let after = connect(listening.address).await;
    let shown = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap().to_vec();
    assert_ne!(shown(&before), shown(&after));
    before.write_all(b"GET /fast HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    before.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("done"), "{answer}");
}

/// A certificate is shown at each connection, though its client would resume a session; and none outlives the files that it was
/// judged by, but for the request that is under way.
#[tokio::test]
async fn where_certificates_are_asked_for_they_count_for_one_connection() {
    let (certificate, key) = pem();
    let identity = || Identity::parse(&certificate, &key).unwrap();
    let authorities = || Authorities::parse(&certificate).unwrap();
    let material = || Material { identity: Some(identity()), authorities: Some(authorities()) };
    let tls = Tls::new(Arc::new(material()));
    let listening = listening(ListenOptions { tls: tls.peers(), ..ListenOptions::default() }).await;
    let name = ServerName::from(listening.address.ip());
    let mut shows = calls(Believes::Anybody, Some(&identity())).unwrap();
    shows.resumption = Resumption::in_memory_sessions(8);
    let connector = TlsConnector::from(Arc::new(shows));
    let connect = async || {
        let stream = TcpStream::connect(listening.address).await.unwrap();
        connector.connect(name.clone(), stream).await.unwrap()
    };
    for _ in 0..3 {
        let mut stream = connect().await;
        stream.write_all(b"GET /fast HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    }
    let (mut busy, mut idle) = (connect().await, connect().await);
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    listening.begun.notified().await;
    tls.replace(Arc::new(material()));
    assert_eq!(idle.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    listening.finish.add_permits(1);
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("connection: close") && answer.ends_with("done"), "{answer}");

    let mut stranger = self::connect(listening.address).await;
    // It is refused once its half of the handshake is there, so it may believe for a moment that it is in.
    let _ = stranger.write_all(b"GET /fast HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let refused = stranger.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert!(refused.to_string().contains("CertificateRequired"), "{refused}");
}
