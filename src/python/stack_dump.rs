//! Stack dumps: on a signal, CPython's `faulthandler` writes the stack of every Python thread. Its
//! handler is C and needs no GIL: it also works while C code holds the GIL, and in a deadlock.

use std::os::fd::{AsRawFd, BorrowedFd};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use rcorn_sys::signal;

/// Lets the signal [`signal::stack_dump`] write this process's Python stacks into the descriptor,
/// which must stay open.
///
/// # Errors
///
/// Those of `faulthandler.register`.
pub fn register(py: Python<'_>, into: BorrowedFd<'_>) -> PyResult<()> {
    let options = PyDict::new(py);
    options.set_item("file", into.as_raw_fd())?;
    options.set_item("all_threads", true)?;
    options.set_item("chain", false)?;
    let register = py.import("faulthandler")?.getattr("register")?;
    register.call((signal::stack_dump(),), Some(&options))?;
    Ok(())
}
