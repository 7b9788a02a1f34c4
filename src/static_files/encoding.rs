//! The compressed files that lie beside a file.

use rcorn_http::accepted_codings;

/// A compressed form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoding {
    /// Its name in Content-Encoding.
    pub(crate) name: &'static str,
    /// What is appended to the name of the file.
    pub(crate) suffix: &'static str,
}

/// The forms, the smallest first.
pub(crate) const ENCODINGS: [Encoding; 3] = [
    Encoding {
        name: "br",
        suffix: ".br",
    },
    Encoding {
        name: "zstd",
        suffix: ".zst",
    },
    Encoding {
        name: "gzip",
        suffix: ".gz",
    },
];

/// The forms that a client takes, in the order of its preference and then of ours.
pub(crate) fn accepted(field: &[u8]) -> Vec<Encoding> {
    accepted_codings(field, &ENCODINGS, |encoding| encoding.name)
}
