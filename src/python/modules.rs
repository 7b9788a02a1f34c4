//! The modules that the interpreter has imported.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A module, if it was imported.
#[must_use]
pub fn loaded<'py>(py: Python<'py>, module: &str) -> Option<Bound<'py, PyAny>> {
    let modules = py.import("sys").and_then(|sys| sys.getattr("modules"));
    let modules = modules.ok()?;
    match modules.cast::<PyDict>() {
        // Without an exception for one that is not there.
        Ok(modules) => modules.get_item(module).ok()?,
        Err(_other) => modules.get_item(module).ok(),
    }
}

/// Whether a module was imported.
#[must_use]
pub fn is_loaded(py: Python<'_>, module: &str) -> bool {
    loaded(py, module).is_some()
}
