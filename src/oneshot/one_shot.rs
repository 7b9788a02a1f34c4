//! Which commands there are.

use std::ffi::OsString;

use serde::Serialize;

/// One of the commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OneShot {
    /// Answer the request in the environment (RFC 3875).
    Cgi,
    /// Answer an API-gateway event.
    Invoke,
    /// Write a bundle for a function service.
    Pack,
}

impl OneShot {
    /// All commands.
    pub const ALL: [Self; 3] = [Self::Cgi, Self::Invoke, Self::Pack];

    /// The command of this name.
    #[must_use]
    pub fn named(word: &OsString) -> Option<Self> {
        Self::ALL.into_iter().find(|one| word == one.word())
    }

    /// Its name on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cgi => "cgi",
            Self::Invoke => "invoke",
            Self::Pack => "pack",
        }
    }
}
