//! A request that came as variables (uwsgi).

use pyo3::prelude::*;
use pyo3::types::PyDict;

use rcorn_http::{Variable, field_of};
use rcorn_python::text;

use super::values::ValueCache;

/// A request's variables, with the bytes that they are parts of.
#[derive(Clone, Copy, Debug)]
pub struct Variables<'a> {
    /// What was received.
    pub bytes: &'a [u8],
    /// All of them, in order.
    pub list: &'a [Variable],
}

impl<'a> Variables<'a> {
    /// The value of the last variable of this name, unless it is empty.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&'a [u8]> {
        let mut last = self.list.iter().rev();
        let found = last.find(|variable| variable.name.of(self.bytes) == name)?;
        Some(found.value.of(self.bytes)).filter(|value| !value.is_empty())
    }

    /// Whether the client came by https, if the proxy says so or the contrary. There is no standard
    /// name: nginx sends `REQUEST_SCHEME`, and `HTTPS` when it is `on`; `UWSGI_SCHEME` is for
    /// uWSGI.
    pub(super) fn is_https(&self) -> Option<bool> {
        if let Some(https) = self.get(b"HTTPS") {
            let yes = [&b"on"[..], b"1", b"true"];
            return Some(yes.iter().any(|yes| https.eq_ignore_ascii_case(yes)));
        }
        let scheme = self
            .get(b"UWSGI_SCHEME")
            .or_else(|| self.get(b"REQUEST_SCHEME"))?;
        Some(scheme.eq_ignore_ascii_case(b"https"))
    }

    /// Sets all variables that are not header fields.
    pub(super) fn set_given(
        self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        values: &mut ValueCache,
    ) -> PyResult<()> {
        for variable in self.list {
            let name = variable.name.of(self.bytes);
            let value = variable.value.of(self.bytes);
            let elsewhere = match name {
                // The head sets these.
                b"REQUEST_METHOD" | b"CONTENT_TYPE" | b"CONTENT_LENGTH" | b"RAW_URI"
                | b"PATH_INFO" | b"SCRIPT_NAME" => true,
                // PEP 3333: these are never empty.
                b"SERVER_NAME" | b"SERVER_PORT" | b"SERVER_PROTOCOL" | b"REMOTE_ADDR" => {
                    value.is_empty()
                }
                _ => field_of(name).is_some(),
            };
            if !elsewhere {
                environ.set_item(text::latin1(py, name)?, values.get(py, value)?)?;
            }
        }
        Ok(())
    }
}
