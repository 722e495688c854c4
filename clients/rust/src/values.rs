//! What reads, writes and watches take and give: plain values.

use std::collections::BTreeMap;
use std::slice;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize};

/// One of the values of a key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Sibling {
    /// Its text.
    pub value: String,
    /// The name of the write that made it.
    pub dot: String,
    /// Where that was accepted.
    pub node: u32,
    /// When, by that node's clock.
    #[serde(deserialize_with = "time")]
    pub written_at: SystemTime,
    /// The place in the order in which values reached the node that was asked.
    pub arrival: i64,
}

/// All values of a key: none, one, or several whose writes did not know of each other. The one that reached the node last
/// comes first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Siblings {
    /// The key.
    pub key: String,
    /// The values.
    pub siblings: Vec<Sibling>,
    /// How many were too large to be shown with the others; [`Session::update`](crate::Session::update) and
    /// [`Session::resolve`](crate::Session::resolve) refuse to merge the others then.
    #[serde(default)]
    pub left_out: u64,
}

impl Siblings {
    /// The first value, which a plain read shows.
    pub fn value(&self) -> Option<&str> {
        self.siblings.first().map(|sibling| sibling.value.as_str())
    }

    /// All values, the one that came last first.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.siblings.iter().map(|sibling| sibling.value.as_str())
    }

    /// Whether there is more than one.
    pub fn in_conflict(&self) -> bool {
        self.siblings.len() as u64 + self.left_out > 1
    }

    /// Whether the key has no value.
    pub fn is_empty(&self) -> bool {
        self.siblings.is_empty()
    }

    /// How many are shown.
    pub fn len(&self) -> usize {
        self.siblings.len()
    }

    /// All that are shown.
    pub fn iter(&self) -> slice::Iter<'_, Sibling> {
        self.siblings.iter()
    }
}

impl<'a> IntoIterator for &'a Siblings {
    type Item = &'a Sibling;
    type IntoIter = slice::Iter<'a, Sibling>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What a write does: keys, and what each gets; `None` deletes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Values(BTreeMap<String, Option<String>>);

impl Values {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more key set.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(key.into(), Some(value.into()));
        self
    }

    /// With one more key deleted.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.0.insert(key.into(), None);
        self
    }

    /// All keys, in their order, and what each gets.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_deref()))
    }
}

impl<K: Into<String>> FromIterator<(K, Option<String>)> for Values {
    fn from_iter<I: IntoIterator<Item = (K, Option<String>)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }
}

/// How many nodes must have a write on disk before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// So many.
    Nodes(u32),
    /// More than half of those that are configured.
    Majority,
    /// All that are configured.
    All,
}

impl Acks {
    pub(crate) fn text(self) -> String {
        match self {
            Self::Nodes(count) => count.to_string(),
            Self::Majority => "majority".to_owned(),
            Self::All => "all".to_owned(),
        }
    }
}

/// What a write replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaces {
    /// What the session has seen: the default once it has seen something.
    Seen,
    /// What the node holds: the default before.
    Held,
}

impl Replaces {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Held => "held",
        }
    }
}

/// How a write is made. What is not said is the default of the node, or of the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    pub(crate) acks: Option<Acks>,
    pub(crate) replaces: Option<Replaces>,
    pub(crate) wait: Option<Duration>,
    pub(crate) idempotency_key: Option<String>,
}

impl WriteOptions {
    /// All defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until so many nodes have it on disk; [`Written::enough`] says whether they do.
    #[must_use]
    pub fn acks(mut self, acks: Acks) -> Self {
        self.acks = Some(acks);
        self
    }

    /// Says what it replaces.
    #[must_use]
    pub fn replaces(mut self, replaces: Replaces) -> Self {
        self.replaces = Some(replaces);
        self
    }

    /// How long a node may wait for `acks`, and for what the session has seen.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Its name: that of an earlier write that may have been made, to make it once. Without, each write gets a new one.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }
}

/// A write that is on the disk of at least one node, and will reach all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// What was written.
    pub values: Values,
    /// Its name.
    pub dot: String,
    /// Nodes that are known to have it: all of them if `acks` was asked for, else the one that took it.
    pub durable_on: Vec<u32>,
    /// Whether these are as many as were asked for.
    pub enough: bool,
    /// It was made before, under the same idempotency key, and this was only found out now.
    pub replayed: bool,
}

impl Written {
    /// What the first key got; of one that was deleted nothing.
    pub fn value(&self) -> Option<&str> {
        self.values.iter().next().and_then(|(_, value)| value)
    }
}

/// What a write did to one key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// The key.
    pub key: String,
    /// What it got; `None` when it was deleted.
    pub value: Option<String>,
    /// The dots of the siblings whose place the value takes.
    pub replaces: Vec<String>,
}

/// One write, as a watch tells it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// How far the watch has come with it.
    #[serde(skip)]
    pub cursor: String,
    /// The write's name.
    pub dot: String,
    /// Where it was accepted.
    pub node: u32,
    /// When, by that node's clock.
    #[serde(deserialize_with = "time")]
    pub written_at: SystemTime,
    /// Its trace, where that is recorded.
    pub trace_id: Option<String>,
    /// What it did to the watched keys.
    pub entries: Vec<Entry>,
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Comes first, and after each `Reset`.
    Start {
        /// How far the watch has come.
        cursor: String,
        /// What its node shows now: good for a session that reads what there is.
        context: String,
    },
    /// Comes for each write.
    Change(Change),
    /// Changes may have been missed. A `Start` follows, at which the watched keys must be read anew.
    Reset,
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)
}
