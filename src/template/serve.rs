//! The template's life: boot, tell the arbiter, then one fork an order until the command socket ends.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{MsgFlags, recv};
use pyo3::prelude::*;

use rcorn_app::hooks::{self, Hooks};
use rcorn_app::import::import;
use rcorn_app::loggers;
use rcorn_link::{
    Command, Failure, IMPORTED_EXIT_CODE, MAX_DATAGRAM_BYTES, Report, Start, report, report_with,
};
use rcorn_log as log;
use rcorn_python::fork::{Forked, fork_twice};
use rcorn_python::testimony;
use rcorn_scoreboard::Scoreboard;
use rcorn_settings::Preload;
use rcorn_sys as sys;
use rcorn_sys::descriptor::{adopt, claim, duplicate, keep_open};
use rcorn_worker::orders::{block, ignore_in_template};
use rcorn_worker::{self as worker, WorkerSpec};

use super::again::{Origin, arguments, inherited, start_again};
use super::app_state::AppState;
use super::boot;
use super::litter::{children, end_children};
use super::offspring;
use super::safety::{self, Before};

/// Cuts a summary to what a datagram takes.
fn short(mut failure: Failure) -> Failure {
    let mut end = failure.summary.len().min(MAX_DATAGRAM_BYTES / 4);
    while !failure.summary.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    failure.summary.truncate(end);
    failure
}

/// Runs the template to its end; gives its exit code.
pub(super) fn run(py: Python<'_>, start: &Start, origin: Origin) -> io::Result<i32> {
    // Descriptors of ours must not reach programs that the app starts.
    for fd in inherited(start).chain([origin.native]) {
        claim(fd)?;
    }
    let reports = adopt(start.reports)?;
    log::init(
        adopt(start.error_log)?,
        start.settings.errorlog.path(),
        start.settings.loglevel,
    );
    if start.settings.capture_output {
        log::capture_output();
    }
    let arguments = arguments()?;
    let fail = |failure: Failure| {
        let generation = start.generation;
        let failure = short(failure);
        let code = failure.code;
        report(
            reports.as_fd(),
            &Report::TemplateFailed {
                generation,
                failure,
            },
        )
        .map(|()| code)
    };
    // As root, if that is who started us; it is executed as the user.
    let config = hooks::source(&start.settings);
    let prepared = ignore_in_template()
        .and_then(|()| boot::settle(&start.settings))
        .and_then(|()| testify(py, start))
        .and_then(|()| boot::drop_privileges(&start.settings))
        .and_then(|()| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?))
        .and_then(|()| boot::prepare_sys(py, start).map_err(io::Error::other))
        .and_then(|()| offspring::let_go(py, start).map_err(io::Error::other));
    if let Err(error) = prepared {
        log::error(format_args!("the template cannot be set up: {error}"));
        return fail(Failure {
            code: 1,
            summary: error.to_string(),
        });
    }
    let hooks = match before_import(py, start, config.as_deref(), origin.bare) {
        Ok(hooks) => hooks,
        Err(failure) => return fail(failure),
    };
    let app = match preload(start, &origin) {
        None => None,
        Some(cautious) => {
            match import_ahead(py, start, cautious, &origin, &arguments, reports.as_fd()) {
                Ok(app) => Some(app),
                Err(failure) => return fail(failure),
            }
        }
    };
    drop(adopt(origin.native)?);
    drop(origin.start);
    sys::process::set_title(&format!(
        "rcorn: template [{}]",
        worker::name(&start.settings)
    ));
    let scoreboard = Scoreboard::open(adopt(start.scoreboard)?.as_fd())?;
    let commands = adopt(start.commands)?;
    if let Some(hooks) = &hooks {
        hooks.ready(py, start.reason);
    }
    report(
        reports.as_fd(),
        &Report::TemplateReady {
            generation: start.generation,
        },
    )?;
    let template = Template {
        // After everything of the app's and the user's that runs before the first fork.
        app_state: AppState::take()?,
        start,
        scoreboard,
        commands,
        reports,
        app,
        hooks,
    };
    template.serve(py)
}

/// Whether to import the app, and then whether with caution.
fn preload(start: &Start, origin: &Origin) -> Option<bool> {
    match start.settings.preload_app {
        _ if origin.bare => None,
        Preload::Off => None,
        Preload::Auto => Some(true),
        Preload::On => Some(false),
    }
}

/// The config file's functions, and the loggers: there before anything of the app.
fn before_import(
    py: Python<'_>,
    start: &Start,
    config: Option<&[u8]>,
    again: bool,
) -> Result<Option<Hooks>, Failure> {
    let hooks = Hooks::load(py, start, config)?;
    loggers::shape(py, start, hooks.as_ref())?;
    if let Some(hooks) = &hooks {
        hooks.begins(py, start.reason, again)?;
    }
    Ok(hooks)
}

/// Imports the app as a template does, and that is all; gives the exit code. The log is standard error.
pub(super) fn check(py: Python<'_>, start: &Start) -> io::Result<i32> {
    // Nobody hears what is reported, and nothing is: `reload` is off.
    let nobody = duplicate(start.error_log)?;
    log::init(nobody.try_clone()?, None, start.settings.loglevel);
    let config = hooks::source(&start.settings);
    boot::settle(&start.settings)?;
    boot::drop_privileges(&start.settings)?;
    boot::prepare_sys(py, start).map_err(io::Error::other)?;
    let before = children();
    let checked = before_import(py, start, config.as_deref(), true)
        .and_then(|_hooks| import(py, &start.settings, nobody.as_fd()));
    end_children(py, &before);
    Ok(checked.map_or_else(|failure| failure.code, |_app| IMPORTED_EXIT_CODE))
}

/// Should the import hang, the arbiter can ask where.
fn testify(py: Python<'_>, start: &Start) -> io::Result<()> {
    let into = keep_open(start.stack_dump)?;
    testimony::register(py, into).map_err(io::Error::other)
}

/// Imports the app for all workers. With `cautious`, an app that is unsafe to fork from makes this process
/// start again without it; that does not return.
fn import_ahead(
    py: Python<'_>,
    start: &Start,
    cautious: bool,
    origin: &Origin,
    arguments: &[std::ffi::CString],
    reports: BorrowedFd<'_>,
) -> Result<Py<PyAny>, Failure> {
    let host = |error: PyErr| Failure {
        code: 1,
        summary: error.to_string(),
    };
    let before = Before::look(py);
    // Not gc.disable(): an app that disables collection itself must find its wish respected later.
    let gc = py.import("gc").map_err(host)?;
    let threshold = gc.call_method0("get_threshold").map_err(host)?;
    gc.call_method1("set_threshold", (0,)).map_err(host)?;
    let app = import(py, &start.settings, reports)?;
    let found = before.found_since(py);
    if !found.is_empty() {
        let found = found.join(", ");
        if cautious {
            log::info(format_args!(
                "Not preloading: the app's import left {found}, which forked workers cannot share; each worker imports the app itself (--no-preload says so at once, --preload insists)"
            ));
            end_children(py, &before.children);
            return Err(start_again(start, origin, arguments));
        }
        log::warning(format_args!(
            "Preloading as ordered, although the app's import left {found}"
        ));
    }
    let app = app.unbind();
    let settle = || -> PyResult<()> {
        let (first, _, _): (i64, i64, i64) = gc.call_method0("get_threshold")?.extract()?;
        if first == 0 {
            gc.getattr("set_threshold")?
                .call1(threshold.cast_into::<pyo3::types::PyTuple>()?)?;
        }
        // Without freeze, one full collection in each worker would copy every page with an object on it.
        gc.call_method0("collect")?;
        gc.call_method0("freeze")?;
        Ok(())
    };
    settle().map_err(host)?;
    sys::process::trim_heap();
    Ok(app)
}

/// A template that is ready to fork.
struct Template<'a> {
    start: &'a Start,
    app_state: AppState,
    scoreboard: Scoreboard,
    commands: OwnedFd,
    reports: OwnedFd,
    app: Option<Py<PyAny>>,
    hooks: Option<Hooks>,
}

impl Template<'_> {
    /// Carries out orders until the arbiter closes the command socket.
    fn serve(self, py: Python<'_>) -> io::Result<i32> {
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        loop {
            let commands = self.commands.as_raw_fd();
            // Threads that a preloaded app started may run meanwhile.
            let received = py.detach(|| recv(commands, &mut buffer, MsgFlags::empty()));
            let length = match received {
                Ok(0) => return Ok(0),
                Ok(length) => length,
                Err(nix::Error::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let text = buffer.get(..length).unwrap_or(&[]);
            match serde_json::from_slice(text).map_err(io::Error::other)? {
                Command::Reopen => log::reopen(),
                Command::Hook(moment) => {
                    if let Some(hooks) = &self.hooks {
                        hooks.happened(py, &moment);
                    }
                }
                Command::Fork { id, slot, probe } => match self.fork(py, id, slot) {
                    Ok((Some(pid), testimony)) => {
                        if let Some(hooks) = &self.hooks {
                            hooks.forked(py, pid);
                        }
                        let forked = Report::Forked { id, pid };
                        report_with(self.reports.as_fd(), &forked, Some(testimony.as_fd()))?;
                    }
                    Ok((None, testimony)) => {
                        return Ok(self.become_worker(py, id, slot, testimony, probe));
                    }
                    Err(error) => {
                        let reason = error.to_string();
                        report(self.reports.as_fd(), &Report::ForkFailed { id, reason })?;
                    }
                },
            }
        }
    }

    /// `Some(pid)` of the new worker in the template, `None` in the worker; and where the worker testifies.
    fn fork(&self, py: Python<'_>, id: u64, slot: u16) -> io::Result<(Option<i32>, OwnedFd)> {
        let cell = self.scoreboard.cell(slot);
        let cell = cell.ok_or_else(|| io::Error::other("no such scoreboard slot"))?;
        cell.reset();
        // A worker that is told to leave before its handlers stand must not die of it unheard: the signals
        // wait until then (`worker::boot`).
        let testimony = memfd_create(c"rcorn-testimony", MFdFlags::MFD_CLOEXEC)?;
        if let Some(hooks) = &self.hooks {
            hooks.forks(py, id);
        }
        block()?;
        let forked = fork_twice(py);
        if !matches!(forked, Ok(Forked::Worker)) {
            SigSet::empty().thread_set_mask()?;
        }
        match forked? {
            Forked::Worker => Ok((None, testimony)),
            Forked::Template(pid) => Ok((Some(pid), testimony)),
        }
    }

    fn become_worker(
        self,
        py: Python<'_>,
        id: u64,
        slot: u16,
        testimony: OwnedFd,
        probe: bool,
    ) -> i32 {
        drop(self.commands);
        let insisted = self.start.settings.preload_app == Preload::On;
        if insisted && safety::is_loaded(py, "numpy") {
            reseed_numpy(py);
        }
        if let Err(error) = self.app_state.give_back() {
            log::error(format_args!(
                "cannot restore what the app set at import: {error}"
            ));
        }
        let hooks = self.hooks.map(|hooks| hooks.for_worker(py)).transpose();
        let hooks = hooks.unwrap_or_else(|error| {
            log::error(format_args!("the hooks cannot be called: {error}"));
            None
        });
        worker::run(
            py,
            &WorkerSpec {
                hooks,
                start: self.start,
                // As long as the process.
                scoreboard: Box::leak(Box::new(self.scoreboard)),
                reports: self.reports,
                id,
                slot,
                testimony,
                probe,
            },
            self.app,
        )
    }
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
