//! Types that all crates share: points in time, log levels and exit statuses.
#![forbid(unsafe_code)]

mod exit;
mod level;
mod time;

pub use exit::ExitStatus;
pub use level::{Level, UnknownLevel};
pub use time::{Monotonic, WallClock, as_nanoseconds};
