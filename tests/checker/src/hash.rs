//! A quick hasher for numbers and short names, and the mixing of numbers that it rests on.
//!
//! Histories come from our own tests, so nobody chooses keys to make it collide. Nothing may depend on the order of a
//! map that uses it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map with the quick hasher.
pub(crate) type QuickMap<K, V> = HashMap<K, V, BuildHasherDefault<QuickHasher>>;

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes one more number into a hash.
pub(crate) fn mix(hash: u64, number: u64) -> u64 {
    let mixed = u128::from(hash.rotate_left(23) ^ number ^ ODD) * u128::from(ODD | 1);
    // Both halves of the product, so that high bits of the number reach the low bits of the hash.
    (mixed as u64) ^ ((mixed >> 64) as u64)
}

/// Folds what it is given, eight bytes at a time.
#[derive(Default)]
pub(crate) struct QuickHasher(u64);

impl Hasher for QuickHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut number = [0; 8];
            number[..chunk.len()].copy_from_slice(chunk);
            self.0 = mix(self.0, u64::from_le_bytes(number));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.0 = mix(self.0, number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = mix(self.0, number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = mix(self.0, number);
    }

    fn write_usize(&mut self, number: usize) {
        self.0 = mix(self.0, number as u64);
    }
}
