//! How a connection releases the GIL, and the exception that the app gets when its connection is
//! lost.

use pyo3::exceptions::{PyConnectionResetError, PyOSError, PySystemExit, PyTimeoutError};
use pyo3::prelude::*;

use rcorn_connection::Lost;
use rcorn_connection::Unlocked;
use rcorn_python::call;

/// A thread that holds the GIL. Calls that wait release it.
#[derive(Clone, Copy)]
pub struct Attached<'py>(pub Python<'py>);

impl std::fmt::Debug for Attached<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attached")
    }
}

impl Unlocked for Attached<'_> {
    fn unlocked<R: Send>(&self, call: impl FnOnce() -> R + Send) -> R {
        self.0.detach(call)
    }

    fn must_leave(&self) -> bool {
        // Runs Python's handlers of signals that have arrived, in the main thread. What they raise
        // is returned by `lost_error`.
        match self.0.check_signals() {
            Ok(()) => call::interrupted(),
            Err(error) => {
                error.restore(self.0);
                true
            }
        }
    }
}

/// The exception that an app gets when its client is lost: a subclass of `OSError`, which
/// frameworks (Werkzeug, Django) take for "client disconnected".
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn lost_error(lost: Lost) -> PyErr {
    let text = lost.to_string();
    match lost {
        Lost::Gone(_) => PyConnectionResetError::new_err(text),
        Lost::Stalled(..) | Lost::TooSlow(_) => PyTimeoutError::new_err(text),
        Lost::Short => PyOSError::new_err(text),
        // What a signal handler has raised, in the main thread.
        Lost::Leaving => Python::attach(PyErr::take).unwrap_or_else(|| PySystemExit::new_err(0)),
    }
}
