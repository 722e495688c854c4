//! The command line: what it looks like, and the commands for people.
//!
//! A node's arguments are passed on as they were written; `config` judges them together with everything else, so that
//! all problems are listed at once. Commands are clients of nodes like any other: [`run`] carries them out over HTTP.
//! Results go to standard output and nothing else does; what went wrong is one sentence on standard error and an exit
//! code (`docs/commands.md`). Must not import the other shells.

mod backup;
mod client;
mod completions;
mod drain;
mod events;
mod failure;
mod get;
mod healthcheck;
mod members;
mod nodes;
mod output;
mod session;
mod set;
mod status;
mod token;
mod verify;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand};
use tokio::runtime;

use failure::Failure;
pub use nodes::{Own, OwnNode};

const AFTER_HELP: &str = "\
Without arguments a node is configured by its environment (--help lists the variables).

Examples:
  causeway set greeting hello        writes a key at the node of this environment, else at 127.0.0.1:8000
  causeway status --node node1:8000  shows the cluster as that node knows it
  causeway 0 8000 8000               one node
  causeway 0 8000 '8000,8001' &      two nodes on this machine
  causeway 1 8001 '8000,8001' &";

/// A replicated key-value store that never refuses a write.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    /// What to do instead of running a node.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The node, if the command line describes it.
    #[command(flatten)]
    pub node: Option<NodeArguments>,
}

/// A node on this machine, whose peers are on this machine too.
#[derive(Clone, Debug, Args)]
#[group(requires_all = ["id", "port", "peer_ports"])]
pub struct NodeArguments {
    /// This node's id, a whole number.
    #[arg(required = false)]
    pub id: String,
    /// The port it listens on, at 127.0.0.1.
    #[arg(required = false)]
    pub port: String,
    /// The ports of all nodes, this one's too, with commas: '8000,8001'.
    #[arg(required = false)]
    pub peer_ports: String,
}

/// What to do instead of running a node.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Reads a key
    ///
    /// Prints the value's bytes and nothing else; on a terminal, the end of the line too.
    #[command(after_help = "Exit codes: 0 found, 1 no such key, 2 wrong command line, 3 no answer or a refusal")]
    Get(get::Get),
    /// Writes keys, all of them at once or none
    ///
    /// Prints the write's dot, which names it on every node.
    #[command(
        after_help = "Exit codes: 0 written, 1 written but not acknowledged by enough nodes, 2 wrong command line, \
                      3 no answer (whether it was written is said) or a refusal"
    )]
    Set(set::Set),
    /// Shows the cluster as a node knows it
    ///
    /// A line each node, and a line each way from one node to another: whether it is up, what waits for it, how long
    /// writes take over it, and how old the facts are.
    #[command(after_help = "Exit codes: 0 shown, 2 wrong command line, 3 no answer or a refusal")]
    Status(status::Status),
    /// Shows what each node believes who belongs to the cluster
    ///
    /// A line each node: its list, whom it names as removed, whom it hears that is not in its list, and whether it is being
    /// drained. Then where nodes disagree.
    #[command(after_help = "Exit codes: 0 they agree, 1 they disagree, 2 wrong command line, 3 no answer or a refusal")]
    Members(members::Members),
    /// Lets a node take no more writes, to be stopped for good, and waits until the others have all of it
    ///
    /// Reads and replication go on. A restart ends it, as --undo does.
    #[command(
        after_help = "Exit codes: 0 every other configured node has all that this one has (or it takes writes, with \
                      --undo), 1 not in time: who lacks what is said, 2 wrong command line, 3 no answer or a refusal"
    )]
    Drain(drain::Drain),
    /// Prints changes as they become visible on a node
    ///
    /// A line each key. Goes on by itself behind the last change when the connection was lost; ends with Ctrl-C.
    #[command(
        after_help = "Exit codes: 0 ended by Ctrl-C or because nobody reads the output, 2 wrong command line, 3 no \
                      answer at the start, or the node does not have what comes next any more"
    )]
    Watch(watch::Watch),
    /// Asks nodes whether they hold the same, to the byte
    ///
    /// Nodes that have the same ops must have the same state. Where they don't, the keys are named. While some lack ops
    /// of others, asks again.
    #[command(
        after_help = "Exit codes: 0 equal, 1 they differ, 2 wrong command line, 3 could not be compared: no answer, or \
                      never the same ops"
    )]
    Verify(verify::Verify),
    /// Writes a node's whole state as of one instant to a file
    ///
    /// The node goes on being used. What is written is checked, and gets its name only when it is whole and on disk.
    #[command(
        after_help = "Exit codes: 0 written (or whole, with --check), 1 not whole or not a backup, 2 wrong command line or \
                      FILE is there already, 3 no answer or a refusal, or a file can't be read or written"
    )]
    Backup(backup::Backup),
    /// Makes a data directory of a backup
    ///
    /// The backup is checked to its end first. The node that is started on the directory begins a new incarnation, and gets
    /// from the others what it lacks.
    #[command(
        after_help = "Exit codes: 0 restored, 1 not whole or not a backup, 2 wrong command line or the directory is not \
                      empty, 3 a file can't be read or written. After anything but 0 there is nothing to start a node on"
    )]
    Restore(backup::Restore),
    /// Makes a token for a client
    ///
    /// Prints the token, which is shown this once, and the line for the file with tokens (CAUSEWAY_TOKENS_FILE), which knows
    /// its hash only. Asks no node.
    #[command(after_help = "Exit codes: 0 made, 2 wrong command line, 3 it could not be made")]
    Token(token::Token),
    /// Prints a script by which a shell completes commands and options
    Completions(completions::Completions),
    /// Exits with 0 if the node that this environment configures answers GET /readyz with 200 within 2 s
    Healthcheck,
}

/// Carries out a command to its end. `own` is the node of this environment.
pub fn run(command: &Command, own: OwnNode) -> ExitCode {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime
        .map_err(|error| Failure::NotDone(format!("can't start the runtime: {error}")))
        .and_then(|runtime| runtime.block_on(carry_out(command, own)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, Failure::Closed) {
                output::note(&failure);
            }
            ExitCode::from(failure.code())
        }
    }
}

async fn carry_out(command: &Command, own: OwnNode<'_>) -> Result<(), Failure> {
    match command {
        Command::Get(get) => get::run(get, own).await,
        Command::Set(set) => set::run(set, own).await,
        Command::Status(status) => status::run(status, own).await,
        Command::Members(members) => members::run(members, own).await,
        Command::Drain(drain) => drain::run(drain, own).await,
        Command::Watch(watch) => watch::run(watch, own).await,
        Command::Verify(verify) => verify::run(verify, own).await,
        Command::Backup(backup) => backup::run(backup, own).await,
        Command::Restore(restore) => backup::restore(restore),
        Command::Token(token) => token::run(token),
        Command::Completions(completions) => completions::run(completions),
        Command::Healthcheck => {
            // Not 2, which Docker keeps for itself.
            let own = own().map_err(Failure::No)?;
            healthcheck::healthcheck(&own).await.map_err(|not_ready| Failure::No(not_ready.to_string()))
        }
    }
}

/// Reads the process's command line. Ends the process after `--help`, `--version` and usage errors (exit
/// code 2). `settings` is listed by `--help`: the names of variables, their defaults, and what they mean.
pub fn parse<'a>(
    revision: Option<&str>,
    settings: impl Iterator<Item = (String, Option<&'a str>, &'a str)>,
) -> CommandLine {
    use clap::{CommandFactory, FromArgMatches};
    let version = env!("CARGO_PKG_VERSION");
    let version = revision.map_or(version.to_owned(), |revision| format!("{version} ({revision})"));
    let mut command = CommandLine::command().version(version).after_long_help(long_help(settings));
    if let Some(first) = unknown_command(&command, std::env::args_os().skip(1)) {
        let similar = similar_command(&command, &first);
        let tip = similar.map(|similar| format!("\n\n  tip: there is '{similar}'")).unwrap_or_default();
        command.error(ErrorKind::InvalidSubcommand, format!("there is no command '{first}'{tip}")).exit();
    }
    let matches = command.clone().get_matches();
    CommandLine::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
}

/// A first argument that was meant as a command, and is none. A node's command line has numbers.
fn unknown_command(command: &clap::Command, mut arguments: impl Iterator<Item = OsString>) -> Option<String> {
    let is_number = |text: &OsString| text.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit);
    let first = arguments.next()?.into_string().ok()?;
    let is_word = first.starts_with(|letter: char| letter.is_alphabetic());
    let is_known = first == "help" || command.find_subcommand(&first).is_some();
    (is_word && !is_known && !arguments.next().as_ref().is_some_and(is_number)).then_some(first)
}

/// The command that is spelt most like this, as clap finds it where there is nothing but commands.
fn similar_command(command: &clap::Command, text: &str) -> Option<String> {
    let only = clap::Command::new("causeway").subcommands(command.get_subcommands().cloned());
    let error = only.try_get_matches_from(["causeway", text]).err()?;
    match error.get(ContextKind::SuggestedSubcommand)? {
        // The most similar comes last.
        ContextValue::Strings(similar) => similar.last().cloned(),
        ContextValue::String(similar) => Some(similar.clone()),
        _ => None,
    }
}

fn long_help<'a>(settings: impl Iterator<Item = (String, Option<&'a str>, &'a str)>) -> String {
    let mut help = format!("{AFTER_HELP}\n\nEnvironment:\n");
    for (name, default, about) in settings {
        let default = default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
        help.push_str(&format!("  {name}\n          {about}{default}\n"));
    }
    help.push_str(
        "  CAUSEWAY_CONFIG
          A TOML file with the same settings, as node_id, cluster, ...; the environment goes before it
  OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, ...
          Traces, as OpenTelemetry defines them; without an endpoint there are none

Exit codes of a node:
  0  stopped by SIGTERM or SIGINT, everything under way finished
  1  could not start, stopped by an error or before everything was finished
  2  the command line or the configuration is wrong

Exit codes of commands:
  0  done
  1  done, and the answer is no: no such key (get), too few acknowledgements in time (set), the nodes differ (verify)
     or disagree (members), the others lack something (drain), the file is not whole (backup, restore), not ready
     (healthcheck)
  2  the command line is wrong, or the configuration
  3  could not be done: no answer, or the node refused",
    );
    help
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parse(arguments: &[&str]) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(std::iter::once(&"causeway").chain(arguments))
    }

    #[test]
    fn a_node_has_all_three_arguments_or_none() {
        let node = parse(&["0", "8000", "8000,8001"]).unwrap().node.unwrap();
        assert_eq!((&*node.id, &*node.port, &*node.peer_ports), ("0", "8000", "8000,8001"));
        assert!(parse(&[]).unwrap().node.is_none());
        for wrong in [&["0"][..], &["0", "8000"], &["0", "8000", "8000", "8001"]] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }

    #[test]
    fn a_command_stands_alone() {
        assert!(matches!(parse(&["healthcheck"]).unwrap().command, Some(Command::Healthcheck)));
        assert_eq!(parse(&["healthcheck", "0"]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn help_lists_every_setting_with_its_default() {
        let help = long_help([("CAUSEWAY_X".to_owned(), Some("7"), "What X is")].into_iter());
        assert!(help.contains("CAUSEWAY_X\n          What X is [default: 7]\n"), "{help}");
    }
}
