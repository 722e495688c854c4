//! A running node: the one owner of a [`Replica`](crate::replica), its group commits, and [`NodeHandle`], by
//! which the shells use it. (The owner's thread comes with the replica's implementation.)

mod handle;
mod observer;

pub use handle::{Lacking, Members, NodeHandle, NotReached, Overloaded, PushError, SetError, Status};
pub use observer::{NoObserver, Observer, Try};
