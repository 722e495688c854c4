//! What a command has seen: the causal context that it sends, and keeps.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::client::{Answer, Ask, TIMEOUT};
use super::failure::Failure;

/// Of more origins that a node lacks ops of, only so many are named.
const MAX_LACKING: usize = 4;

/// What was seen before.
#[derive(Clone, Debug, Args)]
pub(super) struct Session {
    /// What was seen before: the Causal-Context of an earlier answer
    ///
    /// The node waits until it has all of that, so that you read your own writes at any node; a write replaces only
    /// what was seen.
    #[arg(long, value_name = "TOKEN", conflicts_with = "context_file")]
    context: Option<String>,
    /// The same from a file, which then holds the context of this answer
    ///
    /// It need not exist yet. One file for several commands makes them one session.
    #[arg(long, value_name = "FILE")]
    context_file: Option<PathBuf>,
    /// How long the node may take to get there [default: the node's own, 2]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    wait: Option<f64>,
}

/// As much of a refusal as there is more to say about.
#[derive(Deserialize)]
struct Told {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    lacking: Vec<Lacking>,
}

/// What a node does not have of what was seen.
#[derive(Deserialize)]
struct Lacking {
    origin: String,
    wanted: u64,
    have: u64,
    obtainable: bool,
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, wanted, have, obtainable } = self;
        let outlook = if *obtainable { "the rest can still come" } else { "no node has the rest any more" };
        write!(f, "of origin {origin} it has {have} of {wanted} ops, {outlook}")
    }
}

/// A number of seconds on the command line.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let seconds: Option<f64> = text.parse().ok();
    let bounded = seconds.filter(|seconds| (0.0..=86_400.0).contains(seconds));
    bounded.ok_or_else(|| "expected a number of seconds, at most a day".to_owned())
}

impl Session {
    /// Adds to a request what was seen.
    pub(super) fn sent_with(&self, mut ask: Ask) -> Result<Ask, Failure> {
        if let Some(context) = self.context()? {
            ask = ask.header("causal-context", context);
        }
        if let Some(wait) = self.wait {
            ask = ask.header("prefer", format!("wait={wait}")).timeout(TIMEOUT + Duration::from_secs_f64(wait));
        }
        Ok(ask)
    }

    fn context(&self) -> Result<Option<String>, Failure> {
        let (text, place) = match (&self.context, &self.context_file) {
            (Some(text), _) => (text.clone(), "--context".to_owned()),
            (None, Some(path)) => (stored(path)?, path.display().to_string()),
            (None, None) => return Ok(None),
        };
        let text = text.trim();
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::Usage(format!("{place}: not a context: it has other characters than a token has")));
        }
        Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
    }

    /// Whether a request is sent with anything that was seen.
    pub(super) fn has_context(&self) -> Result<bool, Failure> {
        Ok(self.context()?.is_some())
    }

    /// An answer that is no refusal. A refusal that what was seen has to do with is told with what helps here.
    pub(super) fn taken(&self, answer: Answer) -> Result<Answer, Failure> {
        let hint = self.hint(&answer);
        answer.taken().map_err(|failure| match (failure, hint) {
            (Failure::Refused { url, status, why }, Some(hint)) => {
                Failure::Refused { url, status, why: format!("{why}; {hint}") }
            }
            (failure, _) => failure,
        })
    }

    fn hint(&self, answer: &Answer) -> Option<String> {
        let Told { kind, lacking } = answer.problem()?;
        match &*kind {
            "/problems/bad-context" => {
                self.context_file.as_ref().map(|path| format!("it is from the file {}", path.display()))
            }
            "/problems/context-not-reached" => {
                let waiting = lacking.iter().any(|lacking| lacking.obtainable);
                let mut said: Vec<String> = lacking.iter().take(MAX_LACKING).map(Lacking::to_string).collect();
                let more = lacking.len().saturating_sub(MAX_LACKING);
                said.extend((more > 0).then(|| format!("{more} more origins")));
                said.extend(waiting.then(|| "--wait SECONDS gives it longer".to_owned()));
                Some(said.join("; "))
            }
            "/problems/too-many-siblings" => Some(
                "get the key with --context-file FILE, then set it with the same: that replaces what was read"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// Keeps what an answer showed. What comes without a context is no node's.
    pub(super) fn keep(&self, answer: &Answer) -> Result<(), Failure> {
        let context = answer.context()?;
        match &self.context_file {
            Some(path) => fs::write(path, format!("{context}\n")).map_err(about(path)),
            None => Ok(()),
        }
    }
}

fn stored(path: &Path) -> Result<String, Failure> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(about(path)),
    }
}

fn about(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    move |source| Failure::File { path: path.to_owned(), source }
}
