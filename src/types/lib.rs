//! Types that all crates share: points in time, log levels, exit statuses and the errors of
//! commands; and the remedies for errors of the system.
#![forbid(unsafe_code)]

mod command_error;
mod exit;
mod level;
mod python;
mod remedy;
mod time;

pub use command_error::CommandError;
pub use exit::ExitStatus;
pub use level::{Level, UnknownLevel};
pub use python::NEWEST_PYTHON;
pub use remedy::{remedy, with_remedy};
pub use time::{Monotonic, WallClock, as_nanoseconds};
