//! Reads Prometheus' text format, as far as the nodes use it.

use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

/// What a node showed.
#[derive(Debug)]
pub(super) struct Scrape {
    /// By name: counter, gauge, histogram.
    pub(super) kinds: BTreeMap<String, String>,
    samples: Vec<(String, Labels, f64)>,
}

impl Scrape {
    pub(super) fn parse(text: &str) -> Self {
        let mut scrape = Self { kinds: BTreeMap::new(), samples: Vec::new() };
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                scrape.kinds.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let labels = labels.strip_suffix('}').unwrap().split(',').filter(|pair| !pair.is_empty());
                let labels = labels.map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap();
                    (name.to_owned(), value.trim_matches('"').to_owned())
                });
                scrape.samples.push((name.to_owned(), labels.collect(), value.parse().unwrap()));
            }
        }
        scrape
    }

    /// All samples of this name, together.
    pub(super) fn sum(&self, name: &str) -> f64 {
        assert!(self.samples.iter().any(|(found, ..)| found == name), "{name} is not shown");
        self.get(name, &[])
    }

    /// Those of them that have these labels.
    pub(super) fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has =
            |found: &Labels| labels.iter().all(|(name, value)| found.get(*name).is_some_and(|found| found == value));
        self.samples.iter().filter(|(found, labels, _)| found == name && has(labels)).map(|(.., value)| value).sum()
    }

    /// The labels of a metric.
    pub(super) fn labels_of(&self, name: &str) -> BTreeSet<String> {
        let of_it = |found: &str| {
            found.strip_prefix(name).is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest))
        };
        let labels = self.samples.iter().filter(|(found, ..)| of_it(found)).flat_map(|(_, labels, _)| labels.keys());
        labels.filter(|label| *label != "le").cloned().collect()
    }

    /// All series, without their values.
    pub(super) fn series(&self) -> BTreeSet<String> {
        self.samples.iter().map(|(name, labels, _)| format!("{name}{labels:?}")).collect()
    }
}

/// The words that stand as code in a piece of Markdown.
pub(super) fn code(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}
