//! The user's code: importing it, the hooks of its configuration file, Python's loggers as the settings
//! shape them, and what `--reload` needs. Called by `template` and `worker`.
#![forbid(unsafe_code)]

pub mod develop;
pub mod hooks;
pub mod import;
pub mod load;
pub mod loggers;

use pyo3::prelude::*;

/// A module of ours, from its source.
pub fn own_module<'py>(
    py: Python<'py>,
    source: &str,
    name: &str,
) -> PyResult<Bound<'py, PyModule>> {
    let text = |text: &str| std::ffi::CString::new(text).map_err(PyErr::from);
    PyModule::from_code(
        py,
        &text(source)?,
        &text(&format!("<rcorn {name}>"))?,
        &text(name)?,
    )
}
