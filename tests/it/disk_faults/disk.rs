//! A data directory that is written to while its disk fails, and looked at when it works again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::api::{Api, send};
use crate::support::free_ports;
use crate::support::process::Launch;
use crate::support::random::Random;

/// The directory, and what must be in it.
pub(super) struct Disk {
    pub(super) launch: Launch,
    data: PathBuf,
    directory: TempDir,
    writes: u64,
    /// Writes that were acknowledged.
    acknowledged: Vec<u64>,
    /// Writes that were refused, or whose outcome is not known.
    others: Vec<u64>,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wrote {
    Acknowledged,
    /// The answer says that the outcome is unknown.
    Unknown,
    /// The node is read-only.
    ReadOnly,
    /// What it replaces could not be read.
    Unreadable,
}

impl Disk {
    /// An empty one.
    pub(super) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let data = directory.path().join("data");
        Self::at(directory, data)
    }

    /// One whose data are to be at `data`.
    pub(super) fn at(directory: TempDir, data: PathBuf) -> Self {
        let [port] = free_ports();
        let launch = Launch::by_arguments(directory.path(), 0, port, &[port]);
        // What is looked at is what happens when the disk does fail.
        let launch = launch.with("CAUSEWAY_DATA_DIR", data.to_str().unwrap()).with("CAUSEWAY_MIN_FREE_BYTES", "0");
        Self { launch, data, directory, writes: 0, acknowledged: Vec::new(), others: Vec::new() }
    }

    /// A file beside the data.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Every file and directory of the data.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let mut paths = vec![self.data.clone()];
        let mut next = 0;
        while let Some(path) = paths.get(next).cloned() {
            next += 1;
            if path.is_dir() {
                paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        paths
    }

    /// Where the data are.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// Writes two keys at once, with values of so many bytes.
    pub(super) async fn write(&mut self, api: &Api, bytes: usize) -> Wrote {
        self.writes += 1;
        let number = self.writes;
        let [one, other] = keys(number);
        let value = value(number, bytes);
        let answer = send(api.patch("", &json!({ one: value, other: value }))).await.unwrap();
        if answer.status == 200 {
            self.acknowledged.push(number);
            return Wrote::Acknowledged;
        }
        self.others.push(number);
        match (answer.status, answer.json()["type"].as_str()) {
            (500, Some("/problems/outcome-unknown")) => Wrote::Unknown,
            (503, Some("/problems/read-only")) => Wrote::ReadOnly,
            (500, Some("/problems/storage-unreadable")) => Wrote::Unreadable,
            _ => panic!("a write was answered with {}: {}", answer.status, answer.body),
        }
    }

    /// Whether the node answers a read of what was acknowledged last, and rightly; `false` if it says that it can't
    /// read it.
    pub(super) async fn reads(&self, api: &Api) -> bool {
        let Some(number) = self.acknowledged.last() else { return true };
        let answer = api.get(&format!("/read?key={}", keys(*number)[0])).await;
        if answer.status == 500 && answer.json()["type"] == "/problems/storage-unreadable" {
            return false;
        }
        assert_eq!((answer.status, text_number(&answer.body)), (200, Some(*number)), "{}", answer.body);
        true
    }

    /// Starts the node on a disk that works, and looks whether all is there that must be, and nothing torn.
    pub(super) async fn check(&mut self) {
        let node = self.launch.start_ready().await;
        let found = self.all(&node.api).await;
        for number in &self.acknowledged {
            for key in keys(*number) {
                assert_eq!(found.get(&key), Some(number), "write {number} is lost:\n{}", node.log());
            }
        }
        for number in &self.others {
            let [one, other] = keys(*number);
            assert_eq!(found.get(&one), found.get(&other), "write {number} is torn:\n{}", node.log());
        }
        assert_eq!(self.write(&node.api, 1).await, Wrote::Acknowledged);
        node.kill();
    }

    /// The numbers of all values.
    async fn all(&self, api: &Api) -> BTreeMap<String, u64> {
        let mut found = BTreeMap::new();
        let numbers: Vec<u64> = self.acknowledged.iter().chain(&self.others).copied().collect();
        // Few enough that values of any size fit into one answer.
        for numbers in numbers.chunks(8) {
            let keys: Vec<String> = numbers.iter().flat_map(|number| keys(*number)).collect();
            let request = api.request(Method::POST, "/read").header("content-type", "application/json");
            let answer = send(request.body(json!({ "keys": keys }).to_string())).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.body);
            let body = answer.json();
            assert!(body["left_out"].is_null());
            let values = body["values"].as_object().unwrap().clone();
            found.extend(values.into_iter().filter_map(|(key, value)| Some((key, of_number(&value)?))));
        }
        found
    }
}

fn keys(number: u64) -> [String; 2] {
    [format!("one-{number}"), format!("other-{number}")]
}

/// The number, filled up with something that is hard to compress.
fn value(number: u64, bytes: usize) -> String {
    let mut random = Random::new(number);
    let mut text = format!("{number}:").into_bytes();
    while text.len() < bytes {
        let random = random.number();
        text.extend((0..64).step_by(4).map(|shift| b"0123456789abcdef"[(random >> shift) as usize & 15]));
    }
    String::from_utf8(text).unwrap()
}

fn of_number(value: &Value) -> Option<u64> {
    text_number(value.as_str()?)
}

fn text_number(text: &str) -> Option<u64> {
    text.split_once(':')?.0.parse().ok()
}
