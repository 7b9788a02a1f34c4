//! The scoreboard: one memfd mapped by the arbiter, its templates and its workers. Each worker
//! publishes in its [`Cell`] what it does, and counts in its [`Counters`]. Timeouts, `rcorn ctl
//! status` and the post-mortem of a killed worker read it. It has atomics only, and no lock that a
//! process could hold when it dies.
//!
//! The file holds [`Shared`], then the cells, then the counters of each cell. The first two have
//! the layout of the first build (cb54ddf), whose workers continue to use them after an upgrade in
//! place; see [`Scoreboard::take_over`]. Threads have cells of their own, in a second file:
//! [`Slots`].
#![warn(clippy::missing_errors_doc)]

mod cell;
mod counters;
mod durations;
mod held_lines;
mod mapping;
mod memory;
mod samples;
mod seqlock;
mod slots;
#[cfg(not(all(loom, test)))]
mod stuck;

#[cfg(loom)]
#[cfg(test)]
mod loom_tests;

pub use cell::{Answered, Cell, LINE_BYTES, RequestEntry, RequestNow, Shared, StopMode};
pub use counters::{Counters, Counts, Kind, Metric, Totals};
pub use durations::{BOUNDS_MICROSECONDS, Histogram, Times, Timing};
pub use held_lines::{AllHeldLines, HeldLines};
pub use mapping::Scoreboard;
pub use samples::{Place, Samples, Taken};
pub use slots::Slots;
#[cfg(not(all(loom, test)))]
pub use stuck::WhenStuck;

/// The atomics of this crate, which loom's replace when it explores the orders in which threads can
/// see them.
mod atomic {
    #[cfg(all(loom, test))]
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
    #[cfg(not(all(loom, test)))]
    pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}
