//! What tests of running nodes share: processes and clusters of the real binary ([`process`], [`cluster`]),
//! their client ([`api`]), what a node says of its API ([`document`]), streams of events ([`sse`]), sessions of clients and
//! what they saw ([`load`], [`history`]), connections that can be cut without root ([`link`]), and network namespaces for
//! tests that cut with iptables ([`namespace`]).

pub(crate) mod api;
pub(crate) mod cluster;
pub(crate) mod document;
pub(crate) mod history;
pub(crate) mod link;
pub(crate) mod load;
pub(crate) mod namespace;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod sse;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it. Nothing is judged by it: it only ends what hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` gives a value; gives up with what `describe` says.
pub(crate) async fn until<T>(
    mut condition: impl AsyncFnMut() -> Option<T>,
    describe: impl AsyncFnOnce() -> String,
) -> T {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(value) = condition().await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("gave up after {PATIENCE:?}: {}", describe().await)
}

/// Ports that nobody listens on, and that no other test of this process gets.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    std::array::from_fn(|_| {
        loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if given.insert(port) {
                return port;
            }
        }
    })
}

/// Notes on standard error that a test can't run here. In CI that is a failure: there everything must run.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "SKIPPED in CI: {why}");
    eprintln!("SKIPPED: {why}");
}
