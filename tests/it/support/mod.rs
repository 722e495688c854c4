//! What tests of running nodes share: processes and clusters of the real binary ([`process`], [`cluster`]),
//! their client ([`api`]), certificates ([`authority`]), what a node says of its API ([`document`]), streams of events ([`sse`]),
//! sessions of clients and what they saw ([`load`], [`history`]), tokens ([`tokens`]), connections that can be cut without root
//! ([`link`]), and network namespaces for tests that cut with iptables ([`namespace`]).

pub(crate) mod api;
pub(crate) mod authority;
pub(crate) mod cluster;
pub(crate) mod document;
pub(crate) mod history;
pub(crate) mod link;
pub(crate) mod load;
pub(crate) mod namespace;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod sse;
pub(crate) mod tokens;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
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

/// Ports that nobody listens on, and that no other test of this process gets. They lie below those that the system gives to
/// whoever asks for any: of these, a connection of another test could have one before it is listened on.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 10_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time begin at different ones.
    let begin = std::process::id().wrapping_mul(101);
    std::array::from_fn(|_| {
        let mut ports = std::iter::repeat_with(|| GIVEN.fetch_add(1, Ordering::Relaxed)).take(COUNT as usize);
        ports
            .find_map(|given| {
                let port = u16::try_from(FIRST + begin.wrapping_add(given) % COUNT).expect("below 2^16");
                TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(port)
            })
            .expect("not all of them are taken")
    })
}

/// Notes on standard error that a test can't run here. In CI that is a failure: there everything must run.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "SKIPPED in CI: {why}");
    eprintln!("SKIPPED: {why}");
}
