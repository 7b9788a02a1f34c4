//! The server: from the command line and the environment to the driver's loop.

use std::ffi::OsString;
use std::path::Path;

use rcorn_driver::{self as driver, Background, Handover, Launch, Origin};
use rcorn_manual as manual;
use rcorn_settings::{
    self as settings, Environment, Error, Invocation, Settings, Sources, process_environment,
};
use rcorn_types::{CommandError, ExitStatus};

use crate::built::{FRONT, MODULES, build};
use crate::terminal::{complain, print, warn};

const ENVIRONMENT: &Environment<'static> = &process_environment;

/// Serves, checks or prints, as the arguments and the environment say.
pub(crate) fn run(arguments: &[OsString]) -> Result<ExitStatus, CommandError> {
    let handover = Handover::receive(&settings::non_empty_variable)
        .map_err(|error| CommandError::failure(format!("cannot take over: {error}")))?;
    let directory =
        settings::launch_directory(ENVIRONMENT).map_err(|error| error.command_error())?;
    let origin = Origin::of_process(arguments, &directory).map_err(|error| {
        CommandError::failure(format!(
            "cannot determine the path of this executable: {error}"
        ))
    })?;
    let settings = match collect(arguments, &directory) {
        Ok(Invocation::Print(text)) => return Ok(print(&text)),
        Ok(Invocation::Generate(page)) => {
            return manual::page_named(&page).map(|text| print(&text));
        }
        Ok(Invocation::Serve(sources)) => resolve(*sources, &origin),
        Err(error) => Err(error),
    };
    let settings = settings.or_else(|error| settings_of_predecessor(handover.as_ref(), &error))?;
    if settings.print_config || settings.check_config {
        return check(&settings, &origin);
    }
    // A successor is where its predecessor is.
    let background = (settings.daemon && handover.is_none()).then(Background::prepare);
    let background = background.transpose().map_err(|error| {
        CommandError::failure(format!("cannot go into the background: {error}"))
    })?;
    let launch = Launch {
        settings,
        modules: MODULES,
        front: FRONT,
        origin,
        build: build(),
        handover,
        background,
    };
    let collect_again = || match collect(arguments, &directory)? {
        Invocation::Serve(sources) => Ok(sources),
        // Cannot be: these words have served.
        Invocation::Print(_) | Invocation::Generate(_) => Err(Error::NoApp),
    };
    driver::run(launch, &collect_again).map_err(|error| error.command_error())
}

fn collect(arguments: &[OsString], directory: &Path) -> Result<Invocation<'static>, Error> {
    let words = arguments.iter().skip(1).cloned();
    settings::collect(words, ENVIRONMENT, directory.to_owned())
}

fn resolve(sources: Sources<'_>, origin: &Origin) -> Result<Settings, Error> {
    let resolved = driver::resolve(sources, origin)?;
    warn(&resolved.warnings);
    Ok(resolved.settings)
}

/// After an upgrade in place the workers that were taken over keep serving, whatever is wrong with
/// the settings; the reload that follows says the same in the log.
fn settings_of_predecessor(
    handover: Option<&Handover>,
    error: &Error,
) -> Result<Settings, CommandError> {
    let error = error.command_error();
    match handover.and_then(Handover::settings) {
        Some(settings) => {
            complain(&error);
            Ok(settings.clone())
        }
        None => Err(error),
    }
}

/// `--print-config` and `--check-config`.
fn check(settings: &Settings, origin: &Origin) -> Result<ExitStatus, CommandError> {
    if settings.print_config {
        print(&settings::print_config(settings));
    }
    driver::check(settings, origin, MODULES, FRONT).map_err(|error| error.command_error())
}
