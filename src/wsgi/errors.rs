//! `wsgi.errors` (PEP 3333): what the app writes goes to the error log's descriptor as it is.

use pyo3::prelude::*;
use pyo3::types::PyString;

use rcorn_log as log;

/// The object behind `environ['wsgi.errors']`. One for all requests: it has no state.
#[pyclass(frozen, name = "Errors", module = "rcorn")]
#[derive(Debug)]
pub struct Errors;

#[pymethods]
#[expect(clippy::unused_self, reason = "methods of a Python object have a self")]
impl Errors {
    fn write(&self, text: &Bound<'_, PyString>) -> PyResult<usize> {
        log::raw(text.to_string_lossy().as_bytes());
        text.len()
    }

    fn writelines(&self, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(line?.cast::<PyString>()?)?;
        }
        Ok(())
    }

    // Every write is one write(2): nothing is held back.
    fn flush(&self) {}
}
