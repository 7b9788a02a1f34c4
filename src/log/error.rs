//! Errors of log files, each with what the operator can do about it. Errors in the format of the
//! access log have their own type, `access::FormatError`.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A failure to open or replace a log file.
#[derive(Debug, Error)]
pub enum FileError {
    /// The file could not be opened for appending.
    #[error("cannot open the log file {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file was created, but its owner could not be set to the user of the workers.
    #[error("cannot change the owner of the log file {}", path.display())]
    Own {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The new file is open, but could not replace the old one.
    #[error("cannot switch to the new log file")]
    Replace {
        /// The cause.
        source: io::Error,
    },
}

impl FileError {
    /// What the operator can do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Open { .. } => Some(
                "the directory must exist, and the user of rcorn (for workers that reopen the \
                 file: the user of the workers) must be allowed to write the file",
            ),
            Self::Own { .. } => Some("start as root, or leave out --user and --group"),
            Self::Replace { .. } => None,
        }
    }

    /// The error with its cause and its hint, for a log record.
    #[must_use]
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        if let Some(cause) = self.source() {
            text.push_str(": ");
            text.push_str(&cause.to_string());
        }
        if let Some(hint) = self.hint() {
            text.push_str(" (");
            text.push_str(hint);
            text.push(')');
        }
        text
    }
}
