//! `rcorn migrate FILE`: a uwsgi.ini or the plain values of a gunicorn.conf.py as a rcorn.yaml, on standard output.
//!
//! Text in, text out; nothing of the file is executed. Every line that is not translated is listed in a comment, with
//! the reason; every value is held against the settings table, and one that rcorn would refuse is listed, too. Only
//! `run`, which `main` calls, reads and prints.
#![forbid(unsafe_code)]

mod gunicorn;
mod ini;
mod limits;
mod logformat;
mod places;
mod python;
mod rules;
mod sheet;
mod uwsgi;
pub mod yaml;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Arg, Command, ValueHint, value_parser};

/// Exit codes: printed; the file cannot be read; it is nothing to migrate, or the command line is wrong.
const DONE: u8 = 0;
const FAILED: u8 = 1;
const USAGE: u8 = 2;

/// Why a text cannot be migrated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Refused {
    /// What is wrong.
    pub what: String,
    /// The way out.
    pub hint: String,
}

impl Refused {
    fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            hint: hint.into(),
        }
    }
}

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

/// Runs `rcorn migrate` with the words after `migrate`; gives the exit code.
pub fn run(words: impl Iterator<Item = OsString>) -> u8 {
    let words = std::iter::once(OsString::from("rcorn migrate")).chain(words);
    let matches = match command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => {
            let text = if error.kind() == ErrorKind::MissingRequiredArgument {
                "FILE is missing".to_owned()
            } else {
                error.to_string()
            };
            let first = text.lines().next().unwrap_or_default();
            let first = first.strip_prefix("error: ").unwrap_or(first);
            return complain(first, "rcorn migrate uwsgi.ini > rcorn.yaml", USAGE);
        }
        Err(help) => {
            drop(write!(io::stdout(), "{help}"));
            return DONE;
        }
    };
    let Some(path) = matches.get_one::<PathBuf>("file") else {
        return complain("no file", "rcorn migrate uwsgi.ini > rcorn.yaml", USAGE);
    };
    let text = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let what = format!("cannot read {}: {error}", path.display());
            return complain(&what, "name a uwsgi.ini or a gunicorn.conf.py", FAILED);
        }
    };
    let Ok(text) = String::from_utf8(text) else {
        let what = format!("{} is not valid UTF-8", path.display());
        return complain(&what, "write it in UTF-8: iconv -t UTF-8 does that", USAGE);
    };
    let absolute = std::path::absolute(path).unwrap_or_else(|_unknown| path.clone());
    match translate(&absolute, &text) {
        Ok(yaml) => {
            drop(io::stdout().write_all(yaml.as_bytes()));
            DONE
        }
        Err(refused) => complain(
            &format!("{}: {refused}", path.display()),
            &refused.hint,
            USAGE,
        ),
    }
}

fn complain(text: &str, hint: &str, code: u8) -> u8 {
    drop(writeln!(io::stderr(), "rcorn: error: {text}; hint: {hint}"));
    code
}

/// The file's text as a rcorn.yaml. The path, an absolute one, tells what kind it is, and is what uWSGI's own
/// variables are made of.
pub fn translate(path: &Path, text: &str) -> Result<String, Refused> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(Refused::new(
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
        Some("ini") => uwsgi::translate(path, text),
        _ if text.trim_start().starts_with('<') => {
            Err(Refused::new("is XML, which is not read", as_ini))
        }
        _ if ini::has_section(text) => uwsgi::translate(path, text),
        Some("yaml" | "yml" | "json") => Err(Refused::new(
            "is YAML or JSON; of uWSGI's forms only ini is read",
            as_ini,
        )),
        Some(_) | None => Err(Refused::new(
            "is neither a uwsgi.ini nor a gunicorn.conf.py",
            "a uwsgi.ini has a line [uwsgi]; the name of gunicorn's file ends with .py",
        )),
    }
}
