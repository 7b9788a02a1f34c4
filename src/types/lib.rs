//! Types that all crates share: points in time, log levels, exit statuses and the errors of
//! commands.
#![forbid(unsafe_code)]

mod command_error;
mod exit;
mod level;
mod time;

pub use command_error::CommandError;
pub use exit::ExitStatus;
pub use level::{Level, UnknownLevel};
pub use time::{Monotonic, WallClock, as_nanoseconds};
