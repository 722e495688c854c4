//! Watches of processes under faults.
