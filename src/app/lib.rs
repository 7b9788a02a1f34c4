//! The user's code: the import of the app, the hooks of the configuration file, Python's loggers,
//! and what `--reload` needs. Called by `template` and `worker`.
#![forbid(unsafe_code)]

mod closed_directories;
pub mod develop;
mod gil;
pub mod hooks;
pub mod import;
pub mod load;
pub mod loggers;
pub mod print_lines;
mod when_imported;

use pyo3::prelude::*;

/// Executes Python source that is part of rcorn as the module `name`. The module stays in
/// `sys.modules`, so workers, which are forked later, can import it by that name.
///
/// # Errors
///
/// The exception that the source raises.
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
