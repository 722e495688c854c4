//! What may happen to the disk of a node: its volume is wiped, an older copy of it is put back, a copy is started
//! beside the original, its container is made anew. No dot is used twice, and what any node still has, all get: as
//! ops, and, since the logs here are short, as a whole state.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::cluster::{ALL, Cluster, NODES, docker, succeed};
use crate::support::api::Api;
use crate::support::until;

/// What a log may take, as short-logs.yml has it.
const LOG_BYTES: u64 = 4 << 20;
/// More than a log may take, in writes of this size.
const MANY: usize = 20;
const VALUE_BYTES: usize = 512 << 10;

/// What node0 has when it comes back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Volume {
    /// What it had: only the container is another.
    Kept,
    /// An older copy.
    Older,
    /// Nothing.
    Wiped,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_a_disk_no_dot_is_used_twice_and_nothing_is_lost_that_a_node_has() {
    let Some(cluster) = Cluster::with_short_logs() else { return };
    let mut disks = Disks { cluster, apis: ALL.map(|node| Api::new(8000 + node as u16)), written: Written::default() };
    for volume in [Volume::Wiped, Volume::Older, Volume::Kept] {
        for cut in [false, true] {
            let began = Instant::now();
            disks.comes_back(volume, cut).await;
            println!("{volume:?}{}: {:?}", if cut { ", cut off" } else { "" }, began.elapsed());
        }
    }
    let began = Instant::now();
    disks.is_copied_and_started_twice().await;
    disks.written.is_on_all(&disks.apis).await;
    let Written { keys, dots, .. } = &disks.written;
    println!("started twice: {:?}; in the end {} keys, {} writes", began.elapsed(), keys.len(), dots.len());
}

/// The cluster, and what was written to it.
struct Disks {
    cluster: Cluster,
    apis: [Api; 3],
    written: Written,
}

impl Disks {
    /// node0 is cut off, others write more than their logs can have, and its container is replaced by another on this
    /// volume. `cut`: it writes there before it hears of the others.
    async fn comes_back(&mut self, volume: Volume, cut: bool) {
        let name = format!("{volume:?}-{cut}");
        let key = |of: &str| format!("{name}/{of}");
        let [node0, node1, node2] = self.apis.clone();
        let written = &mut self.written;
        for (node, api) in self.apis.iter().enumerate() {
            written.set(api, &key(&format!("before-{node}")), "before").await;
        }
        for of in ["seen", "both"] {
            written.set(&node1, &key(of), "before").await;
        }
        written.until_on_all(&self.apis).await;
        let copy = (volume == Volume::Older).then(|| copy_of_stopped("node0"));
        docker(&["start", "node0"]);
        until_ready(&node0).await;
        written.set(&node0, &key("since"), "the copy").await;
        for of in ["seen", "both"] {
            written.set(&node0, &key(of), "since the copy").await;
        }
        written.until_on_all(&self.apis).await;

        self.cluster.disconnect(0);
        written.set(&node0, &key("only-there"), "lost with the volume").await;
        written.many(&node1, &key("meanwhile")).await;
        written.set(&node2, &key("both"), "meanwhile").await;
        for api in [&node1, &node2] {
            api.until_trimmed(LOG_BYTES).await;
        }
        self.replace(volume, copy.as_deref(), cut);
        until_ready(&node0).await;
        if volume != Volume::Kept {
            self.written.is_lost(&key("only-there"));
        }
        // At once, whatever it has heard of the others by then.
        self.written.set(&node0, &key("as-it-comes-back"), "value").await;
        if cut {
            self.writes_knowing_only_its_volume(volume, &key).await;
            self.cluster.connect(0);
        }
        self.end(&key("after")).await;
        assert!(adoptions(&node0).await >= 1.0, "node0 got what it lacks in no state");
    }

    /// What node0 says, and how it writes, when it knows just what its volume has.
    async fn writes_knowing_only_its_volume(&mut self, volume: Volume, key: &impl Fn(&str) -> String) {
        let node0 = &self.apis[0];
        let (before, since, only_there) = match volume {
            Volume::Kept => (Some("before"), Some("the copy"), Some("lost with the volume")),
            Volume::Older => (Some("before"), None, None),
            Volume::Wiped => (None, None, None),
        };
        for (of, value) in [("before-0", before), ("before-2", before), ("since", since), ("only-there", only_there)] {
            assert_eq!(node0.read(&key(of)).await.as_deref(), value, "{}", key(of));
        }
        match volume {
            Volume::Kept => self.written.set(node0, &key("seen"), "cut off").await,
            Volume::Older | Volume::Wiped => self.written.beside(node0, &key("seen"), "cut off").await,
        }
        self.written.beside(node0, &key("both"), "cut off").await;
    }

    /// Another container for node0.
    fn replace(&self, volume: Volume, copy: Option<&[u8]>, cut: bool) {
        self.cluster.remove(0, volume != Volume::Kept);
        self.cluster.create(0);
        copy.into_iter().for_each(|copy| put_back(copy, "node0"));
        if cut {
            self.cluster.disconnect(0);
        }
        docker(&["start", "node0"]);
    }

    /// All have all, go on writing, and have that too.
    async fn end(&mut self, key: &str) {
        self.written.until_on_all(&self.apis).await;
        for (node, api) in self.apis.iter().enumerate() {
            self.written.set(api, &format!("{key}-{node}"), "after").await;
        }
        self.written.until_on_all(&self.apis).await;
        let nodes = NODES.map(|node| format!("http://{node}.edge:8000")).join(",");
        let verdict = docker(&["exec", "node1", "/causeway", "verify", "--node", &nodes]);
        assert!(verdict.starts_with(&format!("equal: 3 nodes, {} keys", self.written.keys.len())), "{verdict}");
    }

    /// A copy is taken and started as node0, too, under the same name, while the original runs.
    async fn is_copied_and_started_twice(&mut self) {
        let [node0, node1, node2] = self.apis.clone();
        let written = &mut self.written;
        written.set(&node1, "twins/shared", "before").await;
        written.until_on_all(&self.apis).await;
        let copy = copy_of_stopped("node0");
        docker(&["start", "node0"]);
        until_ready(&node0).await;
        written.set(&node0, "twins/since", "the copy").await;
        written.many(&node1, "twins/meanwhile").await;
        written.until_on_all(&self.apis).await;
        for api in [&node1, &node2] {
            api.until_trimmed(LOG_BYTES).await;
        }

        let twin = Twin::start(&copy);
        until_ready(&twin.api).await;
        written.set(&twin.api, "twins/twin", "at its start").await;
        written.set(&node0, "twins/original", "beside its twin").await;
        for (name, api) in [("node0", &node0), (TWIN, &twin.api), ("node1", &node1), ("node2", &node2)] {
            until_twins_are(api, &[0]).await;
            let line = match api.status().await["node"].as_u64() {
                Some(0) => "another living process has the id of this node, 0",
                _ => "two living processes have the id 0",
            };
            assert_eq!(log(name).matches(line).count(), 1, "{line}: {}", log(name));
        }
        written.set(&node0, "twins/original", "after it was told").await;
        written.set(&twin.api, "twins/twin", "after it was told").await;
        for api in [&node1, &node2] {
            written.until_shows(api, "twins/original").await;
            written.until_shows(api, "twins/twin").await;
        }

        // Whoever of the two stays has everything.
        docker(&["stop", "node0"]);
        let others = [&twin.api, &node1, &node2].map(Api::clone);
        written.until_on_all(&others).await;
        assert!(adoptions(&twin.api).await >= 1.0, "the twin got what it lacks in no state");
        written.set(&twin.api, "twins/alone", "the twin").await;
        written.until_on_all(&others).await;
        drop(twin);
        docker(&["start", "node0"]);
        until_ready(&node0).await;
        self.end("twins/after").await;
    }
}

const TWIN: &str = "causeway-test-twin";

/// A second container for node0, with its configuration and at its address. Dropped, it is gone.
struct Twin {
    api: Api,
}

impl Twin {
    fn start(copy: &[u8]) -> Self {
        Self::remove();
        let of_node0 = |format: &str| docker(&["inspect", "-f", format, "node0"]);
        let environment = of_node0("{{range .Config.Env}}{{println .}}{{end}}");
        let (volume, image) = (format!("{TWIN}:/data"), of_node0("{{.Image}}"));
        let secret = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/secrets/cluster:/run/secrets/cluster-secret:ro");
        let mut create = vec!["create", "--name", TWIN, "--network", "edge", "--volume", &volume];
        create.extend(["--volume", secret, "--read-only", "--publish", "127.0.0.1::8000"]);
        environment.lines().filter(|line| !line.is_empty()).for_each(|line| create.extend(["--env", line]));
        create.push(&image);
        docker(&create);
        docker(&["network", "connect", "--alias", "node0", "replication", TWIN]);
        put_back(copy, TWIN);
        docker(&["start", TWIN]);
        let address = docker(&["port", TWIN, "8000"]);
        Self { api: Api::new(address.rsplit_once(':').unwrap().1.parse().unwrap()) }
    }

    fn remove() {
        for arguments in [["rm", "-f", TWIN].as_slice(), &["volume", "rm", "-f", TWIN]] {
            drop(Command::new("docker").args(arguments).output());
        }
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("---- {TWIN}:\n{}", log(TWIN));
        }
        Self::remove();
    }
}

/// The data of a container that is stopped for it, as a tar file.
fn copy_of_stopped(container: &str) -> Vec<u8> {
    docker(&["stop", container]);
    succeed(Command::new("docker").args(["cp", &format!("{container}:/data/."), "-"])).stdout
}

/// The data of a container that was not started yet.
fn put_back(copy: &[u8], container: &str) {
    let mut command = Command::new("docker");
    command.args(["cp", "-", &format!("{container}:/data")]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(copy).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// All that a container has written.
fn log(container: &str) -> String {
    let output = succeed(Command::new("docker").args(["logs", container]));
    [output.stdout, output.stderr].iter().map(|text| String::from_utf8_lossy(text)).collect()
}

async fn until_ready(api: &Api) {
    until(async || api.is_ready().await.then_some(()), async || "a node is not ready".to_owned()).await;
}

async fn until_twins_are(api: &Api, expected: &[u64]) {
    let told = async || {
        let status = api.status().await;
        let twins = status["twins"].as_array()?.iter().map(|twin| twin["node"].as_u64().unwrap());
        twins.eq(expected.iter().copied()).then_some(())
    };
    until(told, async || format!("twins are not {expected:?}: {}", api.status().await)).await;
}

/// How often a node merged the whole state of another since it was started.
async fn adoptions(api: &Api) -> f64 {
    api.metric("causeway_state_transfer_adoptions_total").await.unwrap()
}

/// What all nodes must show in the end, and every dot that was ever answered.
#[derive(Default)]
struct Written {
    /// The siblings of each key, each as (value, dot).
    keys: BTreeMap<String, BTreeSet<(String, String)>>,
    dots: BTreeSet<String>,
    /// The keys that were written since they were last read everywhere.
    unread: BTreeSet<String>,
}

impl Written {
    /// A write at a node that has all there is of this key.
    async fn set(&mut self, api: &Api, key: &str, value: &str) {
        self.keys.remove(key);
        self.beside(api, key, value).await;
    }

    /// A write at a node that has nothing of what this key must show.
    async fn beside(&mut self, api: &Api, key: &str, value: &str) {
        let answer = api.set(key, value).await.json();
        let dot = answer["dot"].as_str().unwrap().to_owned();
        assert!(self.dots.insert(dot.clone()), "{dot} was answered before: {answer}");
        self.unread.insert(key.to_owned());
        self.keys.entry(key.to_owned()).or_default().insert((value.to_owned(), dot));
    }

    /// More than a log may have.
    async fn many(&mut self, api: &Api, prefix: &str) {
        for number in 0..MANY {
            let value = format!("{prefix} {number} {}", "v".repeat(VALUE_BYTES));
            self.set(api, &format!("{prefix}/{number:03}"), &value).await;
        }
    }

    /// The only node that had it lost its disk.
    fn is_lost(&mut self, key: &str) {
        self.keys.remove(key);
    }

    async fn until_shows(&self, api: &Api, key: &str) {
        let shows = async || (api.siblings(key).await == self.keys[key]).then_some(());
        until(shows, async || format!("{key} is {:?}, not {:?}", api.siblings(key).await, self.keys[key])).await;
    }

    /// Waits until all these nodes have the same ops and state, and holds the keys that were written since the last time
    /// against what was written.
    async fn until_on_all(&mut self, apis: &[Api]) {
        let states = async || {
            let mut states = Vec::new();
            for api in apis {
                let (status, print) = (api.status().await, api.get("/fingerprint").await.json());
                states.push(json!([status["vector"], print["vector"], print["fingerprint"], print["keys"]]));
            }
            states
        };
        let are_same = |states: &[Value]| {
            states.iter().all(|state| *state == states[0] && state[0] == state[1] && state[3] == self.keys.len())
        };
        let same = async || are_same(&states().await).then_some(());
        until(same, async || format!("not the same, or not {} keys: {:#?}", self.keys.len(), states().await)).await;
        for key in std::mem::take(&mut self.unread) {
            self.shows(apis, &key).await;
        }
    }

    /// Holds every key at every node against what was written.
    async fn is_on_all(&self, apis: &[Api]) {
        for key in self.keys.keys() {
            self.shows(apis, key).await;
        }
    }

    async fn shows(&self, apis: &[Api], key: &str) {
        for api in apis {
            let Some(expected) = self.keys.get(key) else {
                assert!(api.read(key).await.is_none(), "{key} was lost, and is at {}", api.url(""));
                continue;
            };
            let siblings = api.siblings(key).await;
            assert!(siblings == *expected, "{key} at {} is {siblings:.99?}, not {expected:.99?}", api.url(""));
        }
    }
}
