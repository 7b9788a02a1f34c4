//! The native module that the bootstrap imports into the user's Python.
#![forbid(unsafe_code)]

use std::os::fd::RawFd;

use pyo3::prelude::*;

/// The module.
#[pymodule]
#[pyo3(name = "_rcorn")]
fn native(native: &Bound<'_, PyModule>) -> PyResult<()> {
    native.add_function(wrap_pyfunction!(template, native)?)
}

/// Runs a template ([`rcorn_template::run`]). Ends the process instead of returning to Python.
#[pyfunction]
fn template(py: Python<'_>, native: RawFd, start: RawFd, program: RawFd, mode: &str, abi: &str) {
    rcorn_sys::exit_now(rcorn_template::run(
        py,
        [native, program],
        start,
        (mode, abi),
    ))
}
