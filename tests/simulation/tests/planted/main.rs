//! Teeth: plants bugs into a copy of the workspace, one at a time, and demands that the simulation finds each of them,
//! from what clients saw alone.
//!
//! All are built into one program; `CAUSEWAY_PLANTED` says which is awake in a run.

#![allow(clippy::unwrap_used)]

mod bugs;
mod plant;

use std::path::{Path, PathBuf};
use std::process::Command;

use bugs::{BUGS, Bug};
use plant::planted;

/// A bug that so many schedules do not find is not found.
const SCHEDULES: u64 = 10_000;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn every_bug_has_its_places_and_its_row_in_the_documentation() {
    for (file, text) in planted(BUGS, read) {
        assert_ne!(text, read(&file));
    }
    let page = read("docs/testing.md");
    for Bug { name, .. } in BUGS {
        assert!(page.contains(&format!("| `{name}` |")), "docs/testing.md does not tell how `{name}` is found");
    }
    assert!(BUGS.len() >= 20);
}

#[test]
#[ignore = "it builds a copy of the workspace: tests/run planted"]
fn every_bug_is_found() {
    let program = build();
    let plays = |bug: &str, schedules: u64| {
        let schedules = schedules.to_string();
        let arguments = ["run", &schedules, "--few", "--no-shrink"];
        let output = Command::new(&program).args(arguments).env("CAUSEWAY_PLANTED", bug).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (healthy, said) = plays("none", 100);
    assert!(healthy, "with all bugs asleep: {said}");
    let mut missed = Vec::new();
    for Bug { name, .. } in BUGS {
        let (healthy, said) = plays(name, SCHEDULES);
        match found(&said) {
            Some((seed, property)) if !healthy => println!("| `{name}` | {} | `{property}` |", seed + 1),
            _ => missed.push(*name),
        }
    }
    assert_eq!(missed, [""; 0], "not found in {SCHEDULES} schedules");
}

/// The seed and the property of a line like "seed 3 breaks 'durability': …".
fn found(said: &str) -> Option<(u64, &str)> {
    let line = said.lines().find_map(|line| line.strip_prefix("seed "))?;
    let (seed, rest) = line.split_once(" breaks '")?;
    Some((seed.parse().ok()?, rest.split_once('\'')?.0))
}

/// Builds the simulator in a copy of the workspace that has all bugs in it.
fn build() -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("planted");
    let copy = target.join("workspace");
    if copy.exists() {
        std::fs::remove_dir_all(&copy).unwrap();
    }
    std::fs::create_dir_all(&copy).unwrap();
    for part in ["Cargo.toml", "Cargo.lock", "benches", "clients/rust", "src", "tests"] {
        copy_all(&root().join(part), &copy.join(part));
    }
    for (file, text) in planted(BUGS, read) {
        std::fs::write(copy.join(file), text).unwrap();
    }
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--package", "causeway-simulation", "--bin", "simulate"])
        .current_dir(&copy)
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", "-Awarnings")
        .status()
        .unwrap();
    assert!(built.success(), "the copy in {} does not build", copy.display());
    target.join("release/simulate")
}

fn copy_all(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy_all(&from.join(&name), &to.join(&name));
        }
    } else {
        std::fs::copy(from, to).unwrap();
    }
}
