//! What can be wrong with a configuration.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A value that can't be used.
    #[error("{name} is '{value}': expected {expected}")]
    Invalid {
        /// The setting, as it was written: a variable, a key of the file, an argument.
        name: String,
        /// Its value, or the part of it that is wrong.
        value: String,
        /// What would have been right.
        expected: String,
    },
    /// A setting without a default is not set.
    #[error("{name} is not set: expected {expected}")]
    Missing {
        /// The variable.
        name: String,
        /// What would have been right.
        expected: String,
    },
    /// A name that is not a setting's.
    #[error("{name} is not a setting{}", .nearest.as_ref().map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default())]
    Unknown {
        /// The name, as it was written.
        name: String,
        /// The setting whose name is nearest, if one is near.
        nearest: Option<String>,
    },
    /// The file can't be used.
    #[error("CAUSEWAY_CONFIG is '{path}': {problem}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// All that is wrong with a configuration; at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} problem{plural} in the configuration:", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for Problems {}

/// That of `names` which is nearest to `name`, if a few slips of the pen explain the difference.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, nearest) = names.map(|known| (edits(name, known), known)).min()?;
    (distance <= (name.len() / 3).min(3)).then_some(nearest)
}

/// How many letters must be inserted, removed or replaced to get from one word to the other (Levenshtein).
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, left) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, right) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}
