//! Words of the command line → command; error → message and exit code; nothing else.
#![doc = include_str!("ARCHITECTURE.md")]

mod about;
mod built;
mod explain;
mod serve;
mod terminal;

use std::ffi::OsString;
use std::process::ExitCode;

use rcorn_control as control;
use rcorn_driver as driver;
use rcorn_migrate as migrate;
use rcorn_oneshot::{self as oneshot, OneShot};
use rcorn_settings::process_environment;
use rcorn_sys::process;
use rcorn_types::{CommandError, ExitStatus};

use built::MODULES;
use terminal::{complain, print};

fn main() -> ExitCode {
    // There is one thread. Should there be more after all, the title is shorter.
    process::widen_title_area().ok();
    #[expect(
        clippy::disallowed_methods,
        reason = "copied here, before the process title is written over that memory"
    )]
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments
        .get(1)
        .is_some_and(|word| word == driver::LOAD_FLAG)
    {
        let words = arguments.get(2..).unwrap_or_default();
        let complain = |what: &str| complain(&CommandError::failure(what));
        process::exit_now(driver::load_again(words, MODULES, complain));
    }
    match run(&arguments) {
        Ok(status) => status.into(),
        Err(error) => {
            complain(&error);
            error.status.into()
        }
    }
}

fn run(arguments: &[OsString]) -> Result<ExitStatus, CommandError> {
    let words = || arguments.iter().skip(2).cloned();
    match arguments.get(1).and_then(|word| word.to_str()) {
        Some("ctl") => return control::run(words(), &process_environment),
        Some("top") => return rcorn_top::run(words(), &process_environment),
        Some("explain") => return explain::run(arguments).map(|text| print(&text)),
        Some("migrate") => {
            return migrate::run(words(), &process_environment).map(|text| print(&text));
        }
        Some(driver::CHECK_FLAG) => return Ok(check_handover()),
        Some(driver::PROTOCOL_FLAG) => return Ok(print(&format!("{}\n", driver::PROTOCOL))),
        Some(_) | None => {}
    }
    if let Some(words) = about::asked(arguments) {
        return about::run(arguments, words);
    }
    if let Some(command) = arguments.get(1).and_then(OneShot::named) {
        return oneshot::run(command, arguments, &process_environment).map(|text| print(&text));
    }
    serve::run(arguments)
}

/// Tells whether this build can take over from the one whose hand-over is on standard input.
fn check_handover() -> ExitStatus {
    let (line, status) = match driver::check_handover() {
        Ok(line) => (line.to_owned(), ExitStatus::Success),
        Err(error) => (error.to_string(), ExitStatus::Failure),
    };
    print(&format!("{line}\n"));
    status
}
