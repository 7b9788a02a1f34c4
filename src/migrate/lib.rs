//! `rcorn migrate FILE`: translates a uwsgi.ini, or the plain values of a gunicorn.conf.py, into a
//! rcorn.yaml.
//!
//! Text in, text out; nothing in the file is executed. A line that is not translated is listed in a
//! comment with the reason. Every value is checked against the settings table; one that rcorn would
//! refuse is listed, too. Only `run`, which `main` calls, reads a file.
#![forbid(unsafe_code)]

mod app;
mod conditions;
mod error;
mod gunicorn;
mod ini;
mod logformat;
mod logs;
mod options;
mod output;
mod processes;
mod python;
mod rules;
mod sockets;
mod tls;
mod uwsgi;
pub mod yaml;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, Command, ValueHint, value_parser};
use rcorn_settings::Environment;
use rcorn_types::CommandError;

pub use error::MigrateError;

/// The parser of `rcorn migrate`.
pub fn command() -> Command {
    Command::new("rcorn migrate")
        .about(
            "Translates a uwsgi.ini or a gunicorn.conf.py into a rcorn.yaml, on standard output.",
        )
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .value_hint(ValueHint::FilePath)
                .help("The file: uWSGI's as ini, gunicorn's as Python."),
        )
}

/// Runs `rcorn migrate` with the words after `migrate`; returns the text to print.
///
/// # Errors
///
/// [`Failure`](rcorn_types::ExitStatus::Failure) if the file cannot be read,
/// [`Usage`](rcorn_types::ExitStatus::Usage) if it cannot be migrated or the command line is wrong.
pub fn run(
    words: impl Iterator<Item = OsString>,
    environment: &Environment<'_>,
) -> Result<String, CommandError> {
    const EXAMPLE: &str = "rcorn migrate uwsgi.ini > rcorn.yaml";
    let words = std::iter::once(OsString::from("rcorn migrate")).chain(words);
    let matches = match command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => return rcorn_settings::help_or_error(&error, EXAMPLE),
    };
    let Some(path) = matches.get_one::<PathBuf>("file") else {
        return Err(CommandError::usage("FILE is missing", EXAMPLE));
    };
    let bytes = std::fs::read(path).map_err(|error| {
        CommandError::failure(format!("cannot read {}: {error}", path.display()))
            .with_hint("name a uwsgi.ini or a gunicorn.conf.py")
    })?;
    let text = String::from_utf8(bytes).map_err(|_not_utf8| {
        let what = format!("{} is not valid UTF-8", path.display());
        CommandError::usage(what, "convert it with iconv -t UTF-8")
    })?;
    let absolute = std::path::absolute(path).unwrap_or_else(|_unknown| path.clone());
    translate(&absolute, &text, environment).map_err(|error| {
        let what = format!("{}: {error}", path.display());
        CommandError::usage(what, error.hint)
    })
}

/// Translates the text of a file into a rcorn.yaml. The ending of the absolute path determines the
/// kind of file; uWSGI's `%d`, `%n` and similar stand for parts of the path. `environment` decides
/// about the blocks of `if-env`.
///
/// # Errors
///
/// The file is neither a uwsgi.ini nor a gunicorn.conf.py.
pub fn translate(
    path: &Path,
    text: &str,
    environment: &Environment<'_>,
) -> Result<String, MigrateError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(MigrateError::new(
            "is empty",
            "name a uwsgi.ini or a gunicorn.conf.py",
        ));
    }
    let as_ini = "write it as an ini file: a line [uwsgi], then lines of key = value";
    let extension = path
        .extension()
        .map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("py") => Ok(gunicorn::translate(path, text)),
        Some("ini") => uwsgi::translate(path, text, environment),
        _ if text.trim_start().starts_with('<') => {
            Err(MigrateError::new("is XML, which is not read", as_ini))
        }
        _ if ini::has_section(text) => uwsgi::translate(path, text, environment),
        Some("yaml" | "yml" | "json") => Err(MigrateError::new(
            "is YAML or JSON; of uWSGI's forms only ini is read",
            as_ini,
        )),
        Some(_) | None => Err(MigrateError::new(
            "is neither a uwsgi.ini nor a gunicorn.conf.py",
            "a uwsgi.ini has a line [uwsgi]; the name of gunicorn's file ends with .py",
        )),
    }
}
