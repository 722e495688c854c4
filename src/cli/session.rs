//! What a command has seen: the causal context that it sends, and keeps.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::client::{Answer, Ask, TIMEOUT};
use super::failure::Failure;

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

    /// Keeps what an answer showed.
    pub(super) fn keep(&self, answer: &Answer) -> Result<(), Failure> {
        match (&self.context_file, answer.header("causal-context")) {
            (Some(path), Some(context)) => fs::write(path, format!("{context}\n")).map_err(about(path)),
            _ => Ok(()),
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
