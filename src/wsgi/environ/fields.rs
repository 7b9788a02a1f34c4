//! The header fields of a request as environ keys: which are dropped, joined, trusted.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use rcorn_http::environ::{FieldRules, Meaning, unfold};
use rcorn_http::{Field, Head};
use rcorn_python::text;

use super::EnvironError;
use super::keys::Keys;
use super::names::NameCache;
use super::values::ValueCache;

/// What a trusted proxy says about the target.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    pub(super) script: Option<Vec<u8>>,
    pub(super) path: Option<Vec<u8>>,
}

/// Puts header fields into environs.
#[derive(Debug)]
pub(super) struct FieldWriter {
    rules: FieldRules,
    names: NameCache,
    /// By [`super::names::Name::number`]: the request in which the field was seen last.
    seen_in: Vec<u32>,
    request: u32,
    joined: Vec<u8>,
}

impl FieldWriter {
    pub(super) fn new(rules: FieldRules) -> Self {
        Self {
            rules,
            names: NameCache::default(),
            seen_in: Vec::new(),
            request: 0,
            joined: Vec::new(),
        }
    }

    /// Whether a field of the head overrides an environ key.
    pub(super) fn has_forwarder_field(&self, bytes: &[u8], head: &Head) -> bool {
        head.fields
            .iter()
            .any(|field| field.has_underscore && self.rules.is_forwarder(field.name.of(bytes)))
    }

    /// The names and values of the fields that count.
    pub(super) fn visible<'a>(
        &'a self,
        bytes: &'a [u8],
        head: &'a Head,
        trusted: bool,
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        head.fields
            .iter()
            .map(|field| (field.name.of(bytes), field.value.of(bytes)))
            .filter(move |(name, _)| self.rules.is_visible(name, trusted))
    }

    /// Sets the keys of all fields; returns what a trusted peer's fields override.
    pub(super) fn set(
        &mut self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        (keys, values): (&Keys, &mut ValueCache),
        (bytes, head): (&[u8], &Head),
        trusted: bool,
    ) -> Result<Overrides, EnvironError> {
        let mut overrides = Overrides::default();
        let mut scheme = None;
        self.request = self.request.wrapping_add(1);
        for field in &head.fields {
            let https =
                self.set_field(py, environ, values, (bytes, field), trusted, &mut overrides)?;
            if let Some(https) = https
                && scheme.replace(https).is_some_and(|other| other != https)
            {
                return Err(EnvironError::Scheme);
            }
        }
        if let Some(authority) = head.authority {
            // Then Host is ignored (RFC 9112 section 3.2.2).
            let host = values.get(py, authority.of(bytes))?;
            environ.set_item(&keys.host, host)?;
        }
        if scheme == Some(true) {
            environ.set_item(&keys.scheme, "https")?;
        }
        Ok(overrides)
    }

    /// Sets one field; returns whether it says that the client used https, if it says anything
    /// about that.
    fn set_field(
        &mut self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        values: &mut ValueCache,
        (bytes, field): (&[u8], &Field),
        trusted: bool,
        overrides: &mut Overrides,
    ) -> PyResult<Option<bool>> {
        let unfolded;
        let mut value = field.value.of(bytes);
        if memchr::memchr(b'\n', value).is_some() {
            unfolded = unfold(value);
            value = &unfolded;
        }
        let name = self.names.get(py, &self.rules, field.name.of(bytes))?;
        let mut https = None;
        match name.meaning {
            Meaning::Dropped => return Ok(None),
            Meaning::Forwarder(index) => {
                if trusted {
                    match self.rules.forwarder(index) {
                        Some("SCRIPT_NAME") => overrides.script = Some(value.to_vec()),
                        Some("PATH_INFO") => overrides.path = Some(value.to_vec()),
                        Some(_) | None => environ.set_item(&name.key, values.get(py, value)?)?,
                    }
                }
                return Ok(None);
            }
            Meaning::Scheme(index) if trusted => {
                https = Some(self.rules.is_https(index, value));
            }
            Meaning::Scheme(_) | Meaning::Plain | Meaning::Cookie => {}
        }
        if self.seen_in.len() <= name.number {
            self.seen_in.resize(name.number.saturating_add(16), 0);
        }
        let is_repeated = self
            .seen_in
            .get_mut(name.number)
            .is_some_and(|seen| std::mem::replace(seen, self.request) == self.request);
        if is_repeated && let Some(before) = environ.get_item(&name.key)? {
            let before = before.cast::<PyString>().map_err(PyErr::from)?;
            self.joined.clear();
            text::append_latin1(before, &mut self.joined)?;
            self.joined.extend_from_slice(name.meaning.separator());
            self.joined.extend_from_slice(value);
            environ.set_item(&name.key, text::latin1(py, &self.joined)?)?;
        } else {
            environ.set_item(&name.key, values.get(py, value)?)?;
        }
        Ok(https)
    }
}
