//! `--check-config`: the app is imported as a template would, in a process that does nothing else.

use std::io;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid as NixPid;

use rcorn_link::{IMPORTED_EXIT_CODE, Start};
use rcorn_log::{self as log, AccessForm};
use rcorn_settings::Settings;
use rcorn_sys::spawn::Spawn;
use rcorn_types::ExitStatus;

use super::error::{StartError, system};
use super::front::{CertificateCheck, FrontProgram, Reading};
use super::interpreter::{self, Loading, UNUSABLE_EXIT_CODE, not_started};
use super::native::{ModuleFile, NativeModules};
use super::origin::Origin;

/// Whether a front could serve with the certificates.
fn check_certificates(settings: &Settings, front: &'static [u8]) -> Result<(), StartError> {
    if !settings.speaks_tls() {
        return Ok(());
    }
    let reading = Reading::start(settings).map_err(system("read certificates"))?;
    let tls = reading.wait().map_err(StartError::Tls)?;
    let check = CertificateCheck::start(&FrontProgram::new(front), &tls);
    let check = check.map_err(system("check certificates"))?;
    check.wait().map_err(StartError::Tls)
}

/// Checks the certificates, imports the app, and prints what is wrong with it to standard error.
///
/// # Errors
///
/// A certificate cannot be used; there is no Python, it cannot be started, or the app ended its
/// process.
pub fn check(
    settings: &Settings,
    origin: &Origin,
    modules: NativeModules,
    front: &'static [u8],
) -> Result<ExitStatus, StartError> {
    AccessForm::of(settings).map_err(StartError::AccessFormat)?;
    check_certificates(settings, front)?;
    let python = interpreter::find_for(settings.python.clone(), origin)?;
    let system = system("import the app");
    let mut start = Start {
        error_log: 2,
        ..Start::of(settings, &origin.arguments)
    };
    // The check must find a broken app, not replace it by a page with its traceback.
    start.settings.reload = false;
    let spawn = Spawn {
        environment: settings
            .raw_env
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        die_with_parent: true,
        ..Spawn::default()
    };
    let module = &mut ModuleFile::new(modules);
    let started = Loading::start(python.clone(), module, &start, "check", spawn);
    let (pid, loading) =
        started.map_err(|error| system(io::Error::other(not_started(&python, &error))))?;
    let ended = waitpid(NixPid::from_raw(pid), None).map_err(|errno| system(errno.into()))?;
    let code = if let WaitStatus::Exited(_, code) = ended {
        Some(code)
    } else {
        None
    };
    if let Some(failure) = loading.failure(code) {
        return Err(system(io::Error::other(failure)));
    }
    match ended {
        WaitStatus::Exited(_, IMPORTED_EXIT_CODE) => Ok(ExitStatus::Success),
        WaitStatus::Exited(_, code @ (1 | 3 | 4 | UNUSABLE_EXIT_CODE)) => {
            log::debug(format_args!("the check ended with {code}"));
            Ok(ExitStatus::Failure)
        }
        // An app that ends its process while it is imported logs nothing itself.
        WaitStatus::Exited(_, code) => Err(system(io::Error::other(format!(
            "it ended its process with exit code {code}"
        )))),
        WaitStatus::Signaled(_, signal, _) => Err(system(io::Error::other(format!(
            "its process was ended by {signal}"
        )))),
        WaitStatus::Stopped(..)
        | WaitStatus::PtraceEvent(..)
        | WaitStatus::PtraceSyscall(_)
        | WaitStatus::Continued(_)
        | WaitStatus::StillAlive => Ok(ExitStatus::Failure),
    }
}
