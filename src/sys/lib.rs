//! The only `unsafe` towards the operating system: calls for which no library offers a safe form, each
//! with the condition that makes it sound. Policy lives elsewhere; nothing here decides anything.

pub mod clock;
pub mod descriptor;
pub mod fork;
pub mod net;
pub mod passing;
pub mod process;
pub mod procfs;
pub mod signal;
pub mod spawn;
pub mod user;

pub use process::exit_now;
