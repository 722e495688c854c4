//! The secrets of a cluster, as they stand in their file.

use std::collections::BTreeSet;
use std::fmt;

/// A secret that can be guessed is none.
const MIN_CHARACTERS: usize = 32;

/// While secrets are exchanged there are two.
const MAX_SECRETS: usize = 16;

/// The line that stands for having no secret.
const NONE: &str = "none";

/// A cluster's secrets: the first signs, any of them is accepted. One of them may be to have none.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets(Vec<Line>);

/// A secret, or none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    None,
    Secret(String),
}

/// Why a file can't be used. Never says what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Not one secret.
    #[error("has no secret")]
    Empty,
    /// More than are ever needed.
    #[error("has more than {MAX_SECRETS} lines with secrets")]
    TooMany,
    /// Easy to guess.
    #[error("has a secret of {characters} characters in line {line}; at least {MIN_CHARACTERS} are needed")]
    TooShort {
        /// Counted from 1.
        line: usize,
        /// How long it is.
        characters: usize,
    },
    /// One that was there before.
    #[error("says the same in line {line} as in one before it")]
    Twice {
        /// Counted from 1.
        line: usize,
    },
}

impl Secrets {
    /// One a line; blank lines, and those that begin with `#`, don't count, nor do blanks around a secret.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        let mut lines = Vec::new();
        let mut seen = BTreeSet::new();
        for (index, text) in text.lines().map(str::trim).enumerate() {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (line, characters) = (index + 1, text.chars().count());
            let parsed = match text {
                NONE => Line::None,
                _ if characters < MIN_CHARACTERS => return Err(Unusable::TooShort { line, characters }),
                _ => Line::Secret(text.to_owned()),
            };
            if !seen.insert(parsed.clone()) {
                return Err(Unusable::Twice { line });
            }
            lines.push(parsed);
        }
        match lines.len() {
            0 => Err(Unusable::Empty),
            _ if lines == [Line::None] => Err(Unusable::Empty),
            1..=MAX_SECRETS => Ok(Self(lines)),
            _ => Err(Unusable::TooMany),
        }
    }

    /// Whether who has none is accepted as well.
    pub fn accept_none(&self) -> bool {
        self.0.contains(&Line::None)
    }

    /// What to sign with; `None`: nothing.
    pub(super) fn first(&self) -> Option<&str> {
        self.0.first().and_then(Line::secret)
    }

    /// All, without the one that is none.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(Line::secret)
    }
}

impl Line {
    fn secret(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Secret(secret) => Some(secret),
        }
    }
}

/// How many, and no more.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} of them)", self.0.len())
    }
}
