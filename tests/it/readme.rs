//! Types the README's console blocks into a shell and compares what they print.
//!
//! A block's lines that begin with `$ ` are typed, one after the other, into one shell a section; the lines
//! below each are what it must print (line ends and a missing last one aside). A plain read is repeated for a
//! while until it prints that: how long a heal takes is not the README's subject.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const README: &str = include_str!("../../README.md");
const PATIENCE: Duration = Duration::from_secs(30);

/// A command with what it prints.
#[derive(Debug, PartialEq)]
struct Typed {
    command: String,
    expected: String,
}

/// Runs all console blocks of the section with this heading (and those below it) in `shell`.
pub(crate) fn run_section(heading: &str, shell: &mut Command) {
    let typed = typed(section(heading));
    assert!(!typed.is_empty(), "no console block under '{heading}'");
    let mut shell = Shell::start(shell);
    // `exit` ends the section, as the shell ends with the test.
    for Typed { command, expected } in typed.into_iter().take_while(|typed| typed.command != "exit") {
        let began = Instant::now();
        loop {
            let printed = shell.run(&command);
            if printed == expected {
                break;
            }
            let may_take_a_while = command.starts_with("curl") && !command.contains("/set");
            assert!(
                may_take_a_while && began.elapsed() < PATIENCE,
                "README, '{heading}':\n$ {command}\n{printed}\n— where it says:\n{expected}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The text below a heading, up to the next of the same or a higher level.
fn section(heading: &str) -> &'static str {
    let level = heading.chars().take_while(|c| *c == '#').count();
    let start = README.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("the README has no '{heading}'"));
    let body = &README[start + 1 + heading.len()..];
    let ends = (1..=level).filter_map(|level| body.find(&format!("\n{} ", "#".repeat(level))));
    &body[..ends.min().unwrap_or(body.len())]
}

fn typed(section: &str) -> Vec<Typed> {
    let mut all: Vec<Typed> = Vec::new();
    let mut inside = false;
    for line in section.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => {}
            _ => match (line.strip_prefix("$ "), all.last_mut()) {
                (Some(command), _) => all.push(Typed { command: command.to_owned(), expected: String::new() }),
                (None, Some(last)) if last.expected.is_empty() => last.expected = line.to_owned(),
                (None, Some(last)) => last.expected = format!("{}\n{line}", last.expected),
                (None, None) => panic!("output before the first command: {line}"),
            },
        }
    }
    all
}

struct Shell {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Shell {
    fn start(command: &mut Command) -> Self {
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        // A reader's shell has no settings of the tests; nodes refuse what they don't know.
        let settings = std::env::vars_os().map(|(name, _)| name);
        for name in settings.filter(|name| name.to_string_lossy().starts_with("CAUSEWAY_TEST_")) {
            command.env_remove(name);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout }
    }

    /// Types a line and returns what it prints on its standard output.
    fn run(&mut self, line: &str) -> String {
        const END: &str = "--- end of output ---";
        writeln!(self.stdin, "{line}\nprintf '\\n%s\\n' '{END}'").unwrap();
        let mut printed = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "the shell ended");
            if line.trim_end() == END {
                return printed.replace('\r', "").trim_end().to_owned();
            }
            printed.push_str(&line);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The shell's own exit trap stops what it started.
        let _ = writeln!(self.stdin, "exit");
        let _ = self.child.wait();
    }
}

#[test]
fn the_process_scenarios_print_what_the_readme_says() {
    if std::env::var_os("CAUSEWAY_TEST_README").is_none() {
        eprintln!("skipped: set CAUSEWAY_TEST_README=1 to run the README's commands (they build the release binary)");
        return;
    }
    let built = Command::new("cargo").args(["build", "--release"]).current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(built.unwrap().success());
    run_section("## Try a partition: processes", Command::new("unshare").args(["--net", "--map-root-user", "bash"]));
}

#[test]
fn blocks_are_read_as_they_are_typed() {
    let text =
        "text\n```console\n$ one\n1\n2\n$ two\n```\n$ not this\n```sh\n$ nor this\n```\n```console\n$ three\n3\n```\n";
    let expected = [("one", "1\n2"), ("two", ""), ("three", "3")];
    let expected = expected.map(|(command, expected)| Typed { command: command.into(), expected: expected.into() });
    assert_eq!(typed(text), expected);
}
