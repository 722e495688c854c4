//! Wiring only: the parts are in the library.
fn main() {}
