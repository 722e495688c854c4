//! What commands print: results on standard output, notes on standard error, tables.
//!
//! Promises: colours only on a terminal, and not where `NO_COLOR` is set; nothing that a key or value holds reaches a
//! terminal as a command of its own, unless it was asked for as it is.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};

use super::failure::Failure;

pub(super) const HEAD: Style = Style::new().bold();
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const WAITING: Style = AnsiColor::Yellow.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default();

/// Characters of a value that a line for people shows.
const MAX_SHOWN: usize = 120;

/// Prints these bytes as they are.
pub(super) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Prints a text and the end of its line, with its styles where they can be seen.
pub(super) fn line(text: impl fmt::Display) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Says something besides the result.
pub(super) fn note(text: impl fmt::Display) {
    // Whoever closed standard error does not want to know.
    let _ = writeln!(io::stderr(), "causeway: {text}");
}

/// Says something that only somebody who watches wants to know.
pub(super) fn progress(text: impl fmt::Display) {
    if io::stderr().is_terminal() {
        note(text);
    }
}

/// Whether a person reads standard output.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// A key or value on a line for people: without line ends and other control characters, and cut when it is long.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for (count, letter) in text.chars().enumerate() {
        if count == MAX_SHOWN {
            shown.push('…');
            break;
        }
        match letter.is_control() {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    shown
}

/// So many of something.
pub(super) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A field of a table.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(super) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, Style::new())
    }
}

/// Rows below a head, in columns as wide as they must be. What may be of any width belongs into the last.
pub(super) struct Table(Vec<Vec<Cell>>);

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(|name| Cell::styled(*name, HEAD)).collect()])
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.0.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |cell: &Cell| cell.text.chars().count();
        let columns = self.0.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<usize> =
            (0..columns).map(|at| self.0.iter().filter_map(|row| row.get(at)).map(width).max().unwrap_or(0)).collect();
        for (number, row) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            // Nothing is padded towards nothing.
            let filled = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
            for (at, Cell { text, style }) in row[..filled].iter().enumerate() {
                let padding = if at + 1 < filled { widths[at] + 2 - text.chars().count() } else { 0 };
                write!(f, "{style}{text}{style:#}{:padding$}", "")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let mut table = Table::new(&["KEY", "VALUE"]);
        table.row(vec!["é".into(), "any width at all".into()]);
        table.row(vec!["longer".into(), "".into()]);
        let plain = anstream::adapter::strip_str(&table.to_string()).to_string();
        assert_eq!(plain, "KEY     VALUE\né       any width at all\nlonger");
    }

    #[test]
    fn no_text_is_a_command_to_a_terminal() {
        assert_eq!(shown("a\u{1b}[2Jb\nc\u{9b}"), r"a\u{1b}[2Jb\nc\u{9b}");
        assert_eq!(shown(&"é".repeat(200)), format!("{}…", "é".repeat(120)));
    }
}
