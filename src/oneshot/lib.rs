//! `rcorn cgi`, `rcorn invoke`, `rcorn pack`: one request or one bundle, without a server.
//!
//! This process becomes the user's own Python, by exec. A memfd contains its orders and rcorn's
//! Python modules. There are no workers and no native module, which would take time to start.
//! `rcorn pack` puts the same modules into a bundle, so `rcorn invoke` runs what a function service
//! runs.
#![forbid(unsafe_code)]

mod argv;
mod one_shot;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde::Serialize;

use rcorn_driver::{self as driver, Origin};
use rcorn_settings::{self as settings, Environment, Resolved, Settings};
use rcorn_sys::descriptor::set_inherited;
use rcorn_sys::memfd::{self, Content};
use rcorn_types::{CommandError, ExitStatus};

use argv::{Details, Parsed};

pub use argv::command;
pub use one_shot::OneShot;

/// The program that Python runs with `-c`.
const BOOTSTRAP: &str = include_str!("bootstrap.py");

macro_rules! modules {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"), "/../../packaging/python/rcorn/", $name, ".py"
        )))),*]
    };
}

/// The Python modules, by name.
static MODULES: [(&str, &str); 8] = modules![
    "__init__", "cgi", "events", "exchange", "function", "load", "oneshot", "pack",
];

/// What the interpreter is to do, for `bootstrap.py`.
#[derive(Serialize)]
struct Orders<'a> {
    command: OneShot,
    app: String,
    argv: Vec<String>,
    chdir: String,
    pythonpath: Vec<String>,
    #[serde(flatten)]
    details: &'a Details,
    files: BTreeMap<&'static str, &'static str>,
}

fn system(what: &'static str) -> impl Fn(io::Error) -> CommandError {
    move |error| CommandError::failure(format!("cannot {what}: {error}"))
}

/// Runs a command with all words of the command line. On success this process has become the user's
/// Python, so it returns only with a text to print.
///
/// # Errors
///
/// What is wrong with the command line, the settings or the system.
pub fn run(
    command: OneShot,
    words: &[OsString],
    environment: &Environment<'_>,
) -> Result<String, CommandError> {
    let (details, flags) = match argv::read(command, words)? {
        Parsed::Run(details, flags) => (details, flags),
        Parsed::Print(text) => return Ok(text),
    };
    // Variables that change one default each are for servers: an invalid PORT must not fail a
    // request.
    let environment = |name: &str| {
        let applies = name == "PWD" || name.ends_with("_CMD_ARGS");
        applies.then(|| environment(name)).flatten()
    };
    let directory =
        settings::launch_directory(&environment).map_err(|error| error.command_error())?;
    let origin = Origin::of_process(words, &directory)
        .map_err(system("determine the path of this executable"))?;
    let resolved = resolve(&origin, flags, &environment).map_err(|error| error.command_error())?;
    let Some(resolved) = resolved else {
        let what = "a variable with flags asks for help or the version";
        return Err(CommandError::new(what, ExitStatus::Usage));
    };
    for warning in &resolved.warnings {
        drop(writeln!(io::stderr(), "rcorn: warning: {warning}"));
    }
    if command == OneShot::Cgi {
        check_for_request(&resolved.settings)?;
    }
    match become_python(command, &resolved.settings, &details, &origin)? {}
}

/// The settings; `None` if the words ask for help. A configuration file is read only if it is
/// named, because a web server chooses the directory of a CGI program.
fn resolve(
    origin: &Origin,
    flags: Vec<OsString>,
    environment: &Environment<'_>,
) -> Result<Option<Resolved>, settings::Error> {
    let directory = origin.directory.clone();
    let sources = match settings::collect(flags.into_iter(), environment, directory)? {
        settings::Invocation::Serve(sources) => sources.without_usual_file(),
        settings::Invocation::Print(_) | settings::Invocation::Generate(_) => return Ok(None),
    };
    driver::resolve(sources, origin).map(Some)
}

/// Explains the command to somebody who runs it in a shell, where there is no request.
fn check_for_request(settings: &Settings) -> Result<(), CommandError> {
    let set = std::env::var_os("REQUEST_METHOD").is_some_and(|method| !method.is_empty());
    let given = settings
        .raw_env
        .iter()
        .any(|(name, _)| name == "REQUEST_METHOD");
    if set || given {
        return Ok(());
    }
    Err(CommandError::usage(
        "REQUEST_METHOD is not set: a web server starts `rcorn cgi` for each request, with the request in \
         its environment (RFC 3875)",
        "to try it: REQUEST_METHOD=GET PATH_INFO=/ rcorn cgi APP_MODULE; to serve: rcorn APP_MODULE",
    ))
}

fn become_python(
    command: OneShot,
    settings: &Settings,
    details: &Details,
    origin: &Origin,
) -> Result<Infallible, CommandError> {
    let python = driver::python(settings.python.clone(), origin)
        .map_err(|error| CommandError::failure(error.to_string()).with_hint(error.hint()))?;
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let orders = Orders {
        command,
        app: settings
            .wsgi_app
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        argv: origin
            .arguments
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        chdir: text(&settings.chdir),
        pythonpath: settings.pythonpath.iter().map(|path| text(path)).collect(),
        details,
        files: MODULES.into_iter().collect(),
    };
    let file = write_orders(&orders).map_err(system("pass the orders on"))?;
    std::env::set_current_dir(&settings.chdir).map_err(system("change to the app's directory"))?;
    let error = Command::new(&python)
        .args(["-c", BOOTSTRAP])
        .arg(file.as_raw_fd().to_string())
        .envs(settings.raw_env.iter().map(|(name, value)| (name, value)))
        .exec();
    let what = format!("cannot run {}: {error}", python.display());
    Err(CommandError::failure(what).with_hint("choose another Python with --python"))
}

/// Writes the orders into a memfd that stays open over the exec.
fn write_orders(orders: &Orders<'_>) -> io::Result<OwnedFd> {
    let orders = serde_json::to_vec(orders).map_err(io::Error::other)?;
    let memory = memfd::sealed(c"rcorn-orders", &orders, Content::Data)?;
    set_inherited(&memory, true)?;
    Ok(memory)
}
