//! The only `unsafe` towards the operating system: calls for which no library offers a safe form,
//! each with the condition that makes it sound. Policy lives elsewhere; nothing here decides
//! anything.
//!
//! A function here is safe whatever its caller does, or it is an `unsafe fn`. Where the system
//! cannot tell, a type carries the proof ([`signal::AsyncSignalSafe`]), or the function looks for
//! itself: [`descriptor::adopt`] at the descriptor's flag, [`fork::fork`] and [`environment::set`]
//! at the number of threads.
#![warn(clippy::missing_errors_doc)]

pub mod bounded_write;
pub mod clock;
pub mod descriptor;
pub mod environment;
pub mod fork;
pub mod memfd;
pub mod net;
pub mod passing;
pub mod private;
pub mod process;
pub mod procfs;
pub mod signal;
pub mod spawn;
pub mod user;

pub use process::exit_now;
