//! Exceptions as text for the log: the app's frames and none of ours (our calls come from Rust, so
//! there are none to hide).

use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// The exception as Python prints it, without the last line's newline.
#[must_use]
pub fn format(py: Python<'_>, error: &PyErr) -> String {
    let formatted = || -> PyResult<String> {
        let module = py.import("traceback")?;
        let lines = module.call_method1(
            "format_exception",
            (error.get_type(py), error.value(py), error.traceback(py)),
        )?;
        let text: String = lines
            .try_iter()?
            .map(|line| line?.extract::<String>())
            .collect::<PyResult<_>>()?;
        Ok(text)
    };
    match formatted() {
        Ok(text) => text.trim_end().to_owned(),
        // A broken __str__ of the app's exception, or a lone surrogate: say what can be said.
        Err(_broken) => summary(py, error),
    }
}

/// The last line only: `ModuleNotFoundError: No module named 'x'`.
#[must_use]
pub fn summary(py: Python<'_>, error: &PyErr) -> String {
    let kind = error.get_type(py);
    let name = kind
        .name()
        .map_or_else(|_broken| "exception".to_owned(), |name| name.to_string());
    match error.value(py).str() {
        Ok(text) if text.len().is_ok_and(|length| length > 0) => {
            format!("{name}: {}", text.to_string_lossy())
        }
        Ok(_) | Err(_) => name,
    }
}

/// The exception in the three values of `sys.exc_info()`, which an app passes to `start_response`.
///
/// # Errors
///
/// It is not a tuple of three.
pub fn from_exc_info(info: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let triple = info.cast::<PyTuple>()?;
    let value = triple.get_item(1)?;
    let error = PyErr::from_value(value);
    if let Ok(frames) = triple.get_item(2)?.cast_into::<pyo3::types::PyTraceback>() {
        error.set_traceback(info.py(), Some(frames));
    }
    Ok(error)
}
