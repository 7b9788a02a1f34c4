//! Python prints whole lines.

use pyo3::prelude::*;

use super::load_embedded;

/// Makes Python write a line when it is printed, and in one piece: its time is right then, a crash
/// does not lose it, and lines of threads do not mix.
///
/// # Errors
///
/// Those of Python.
pub fn print_lines(py: Python<'_>) -> PyResult<()> {
    let source = include_str!("print_lines.py");
    load_embedded(py, "_rcorn_print_lines", source)?.call_method0("prepare")?;
    Ok(())
}
