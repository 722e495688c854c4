//! A client of Causeway, a replicated key-value store that never refuses a write.
//!
//! A [`Client`] knows the nodes. A [`Session`] of it carries what was seen from answer to answer, reads all [`Siblings`]
//! of a key, and merges them. A [`Watch`] is a stream that tells every change as an [`Event`]. Another node is asked when
//! one is away, and no write is ever made twice.
//!
//! ```no_run
//! use causeway_client::{Client, Values, WriteOptions};
//!
//! # async fn run() -> Result<(), causeway_client::Error> {
//! let client = Client::new(["http://127.0.0.1:8000", "http://127.0.0.1:8001", "http://127.0.0.1:8002"])?;
//! let mut session = client.session();
//! let values = Values::new().set("greeting", "hello").set("farewell", "bye");
//! session.write(values, WriteOptions::new()).await?; // all or none
//! assert_eq!(session.read("greeting").await?.value(), Some("hello"));
//! let visits = session
//!     .update("visits", |siblings| {
//!         let seen: u64 = siblings.values().filter_map(|value| value.parse::<u64>().ok()).sum();
//!         (seen + 1).to_string()
//!     })
//!     .await?;
//! println!("{:?} by {}", visits.value(), visits.dot);
//! # Ok(())
//! # }
//! ```
//!
//! It needs a runtime of tokio with time and I/O. All that it decides (requests, retries, waits) is in one module without
//! I/O; the rest performs its steps.

#![forbid(unsafe_code)]

mod client;
mod error;
mod http;
mod logic;
mod session;
mod values;
mod watch;

pub use client::{Client, ClientBuilder};
pub use error::{Error, Lack, OutcomeUnknown, Problem, ProblemKind};
pub use session::{Listing, Session};
pub use values::{Acks, Change, Entry, Event, Replaces, Sibling, Siblings, Values, WriteOptions, Written};
pub use watch::Watch;
