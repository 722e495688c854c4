//! The committed corpus of the fuzz targets, played through the same functions: what fuzzing found stays found, and the
//! targets are compiled wherever the tests are.

use std::fs;
use std::path::Path;

#[allow(unreachable_pub)]
#[path = "../../fuzz/src/targets/mod.rs"]
mod targets;

/// All of it together may have this many bytes; every clone carries it.
const MAX_CORPUS_BYTES: usize = 200 * 1024;

/// The inputs committed for a target.
fn inputs(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn every_input_of_the_corpus_is_played() {
    let mut bytes = 0;
    for (name, target) in targets::TARGETS {
        let inputs = inputs(name);
        assert!(!inputs.is_empty(), "there is no corpus for {name}");
        for input in inputs {
            bytes += input.len();
            target(&input);
        }
    }
    assert!(bytes <= MAX_CORPUS_BYTES, "the corpus has {bytes} bytes");
}
