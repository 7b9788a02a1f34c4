//! What the operator said: defaults, then the environment, then the command lines in `GUNICORN_CMD_ARGS` and
//! `RCORN_CMD_ARGS`, then the arguments; each counts more than the one before.
//!
//! All settings stand in one table, in `rows`. Nothing here prints, forks or opens a socket, and nothing else
//! of the crate is used: `main` and the driver call [`resolve`], everyone else gets [`Settings`].

#![forbid(unsafe_code)]

mod address;
mod allow;
mod amount;
mod app;
mod argv;
mod check;
mod choice;
mod environment;
mod error;
mod help;
mod known;
mod literal;
mod origin;
mod rows;
mod shell;
mod table;
mod text;
mod value;
mod workers;

#[cfg(test)]
mod tests;

use std::ffi::OsString;

pub use address::Address;
pub use allow::AllowList;
pub use amount::{Mode, Seconds, Size};
pub use app::{AppRef, Expression};
pub use choice::{DrainMode, HeaderMap, Level, LogTarget, Preload, UpgradeMode};
pub use environment::Environment;
pub use error::Error;
pub use known::{Answer, KNOWN, Known, Takes};
pub use literal::Literal;
pub use origin::{Origin, Origins};
pub use rows::{Layer, Settings, TABLE};
pub use table::{Effect, Flag, Section, Setting};
pub use value::{Bounds, Cause, Refused, Value};
pub use workers::Workers;

/// What is to be done.
#[derive(Debug)]
pub enum Command {
    /// Serve.
    Serve(Box<Resolved>),
    /// Print this on standard output, as it is, and leave.
    Print(String),
}

/// The settings that hold, and how they came about.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The settings.
    pub settings: Settings,
    /// Where each value is from.
    pub origins: Origins,
    /// What the operator should know, one line each.
    pub warnings: Vec<String>,
}

/// The variables that hold a command line, in rising order of weight.
const COMMAND_LINES: [&str; 2] = ["GUNICORN_CMD_ARGS", "RCORN_CMD_ARGS"];

/// Finds out what the operator wants, from the arguments (without the program's own name) and the environment.
pub fn resolve(
    arguments: impl Iterator<Item = OsString>,
    environment: &Environment<'_>,
) -> Result<Command, Error> {
    // The arguments first: `--help` must help whatever is wrong elsewhere.
    let (arguments, said_last) = match argv::read(arguments)? {
        argv::Asked::Serve(layer, warnings) => (layer, warnings),
        argv::Asked::Help => return Ok(Command::Print(help::help())),
        argv::Asked::Version => return Ok(Command::Print(help::version())),
    };
    let mut settings = Settings::default();
    let mut origins = Origins::default();
    let mut warnings = Vec::new();
    environment::lay_over(environment, &mut settings, &mut origins, &mut warnings)?;
    for variable in COMMAND_LINES {
        let Some(line) = environment::said(environment, variable) else {
            continue;
        };
        let words = shell::split(&line).map_err(|what| Error::Quoting { variable, what })?;
        let asked =
            argv::read(words.into_iter().map(OsString::from)).map_err(|error| Error::Within {
                variable,
                error: Box::new(error),
            })?;
        match asked {
            argv::Asked::Serve(layer, notes) => {
                warnings.extend(notes.into_iter().map(|note| format!("{variable}: {note}")));
                layer.lay_over(&mut settings, &mut origins, &Origin::Environment(variable));
            }
            argv::Asked::Help => return Ok(Command::Print(help::help())),
            argv::Asked::Version => return Ok(Command::Print(help::version())),
        }
    }
    warnings.extend(said_last);
    arguments.lay_over(&mut settings, &mut origins, &Origin::CommandLine);
    check::complete(&mut settings, &origins, environment, &mut warnings)?;
    Ok(Command::Serve(Box::new(Resolved {
        settings,
        origins,
        warnings,
    })))
}
