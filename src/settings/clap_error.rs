//! Errors of clap in one line, without the usage and the tips that clap adds.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use rcorn_types::CommandError;

/// The help text, if that is what clap returned in place of parsed arguments.
///
/// # Errors
///
/// The command line is wrong. `hint` becomes the hint of the error.
pub fn help_or_error(error: &clap::Error, hint: &str) -> Result<String, CommandError> {
    if error.use_stderr() {
        Err(CommandError::usage(message(error), hint))
    } else {
        Ok(error.to_string())
    }
}

/// The message of an error, in one line.
pub(super) fn message(error: &clap::Error) -> String {
    if let (ErrorKind::MissingRequiredArgument, Some(ContextValue::Strings(missing))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    {
        // clap writes a list on lines of its own.
        let missing = missing.join(" and ").replace("...", "");
        return format!("{missing} is missing");
    }
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    fn outcome(words: &[&str]) -> Result<String, CommandError> {
        let command = Command::new("x").arg(Arg::new("file").value_name("FILE").required(true));
        let words = ["x"].iter().chain(words);
        let error = command.try_get_matches_from(words).unwrap_err();
        help_or_error(&error, "see x --help")
    }

    #[test]
    fn an_error_is_one_line_and_help_is_not_an_error() {
        for (words, what) in [
            (&[][..], "<FILE> is missing"),
            (&["a", "--b"], "unexpected argument '--b' found"),
        ] {
            let error = outcome(words).unwrap_err();
            assert_eq!(
                error,
                CommandError::usage(what, "see x --help"),
                "{words:?}"
            );
        }
        assert!(outcome(&["--help"]).unwrap().contains("Usage: x <FILE>"));
    }
}
