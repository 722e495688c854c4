//! The console, driven in Chromium against real nodes: what a person sees and does there.
//!
//! Runs with `CAUSEWAY_TEST_BROWSER=1` (as `tests/run console` does), with Debian's chromium and chromium-driver.
//! Screenshots, and questions for a reader with their answers, are kept in `target/console`.

mod driver;
mod feed;
mod links;
mod lost;
mod reader;
mod scripts;
mod settle;
mod tokens;
mod writes;
