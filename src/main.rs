//! Arguments → command; error → message and exit code; nothing else.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use rcorn::driver;
use rcorn::settings::{self, Command};
use rcorn::sys::process;

fn main() -> ExitCode {
    process::widen_title_area();
    // Copied: the process title is written over the memory of the arguments.
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let environment = |name: &str| std::env::var(name).ok();
    let resolve = || settings::resolve(arguments.iter().skip(1).cloned(), &environment);
    let resolved = match resolve() {
        Ok(Command::Serve(resolved)) => resolved,
        Ok(Command::Print(text)) => {
            // A reader that left early (head) is no failure of ours.
            drop(std::io::stdout().write_all(text.as_bytes()));
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            complain(&error.to_string(), error.hint());
            return ExitCode::from(error.code());
        }
    };
    for warning in &resolved.warnings {
        drop(writeln!(std::io::stderr(), "rcorn: warning: {warning}"));
    }
    let again = || match resolve() {
        Ok(Command::Serve(resolved)) => Ok(resolved.settings),
        Ok(Command::Print(_)) => Err("the command line asks for text now".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let argv = arguments
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    match driver::run(resolved.settings, argv, &again) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&error.to_string(), error.hint());
            ExitCode::FAILURE
        }
    }
}

/// One form for all errors: what, why, and the way out.
fn complain(text: &str, hint: Option<String>) {
    let mut stderr = std::io::stderr();
    drop(writeln!(stderr, "rcorn: error: {text}"));
    if let Some(hint) = hint {
        drop(writeln!(stderr, "  hint: {hint}"));
    }
}
