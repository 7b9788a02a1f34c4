//! A process that the app has forked, and that returns from the app's code. The connection, the
//! listeners and the link to the arbiter belong to its parent, so it must neither send nor receive.
//!
//! Nor may it take the lock of a write buffer: the I/O thread, which this process does not have,
//! may have held it at the fork.

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;

use rcorn_log as log;
use rcorn_python::fork::pid;
use rcorn_python::streams::flush_standard_streams;
use rcorn_python::traceback;
use rcorn_sys::exit_now;
use rcorn_sys::fork::is_forked_child;

/// Ends this process like a script if the app has forked it. `raised`: what its code raised.
pub(super) fn end_forked_child(py: Python<'_>, raised: Option<&PyErr>) {
    if is_forked_child() {
        end(py, raised);
    }
}

#[cold]
fn end(py: Python<'_>, raised: Option<&PyErr>) -> ! {
    let code = raised.map_or(0, |error| exit_code(py, error));
    log::debug(format_args!(
        "A process that the app forked came back from the app: it ends (pid: {})",
        pid()
    ));
    flush_standard_streams(py, |_error| {});
    exit_now(code)
}

/// The exit code that Python gives a script that ends with this exception.
fn exit_code(py: Python<'_>, error: &PyErr) -> i32 {
    if !error.is_instance_of::<PySystemExit>(py) {
        log::error(format_args!(
            "Exception in a process that the app forked\n{}",
            traceback::format(py, error)
        ));
        return 1;
    }
    match error.value(py).getattr("code") {
        Ok(code) if code.is_none() => 0,
        Ok(code) => code.extract().unwrap_or(1),
        Err(_broken) => 1,
    }
}
