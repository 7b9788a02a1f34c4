//! The header fields of a request as environ keys: which are dropped, joined, believed.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use rcorn_http::Head;
use rcorn_python::text;

use super::environ::{EnvironBuilder, EnvironError};
use super::names::Meaning;

/// What a trusted proxy says of the target.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    pub(super) script: Option<Vec<u8>>,
    pub(super) path: Option<Vec<u8>>,
}

/// A folded value on one line: each fold becomes one space (RFC 9112 section 5.2).
fn unfold(value: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = value
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .collect();
    parts.join(&b' ')
}

impl EnvironBuilder {
    /// The fields, and what a trusted peer's fields override.
    pub(super) fn set_fields(
        &mut self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        bytes: &[u8],
        head: &Head,
        trusted: bool,
    ) -> Result<Overrides, EnvironError> {
        let mut overrides = Overrides::default();
        let mut scheme = None;
        self.turn = self.turn.wrapping_add(1);
        for field in &head.fields {
            let folded;
            let mut value = field.value.of(bytes);
            if memchr::memchr(b'\n', value).is_some() {
                folded = unfold(value);
                value = &folded;
            }
            let name = self.names.get(py, field.name.of(bytes))?;
            match name.meaning {
                Meaning::Dropped => continue,
                Meaning::Forwarder(_) if !trusted => continue,
                Meaning::Forwarder(index) => {
                    match self.forwarder.get(index).map(String::as_str) {
                        Some("SCRIPT_NAME") => overrides.script = Some(value.to_vec()),
                        Some("PATH_INFO") => overrides.path = Some(value.to_vec()),
                        Some(_) | None => {
                            environ.set_item(&name.key, self.values.get(py, value)?)?;
                        }
                    }
                    continue;
                }
                Meaning::Scheme(index) if trusted => {
                    let https = self
                        .secure
                        .get(index)
                        .is_some_and(|secure| secure.as_bytes() == value);
                    if scheme.replace(https).is_some_and(|other| other != https) {
                        return Err(EnvironError::Scheme);
                    }
                }
                Meaning::Scheme(_) | Meaning::Plain | Meaning::Cookie => {}
            }
            let number = name.number;
            if self.seen.len() <= number {
                self.seen.resize(number.saturating_add(16), 0);
            }
            let again = self
                .seen
                .get_mut(number)
                .is_some_and(|seen| std::mem::replace(seen, self.turn) == self.turn);
            if again && let Some(before) = environ.get_item(&name.key)? {
                // RFC 9110 section 5.2: one field, values joined by a comma.
                self.joined.clear();
                text::append_latin1(
                    before.cast::<PyString>().map_err(PyErr::from)?,
                    &mut self.joined,
                )?;
                let glue: &[u8] = if name.meaning == Meaning::Cookie {
                    b"; "
                } else {
                    b","
                };
                self.joined.extend_from_slice(glue);
                self.joined.extend_from_slice(value);
                environ.set_item(&name.key, text::latin1(py, &self.joined)?)?;
            } else {
                environ.set_item(&name.key, self.values.get(py, value)?)?;
            }
        }
        if let Some(authority) = head.authority {
            // RFC 9112 section 3.2.2: Host is ignored then.
            let host = self.values.get(py, authority.of(bytes))?;
            environ.set_item(&self.keys.host, host)?;
        }
        if scheme == Some(true) {
            environ.set_item(&self.keys.scheme, "https")?;
        }
        Ok(overrides)
    }
}
