//! Arguments → command; error → message and exit code; nothing else.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rcorn::control;
use rcorn::driver::{self, Background, Handover, Launch, Origin};
use rcorn::settings::{self, Command, Resolved, Settings};
use rcorn::sys::process;

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn main() -> ExitCode {
    process::widen_title_area();
    // Copied: the process title is written over the memory of the arguments.
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match arguments.get(1).and_then(|word| word.to_str()) {
        Some("ctl") => {
            let words = arguments.into_iter().skip(2);
            return ExitCode::from(control::run(words, &environment));
        }
        Some(driver::PROTOCOL_FLAG) => {
            drop(writeln!(std::io::stdout(), "{}", driver::PROTOCOL));
            return ExitCode::SUCCESS;
        }
        Some(_) | None => {}
    }
    let handover = match Handover::receive(&environment) {
        Ok(handover) => handover,
        Err(error) => {
            complain(&format!("cannot take over: {error}"), None);
            return ExitCode::FAILURE;
        }
    };
    let resolve = || settings::resolve(arguments.iter().skip(1).cloned(), &environment);
    let settings = match resolve() {
        Ok(Command::Serve(resolved)) => warn(*resolved),
        Ok(Command::Print(text)) => {
            // A reader that left early (head) is no failure of ours.
            drop(std::io::stdout().write_all(text.as_bytes()));
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            complain(&error.to_string(), error.hint());
            // The workers that we took over serve on; the reload that follows says the same in the log.
            match handover.as_ref().and_then(Handover::settings) {
                Some(settings) => settings.clone(),
                None => return ExitCode::from(error.code()),
            }
        }
    };
    let origin = match origin(&arguments) {
        Ok(origin) => origin,
        Err(error) => {
            complain(&format!("cannot tell the working directory: {error}"), None);
            return ExitCode::FAILURE;
        }
    };
    let directory = origin.directory.clone();
    let again = || {
        // Relative paths on the command line count from where it was typed.
        std::env::set_current_dir(&directory)
            .map_err(|error| format!("cannot change to {}: {error}", directory.display()))?;
        match resolve() {
            Ok(Command::Serve(resolved)) => Ok(resolved.settings),
            Ok(Command::Print(_)) => Err("the command line asks for text now".to_owned()),
            Err(error) => Err(error.to_string()),
        }
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
        origin,
        handover,
        background,
    };
    match driver::run(launch, &again) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&error.to_string(), error.hint());
            ExitCode::from(error.code())
        }
    }
}

fn warn(resolved: Resolved) -> Settings {
    for warning in &resolved.warnings {
        drop(writeln!(std::io::stderr(), "rcorn: warning: {warning}"));
    }
    resolved.settings
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

/// One form for all errors: what, why, and the way out.
fn complain(text: &str, hint: Option<String>) {
    let mut stderr = std::io::stderr();
    drop(writeln!(stderr, "rcorn: error: {text}"));
    if let Some(hint) = hint {
        drop(writeln!(stderr, "  hint: {hint}"));
    }
}
