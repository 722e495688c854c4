//! A disk that fails: system calls that end with an error, injected by `strace`, and a file system that is full.
//!
//! What was acknowledged stays, what was not is there as a whole or not at all; a node that can't write says so and
//! goes on reading, one that can't start says why; and nothing panics. One that is told to keep room free refuses writes
//! before that, and takes them again as soon as there is room. `CAUSEWAY_TEST_DISK_FAULTS` says how many calls
//! of each kind fail, one run after the other; the default is a sample.

mod calls;
mod damage;
mod disk;
mod full;
mod room;
