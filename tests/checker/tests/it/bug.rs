//! Bugs that can be planted into the small cluster.

/// What a planted bug does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A write with a context replaces all that is held.
    ReplacesUnseen,
    /// A request is answered though its context is not included.
    IgnoresContext,
    /// A write is delivered before what it knew.
    DeliversEarly,
    /// Only the first entry of a write arrives.
    TearsWrites,
    /// A restart loses the last write.
    ForgetsAtRestart,
    /// A restored node counts on in the incarnation of its copy.
    ReusesNames,
    /// A write that arrives does not replace anything.
    ReplacesNothing,
    /// A restart numbers siblings anew.
    ForgetsArrivals,
    /// A node has a clock reading of its own for each write.
    ChangesClocks,
    /// A node alone refuses.
    Refuses,
    /// A value is shown that is no write's.
    Invents,
}
