//! A fork of a running interpreter: CPython's hooks around it, and the double fork by which a worker becomes
//! the arbiter's child.
#![expect(unsafe_code, reason = "CPython's fork hooks")]

use std::fs::File;
use std::io::{self, Read};

use nix::fcntl::OFlag;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{getpid, pipe2, write};
use pyo3::ffi;
use pyo3::prelude::*;

use rcorn_sys as sys;
use rcorn_sys::fork::{Fork, fork};

/// On which side of a double fork we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forked {
    /// The template, with the grandchild's pid. By then the grandchild may have ended.
    Template(i32),
    /// The grandchild: the worker to be.
    Worker,
}

/// Forks twice; the middle process leaves at once, so that the grandchild is re-parented to the nearest
/// subreaper: the arbiter. It tells the grandchild's pid through a pipe of the template's own: memory that others
/// share may have been wiped by the time the template comes to look.
pub fn fork_twice(py: Python<'_>) -> io::Result<Forked> {
    let (told, tell) = pipe2(OFlag::O_CLOEXEC)?;
    before(py);
    match fork() {
        Err(error) => {
            after_in_parent(py);
            Err(error)
        }
        Ok(Fork::Parent(middle)) => {
            after_in_parent(py);
            // Leaves within microseconds, whatever the second fork says.
            let status = waitpid(middle, None)?;
            if let WaitStatus::Exited(_, 0) = status {
                let mut number = [0; 4];
                // Written before the middle process left, in one piece (pipe(7)).
                File::from(told).read_exact(&mut number)?;
                Ok(Forked::Template(i32::from_ne_bytes(number)))
            } else if let WaitStatus::Exited(_, errno) = status {
                Err(io::Error::from_raw_os_error(errno))
            } else {
                Err(io::Error::other(format!(
                    "the middle process ended by {status:?}"
                )))
            }
        }
        // The middle process holds CPython's fork locks and runs no Python at all.
        Ok(Fork::Child) => match fork() {
            Ok(Fork::Parent(grandchild)) => {
                match write(&tell, &grandchild.as_raw().to_ne_bytes()) {
                    Ok(_) => sys::exit_now(0),
                    Err(errno) => sys::exit_now(io::Error::from(errno).raw_os_error().unwrap_or(1)),
                }
            }
            Ok(Fork::Child) => {
                after_in_child(py);
                Ok(Forked::Worker)
            }
            Err(error) => sys::exit_now(error.raw_os_error().unwrap_or(1)),
        },
    }
}

/// Our pid, as the kernel knows it now (never a cached one: we may be a fork).
#[must_use]
pub fn pid() -> i32 {
    getpid().as_raw()
}

fn before(_py: Python<'_>) {
    // SAFETY: the GIL is held (token), as os.fork() does.
    unsafe { ffi::PyOS_BeforeFork() }
}

fn after_in_parent(_py: Python<'_>) {
    // SAFETY: the GIL is held; pairs with `before` in this process.
    unsafe { ffi::PyOS_AfterFork_Parent() }
}

fn after_in_child(_py: Python<'_>) {
    // SAFETY: the GIL was held by the forking thread, which is the one that lives here; pairs with
    // `before`, whose locks the two forks inherited.
    unsafe { ffi::PyOS_AfterFork_Child() }
}
