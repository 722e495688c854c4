//! Tokens and certificates, with something that speaks TLS in front of a node. The certificates in `tls/` were made with
//! openssl, for 127.0.0.1 and a hundred years; nothing else trusts them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use causeway_client::{Client, Error};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");
const ANSWER: &str = "HTTP/1.1 200 OK\r\ncausal-context: c\r\ncontent-length: 62\r\n\r\n\
                      {\"dot\":\"0.00c0ffee00c0ffee.1\",\"context\":\"c\",\"durable_on\":[0]}\n";

/// What answers writes over TLS; gives its URL, and what it was asked.
fn start() -> (String, Receiver<String>) {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/node.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/node-key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let (asked, requests) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            if let Some(request) = serve(&config, stream.unwrap()) {
                asked.send(request).unwrap();
            }
        }
    });
    (url, requests)
}

/// Answers one request; `None` when nothing was asked, as by whoever does not trust it.
fn serve(config: &Arc<ServerConfig>, stream: TcpStream) -> Option<String> {
    let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.ends_with(b"}") {
        match stream.read(&mut buffer) {
            Ok(length @ 1..) => request.extend_from_slice(&buffer[..length]),
            _ => return None,
        }
    }
    stream.write_all(ANSWER.as_bytes()).ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()?;
    String::from_utf8(request).ok()
}

#[tokio::test]
async fn tokens_are_sent_and_certificates_are_checked() {
    let (url, requests) = start();
    let client = Client::builder([&url]).token("secret").root_certificates(AUTHORITY).build().unwrap();
    let written = client.session().set("k", "v").await.unwrap();
    assert_eq!(written.durable_on, [0]);
    let request = requests.recv().unwrap();
    assert!(request.contains("\r\nauthorization: Bearer secret\r\n"), "{request}");

    // What the system trusts does not include it. Nothing was sent.
    let client = Client::builder([&url]).timeout(Duration::from_millis(500)).build().unwrap();
    let error = client.session().set("k", "v").await.unwrap_err();
    let Error::Unreachable { reasons } = error else { panic!("{error}") };
    assert!(reasons[&url].contains("certificate"), "{reasons:?}");
    assert!(requests.try_recv().is_err());
}
