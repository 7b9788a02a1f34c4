//! Why there is no environ.

use pyo3::PyErr;

/// Why there is no environ.
#[derive(Debug, thiserror::Error)]
pub enum EnvironError {
    /// Two forwarding fields name different schemes: 400.
    #[error("the forwarding header fields disagree about http or https")]
    Scheme,
    /// The path is not below `SCRIPT_NAME`: 500.
    #[error("the path {0:?} is not below SCRIPT_NAME {1:?}")]
    ScriptName(String, String),
    /// Python refused.
    #[error(transparent)]
    Python(#[from] PyErr),
}
