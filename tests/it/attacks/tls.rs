//! TLS: who has no certificate, one of another authority, or one that has expired, gets nothing in; what is no TLS costs nobody
//! anything; and certificates and authorities are exchanged under load.

mod exchange;

use std::fs;
use std::process::Command;

use reqwest::{Method, tls::Version};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{file, spread};
use crate::commands::Run;
use crate::support::api::{Api, client, send};
use crate::support::authority::{Authority, TlsFiles};
use crate::support::cluster::Cluster;
use crate::support::process::{Launch, Process, causeway};
use crate::support::sse::Events;
use crate::support::{free_ports, until};

/// A node alone, which speaks TLS.
struct Alone {
    node: Process,
    port: u16,
    authority: Authority,
    files: TlsFiles,
    directory: TempDir,
}

impl Alone {
    async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let authority = Authority::new("one");
        let files = TlsFiles::new(directory.path(), "node", &authority.issue(), &[&authority]);
        let [port] = free_ports();
        let launch = Launch::by_arguments(&directory.path().join("0"), 0, port, &[port]);
        let node = files.of(launch, &[authority.pem()]).start_ready().await;
        Self { node, port, authority, files, directory }
    }

    /// What comes back for these bytes, until the end.
    async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let mut answer = Vec::new();
        stream.write_all(bytes).await.unwrap();
        // A reset is an end, too.
        let _ = stream.read_to_end(&mut answer).await;
        answer
    }

    /// A command with these variables.
    async fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
        let mut command: Command = causeway();
        command.args(arguments).envs(variables.iter().copied());
        tokio::task::spawn_blocking(move || Run::of(command, b"")).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_served_over_tls_and_in_no_other_way() {
    let world = Alone::start().await;
    let api = &world.node.api;
    api.set("key", "value").await;
    assert_eq!(api.read("key").await.as_deref(), Some("value"));
    let mut events = Events::open(api.request(Method::GET, "/watch?prefix=ke")).await.unwrap().unwrap();
    api.set("key", "later").await;
    while events.next().await.unwrap().unwrap().name != "change" {}

    let url = format!("https://127.0.0.1:{}", world.port);
    let old = client(&[world.authority.pem()]).max_tls_version(Version::TLS_1_2);
    assert_eq!(Api::at(url.clone(), old).read("key").await.as_deref(), Some("later"));
    for stranger in [vec![], vec![Authority::new("one").pem()]] {
        let refused = Api::at(url.clone(), client(&stranger)).request(Method::GET, "/read?key=key").send().await;
        assert!(refused.unwrap_err().is_connect());
    }

    let plain = send(Api::new(world.port).patch("", &json!({"key": "plain"}))).await.unwrap();
    assert_eq!((plain.status, plain.json()["type"].as_str()), (400, Some("/problems/tls-needed")), "{plain:?}");
    assert!(plain.body.contains("https://"), "{plain:?}");
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    assert!(world.raw(long.as_bytes()).await.starts_with(b"HTTP/1.1 400 "));
    assert_eq!(api.read("key").await.as_deref(), Some("later"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_tls_costs_nobody_anything() {
    let world = Alone::start().await;
    let open = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
    let mut half = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    let large = [b"\x16\x03\x01\xff\xff\x01\xff\xff\xff".as_slice(), &[0; 200_000]].concat();
    let greeting = [b"\x16\x03\x01\x00\x30\x01\x00\x00\x2c\x03\x03".as_slice(), &[0xaa; 38]].concat();
    for garbage in
        [&b"\x16\x03\x01\x00\x04abcd"[..], b"\x16\x00\x00\x00\x00", &large, &greeting, b"\x15\x03\x03\0\x02\x01\0"]
    {
        let answer = world.raw(garbage).await;
        // An alert, or what is said to who does not speak TLS.
        assert!(answer.is_empty() || answer[0] == 0x15 || answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
    }
    world.node.api.set("key", "value").await;
    let failures = async || world.node.api.metric(r#"causeway_tls_failures_total{listener="clients"}"#).await.unwrap();
    until(async || (failures().await >= 5.0).then_some(()), async || failures().await.to_string()).await;
    drop((open, half));
    // A greeting that is not finished holds up no stop.
    let mut half = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    assert_eq!(world.node.terminate().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_know_a_node_by_its_authority_and_their_own_by_its_certificate() {
    let world = Alone::start().await;
    world.node.api.set("key", "value").await;
    let url = format!("https://127.0.0.1:{}", world.port);
    let get = ["get", "key", "--node", &url];
    let trusted = world.files.authorities.to_str().unwrap();
    let stranger = file(world.directory.path(), "other.pem", &[&Authority::new("other").pem()]);
    let with_option = [&get[..], &["--ca-file", trusted]].concat();
    assert_eq!(world.command(&with_option, &[]).await.printed(), "value");
    assert_eq!(world.command(&get, &[("CAUSEWAY_TLS_CA_FILE", trusted)]).await.printed(), "value");
    let refused = world.command(&get, &[("CAUSEWAY_TLS_CA_FILE", stranger.to_str().unwrap())]).await.failed(3);
    assert!(refused.contains("invalid peer certificate: UnknownIssuer"), "{refused}");
    for none in
        [&[][..], &[("CAUSEWAY_TLS_CA_FILE", "")], &[("CAUSEWAY_TLS_CA_FILE", world.files.key.to_str().unwrap())]]
    {
        let why = world.command(&get, none).await.failed(2);
        assert!(why.contains("CAUSEWAY_TLS_CA_FILE") || why.contains("has no certificate in PEM"), "{why}");
    }
    let plain = world.command(&["get", "key", "--node", &world.port.to_string()], &[]).await.failed(3);
    assert!(plain.contains("This port speaks TLS"), "{plain}");

    // As in the node's container. What the certificate is for, and until when, does not matter there.
    let listen = format!("localhost:{}", world.port).replace("localhost", "127.0.0.1");
    let own =
        |certificate: &str| [("CAUSEWAY_LISTEN", listen.clone()), ("CAUSEWAY_TLS_CERT_FILE", certificate.to_owned())];
    let own_files = own(world.files.certificate.to_str().unwrap());
    let own_files = own_files.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(world.command(&["get", "key"], &own_files).await.printed(), "value");
    world.command(&["healthcheck"], &own_files).await.printed();
    let another = own(stranger.to_str().unwrap());
    let another = another.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(world.command(&["get", "key"], &another).await.code, Some(3));
    // A check tells nobody anything: while a file is being exchanged, a node that is ready is.
    world.command(&["healthcheck"], &another).await.printed();
    assert!(world.command(&["healthcheck"], &[("CAUSEWAY_LISTEN", &listen)]).await.failed(1).contains("400"));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_can_not_be_used_change_nothing_and_are_told() {
    let world = Alone::start().await;
    let (api, node) = (&world.node.api, &world.node);
    let expires = async || api.metric("causeway_tls_certificate_expires_timestamp_seconds").await.unwrap();
    let bad = async || api.metric("causeway_tls_files_bad").await.unwrap();
    assert_eq!((expires().await, bad().await), (67_090_118_400.0, 0.0), "the year 4096");
    let key = fs::read(&world.files.key).unwrap();
    fs::write(&world.files.key, world.authority.issue().key).unwrap();
    let said = "has another key than that of the certificate: those of before stay in force";
    until(async || node.log().contains(said).then_some(()), async || node.log()).await;
    assert_eq!(bad().await, 1.0);
    let fresh = || Api::over_tls(world.port, &[world.authority.pem()]);
    fresh().set("key", "value").await;
    fs::write(&world.files.key, key).unwrap();
    until(async || (bad().await == 0.0).then_some(()), async || node.log()).await;

    // One that has expired is taken all the same: a node has to come up, and who checks it will not connect.
    world.files.show(&world.authority.issue_until(2020));
    let said = "this node's certificate has EXPIRED, at 2020-01-01T00:00:00Z";
    until(async || node.log().contains(said).then_some(()), async || node.log()).await;
    assert!(fresh().request(Method::GET, "/read?key=key").send().await.unwrap_err().is_connect());
    assert_eq!(expires().await, 1_577_836_800.0, "kept connections go on");
    assert_eq!(node.log().matches("those of before stay in force").count(), 1);
    assert!(!node.log().contains("PRIVATE"));
}

/// Clients and peers at one port, the peers proven by a secret.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_a_secret_and_one_port_for_all_speak_tls() {
    let directory = TempDir::new().unwrap();
    let secret = file(directory.path(), "secret", &[super::SECRET]);
    let authority = Authority::new("one");
    let files =
        [0, 1, 2].map(|id: u32| TlsFiles::new(directory.path(), &id.to_string(), &authority.issue(), &[&authority]));
    let cluster = Cluster::mesh_with(|id, launch| {
        let launch = launch.with("CAUSEWAY_SECRET_FILE", secret.to_str().unwrap());
        files[id as usize].of(launch, &[authority.pem()])
    });
    let cluster = cluster.await;
    spread(&cluster, 0).await;
    let peers = cluster.api(0).status().await["peers"].clone();
    assert!(peers[0]["address"].as_str().unwrap().starts_with("https://"), "{peers}");
}
