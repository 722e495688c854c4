//! Peers that know each other by certificates alone, at ports of their own.

use std::collections::BTreeMap;

use causeway::peers::CALL;
use reqwest::{Identity, Method};
use tempfile::TempDir;

use super::super::{Writers, spread};
use crate::support::api::{Api, client, send};
use crate::support::authority::{Authority, Issued, TlsFiles};
use crate::support::cluster::Cluster;
use crate::support::process::Launch;
use crate::support::{free_ports, until};

/// Three nodes.
struct World {
    cluster: Cluster,
    files: [TlsFiles; 3],
    ports: [u16; 3],
    peer_ports: [u16; 3],
    _directory: TempDir,
}

impl World {
    /// What is there at the start; `callers_trust` is whom the tests' clients do.
    async fn start(issued: [Issued; 3], trusted: &Authority, callers_trust: &[String]) -> Self {
        let (own, directory) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (ports, peer_ports) = (free_ports::<3>(), free_ports::<3>());
        let files = [0, 1, 2].map(|id| TlsFiles::new(own.path(), &id.to_string(), &issued[id], &[trusted]));
        let peers = [0, 1, 2].map(|id| (id as u32, peer_ports[id]));
        let launch = |id: usize| {
            let launch = Launch::by_urls(&directory.path().join(id.to_string()), id as u32, ports[id], &peers, "https");
            let launch = launch.with("CAUSEWAY_PEER_LISTEN", &format!("127.0.0.1:{}", peer_ports[id]));
            files[id].of(launch, callers_trust)
        };
        let launches = [0, 1, 2].map(launch).to_vec();
        let cluster = Cluster::start(directory, launches, BTreeMap::new()).await;
        Self { cluster, files, ports, peer_ports, _directory: own }
    }

    /// Asks for something at the port for peers of node 0, shown this; the status, or why there is none.
    async fn asks(&self, shown: Option<&Issued>, trusted: &Authority) -> Result<u16, reqwest::Error> {
        let client = client(&[trusted.pem()]);
        let client = shown.into_iter().fold(client, |client, Issued { certificate, key }| {
            client.identity(Identity::from_pem(format!("{key}{certificate}").as_bytes()).unwrap())
        });
        let api = Api::at(format!("https://127.0.0.1:{}", self.peer_ports[0]), client);
        send(api.request(Method::POST, CALL)).await.map(|answer| answer.status)
    }

    /// Waits until all nodes have read their files so many times.
    async fn until_read(&self, times: usize) {
        for node in &self.cluster.nodes {
            let read = async || (node.log().matches("files for TLS were read anew").count() >= times).then_some(());
            until(read, async || format!("not {times} times: {}", node.log())).await;
        }
    }

    /// Why a node says that it does not reach another.
    async fn why(&self, from: usize, to: u32) -> String {
        let status = self.cluster.api(from).status().await;
        let peers = status["peers"].as_array().unwrap().iter();
        peers.filter(|peer| peer["node"] == to).map(|peer| peer["why"].to_string()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_certificate_that_counts_is_no_peer() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let issued = [ours.issue(), ours.issue(), ours.issue()];
    let world = World::start(issued, &ours, &[ours.pem()]).await;
    assert_eq!(world.asks(Some(&ours.issue()), &ours).await.unwrap(), 415, "nothing is wrong but what is asked");
    for (who, shown) in [("nobody", None), ("theirs", Some(theirs.issue())), ("expired", Some(ours.issue_until(2020)))]
    {
        let refused = world.asks(shown.as_ref(), &ours).await;
        assert!(refused.is_err(), "{who}: {refused:?}");
    }
    let plain = Api::new(world.peer_ports[0]);
    assert_eq!(plain.get("/").await.status, 400);
}

/// Neither takes what a node with an expired certificate sends, nor sends it anything, until it has another.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_whose_certificate_has_expired_is_refused_until_it_has_another() {
    let ours = Authority::new("ours");
    let world = World::start([ours.issue(), ours.issue(), ours.issue()], &ours, &[ours.pem()]).await;
    spread(&world.cluster, 0).await;
    // Asked over a connection that was there before.
    let node2 = world.cluster.api(2);
    world.files[2].show(&ours.issue_until(2020));
    let said = "this node's certificate has EXPIRED";
    let log = || world.cluster.nodes[2].log();
    until(async || log().contains(said).then_some(()), async || log()).await;
    node2.set("late", "value").await;
    let expired = async || world.why(2, 0).await.to_lowercase().contains("expired").then_some(());
    until(expired, async || world.why(2, 0).await).await;
    assert_eq!(world.cluster.api(0).read("late").await, None);

    world.files[2].show(&ours.issue());
    world.cluster.api(0).until_reads("late", "value").await;
    spread(&world.cluster, 1).await;
}

/// Certificates and then their authority are exchanged under load, in the order of docs/security.md.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_authorities_are_exchanged_without_a_request_that_fails() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let both = [old.pem(), new.pem()];
    let before = old.issue();
    let world = World::start([before.clone(), old.issue(), old.issue()], &old, &both).await;
    let cluster = &world.cluster;
    spread(cluster, 0).await;
    assert_eq!(world.asks(Some(&before), &old).await.unwrap(), 415);
    let kept = [0, 1, 2].map(|node| cluster.api(node).clone());
    let each_new =
        world.ports.map(|port| Api::at(format!("https://127.0.0.1:{port}"), client(&both).pool_max_idle_per_host(0)));
    let writers = Writers::start(&[kept, each_new].concat());
    let trusts = async |trusted: &[&Authority], times: usize| {
        world.files.iter().for_each(|files| files.trust(trusted));
        world.until_read(times).await;
        writers.go_on().await;
        spread(cluster, times).await;
    };
    writers.go_on().await;
    trusts(&[&old, &new], 1).await;
    for (times, files) in (2..).zip(&world.files) {
        files.show(&new.issue());
        let node = &cluster.nodes[times - 2];
        let read = async || (node.log().matches("files for TLS were read anew").count() == 2).then_some(());
        until(read, async || node.log()).await;
        writers.go_on().await;
    }
    spread(cluster, 2).await;
    trusts(&[&new], 3).await;

    let written = writers.stop().await;
    cluster.until_equal(written).await;
    for node in &cluster.nodes {
        assert!(!node.log().contains(" ERROR ") && !node.log().contains("not one that"), "{}", node.log());
    }
    // Who comes now is shown the new one, and the old one is no peer's any more.
    let url = format!("https://127.0.0.1:{}", world.ports[0]);
    assert!(Api::at(url.clone(), client(&[old.pem()])).request(Method::GET, "/livez").send().await.is_err());
    assert_eq!(Api::at(url, client(&[new.pem()])).get("/livez").await.status, 200);
    assert!(world.asks(Some(&before), &new).await.is_err());
    assert_eq!(world.asks(Some(&new.issue()), &new).await.unwrap(), 415);
}
