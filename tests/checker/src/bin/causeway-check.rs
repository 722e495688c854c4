//! Reads histories, one event a line of JSON, and says whether they keep what Causeway promises.
//!
//! Ends with 0 if all do, 1 if one does not, 2 if one can't be read.

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;

use causeway_checker::{Report, check, history};

fn main() -> ExitCode {
    let files: Vec<_> = env::args_os().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: causeway-check FILE...");
        return ExitCode::from(2);
    }
    let mut code = 0;
    for file in &files {
        let path = Path::new(file);
        match read(path) {
            Ok(events) => {
                let report = check(&events);
                code = code.max(u8::from(!report.violations.is_empty()));
                print(path, events.len(), &report);
            }
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                code = 2;
            }
        }
    }
    ExitCode::from(code)
}

fn read(path: &Path) -> Result<Vec<history::Event>, Box<dyn Error>> {
    Ok(history::read(BufReader::new(File::open(path)?))?)
}

fn print(path: &Path, events: usize, report: &Report) {
    println!("{}: {events} events, {} violations", path.display(), report.violations.len());
    for violation in &report.violations {
        println!("  {} at events {:?}: {}", violation.property, violation.events, violation.message);
    }
    for (property, checks) in &report.checked {
        println!("  {property}: {checks} checks");
    }
}
