//! Volumes: what a node's disk holds, as the real formats write it down, and what becomes of a commit that was under
//! way when the node was killed. The log is trimmed in runs, and another node's state can be filled in and adopted.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use causeway::causality::{Ancestry, Dot, Origin, VersionVector};
use causeway::format;
use causeway::format::state::StateHead;
use causeway::replica::{
    Adopted, Append, Checkpoint, Filling, Key, KeyStates, OpRange, PeerState, Recovered, Siblings, Unreadable,
};

use crate::Micros;

/// So many commits make a run of the log.
const RUN_COMMITS: usize = 3;

/// The records of a disk. A copy of it is a backup.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    keys: BTreeMap<Key, Vec<u8>>,
    log: BTreeMap<Dot, (u64, Arc<[u8]>)>,
    /// The parts of the log, the last of which is appended to, with the commits in it.
    runs: VecDeque<Run>,
    commits: usize,
    /// What the log does not have any more.
    floor: VersionVector,
    parents: BTreeMap<Origin, Vec<u8>>,
    checkpoint: Option<Vec<u8>>,
}

/// A part of the log.
#[derive(Clone, Debug)]
pub struct Run {
    /// The position of its last op.
    pub last: u64,
    /// All ops up to its end.
    pub vector: VersionVector,
    /// When that was written.
    pub ended: Micros,
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
    pub fn apply(&mut self, commit: &Commit, now: Micros) {
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
        let Checkpoint { vector, position, .. } = commit.checkpoint.clone();
        if self.commits > 0 && self.commits < RUN_COMMITS {
            self.runs.pop_back();
        } else {
            self.commits = 0;
        }
        self.commits += 1;
        self.runs.push_back(Run { last: position, vector, ended: now });
    }

    /// What a node starts from.
    pub fn recover(&self) -> Recovered {
        let mut recovered = Recovered {
            checkpoint: self.checkpoint(),
            ancestry: self.ancestry(),
            floor: self.floor.clone(),
            ..Recovered::default()
        };
        for (position, _, bytes) in self.log_after(0) {
            recovered.keyed.note(position, &format::op::decode(bytes).expect("as it was encoded"));
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

    fn ancestry(&self) -> Ancestry {
        let mut ancestry = Ancestry::new();
        for (origin, bytes) in &self.parents {
            ancestry.insert(*origin, &format::ancestry::decode(*origin, bytes).expect("as it was encoded"));
        }
        ancestry
    }

    /// Keys that have a value.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.keys()
    }

    /// Encoded ops of these ranges in order of their places in the log, at most `limit`. What the log has no more is left
    /// out, but nothing between others.
    pub fn ops(&self, ranges: &[OpRange], limit: usize) -> Vec<(Dot, Arc<[u8]>)> {
        let in_range = |range: &OpRange| self.log.range(range.origin.dot(range.first)..=range.origin.dot(range.last));
        let mut found: Vec<_> = ranges.iter().filter(|range| range.first <= range.last).flat_map(in_range).collect();
        let is_gap = |(one, other): (&Dot, &Dot)| one.origin == other.origin && one.counter + 1 != other.counter;
        let gap = found.windows(2).find(|pair| is_gap((pair[0].0, pair[1].0)));
        assert!(gap.is_none(), "the log has a gap where ops are wanted: {gap:?}");
        found.sort_by_key(|(_, (position, _))| *position);
        found.into_iter().take(limit).map(|(dot, (_, bytes))| (*dot, bytes.clone())).collect()
    }

    /// Whether the log has all of these.
    pub fn has(&self, ranges: &[OpRange]) -> bool {
        let mut dots =
            ranges.iter().flat_map(|range| (range.first..=range.last).map(|counter| range.origin.dot(counter)));
        dots.all(|dot| self.log.contains_key(&dot))
    }

    /// The log behind a position, in order.
    fn log_after(&self, position: u64) -> Vec<(u64, Dot, &Arc<[u8]>)> {
        let behind = self.log.iter().filter(|(_, (at, _))| *at > position);
        let mut found: Vec<_> = behind.map(|(dot, (at, bytes))| (*at, *dot, bytes)).collect();
        found.sort_unstable_by_key(|(at, ..)| *at);
        found
    }

    /// The parts of the log that can go, oldest first.
    pub fn closed_runs(&self) -> impl Iterator<Item = &Run> {
        let open = usize::from(self.commits > 0);
        self.runs.iter().take(self.runs.len() - open)
    }

    /// Whether the log lost anything.
    pub fn is_trimmed(&self) -> bool {
        !self.floor.is_empty()
    }

    /// Drops the runs that end there or before. What the log does not have then, and when the last of it was written.
    pub fn trim(&mut self, through: u64) -> (VersionVector, Option<Micros>) {
        let ancestry = self.ancestry();
        let gone = self.closed_runs().take_while(|run| run.last <= through).count();
        let gone: Vec<Run> = self.runs.drain(..gone).collect();
        if let Some(last) = gone.last() {
            self.log.retain(|_, (position, _)| *position > last.last);
            ancestry.join(&mut self.floor, &last.vector);
        }
        (self.floor.clone(), gone.last().map(|run| run.ended))
    }

    /// Whose state it is that a peer is given.
    pub fn head(&self) -> StateHead {
        StateHead { vector: self.vector(), ancestry: self.ancestry(), keys: self.keys.len() as u64 }
    }

    /// So many keys behind one, each with its siblings as they are stored, and whether no key comes behind.
    pub fn piece(&self, after: Option<&str>, limit: usize) -> (Vec<(String, Vec<u8>)>, bool) {
        let mut behind = self.keys.range::<str, _>((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded));
        let piece = behind.by_ref().take(limit).map(|(key, bytes)| (key.to_string(), bytes.clone())).collect();
        (piece, behind.next().is_none())
    }

    /// Puts what was filled in the place of the state, brought up to the end of the log: all of it at once.
    pub fn adopt(&mut self, mut fill: Fill) -> Adopted {
        fill.catch_up(self);
        let own = self.checkpoint();
        assert_eq!(fill.filling.position(), own.position, "a commit came while a state was adopted");
        let adopted = fill.filling.adopted(&own, &self.floor).expect("the log has all that came since it began");
        self.keys = fill.keys;
        self.parents = adopted.ancestry.iter().map(|(of, parents)| (of, format::ancestry::encode(parents))).collect();
        self.checkpoint = Some(format::checkpoint::encode(&adopted.checkpoint));
        self.floor = adopted.floor.clone();
        // What comes now is another part of the log.
        self.commits = 0;
        adopted
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

/// A peer's state being merged into that of a volume, beside it.
pub struct Fill {
    /// The volume's state when it began.
    own: BTreeMap<Key, Vec<u8>>,
    keys: BTreeMap<Key, Vec<u8>>,
    filling: Filling,
}

impl Fill {
    /// Of a peer's state, into that of the volume as it is now.
    pub fn begin(volume: &Volume, peer: PeerState) -> Self {
        let Checkpoint { vector, position, .. } = volume.checkpoint();
        let filling = Filling::new(&vector, position, volume.ancestry(), peer);
        Self { own: volume.keys.clone(), keys: BTreeMap::new(), filling }
    }

    /// Behind which position it needs the log.
    pub fn position(&self) -> u64 {
        self.filling.position()
    }

    /// Takes the peer's next keys. Up to `through` it has no others; `None`: it has no more at all.
    pub fn put(&mut self, keys: Vec<(Key, Siblings)>, through: Option<&str>) {
        self.filling.check(&keys, through).expect("pieces are taken in order");
        let from = self.filling.through().map_or(Bound::Unbounded, Bound::Excluded);
        let own = self.own.range::<str, _>((from, Bound::Unbounded));
        let own = own.take_while(|(key, _)| through.is_none_or(|through| &***key <= through));
        let own = own.map(|(key, bytes)| Ok((key.clone(), format::siblings::decode(bytes)?)));
        let built = &mut self.keys;
        let merged = self.filling.merge(own, keys, through, |key, siblings| {
            built.insert(key, format::siblings::encode(&siblings));
            Ok(())
        });
        merged.unwrap_or_else(|error: format::FormatError| panic!("as it was encoded: {error}"));
    }

    /// Brings it up to the end of the log.
    pub fn catch_up(&mut self, volume: &Volume) {
        self.filling.check_whole().expect("pieces are taken up to the last");
        for (position, _, bytes) in volume.log_after(self.filling.position()) {
            let op = format::op::decode(bytes).expect("as it was encoded");
            for entry in &op.entries {
                let siblings = self.keys.remove(&entry.key).map(|bytes| format::siblings::decode(&bytes));
                let mut siblings = siblings.transpose().expect("as it was encoded").unwrap_or_default();
                self.filling.apply(position, &op, entry, &mut siblings);
                if !siblings.is_empty() {
                    self.keys.insert(entry.key.clone(), format::siblings::encode(&siblings));
                }
            }
            self.filling.advance(&op);
        }
        self.filling.reached(volume.checkpoint().position);
    }
}
