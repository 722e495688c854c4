//! Histories as lines of JSON, and the command that reads them.

use std::fs;
use std::process::Command;

use causeway_checker::history::{self, Event, Refusal, Resolve, Volume, What};

use crate::builder::{History, seen, state};

fn of_everything() -> Vec<Event> {
    let mut history = History::of_nodes(2);
    history.node(1, What::Down).node(1, What::Up(Volume::Copy { taken: 25 })).bound(1, 2);
    history.held(1, 0, 1, "x y -z", ["0:1", "0:1"]);
    history.seen(1, 0, 2, "x", state("0:1"), ("0:2", seen("0:2", "0:2", "")));
    history.all(2, 0, "0:2", &[("x", &[(2, "0:2", 2)]), ("z", &[])]);
    history.one(2, 0, "0:2", Resolve::Newest, ("y", Some(1), 1));
    history.refused(2, 0, 3, "x", Refusal::ContextNotReached).with(state("9:9"));
    history.node(0, What::Down).unknown(2, 0, 4, "x").node(0, What::Up(Volume::Kept));
    let held: &[(&str, crate::builder::Listed<'_>)] = &[("x", &[(2, "0:2", 2)]), ("y", &[(1, "0:1", 1)])];
    history.held_in_the_end(0, "0:2", held).held_in_the_end_of(1, "0:2", &[("0.1:1", "")], held);
    history.events
}

#[test]
fn there_and_back() {
    let events = of_everything();
    let mut text = Vec::new();
    history::write(&events, &mut text).unwrap();
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), events.len());
    let again = history::read(&text[..]).unwrap();
    assert_eq!(again, events);
    assert_eq!(causeway_checker::check(&again), causeway_checker::check(&events));
    let error = history::read(&b"{\"bound\":{}}\n"[..]).unwrap_err();
    assert!(error.to_string().starts_with("line 1: "), "{error}");
}

#[test]
fn the_command_tells_by_its_exit_code() {
    let directory = std::env::temp_dir().join(format!("causeway-check-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let file = |name: &str, events: &[Event]| {
        let path = directory.join(name);
        history::write(events, fs::File::create(&path).unwrap()).unwrap();
        path
    };
    let good = file("good", &of_everything());
    let mut events = of_everything();
    events.retain(|event| !matches!(event, Event::Final(held) if held.node == 1));
    events.push(History::default().bound(3, 2).events[0].clone());
    let bad = file("bad", &events);
    let broken = directory.join("broken");
    fs::write(&broken, "{}\n").unwrap();
    let run = |files: &[&std::path::Path]| {
        let output = Command::new(env!("CARGO_BIN_EXE_causeway-check")).args(files).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = run(&[&good]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("0 violations") && text.contains("exact-reads: "), "{text}");
    let (code, text) = run(&[&good, &bad]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("bounds at events"), "{text}");
    assert_eq!(run(&[&bad, &broken]).0, Some(2));
    assert_eq!(run(&[&directory.join("absent")]).0, Some(2));
    assert_eq!(run(&[]).0, Some(2));
    fs::remove_dir_all(&directory).unwrap();
}
