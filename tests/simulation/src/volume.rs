//! Volumes: what a node's disk holds, as the real formats write it down, and what becomes of a commit that was under
//! way when the node was killed.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway::causality::{Dot, Origin, VersionVector};
use causeway::format;
use causeway::replica::{Append, Checkpoint, Key, KeyStates, OpRange, Recovered, Siblings, Unreadable};

/// The records of a disk. A copy of it is a backup.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    keys: BTreeMap<Key, Vec<u8>>,
    log: BTreeMap<Dot, (u64, Arc<[u8]>)>,
    parents: BTreeMap<Origin, Vec<u8>>,
    checkpoint: Option<Vec<u8>>,
}

/// Appends and a checkpoint on their way to the disk.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The position of the last op in it.
    pub through: u64,
    appends: Vec<Append>,
    checkpoint: Checkpoint,
}

impl Commit {
    /// Of what was staged.
    pub fn new(appends: Vec<Append>, checkpoint: Checkpoint) -> Self {
        Self { through: checkpoint.position, appends, checkpoint }
    }

    /// The first record of it, as it would be on disk.
    pub fn record(&self) -> Vec<u8> {
        let first = self.appends.first().map(|append| format::op::encode(&append.op));
        first.unwrap_or_else(|| format::checkpoint::encode(&self.checkpoint))
    }
}

impl Volume {
    /// Writes a commit: all of it at once.
    pub fn apply(&mut self, commit: &Commit) {
        for Append { position, op, states } in &commit.appends {
            self.log.insert(op.dot, (*position, format::op::encode(op).into()));
            if !op.parents.is_empty() {
                self.parents.insert(op.dot.origin, format::ancestry::encode(&op.parents));
            }
            for (key, siblings) in states {
                if siblings.is_empty() {
                    self.keys.remove(key);
                } else {
                    self.keys.insert(key.clone(), format::siblings::encode(siblings));
                }
            }
        }
        self.checkpoint = Some(format::checkpoint::encode(&commit.checkpoint));
    }

    /// What a node starts from.
    pub fn recover(&self) -> Recovered {
        let mut recovered = Recovered { checkpoint: self.checkpoint(), ..Recovered::default() };
        let mut log: Vec<_> = self.log.values().collect();
        log.sort_unstable_by_key(|(position, _)| *position);
        for (position, bytes) in log {
            recovered.keyed.note(*position, &format::op::decode(bytes).expect("as it was encoded"));
        }
        for (origin, bytes) in &self.parents {
            let parents = format::ancestry::decode(*origin, bytes).expect("as it was encoded");
            recovered.ancestry.insert(*origin, &parents);
        }
        recovered
    }

    /// All ops that the state includes.
    pub fn vector(&self) -> VersionVector {
        self.checkpoint().vector
    }

    fn checkpoint(&self) -> Checkpoint {
        let bytes = self.checkpoint.as_ref();
        bytes.map_or_else(Checkpoint::default, |bytes| format::checkpoint::decode(bytes).expect("as it was encoded"))
    }

    /// Keys that have a value.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.keys()
    }

    /// Encoded ops of these ranges in order of their places in the log, at most `limit`.
    pub fn ops(&self, ranges: &[OpRange], limit: usize) -> Vec<(Dot, Arc<[u8]>)> {
        let in_range = |range: &OpRange| self.log.range(range.origin.dot(range.first)..=range.origin.dot(range.last));
        let mut found: Vec<_> = ranges.iter().filter(|range| range.first <= range.last).flat_map(in_range).collect();
        found.sort_by_key(|(_, (position, _))| *position);
        found.into_iter().take(limit).map(|(dot, (_, bytes))| (*dot, bytes.clone())).collect()
    }
}

impl KeyStates for Volume {
    fn siblings(&self, key: &str) -> Result<Siblings, Unreadable> {
        match self.keys.get(key) {
            Some(bytes) => format::siblings::decode(bytes).map_err(|error| Unreadable(error.to_string())),
            None => Ok(Siblings::default()),
        }
    }

    // As wrong as it may be.
    fn outline(&self, key: &str) -> Result<Siblings, Unreadable> {
        Ok(self.siblings(key)?.outlined())
    }
}
