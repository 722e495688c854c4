//! The command line: what it looks like, and the commands for people.
//!
//! Arguments are passed on as they were written; `config` judges them together with everything else, so that
//! all problems are listed at once. Must not import the other shells.

mod healthcheck;

use clap::{Args, Parser, Subcommand};

pub use healthcheck::{NotReady, healthcheck};

const AFTER_HELP: &str = "\
Without arguments a node is configured by its environment (--help lists the variables).

Examples:
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
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Exits with 0 if the node that this environment configures answers GET /readyz with 200 within 2 s.
    Healthcheck,
}

/// Reads the process's command line. Ends the process after `--help`, `--version` and usage errors (exit
/// code 2). `settings` is listed by `--help`: the names of variables, their defaults, and what they mean.
pub fn parse<'a>(settings: impl Iterator<Item = (String, Option<&'a str>, &'a str)>) -> CommandLine {
    use clap::{CommandFactory, FromArgMatches};
    let mut command = CommandLine::command().after_long_help(long_help(settings));
    let matches = command.clone().get_matches();
    CommandLine::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
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

Exit codes:
  0  stopped by SIGTERM or SIGINT, everything under way finished; healthcheck: ready
  1  could not start, stopped by an error or before everything was finished; healthcheck: not ready
  2  the command line or the configuration is wrong",
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
