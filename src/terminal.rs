//! What is printed without a log: results on standard output, errors and warnings on standard
//! error.

use std::io::Write;

use rcorn_types::{CommandError, ExitStatus};

/// A reader that has left (`head`) is no error.
pub(crate) fn print(text: &str) -> ExitStatus {
    drop(std::io::stdout().write_all(text.as_bytes()));
    ExitStatus::Success
}

/// Prints an error in one line (what, why, and the way out), after the traceback of Python code
/// that failed.
pub(crate) fn complain(error: &CommandError) {
    let detail = error.detail.as_deref().unwrap_or_default();
    let mut stderr = std::io::stderr();
    drop(writeln!(stderr, "{detail}rcorn: error: {error}"));
}

pub(crate) fn warn(warnings: &[String]) {
    for warning in warnings {
        drop(writeln!(std::io::stderr(), "rcorn: warning: {warning}"));
    }
}
