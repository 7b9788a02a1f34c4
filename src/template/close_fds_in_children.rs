//! Processes that a hook or the app's import forks (multiprocessing) must not keep the server's
//! sockets: with a listening socket in such a process, clients would connect and never be served,
//! and no successor could bind.

use std::os::fd::RawFd;
use std::sync::{Mutex, PoisonError};

use nix::unistd::{close, getpid, getppid};
use pyo3::prelude::*;

use rcorn_link::Start;
use rcorn_python::fork::after_in_children;

/// The process whose children close descriptors, and the list of these descriptors. Only the main
/// thread changes it, so no other can hold the lock while a process is forked.
static OWNER: Mutex<Option<Owner>> = Mutex::new(None);

struct Owner {
    pid: i32,
    descriptors: Vec<RawFd>,
}

/// Makes processes that this one forks close the server's sockets, until [`end`]. Its workers are
/// children of the arbiter. `commands`: its command socket, if it has one.
pub(super) fn begin(start: &Start, commands: Option<RawFd>) {
    let descriptors = start
        .listeners
        .iter()
        .map(|listener| listener.fd)
        .chain([start.reports, start.handoff_queue.0, start.handoff_queue.1])
        .chain(commands)
        .collect();
    set(Some(Owner {
        pid: getpid().as_raw(),
        descriptors,
    }));
}

/// Ends it in a worker, for which `rcorn_worker` does it.
pub(super) fn end() {
    set(None);
}

fn set(owner: Option<Owner>) {
    *OWNER.lock().unwrap_or_else(PoisonError::into_inner) = owner;
}

/// Registers the function that closes them, for this process and all that it forks.
pub(super) fn register(py: Python<'_>) -> PyResult<()> {
    after_in_children(py, || {
        let owner = OWNER.lock().unwrap_or_else(PoisonError::into_inner);
        let parent = getppid().as_raw();
        for fd in owner
            .iter()
            .filter(|owner| owner.pid == parent)
            .flat_map(|owner| &owner.descriptors)
        {
            // One that is already closed needs nothing.
            close(*fd).ok();
        }
    })
}
