//! What all crates share: points in time, and exit statuses.
#![forbid(unsafe_code)]

mod exit;
mod time;

pub use exit::ExitStatus;
pub use time::{Monotonic, WallClock, as_nanoseconds};
