//! What a front says of a request, as environ values.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use rcorn_python::text;

/// Environ keys with their values, made once for all requests that have them in common. They are
/// set last, over what the request itself says.
#[derive(Debug)]
pub struct GivenVariables(Vec<(Py<PyString>, Py<PyString>)>);

impl GivenVariables {
    /// These keys and values.
    ///
    /// # Errors
    ///
    /// When Python has no memory.
    pub fn new<'a>(
        py: Python<'_>,
        variables: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> PyResult<Self> {
        let made = variables.into_iter().map(|(name, value)| {
            let key = PyString::intern(py, name).unbind();
            Ok((key, text::latin1(py, value)?.unbind()))
        });
        Ok(Self(made.collect::<PyResult<_>>()?))
    }

    /// Sets them.
    ///
    /// # Errors
    ///
    /// When Python has no memory.
    pub fn set(&self, py: Python<'_>, environ: &Bound<'_, PyDict>) -> PyResult<()> {
        for (key, value) in &self.0 {
            environ.set_item(key.bind(py), value.bind(py))?;
        }
        Ok(())
    }
}
