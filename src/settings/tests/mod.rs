//! Tests of the settings: the table, the values, the app's name, and whole command lines.

mod apps;
mod command_line;
mod exchange;
mod files;
mod sources;
mod table;
mod values;

use std::collections::HashMap;
use std::ffi::OsString;

use super::{Error, Invocation, Resolved, collect, launch_directory};

/// What a command line asks for.
#[derive(Debug)]
enum Command {
    Serve(Box<Resolved>),
    Print(String),
}

/// Resolves a command line in an environment of these variables only.
fn resolved_in(variables: &[(&str, &str)], words: &[&str]) -> Result<Command, Error> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    let words = words.iter().map(OsString::from);
    let environment = |name: &str| variables.get(name).map(|&text| text.to_owned());
    let directory = launch_directory(&environment)?;
    match collect(words, &environment, directory)? {
        Invocation::Serve(sources) => Ok(Command::Serve(Box::new(sources.resolve(None)?))),
        Invocation::Print(text) | Invocation::Generate(text) => Ok(Command::Print(text)),
    }
}

/// What is served.
fn served_in(variables: &[(&str, &str)], words: &[&str]) -> Resolved {
    match resolved_in(variables, words) {
        Ok(Command::Serve(resolved)) => *resolved,
        other => panic!("{words:?} gives {other:?}"),
    }
}

fn served(words: &[&str]) -> Resolved {
    served_in(&[], words)
}

fn error_in(variables: &[(&str, &str)], words: &[&str]) -> Error {
    match resolved_in(variables, words) {
        Err(error) => error,
        Ok(command) => panic!("{words:?} gives {command:?}"),
    }
}

/// Display, hint and code of an error.
fn refusal(words: &[&str]) -> (String, String, u8) {
    told(&error_in(&[], words))
}

fn told(error: &Error) -> (String, String, u8) {
    (
        error.to_string(),
        error.hint().unwrap_or_default(),
        error.exit_status().code(),
    )
}
