//! The half of a worker that knows no Python: what a connection sends and receives, how a client does at it,
//! and when replies wait for each other. Called by `wsgi` and `worker`.
#![forbid(unsafe_code)]

pub mod channel;
mod coalesce;
pub mod outbox;
mod pace;
mod unlocked;

pub use coalesce::Coalescing;
pub use pace::{LEAST_RATE, Pace, Verdict};
pub use unlocked::Unlocked;
