//! Field names that were seen, with their environ keys as interned `str` objects.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use rcorn_http::environ::{FieldRules, Meaning, environ_key};
use rcorn_http::hash::FxHasher;
use rcorn_python::text;

/// How many names are kept: more than real clients use. A flood of different names costs time,
/// never memory.
const MAX_NAMES: usize = 512;

/// A field name that was seen.
#[derive(Debug)]
pub(super) struct Name {
    /// Its environ key.
    pub(super) key: Py<PyString>,
    /// What it means.
    pub(super) meaning: Meaning,
    /// The same for all spellings of one key. It finds repeated fields without a look-up in the
    /// dict.
    pub(super) number: usize,
}

/// The names seen so far.
#[derive(Debug, Default)]
pub(super) struct NameCache {
    /// Places in `seen`.
    by_wire: HashMap<Box<[u8]>, usize, BuildHasherDefault<FxHasher>>,
    seen: Vec<Name>,
    numbers: HashMap<Box<[u8]>, usize>,
}

impl NameCache {
    /// The name's entry, made if it is new.
    pub(super) fn get(
        &mut self,
        py: Python<'_>,
        rules: &FieldRules,
        wire: &[u8],
    ) -> PyResult<&Name> {
        let place = if let Some(place) = self.by_wire.get(wire) {
            *place
        } else {
            if self.seen.len() >= MAX_NAMES {
                self.by_wire.clear();
                self.seen.clear();
                self.numbers.clear();
            }
            let name = self.make(py, rules, wire)?;
            let place = self.seen.len();
            self.by_wire.insert(wire.into(), place);
            self.seen.push(name);
            place
        };
        self.seen
            .get(place)
            .ok_or_else(|| PyRuntimeError::new_err("a field name vanished from its cache"))
    }

    fn make(&mut self, py: Python<'_>, rules: &FieldRules, wire: &[u8]) -> PyResult<Name> {
        let upper = wire.to_ascii_uppercase();
        let meaning = rules.meaning(&upper);
        let key = environ_key(&upper, meaning);
        let next = self.numbers.len();
        let number = *self.numbers.entry(key.as_slice().into()).or_insert(next);
        Ok(Name {
            key: text::interned(py, &key)?.unbind(),
            meaning,
            number,
        })
    }
}
