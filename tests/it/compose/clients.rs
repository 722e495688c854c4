//! Clients of the cluster in containers: their shopping carts, as their users run them, with a partition in the middle; and
//! those who would rather be peers.

use std::env;
use std::path::Path;
use std::process::Command;

use causeway::peers::{CALL, FACTS_CALL, HELLO_CALL, STATE_CALL};

use super::cluster::{ALL, Cluster, succeed};

/// The Rust example, as `cargo build --examples -p causeway-client` makes it beside these tests.
#[tokio::test(flavor = "multi_thread")]
async fn the_cart_in_rust_keeps_every_item() {
    let Some(cluster) = Cluster::fresh() else { return };
    let example = Path::new(env!("CARGO_BIN_EXE_causeway")).with_file_name("examples/shopping_cart");
    keeps_every_item(&cluster, &[example.to_str().unwrap()]).await;
}

/// The Python example, by the interpreter that has the client.
#[tokio::test(flavor = "multi_thread")]
async fn the_cart_in_python_keeps_every_item() {
    let Some(cluster) = Cluster::fresh() else { return };
    let python = env::var("CAUSEWAY_TEST_PYTHON").expect("tests/run compose sets CAUSEWAY_TEST_PYTHON");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/python/examples/shopping_cart.py");
    keeps_every_item(&cluster, &[&python, example]).await;
}

async fn keeps_every_item(cluster: &Cluster, program: &[&str]) {
    let [here, there, far] = ALL.map(|node| cluster.url(node, ""));
    let cart = |arguments: &[&str]| {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).args(arguments);
        String::from_utf8(tokio::task::block_in_place(|| succeed(&mut command)).stdout).unwrap().trim().to_owned()
    };
    cart(&["add", "tea", &here, &there, &far]);
    assert_eq!(cart(&["add", "milk", &here]), "milk, tea");
    cluster.until_equal().await;
    cluster.disconnect(0);
    cart(&["remove", "tea", &here]);
    assert_eq!(cart(&["add", "jam", &here]), "jam, milk");
    assert_eq!(cart(&["add", "bread", &there]), "bread, milk, tea");
    cluster.connect(0);
    cluster.until_equal().await;
    for node in [&here, &there, &far] {
        assert_eq!(cart(&["show", node]), "bread, jam, milk");
    }
    // Whoever changes it next settles it.
    assert_eq!(cart(&["remove", "bread", &far]), "jam, milk");
    cluster.until_equal().await;
    assert_eq!(cart(&["show", &here]), "jam, milk");
}

/// The mapped ports are those of clients: what peers may is not to be had there.
#[tokio::test(flavor = "multi_thread")]
async fn the_mapped_ports_know_nothing_of_replication() {
    let Some(cluster) = Cluster::up() else { return };
    for node in ALL {
        let before = cluster.status(node).await["vector"].clone();
        for path in [CALL, STATE_CALL, FACTS_CALL, HELLO_CALL] {
            let request = cluster.http.post(cluster.url(node, path));
            let answer = request.header("content-type", "application/cbor").body("x").send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 404, "{path} on node{node}");
        }
        assert_eq!(cluster.status(node).await["vector"], before);
    }
}
