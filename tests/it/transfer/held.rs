//! A node whose whole state goes to another keeps what came since in its log. One that takes nothing must not have that grow
//! for ever.
//!
//! It takes as long as a transfer may come no farther, so `tests/run` plays it in the step `crashes`, and sets
//! `CAUSEWAY_TEST_LONG`.

use std::time::{Duration, Instant};

use super::{LOG_BYTES, Written, cluster, leave_behind};
use crate::support::until;

/// Longer than a transfer may come no farther.
const LONG: Duration = Duration::from_secs(240);

/// More than any disk has.
const NEVER_FREE: &str = "17592186044416";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_takes_no_state_does_not_keep_others_from_trimming() {
    if std::env::var_os("CAUSEWAY_TEST_LONG").is_none() {
        return;
    }
    let mut cluster = cluster(64 << 20).await;
    let mut written = Written::default();
    leave_behind(&mut cluster, 2, &mut written).await;
    let full = cluster.launches[2].clone().with("CAUSEWAY_MIN_FREE_BYTES", NEVER_FREE).start();
    cluster.nodes.insert(2, full);
    let sends = async || {
        let peers = cluster.api(0).status().await["peers"].take();
        peers.as_array()?.iter().any(|peer| peer["state_transfer"]["peer"] == 2).then_some(())
    };
    until(sends, async || cluster.api(0).status().await.to_string()).await;
    written.many(cluster.api(0), "held", 40).await;
    let log_bytes = async || cluster.api(0).metric("causeway_log_bytes").await.unwrap();
    assert!(log_bytes().await > 2.0 * LOG_BYTES as f64, "it is kept for the transfer");
    let began = Instant::now();
    while log_bytes().await > 1.25 * LOG_BYTES as f64 {
        assert!(began.elapsed() < LONG, "the log still has {} bytes", log_bytes().await);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    cluster.nodes.remove(2).kill();
    cluster.nodes.insert(2, cluster.launches[2].start_ready().await);
    written.until_on_all(&cluster).await;
}
