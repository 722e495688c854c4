//! Causal contexts: what a client has seen. On the wire an opaque token (`format::token`).

use super::{Ancestry, Dot, VersionVector};

/// How many dots above its vector a context's *seen* part holds. Past it the oldest is dropped, which can
/// leave a sibling too many, never one too few.
pub const MAX_SEEN_DOTS: usize = 8;

/// What a client has seen, in two parts, because waiting may ask for more than replacing may claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CausalContext {
    /// What a state must include before it answers this client (`Wait` in the design).
    pub wait: VersionVector,
    /// What a write of this client replaces.
    pub seen: Seen,
}

/// The ops whose values a client has seen (or knowingly covered): a vector and a few dots above it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// All ops up to these were seen.
    pub vector: VersionVector,
    /// Single ops that were seen besides, oldest first, at most [`MAX_SEEN_DOTS`].
    pub dots: Vec<Dot>,
}

impl CausalContext {
    /// The context of someone who has seen the whole state at `vector`: what a read answers, and a write
    /// that replaced all that its node held.
    pub fn of_state(vector: VersionVector) -> Self {
        let seen = Seen { vector: vector.clone(), dots: Vec::new() };
        Self { wait: vector, seen }
    }

    /// This context after its client's own write `dot`, which replaced only what the client had seen.
    ///
    /// Not the writer's whole vector: it would cover siblings that the client never saw, and its next write
    /// would replace them unread.
    pub fn after_write(mut self, dot: Dot, ancestry: &Ancestry) -> Self {
        // Not `advance`: the op may be a later one of an incarnation whose first op this client never met.
        ancestry.join(&mut self.wait, &VersionVector::from_iter([dot]));
        self.seen.add(dot);
        self
    }
}

impl Seen {
    /// Whether the value written by `dot` was seen.
    pub fn covers(&self, dot: Dot, ancestry: &Ancestry) -> bool {
        self.dots.contains(&dot) || ancestry.covers(&self.vector, dot)
    }

    fn add(&mut self, dot: Dot) {
        // The next op of an origin that the vector already has an entry of extends that entry. A first op
        // must stay a dot: an entry of its origin would imply the parents, which were not all seen.
        let entry = self.vector.get(dot.origin);
        if entry > 0 && entry + 1 == dot.counter {
            self.vector.raise(dot);
        } else if entry < dot.counter {
            self.dots.push(dot);
            if self.dots.len() > MAX_SEEN_DOTS {
                self.dots.remove(0);
            }
        }
    }
}
