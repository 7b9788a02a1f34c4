//! The modules that the interpreter has imported.

use pyo3::prelude::*;

/// A module, if it was imported.
#[must_use]
pub fn loaded<'py>(py: Python<'py>, module: &str) -> Option<Bound<'py, PyAny>> {
    let modules = py.import("sys").and_then(|sys| sys.getattr("modules"));
    modules.ok()?.get_item(module).ok()
}

/// Whether a module was imported.
#[must_use]
pub fn is_loaded(py: Python<'_>, module: &str) -> bool {
    loaded(py, module).is_some()
}
