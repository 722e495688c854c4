//! Who belongs to the cluster: lists are changed node by node, by restarts in any order, while clients write and ways are
//! cut. Nothing acknowledged may be lost, and whoever asks a node that runs gets an answer.

mod change;
mod drained;
mod group;
mod refused;
mod traffic;
