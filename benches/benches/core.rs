//! Micro-benchmarks of the pure core: `cargo bench -p causeway-benches`. The pieces are in `src/core`.

use causeway_benches::core::{PIECES, piece};
use divan::Bencher;

const SAMPLES: u32 = 50;
/// Enough that the clock's own cost does not show in pieces of some nanoseconds.
const SAMPLE: u32 = 1000;
const LARGE_SAMPLE: u32 = 10;

fn main() {
    divan::main();
}

fn names(large: bool) -> impl Iterator<Item = &'static str> {
    PIECES.iter().filter(move |piece| piece.large == large).map(|piece| piece.name)
}

#[divan::bench(args = names(false), sample_count = SAMPLES, sample_size = SAMPLE)]
fn small(bencher: Bencher<'_, '_>, name: &str) {
    play(bencher, name, SAMPLE);
}

#[divan::bench(args = names(true), sample_count = SAMPLES, sample_size = LARGE_SAMPLE)]
fn large(bencher: Bencher<'_, '_>, name: &str) {
    play(bencher, name, LARGE_SAMPLE);
}

fn play(bencher: Bencher<'_, '_>, name: &str, sample: u32) {
    let play = (piece(name).expect("the names are those of the pieces").prepare)((SAMPLES * sample) as usize);
    bencher.bench_local(play);
}
