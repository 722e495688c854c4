//! Which keys have siblings, after any ops in any commits.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::{Storage, Subject, origin};
use crate::causality::{Dot, Hlc};
use crate::replica::{Append, Checkpoint, Entry, Key, Op, Siblings};

const KEYS: [&str; 4] = ["a", "a/b", "b", "é"];

/// An op on one or two keys.
#[derive(Clone, Debug)]
struct Step {
    keys: Vec<usize>,
    deletes: bool,
    /// Which of the dots that wrote the key it replaces, also those that others have replaced.
    replaces: u32,
    ends_commit: bool,
    reopens: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let keys = proptest::sample::subsequence((0..KEYS.len()).collect::<Vec<_>>(), 1..=2);
    let step = (keys, any::<bool>(), any::<u32>(), any::<bool>(), proptest::bool::weighted(0.1)).prop_map(
        |(keys, deletes, replaces, ends_commit, reopens)| Step { keys, deletes, replaces, ends_commit, reopens },
    );
    proptest::collection::vec(step, 1..40)
}

/// What a node holds, and all dots that ever wrote a key.
#[derive(Default)]
struct Model {
    states: BTreeMap<Key, Siblings>,
    written: BTreeMap<Key, Vec<Dot>>,
    checkpoint: Checkpoint,
}

impl Model {
    fn append(&mut self, step: &Step) -> Append {
        self.checkpoint.position += 1;
        let position = self.checkpoint.position;
        let (dot, hlc) = (origin(0, 7).dot(position), Hlc(position));
        let mut states = Vec::new();
        let entries = step.keys.iter().map(|key| {
            let key = Key::from(KEYS[*key]);
            let written = self.written.entry(key.clone()).or_default();
            let chosen = written.iter().rev().enumerate().filter(|(index, _)| step.replaces >> (index % 32) & 1 == 1);
            let mut replaces: Vec<Dot> = chosen.map(|(_, dot)| *dot).collect();
            replaces.sort();
            written.push(dot);
            let entry = Entry { key: key.clone(), value: (!step.deletes).then(|| "v".into()), replaces };
            let siblings = self.states.entry(key.clone()).or_default();
            siblings.apply(dot, hlc, position, &entry);
            states.push((key, siblings.clone()));
            entry
        });
        let entries = entries.collect();
        self.checkpoint.vector = [dot].into_iter().collect();
        let op = Op { dot, parents: vec![], deps: vec![], hlc, entries, trace: None, idempotency_key: None };
        Append { position, op: Arc::new(op), states }
    }

    /// How many there are.
    fn keys(&self) -> usize {
        self.states.values().filter(|siblings| !siblings.is_empty()).count()
    }

    fn conflicts(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<(String, Siblings)> {
        let all = self.states.iter().filter(|(key, siblings)| {
            siblings.len() > 1 && key.starts_with(prefix) && after.is_none_or(|after| &***key > after)
        });
        all.take(limit).map(|(key, siblings)| (key.to_string(), siblings.clone())).collect()
    }
}

pub(super) fn keys_with_siblings_are_listed<S: Subject>() {
    let mut runner = TestRunner::new(ProptestConfig::with_cases(30));
    let result = runner.run(&steps(), |steps| {
        let subject = S::new();
        let (mut store, _) = subject.open();
        let (mut model, mut group) = (Model::default(), Vec::new());
        for step in steps {
            group.push(model.append(&step));
            if !step.ends_commit {
                continue;
            }
            store.commit(&group, &model.checkpoint).unwrap();
            group.clear();
            if step.reopens {
                drop(store);
                (store, _) = subject.open();
            }
            let snapshot = store.snapshot().unwrap();
            for (prefix, after, limit) in [("", None, 9), ("", None, 1), ("a/", None, 9), ("", Some("a/b"), 9)] {
                let found = snapshot.conflicts(prefix, after, limit).unwrap();
                prop_assert_eq!(found, model.conflicts(prefix, after, limit));
            }
            prop_assert_eq!(snapshot.keys("", None, 9).unwrap().len(), model.keys());
        }
        Ok(())
    });
    result.unwrap();
}
