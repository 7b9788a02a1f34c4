//! Why a command of rcorn failed, in the one form in which the operator sees it.

use std::error::Error;
use std::fmt;

use crate::ExitStatus;

/// Why a command failed. `main` prints it, and nobody else: [`Display`](fmt::Display) is the one
/// line after `rcorn: error: `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// What is wrong.
    pub what: String,
    /// The way out.
    pub hint: Option<String>,
    /// Lines to print before it: the traceback of Python code that failed.
    pub detail: Option<String>,
    /// How rcorn exits with it.
    pub status: ExitStatus,
}

impl CommandError {
    /// The command line is wrong.
    pub fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(what, ExitStatus::Usage).with_hint(hint)
    }

    /// The command was understood and could not be carried out.
    pub fn failure(what: impl Into<String>) -> Self {
        Self::new(what, ExitStatus::Failure)
    }

    /// One without a hint.
    pub fn new(what: impl Into<String>, status: ExitStatus) -> Self {
        Self {
            what: what.into(),
            hint: None,
            detail: None,
            status,
        }
    }

    /// The same with the way out.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.hint
            .as_ref()
            .map_or(Ok(()), |hint| write!(f, "; hint: {hint}"))
    }
}

impl Error for CommandError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_its_hint() {
        let error = CommandError::usage("no file", "name one");
        assert_eq!(error.to_string(), "no file; hint: name one");
        assert_eq!(error.status.code(), 2);
        let error = CommandError::failure("no answer");
        assert_eq!(error.to_string(), "no answer");
        assert_eq!(error.status.code(), 1);
    }
}
