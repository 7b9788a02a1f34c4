//! The servant: one process that answers one request at a time. Born by a fork of the template; tells the
//! arbiter when it is ready; leaves when told, when its parent is gone, or replaced after `max_requests`.
#![forbid(unsafe_code)]

pub mod connection;
pub mod lot;
pub mod orders;

mod access;
mod atoms;
mod deputy;
mod desk;
mod doors;
mod front;
mod gather;
mod leave;
mod pages;
mod parking;
mod probe;
mod retire;
mod room;
mod serve;
mod settle;
mod setup;
mod turn;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::getppid;
use pyo3::prelude::*;

use rcorn_app::hooks::WorkerHooks;
use rcorn_app::import::import;
use rcorn_link::report;
use rcorn_link::{Failure, Report, Start};
use rcorn_log as log;
use rcorn_python::call;
use rcorn_python::fork::pid;
use rcorn_python::{testimony, traceback};
use rcorn_scoreboard::Scoreboard;
use rcorn_settings::Settings;
use rcorn_sys as sys;
use rcorn_sys::clock;

use desk::Desk;
use orders::Orders;

/// What a new worker is given.
#[derive(Debug)]
pub struct Birth<'a> {
    /// The orders of its template.
    pub start: &'a Start,
    /// The scoreboard.
    pub scoreboard: &'static Scoreboard,
    /// The socket to the arbiter.
    pub reports: OwnedFd,
    /// Its id.
    pub id: u64,
    /// Its scoreboard slot.
    pub slot: u16,
    /// Where it writes its testimony.
    pub testimony: OwnedFd,
    /// It must answer `reload_probe` before it is ready.
    pub probe: bool,
    /// What a `gunicorn.conf.py` wants to know of it.
    pub hooks: Option<WorkerHooks>,
}

/// The name in process titles: `--name`, or the app as it was given.
#[must_use]
pub fn name(settings: &Settings) -> String {
    settings.proc_name.clone().unwrap_or_else(|| {
        settings
            .wsgi_app
            .as_ref()
            .map_or_else(|| "rcorn".to_owned(), ToString::to_string)
    })
}

/// Runs the worker to its end; gives its exit code. `app`: when the template imported it.
pub fn run(py: Python<'_>, birth: &Birth<'_>, app: Option<Py<PyAny>>) -> i32 {
    let code = match boot(py, birth, app) {
        Ok(mut desk) => {
            desk.work(py);
            if let Some(hooks) = birth.hooks.as_ref().filter(|_| desk.orders.quit()) {
                hooks.interrupted(py);
            }
            0
        }
        Err(BootError::Failed(failure)) => {
            let code = failure.code;
            let told = Report::BootFailed {
                id: birth.id,
                pid: pid(),
                failure,
            };
            drop(report(birth.reports.as_fd(), &told));
            code
        }
        Err(BootError::Orphaned) => 0,
        Err(BootError::Host(error)) => {
            log::error(format_args!("the worker cannot be set up: {error}"));
            let failure = Failure {
                code: 1,
                summary: error.to_string(),
            };
            drop(report(
                birth.reports.as_fd(),
                &Report::BootFailed {
                    id: birth.id,
                    pid: pid(),
                    failure,
                },
            ));
            1
        }
    };
    call::settle(py);
    log::info(format_args!("Worker exiting (pid: {})", pid()));
    if let Some(hooks) = &birth.hooks {
        hooks.leaves(py);
    }
    leave(py);
    code
}

enum BootError {
    /// The app cannot be loaded; the log says why.
    Failed(Failure),
    /// The arbiter is gone.
    Orphaned,
    /// The system refused something.
    Host(io::Error),
}

impl From<io::Error> for BootError {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

impl From<PyErr> for BootError {
    fn from(error: PyErr) -> Self {
        Self::Host(io::Error::other(error))
    }
}

fn boot<'a>(
    py: Python<'_>,
    birth: &'a Birth<'_>,
    app: Option<Py<PyAny>>,
) -> Result<Desk<'a>, BootError> {
    await_adoption(birth.start.arbiter)?;
    let settings = &birth.start.settings;
    if let Some(cell) = birth.scoreboard.cell(birth.slot) {
        cell.pid.store(pid().cast_unsigned(), Ordering::Relaxed);
        cell.generation
            .store(birth.start.generation, Ordering::Relaxed);
        cell.worker.store(birth.id, Ordering::Release);
    }
    sys::process::title(&format!("rcorn: worker [{}]", name(settings)));
    sys::fork::mark_forks()?;
    testimony::register(py, birth.testimony.as_fd())?;
    log::info(format_args!("Booting worker with pid: {}", pid()));
    if let Some(hooks) = &birth.hooks {
        hooks.born(py, pid()).map_err(BootError::Failed)?;
    }
    let app = if let Some(app) = app {
        app.into_bound(py)
    } else {
        // An import may take long, and start programs, which would inherit blocked signals.
        orders::fall()?;
        import(py, settings, birth.reports.as_fd()).map_err(BootError::Failed)?
    };
    // After the import, which may have installed handlers of its own.
    let start = birth.start;
    let doors = start.listeners.iter().map(|listener| listener.fd).collect();
    let orders = Orders::install(py, start.arbiter, doors)?;
    let app = match &birth.hooks {
        Some(hooks) => {
            hooks.listen_for_abort(py)?;
            hooks.booted(py, &app).map_err(BootError::Failed)?
        }
        None => app,
    };
    let mut desk = Desk::new(py, birth, app, orders)?;
    // A developer wants to see what the app answers, whatever that is.
    let probe = birth.probe && !settings.reload;
    if let Some(path) = settings.reload_probe.as_deref().filter(|_| probe) {
        desk.probe(py, path).map_err(BootError::Failed)?;
    }
    report(
        birth.reports.as_fd(),
        &Report::Ready {
            id: birth.id,
            pid: pid(),
        },
    )?;
    Ok(desk)
}

/// Waits until the middle process of the double fork is gone and the arbiter is our parent; only then asks
/// for a signal at the parent's death. Asked for earlier, the middle process's leaving would be that death.
fn await_adoption(arbiter: i32) -> Result<(), BootError> {
    let limit = clock::monotonic().saturating_add(clock::nanoseconds(Duration::from_secs(5)));
    while getppid().as_raw() != arbiter {
        // Some microseconds; longer only when the arbiter is dead and somebody else adopted us.
        if clock::monotonic() > limit {
            return Err(BootError::Orphaned);
        }
        nix::sched::sched_yield().map_err(io::Error::from)?;
    }
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).map_err(io::Error::from)?;
    if getppid().as_raw() == arbiter {
        Ok(())
    } else {
        Err(BootError::Orphaned)
    }
}

/// The visible part of an interpreter's end, without tearing down a heap that the kernel frees anyway:
/// threads are joined, exit handlers run, standard streams flushed.
fn leave(py: Python<'_>) {
    let quietly = |result: PyResult<()>| {
        if let Err(error) = result {
            log::warning(format_args!(
                "while leaving: {}",
                traceback::format(py, &error)
            ));
        }
    };
    let call = |module: &str, function: &str| -> PyResult<()> {
        py.import(module)?.call_method0(function).map(|_none| ())
    };
    quietly(call("threading", "_shutdown"));
    quietly(call("atexit", "_run_exitfuncs"));
    for stream in ["stdout", "stderr"] {
        let flushed = py
            .import("sys")
            .and_then(|sys| sys.getattr(stream))
            .and_then(|stream| {
                if stream.is_none() {
                    Ok(())
                } else {
                    stream.call_method0("flush").map(|_none| ())
                }
            });
        quietly(flushed);
    }
}
