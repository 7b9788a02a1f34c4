//! The only `unsafe` towards the operating system: calls for which no library offers a safe form,
//! each with the condition that makes it sound. Policy lives elsewhere; nothing here decides
//! anything.
//!
//! A function here is safe whatever its caller does, or it is an `unsafe fn`. Where the system
//! cannot tell, a type carries the proof ([`signal::AsyncSignalSafe`]), or the function looks for
//! itself: [`descriptor::adopt`] at the descriptor's flag, [`fork::fork`] and [`environment::set`]
//! at the number of threads.
#![warn(clippy::missing_errors_doc)]

// What is taken for granted about the machine: Linux, whose calls and `/proc` are used; 64 bits,
// for byte counts in a `usize` and atomics in shared memory, which old and new builds read alike.
// Numbers of calls, the kernel's structures and page sizes are not written down: `libc` has the
// first two, and the third is asked for. The exception is rseq(2) in `fork_twice`, for x86_64 only.
const _: () = assert!(cfg!(target_os = "linux"), "rcorn runs on Linux");
const _: () = assert!(
    cfg!(target_pointer_width = "64") && cfg!(target_has_atomic = "64"),
    "rcorn needs a machine of 64 bits"
);

pub mod bounded_write;
pub mod clock;
pub mod descriptor;
pub mod environment;
pub mod fork;
pub mod fork_twice;
pub mod memfd;
pub mod net;
pub mod passing;
pub mod private;
pub mod process;
pub mod procfs;
pub mod shared_block;
pub mod signal;
pub mod spawn;
pub mod timer;
pub mod user;

pub use process::exit_now;
