//! The caches by which an environ is built from objects that exist already: field name → key, value → `str`.
//! Both are bounded; a flood of odd names or values costs time, never memory.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use pyo3::prelude::*;
use pyo3::types::PyString;

use rcorn_python::text;

/// What a request field means for the environ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// `HTTP_…` only.
    Plain,
    /// `Cookie`: several are joined by `; ` (RFC 6265 section 5.4).
    Cookie,
    /// A field of `secure_scheme_headers`, by its index.
    Scheme(usize),
    /// A field of `forwarder_headers`, by its index: overrides an environ key when a trusted peer sends it.
    Forwarder(usize),
    /// Has an underscore, which could pass for a hyphen's twin: never seen by the app.
    Dropped,
}

/// A field name that was seen.
#[derive(Debug)]
pub struct Name {
    /// Its environ key.
    pub key: Py<PyString>,
    /// What it means.
    pub meaning: Meaning,
    /// The same for all spellings of one key: finds repeated fields without asking the dict.
    pub number: usize,
}

/// Names kept; more than any honest set of clients uses.
const MOST_NAMES: usize = 512;

/// How the environ treats names, from the settings.
#[derive(Clone, Debug, Default)]
pub struct NameRules {
    /// Upper-case names that say whether the client used https.
    pub scheme: Vec<String>,
    /// Upper-case names with underscores that trusted peers may send.
    pub forwarder: Vec<String>,
    /// Let every other name with an underscore through (`header_map: dangerous`).
    pub underscores: bool,
}

/// The names seen so far.
#[derive(Debug, Default)]
pub struct Names {
    rules: NameRules,
    /// By their place in `seen`.
    by_wire: HashMap<Box<[u8]>, usize, BuildHasherDefault<FxHasher>>,
    seen: Vec<Name>,
    numbers: HashMap<Box<[u8]>, usize>,
}

impl Names {
    /// No names yet.
    #[must_use]
    pub fn new(rules: NameRules) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }

    /// The highest number given out, plus one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.numbers.len()
    }

    /// The name's entry, made if it is new.
    pub fn get(&mut self, py: Python<'_>, wire: &[u8]) -> PyResult<&Name> {
        let place = if let Some(place) = self.by_wire.get(wire) {
            *place
        } else {
            if self.seen.len() >= MOST_NAMES {
                self.by_wire.clear();
                self.seen.clear();
                self.numbers.clear();
            }
            let name = self.make(py, wire)?;
            self.by_wire.insert(wire.into(), self.seen.len());
            self.seen.push(name);
            self.seen.len().saturating_sub(1)
        };
        self.seen.get(place).ok_or_else(|| {
            pyo3::exceptions::PyRuntimeError::new_err("a field name vanished from its cache")
        })
    }

    fn make(&mut self, py: Python<'_>, wire: &[u8]) -> PyResult<Name> {
        let upper = wire.to_ascii_uppercase();
        let find = |list: &[String]| {
            list.iter()
                .position(|name| name.as_bytes() == upper.as_slice())
        };
        let meaning = if let Some(index) = find(&self.rules.forwarder) {
            Meaning::Forwarder(index)
        } else if upper.contains(&b'_') && !self.rules.underscores {
            Meaning::Dropped
        } else if let Some(index) = find(&self.rules.scheme) {
            Meaning::Scheme(index)
        } else if upper == b"COOKIE" {
            Meaning::Cookie
        } else {
            Meaning::Plain
        };
        let mut key = match upper.as_slice() {
            b"CONTENT-TYPE" | b"CONTENT-LENGTH" => Vec::new(),
            _ if matches!(meaning, Meaning::Forwarder(_)) => Vec::new(),
            _ => b"HTTP_".to_vec(),
        };
        key.extend(
            upper
                .iter()
                .map(|byte| if *byte == b'-' { b'_' } else { *byte }),
        );
        let next = self.numbers.len();
        let number = *self.numbers.entry(key.as_slice().into()).or_insert(next);
        Ok(Name {
            key: text::interned(py, &key)?.unbind(),
            meaning,
            number,
        })
    }
}

/// Values kept.
const SLOTS: usize = 1024;
/// Longest value kept, in bytes.
const LONGEST: usize = 256;

/// Values that come again and again, by their bytes.
#[derive(Debug)]
pub struct Values {
    slots: Vec<Option<Kept>>,
}

/// A value's bytes and its `str`.
type Kept = (Box<[u8]>, Py<PyString>);

impl Default for Values {
    fn default() -> Self {
        let mut slots = Vec::new();
        slots.resize_with(SLOTS, || None);
        Self { slots }
    }
}

impl Values {
    /// The `str` of these bytes.
    pub fn get<'py>(&mut self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
        if bytes.len() > LONGEST {
            return text::latin1(py, bytes);
        }
        let index = usize::try_from(hash(bytes)).unwrap_or(0) & SLOTS.saturating_sub(1);
        let Some(slot) = self.slots.get_mut(index) else {
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

/// A quick hash; collisions only cost a new `str`.
fn hash(bytes: &[u8]) -> u32 {
    let mut state = FxHasher(u64::try_from(bytes.len()).unwrap_or(0));
    state.write(bytes);
    u32::try_from(state.0 >> 40).unwrap_or(0)
}

/// Multiply and rotate, eight bytes at a time. Names that somebody makes to collide cost a look at [`MOST_NAMES`] at
/// most.
#[derive(Debug, Default)]
struct FxHasher(u64);

impl FxHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for FxHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.mix(u64::from(*byte));
        }
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(u64::try_from(number).unwrap_or(0));
    }

    fn finish(&self) -> u64 {
        // Tables look at the lowest and the highest bits; a product's best are the high ones.
        self.0.rotate_left(26)
    }
}
