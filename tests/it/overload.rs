//! Too much at once: it is refused quickly and says so, costs bounded memory, and hurts nobody who does not take part in it.
//! How fast that is, is measured by `bench overload` (docs/performance.md).

mod flood;
mod slow;
