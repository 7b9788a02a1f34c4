//! `rcorn explain SETTING [OPTIONS]`.

use std::ffi::OsString;

use rcorn_driver::{self as driver, Origin};
use rcorn_settings::{self as settings, Error, Invocation, Resolved, process_environment};
use rcorn_types::CommandError;

use crate::terminal::warn;

const USAGE: &str = "usage: rcorn explain SETTING [OPTIONS]\n\n\
    Shows the value of a setting, its origin, what it overrides, and when a change takes effect.\n\
    OPTIONS and the environment are those with which rcorn is started.\n";

/// The words before OPTIONS: the program, `explain`, SETTING.
const WORDS_BEFORE_OPTIONS: usize = 3;

/// The text that explains a setting.
pub(crate) fn run(arguments: &[OsString]) -> Result<String, CommandError> {
    let name = arguments.get(2).and_then(|word| word.to_str());
    match name.filter(|name| !matches!(*name, "-h" | "--help")) {
        Some(name) => explained(name, arguments).map_err(|error| error.command_error()),
        None => Ok(USAGE.to_owned()),
    }
}

fn explained(name: &str, arguments: &[OsString]) -> Result<String, Error> {
    let mut resolved = resolve(arguments)?;
    let has_no_app = match &resolved {
        Resolution::Settings(resolved) => matches!(**resolved, Err(Error::NoApp)),
        Resolution::Print(_) => false,
    };
    if has_no_app && !settings::is_app(name) {
        // The other settings do not depend on which app it is.
        resolved = resolve(&[arguments, &["app:app".into()]].concat())?;
    }
    match resolved {
        Resolution::Settings(resolved) => settings::explain(name, *resolved),
        Resolution::Print(text) => Ok(text),
    }
}

/// What OPTIONS and the environment come to.
enum Resolution {
    Settings(Box<Result<Resolved, Error>>),
    /// They ask for this text.
    Print(String),
}

fn resolve(arguments: &[OsString]) -> Result<Resolution, Error> {
    let directory = settings::launch_directory(&process_environment)?;
    let options = arguments.iter().skip(WORDS_BEFORE_OPTIONS).cloned();
    let origin = Origin::of_process(arguments, &directory)
        .map_err(|source| Error::LaunchDirectory { source })?;
    match settings::collect(options, &process_environment, directory)? {
        Invocation::Serve(sources) => {
            let resolved = driver::resolve(*sources, &origin);
            let resolved = resolved.inspect(|resolved| warn(&resolved.warnings));
            Ok(Resolution::Settings(Box::new(resolved)))
        }
        Invocation::Print(text) => Ok(Resolution::Print(text)),
        Invocation::Generate(_) => Err(Error::NoApp),
    }
}
