//! Arguments → command; error → message and exit code; nothing else.
//!
#![doc = include_str!("ARCHITECTURE.md")]

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rcorn_control as control;
use rcorn_driver::{self as driver, Background, Handover, Launch, NativeModule, Origin};
use rcorn_manual as manual;
use rcorn_migrate as migrate;
use rcorn_oneshot::{self as oneshot, OneShot};
use rcorn_settings::{self as settings, Environment, Invocation, Resolved, Settings, Sources};
use rcorn_sys::process;
use rcorn_types::ExitStatus;

/// The native module, which `build.rs` has made.
static MODULE: NativeModule = NativeModule(include_bytes!(env!("RCORN_NATIVE")));

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

const ENVIRONMENT: &Environment<'static> = &environment;

fn main() -> ExitCode {
    // There is one thread. Should there be more after all, the title is shorter.
    process::widen_title_area().ok();
    // Copied: the process title is written over the memory of the arguments.
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match arguments.get(1).and_then(|word| word.to_str()) {
        Some("ctl") => {
            let words = arguments.into_iter().skip(2);
            return ExitCode::from(control::run(words, &environment));
        }
        Some("explain") => return explain(&arguments),
        Some("migrate") => return ExitCode::from(migrate::run(arguments.into_iter().skip(2))),
        Some(driver::PROTOCOL_FLAG) => {
            drop(writeln!(std::io::stdout(), "{}", driver::PROTOCOL));
            return ExitCode::SUCCESS;
        }
        Some(driver::CHECK_FLAG) => return check_handover(),
        Some(_) | None => {}
    }
    if let Some(command) = arguments.get(1).and_then(OneShot::named) {
        return ExitCode::from(oneshot::run(command, &arguments, ENVIRONMENT));
    }
    let handover = match Handover::receive(&environment) {
        Ok(handover) => handover,
        Err(error) => {
            complain(&format!("cannot take over: {error}"), None);
            return ExitCode::FAILURE;
        }
    };
    let directory = match settings::launch_directory(ENVIRONMENT) {
        Ok(directory) => directory,
        Err(error) => return refuse(&error),
    };
    let gather = || gather(&arguments, 1, directory.clone());
    let resolved = match gather() {
        Ok(Invocation::Serve(sources)) => evaluated(*sources, &arguments),
        Ok(Invocation::Print(text)) => return print(&text),
        Ok(Invocation::Generate(page)) => return ExitCode::from(manual::run(&page)),
        Err(error) => Err(error),
    };
    let settings = match resolved {
        Ok(resolved) => warn(resolved),
        // The workers that we took over serve on; the reload that follows says the same in the log.
        Err(error) => match handover.as_ref().and_then(Handover::settings) {
            Some(settings) => {
                refuse(&error);
                settings.clone()
            }
            None => return refuse(&error),
        },
    };
    if settings.print_config || settings.check_config {
        return check(&settings, &arguments);
    }
    let origin = match origin(&arguments) {
        Ok(origin) => origin,
        Err(error) => {
            complain(&format!("cannot tell the working directory: {error}"), None);
            return ExitCode::FAILURE;
        }
    };
    let again = || match gather()? {
        Invocation::Serve(sources) => Ok(sources),
        // Cannot be: the words are those that served.
        Invocation::Print(_) | Invocation::Generate(_) => Err(settings::Error::NoApp),
    };
    // A successor is where its predecessor is.
    let background = (settings.daemon && handover.is_none()).then(Background::prepare);
    let background = match background.transpose() {
        Ok(background) => background,
        Err(error) => {
            complain(&format!("cannot go into the background: {error}"), None);
            return ExitCode::FAILURE;
        }
    };
    let launch = Launch {
        settings,
        module: MODULE,
        origin,
        handover,
        background,
    };
    ended(driver::run(launch, &again))
}

/// Tells whether this build can take over from the one whose hand-over is on standard input.
fn check_handover() -> ExitCode {
    let (line, code) = match driver::check_handover() {
        Ok(line) => (line.to_owned(), ExitCode::SUCCESS),
        Err(error) => (error.to_string(), ExitCode::FAILURE),
    };
    drop(writeln!(std::io::stdout(), "{line}"));
    code
}

/// The exit code of a server that ran, or did not.
fn ended(result: Result<ExitStatus, driver::StartError>) -> ExitCode {
    match result {
        Ok(status) => status.into(),
        Err(error) => {
            complain(&error.to_string(), error.hint());
            error.exit_status().into()
        }
    }
}

/// What the words after the first few and the environment say.
fn gather(
    arguments: &[OsString],
    skip: usize,
    directory: PathBuf,
) -> Result<Invocation<'static>, settings::Error> {
    settings::collect(arguments.iter().skip(skip).cloned(), ENVIRONMENT, directory)
}

/// The settings, after a Python file was evaluated where there is one.
fn evaluated(sources: Sources<'_>, arguments: &[OsString]) -> Result<Resolved, settings::Error> {
    let answer = match sources.python_file() {
        Some(file) => Some(driver::evaluate(&file, arguments)?),
        None => None,
    };
    sources.resolve(answer.as_deref())
}

/// `--print-config` and `--check-config`: 0 when a start would succeed so far, else 1.
fn check(settings: &Settings, arguments: &[OsString]) -> ExitCode {
    if settings.print_config {
        print(&settings::print_config(settings));
    }
    ended(driver::check(settings, arguments, MODULE))
}

/// `rcorn explain SETTING [OPTIONS]`.
fn explain(arguments: &[OsString]) -> ExitCode {
    let name = arguments.get(2).and_then(|word| word.to_str());
    let Some(name) = name.filter(|name| !matches!(*name, "-h" | "--help")) else {
        return print(
            "usage: rcorn explain SETTING [OPTIONS]\n\nWhat a setting is set to, by whom, what that overrode, and when a \
             change takes effect.\nOPTIONS and the environment are those that rcorn is started with.\n",
        );
    };
    let explained = settings::launch_directory(ENVIRONMENT).and_then(|directory| {
        let resolve = |arguments: &[OsString]| match gather(arguments, 3, directory.clone())? {
            Invocation::Serve(sources) => Ok(Ok(
                evaluated(*sources, arguments).inspect(|resolved| remind(&resolved.warnings))
            )),
            Invocation::Print(text) => Ok(Err(text)),
            Invocation::Generate(_) => Err(settings::Error::NoApp),
        };
        let mut resolved = resolve(arguments)?;
        let about_app = matches!(
            name.trim_start_matches('-'),
            "app" | "wsgi_app" | "wsgi-app"
        );
        if matches!(resolved, Ok(Err(settings::Error::NoApp))) && !about_app {
            // What all the other settings are does not depend on which app it is.
            resolved = resolve(&[arguments, &["app:app".into()]].concat())?;
        }
        match resolved {
            Ok(resolved) => settings::explain(name, resolved),
            Err(text) => Ok(text),
        }
    });
    match explained {
        Ok(text) => print(&text),
        Err(error) => refuse(&error),
    }
}

/// A reader that left early (head) is no failure of ours.
fn print(text: &str) -> ExitCode {
    drop(std::io::stdout().write_all(text.as_bytes()));
    ExitCode::SUCCESS
}

/// Says what is wrong with the settings: one line, after the traceback of Python code that failed.
fn refuse(error: &settings::Error) -> ExitCode {
    if let Some(detail) = error.detail() {
        drop(std::io::stderr().write_all(detail.as_bytes()));
    }
    complain(&error.to_string(), error.hint());
    ExitCode::from(error.exit_status().code())
}

fn warn(resolved: Resolved) -> Settings {
    remind(&resolved.warnings);
    resolved.settings
}

fn remind(warnings: &[String]) {
    for warning in warnings {
        drop(writeln!(std::io::stderr(), "rcorn: warning: {warning}"));
    }
}

/// How this process was started. The executable is named as the shell found it: after an installation the new build
/// has the same name.
fn origin(arguments: &[OsString]) -> std::io::Result<Origin> {
    let directory = std::env::current_dir()?;
    let word = arguments.first().map(PathBuf::from).unwrap_or_default();
    let named = if word.components().count() > 1 {
        Some(directory.join(&word))
    } else {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let mut found = std::env::split_paths(&folders).map(|folder| folder.join(&word));
        found.find(|path| path.is_file())
    };
    let program = match named.filter(|path| is_us(path)) {
        Some(path) => path,
        None => std::env::current_exe()?,
    };
    Ok(Origin {
        program,
        arguments: arguments.to_vec(),
        directory,
    })
}

/// Whether the path leads to the executable that runs.
fn is_us(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |path: &Path| path.metadata().map(|about| (about.dev(), about.ino())).ok();
    id(path).is_some() && id(path) == id(Path::new("/proc/self/exe"))
}

/// One line for all errors: what, why, and the way out.
fn complain(text: &str, hint: Option<String>) {
    let hint = hint
        .map(|hint| format!("; hint: {hint}"))
        .unwrap_or_default();
    drop(writeln!(std::io::stderr(), "rcorn: error: {text}{hint}"));
}
