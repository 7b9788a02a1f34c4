//! A template after its boot: it forks a worker on order, until the command socket ends.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{MsgFlags, recv};
use pyo3::prelude::*;

use rcorn_app::loggers;
use rcorn_link::{Command, MAX_DATAGRAM_BYTES};
use rcorn_log as log;
use rcorn_python::modules::is_loaded;
use rcorn_settings::Preload;
use rcorn_types::with_remedy;
use rcorn_worker::{WorkerEnd, leave};

use super::promotion::{Promotion, Unshared, against_sharing, promote};
use super::refork::refork;
use super::template::{Newborn, Side, Template};

/// Carries out orders until the arbiter closes the command socket; returns the exit code. In a
/// worker that is forked here: its exit code.
pub(super) fn serve(py: Python<'_>, template: Template, commands: OwnedFd) -> i32 {
    run_commands(py, template, commands).unwrap_or_else(|error| {
        log::critical(format_args!(
            "the template cannot go on: {}",
            with_remedy(&error)
        ));
        1
    })
}

/// As [`serve`].
///
/// # Errors
///
/// The sockets to and from the arbiter fail.
fn run_commands(py: Python<'_>, mut template: Template, mut commands: OwnedFd) -> io::Result<i32> {
    let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        let Some(command) = receive(py, &commands, &mut buffer)? else {
            if template.runs_exit_functions {
                leave(py);
            }
            return Ok(0);
        };
        match command {
            Command::Reopen => {
                log::reopen();
                loggers::reopen_files(py);
            }
            Command::Replaced => return Ok(0),
            Command::Hook(event) => {
                if let Some(hooks) = &template.hooks {
                    hooks.on_event(py, &event);
                }
            }
            Command::Fork {
                id,
                cell,
                probe,
                promote,
                spare,
            } => {
                let hooks = template.hooks.as_ref().filter(|_| promote);
                let against = hooks.map(|hooks| against_sharing(py, hooks));
                if template.fork_and_report(py, id, cell)? == Side::Template {
                    continue;
                }
                // The arbiter must see when the template is gone.
                drop(commands);
                let newborn = Newborn {
                    id,
                    cell,
                    probe,
                    promote,
                    spare,
                    against: against.unwrap_or_default(),
                };
                match live(py, template, newborn) {
                    Ok(Life::Template(promoted, socket)) => {
                        template = *promoted;
                        commands = socket;
                    }
                    Ok(Life::Ended(code)) => return Ok(code),
                    Err(error) => {
                        log::critical(format_args!(
                            "the new worker cannot start: {}",
                            with_remedy(&error)
                        ));
                        return Ok(1);
                    }
                }
            }
        }
    }
}

/// What became of a process that was forked here.
enum Life {
    /// It is a template now, and takes orders from this socket.
    Template(Box<Template>, OwnedFd),
    /// It was a worker, or could not become anything; it ends with this code.
    Ended(i32),
}

/// The life of a process that was forked here, until it is a template itself or ends.
fn live(py: Python<'_>, template: Template, newborn: Newborn) -> io::Result<Life> {
    if let Err(error) = template.app_state.give_back() {
        log::error(format_args!(
            "cannot restore what the app set at import: {error}"
        ));
    }
    let (template, newborn, app) = if newborn.promote && template.app.is_none() {
        match promote(py, template, newborn)? {
            Promotion::Promoted(template, commands) => {
                return Ok(Life::Template(template, commands));
            }
            Promotion::Worker(worker) => {
                let Unshared {
                    template,
                    newborn,
                    app,
                } = *worker;
                (template, newborn, app)
            }
            Promotion::Orphan => return Ok(Life::Ended(0)),
        }
    } else {
        let insisted = template.start.settings.preload_app == Preload::On;
        if insisted && is_loaded(py, "numpy") {
            reseed_numpy(py);
        }
        let app = template.app.as_ref().map(|app| app.clone_ref(py));
        (template, newborn, Ok(app))
    };
    match template.become_worker(py, &newborn, app) {
        WorkerEnd::Exit(code) => Ok(Life::Ended(code)),
        WorkerEnd::Candidate { changed } => Ok(match refork(py, template, &newborn, &changed)? {
            Some((template, commands)) => Life::Template(Box::new(template), commands),
            None => Life::Ended(0),
        }),
    }
}

/// Waits for a command; `None`: there will be none.
fn receive(py: Python<'_>, commands: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<Command>> {
    let length = loop {
        // Threads that a preloaded app has started may run during the wait.
        let received = py.detach(|| recv(commands.as_raw_fd(), buffer, MsgFlags::empty()));
        match received {
            Ok(0) => return Ok(None),
            Ok(length) => break length,
            Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    };
    let text = buffer.get(..length).unwrap_or(&[]);
    serde_json::from_slice(text)
        .map(Some)
        .map_err(io::Error::other)
}

/// numpy's global generator was seeded at import: without this every worker draws the same numbers.
fn reseed_numpy(py: Python<'_>) {
    let reseed = || {
        py.import("numpy.random")?
            .call_method0("seed")
            .map(|_none| ())
    };
    if let Err::<(), PyErr>(error) = reseed() {
        log::warning(format_args!("cannot re-seed numpy's generator: {error}"));
    }
}
