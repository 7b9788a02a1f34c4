//! Processes that a hook or the app's import forks (multiprocessing) must not keep the server's
//! sockets: with a listening socket in such a process, clients would connect to nobody, and no
//! successor could bind.

use std::os::fd::RawFd;

use nix::unistd::{close, getpid, getppid};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};

use rcorn_link::Start;

/// Lets processes that the template forks close the server's sockets. Its workers are children of
/// the arbiter.
pub(super) fn register(py: Python<'_>, start: &Start) -> PyResult<()> {
    let template = getpid();
    let ours: Vec<RawFd> = start
        .listeners
        .iter()
        .map(|listener| listener.fd)
        .chain([
            start.commands,
            start.reports,
            start.handoff_queue.0,
            start.handoff_queue.1,
        ])
        .collect();
    let after = PyCFunction::new_closure(py, None, None, move |_args, _named| {
        if getppid() == template {
            for fd in &ours {
                // One that is closed already is as it should be.
                close(*fd).ok();
            }
        }
    })?;
    let named = PyDict::new(py);
    named.set_item("after_in_child", after)?;
    py.import("os")?
        .call_method("register_at_fork", (), Some(&named))?;
    Ok(())
}
