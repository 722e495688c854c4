//! Instructions of the core's pieces, counted by valgrind: the same whatever else the machine does, so that a change
//! of one in a hundred shows.
//!
//! Each piece is prepared twice for the same number of times, and done once that often and once half as often. The
//! difference is what the pieces themselves take.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::core::{PIECES, piece};

const TIMES: usize = 200;

/// Runs what follows and counts its instructions.
pub(crate) const COUNTING: [&str; 4] =
    ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"];

/// `bench instructions`: one line a piece.
pub fn count_all(filter: &str) -> Result<()> {
    println!("| piece | instructions |\n| --- | ---: |");
    for piece in PIECES.iter().filter(|piece| piece.name.contains(filter)) {
        let more = count(piece.name, TIMES)?;
        let less = count(piece.name, TIMES / 2)?;
        println!("| {} | {} |", piece.name, (more - less) / (TIMES - TIMES / 2) as u64);
    }
    Ok(())
}

/// `bench piece`: what is counted.
pub fn play(name: &str, prepared: usize, times: usize) -> Result<()> {
    let mut play = (piece(name).context("there is no such piece")?.prepare)(prepared);
    (0..times).for_each(|_| play());
    // What is left must not be counted either.
    std::process::exit(0);
}

/// All instructions of a process that does a piece so often.
fn count(name: &str, times: usize) -> Result<u64> {
    let program = std::env::current_exe()?;
    let [valgrind, counting @ ..] = COUNTING;
    let output = Command::new(valgrind)
        .args(counting)
        .arg(program)
        .args(["piece", name, &TIMES.to_string(), &times.to_string()])
        .output()
        .context("valgrind can't be started: is it installed?")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind failed:\n{said}");
    instructions_in(&said)
}

/// What valgrind counted, by what it said.
pub(crate) fn instructions_in(said: &str) -> Result<u64> {
    let line = said.lines().find_map(|line| line.split_once("I refs:").or_else(|| line.split_once("I   refs:")));
    let (_, number) = line.with_context(|| format!("valgrind counted nothing:\n{said}"))?;
    Ok(number.trim().replace(',', "").parse()?)
}
