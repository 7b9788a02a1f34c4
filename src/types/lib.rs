//! What all crates share: points in time.
#![forbid(unsafe_code)]

mod time;

pub use time::{Monotonic, WallClock, as_nanoseconds};
