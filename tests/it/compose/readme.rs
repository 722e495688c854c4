//! The README's walk through a partition, as typed, on a cluster with Jaeger as it is shipped.

use std::process::Command;

use super::cluster::{Cluster, PATIENCE};
use crate::readme::run_section;

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_through_a_partition_prints_what_the_readme_says() {
    // On empty volumes, as the README has it.
    let Some(cluster) = Cluster::fresh() else { return };
    tokio::task::spawn_blocking(|| run_section("## Try a partition: containers", &mut Command::new("bash")))
        .await
        .unwrap();
    jaeger_shows_the_write(&cluster).await;
}

/// What the Jaeger UI asks for: the traces of a service's operation.
async fn jaeger_shows_the_write(cluster: &Cluster) {
    let began = std::time::Instant::now();
    loop {
        let url = "http://127.0.0.1:16686/api/traces?service=node1&operation=PATCH%20%2Fset&limit=20";
        let answer = cluster.http.get(url).send().await;
        let text = match answer {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        if text.contains("replicate node0") && text.contains("apply") {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "Jaeger shows no trace of node1's write to node0: {text:.500}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}
