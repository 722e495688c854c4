//! The process's log lines, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// An object a line.
    Json,
}

/// Logs could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("logs: {0}")]
pub struct LogError(String);

/// Sets up what this process logs, by a filter such as `info` or `causeway=debug,warn`. Once a process.
pub fn init_logs(filter: &str, format: LogFormat) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(filter).map_err(|error| LogError(error.to_string()))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Pretty => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    set.map_err(|error| LogError(error.to_string()))
}
