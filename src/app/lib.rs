//! The user's code: importing it, the hooks of its configuration file, Python's loggers as the
//! settings shape them, and what `--reload` needs. Called by `template` and `worker`.
#![forbid(unsafe_code)]

pub mod develop;
pub mod hooks;
pub mod import;
pub mod load;
pub mod loggers;

use pyo3::prelude::*;

/// Executes Python source that is part of rcorn as the module `name`. It stays in `sys.modules`, so
/// that workers, which are forked later, import it by this name.
///
/// # Errors
///
/// What the source raises.
pub fn load_embedded<'py>(
    py: Python<'py>,
    name: &str,
    source: &str,
) -> PyResult<Bound<'py, PyModule>> {
    let text = |text: &str| std::ffi::CString::new(text).map_err(PyErr::from);
    PyModule::from_code(
        py,
        &text(source)?,
        &text(&format!("<rcorn {name}>"))?,
        &text(name)?,
    )
}
