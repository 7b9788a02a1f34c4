//! Why a text cannot be migrated.

/// Why a text cannot be migrated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct MigrateError {
    /// What is wrong.
    pub what: String,
    /// The way out.
    pub hint: String,
}

impl MigrateError {
    pub(super) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            hint: hint.into(),
        }
    }
}
