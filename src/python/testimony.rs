//! Testimony: upon a signal, CPython's `faulthandler` writes where every Python thread is. Its handler is C and
//! needs no GIL, so it also works while C code holds it or a lock is dead.

use std::os::fd::{AsRawFd, BorrowedFd};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use rcorn_sys::signal;

/// From now on the signal makes this process write its Python stacks into the descriptor, which must stay open.
pub fn register(py: Python<'_>, into: BorrowedFd<'_>) -> PyResult<()> {
    let options = PyDict::new(py);
    options.set_item("file", into.as_raw_fd())?;
    options.set_item("all_threads", true)?;
    options.set_item("chain", false)?;
    let register = py.import("faulthandler")?.getattr("register")?;
    register.call((signal::stack_dump(),), Some(&options))?;
    Ok(())
}
