//! Tokens of clients, made by the command that makes them.

use std::fs;
use std::path::Path;

use super::process::causeway;

/// A token, and its line of the file.
pub(crate) struct Issued {
    pub(crate) token: String,
    pub(crate) line: String,
}

/// By the command that makes tokens.
pub(crate) fn issue(arguments: &[&str]) -> Issued {
    let output = causeway().arg("token").args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let (token, line) = printed.trim_end().split_once('\n').unwrap();
    Issued { token: token.to_owned(), line: line.to_owned() }
}

/// Makes a file of these, and nothing else, the node's file with tokens.
pub(crate) fn write(path: &Path, issued: &[&Issued]) {
    let lines: Vec<&str> = issued.iter().map(|issued| &*issued.line).collect();
    fs::write(path, lines.join("\n")).unwrap();
}
