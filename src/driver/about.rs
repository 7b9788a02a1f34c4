//! `rcorn --version --verbose`: which Python would run the app, and why that one.

use std::io::{self, Write};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use rcorn_link::Start;
use rcorn_settings::Settings;
use rcorn_sys::spawn::Spawn;
use rcorn_types::ExitStatus;

use super::error::{StartError, system};
use super::interpreter::{self, Loading, not_started};
use super::native::{ModuleFile, NativeModules};
use super::origin::Origin;

/// Prints the interpreter on `output`, and lets it say on standard output what it is. One that
/// cannot be used says so on standard error.
///
/// # Errors
///
/// There is no Python, or it cannot be started.
pub fn about(
    settings: &Settings,
    origin: &Origin,
    modules: NativeModules,
    output: &mut dyn Write,
) -> Result<ExitStatus, StartError> {
    let found = interpreter::look_for(settings.python.clone(), origin)?;
    let system = system("ask Python what it is");
    for missed in &found.missed {
        writeln!(output, "{:11}not {missed}, which is not there", "").map_err(&system)?;
    }
    let path = found.python.display();
    write!(output, "{:11}{path}: {}\n{:11}", "python", found.reason, "").map_err(&system)?;
    output.flush().map_err(&system)?;
    let variable = |(name, value): &(String, String)| (name.into(), value.into());
    let spawn = Spawn {
        environment: settings.raw_env.iter().map(variable).collect(),
        die_with_parent: true,
        ..Spawn::default()
    };
    let start = Start::of(settings, &origin.arguments);
    let module = &mut ModuleFile::new(modules);
    let started = Loading::start(found.python.clone(), module, &start, "about", spawn);
    let (pid, loading) =
        started.map_err(|error| system(io::Error::other(not_started(&found.python, &error))))?;
    let ended = waitpid(Pid::from_raw(pid), None).map_err(|errno| system(errno.into()))?;
    let code = if let WaitStatus::Exited(_, code) = ended {
        Some(code)
    } else {
        None
    };
    match (code, loading.failure(code)) {
        (Some(0), _) => Ok(ExitStatus::Success),
        (_, Some(failure)) => Err(system(io::Error::other(failure))),
        // It has said why.
        (_, None) => Ok(ExitStatus::Failure),
    }
}
