//! Python's standard streams.

use pyo3::prelude::*;

/// Flushes `sys.stdout` and `sys.stderr`, as an interpreter does at its end. What fails is told to
/// `failed`.
pub fn flush_standard_streams(py: Python<'_>, mut failed: impl FnMut(&PyErr)) {
    for name in ["stdout", "stderr"] {
        if let Err(error) = flush(py, name) {
            failed(&error);
        }
    }
}

fn flush(py: Python<'_>, name: &str) -> PyResult<()> {
    let stream = py.import("sys")?.getattr(name)?;
    // Without a console there is none.
    if !stream.is_none() {
        stream.call_method0("flush")?;
    }
    Ok(())
}
