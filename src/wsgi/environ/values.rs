//! A cache of values of header fields, as `str` objects.

use pyo3::prelude::*;
use pyo3::types::PyString;

use rcorn_http::hash::slot_of;
use rcorn_python::text;

/// The cache has `2^SLOT_BITS` slots. A flood of different values costs time, never memory.
const SLOT_BITS: u32 = 10;
/// The longest value that is kept.
const MAX_VALUE_BYTES: usize = 256;

/// A value's bytes and its `str`.
type Kept = (Box<[u8]>, Py<PyString>);

/// The last value of each slot, by its bytes.
#[derive(Debug)]
pub(super) struct ValueCache {
    slots: Vec<Option<Kept>>,
}

impl Default for ValueCache {
    fn default() -> Self {
        let mut slots = Vec::new();
        slots.resize_with(1 << SLOT_BITS, || None);
        Self { slots }
    }
}

impl ValueCache {
    /// The `str` of these bytes.
    pub(super) fn get<'py>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
    ) -> PyResult<Bound<'py, PyString>> {
        if bytes.len() > MAX_VALUE_BYTES {
            return text::latin1(py, bytes);
        }
        let Some(slot) = self.slots.get_mut(slot_of::<SLOT_BITS>(bytes)) else {
            return text::latin1(py, bytes);
        };
        if let Some((kept, text)) = slot
            && **kept == *bytes
        {
            return Ok(text.bind(py).clone());
        }
        let made = text::latin1(py, bytes)?;
        *slot = Some((bytes.into(), made.clone().unbind()));
        Ok(made)
    }
}
