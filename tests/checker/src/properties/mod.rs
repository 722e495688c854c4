//! What is checked, one file a property. Each says what must hold and where the property comes from; the work that
//! several share (decoding, order of causes, replaying a node's states) is done outside.

pub(crate) mod arrival_order;
pub(crate) mod atomicity;
pub(crate) mod availability;
pub(crate) mod bounds;
pub(crate) mod causal_delivery;
pub(crate) mod convergence;
pub(crate) mod dot_reuse;
pub(crate) mod durability;
pub(crate) mod exact_reads;
pub(crate) mod final_state;
pub(crate) mod monotonic_reads;
pub(crate) mod monotonic_writes;
pub(crate) mod no_cycles;
pub(crate) mod no_phantoms;
pub(crate) mod only_seen;
pub(crate) mod read_your_writes;
pub(crate) mod state_order;
pub(crate) mod writes_follow_reads;
