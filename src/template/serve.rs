//! A template's life after its boot: it forks a worker on order, until the command socket ends.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::SigSet;
use nix::sys::socket::{MsgFlags, recv};
use pyo3::prelude::*;

use rcorn_app::hooks::Hooks;
use rcorn_app::loggers;
use rcorn_evidence::is_loaded;
use rcorn_link::{Command, MAX_DATAGRAM_BYTES, Report, Start, report, report_with};
use rcorn_log as log;
use rcorn_python::fork::{Forked, fork_twice};
use rcorn_scoreboard::Scoreboard;
use rcorn_settings::Preload;
use rcorn_sys::fork::count_threads;
use rcorn_worker::orders::block;
use rcorn_worker::{self as worker, WorkerSpec};

use super::app_state::AppState;

/// A template that is ready to fork.
pub(super) struct Template<'a> {
    start: &'a Start,
    app_state: AppState,
    scoreboard: Scoreboard,
    commands: OwnedFd,
    reports: OwnedFd,
    app: Option<Py<PyAny>>,
    hooks: Option<Hooks>,
    /// The log has a warning about threads: those of the import, or those that came later.
    has_warned: Cell<bool>,
}

/// On which side of the fork of a worker this process is. Both have the descriptor of the worker's
/// stack dump.
enum Side {
    /// The template, with the pid of the worker.
    Template(i32, OwnedFd),
    /// The worker.
    Worker(OwnedFd),
}

impl<'a> Template<'a> {
    /// Has not forked yet.
    pub(super) fn new(
        start: &'a Start,
        app_state: AppState,
        scoreboard: Scoreboard,
        commands: OwnedFd,
        reports: OwnedFd,
        app: Option<Py<PyAny>>,
        hooks: Option<Hooks>,
    ) -> Self {
        Self {
            start,
            app_state,
            scoreboard,
            commands,
            reports,
            app,
            hooks,
            has_warned: Cell::new(start.settings.preload_app == Preload::On),
        }
    }

    /// Carries out orders until the arbiter closes the command socket; gives the exit code.
    pub(super) fn serve(self, py: Python<'_>) -> io::Result<i32> {
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
                Command::Reopen => {
                    log::reopen();
                    loggers::reopen_files(py);
                }
                Command::Hook(event) => {
                    if let Some(hooks) = &self.hooks {
                        hooks.on_event(py, &event);
                    }
                }
                Command::Fork { id, cell, probe } => match self.fork(py, id, cell) {
                    Ok(Side::Template(pid, stack_dump)) => {
                        if let Some(hooks) = &self.hooks {
                            hooks.note_forked(py, pid);
                        }
                        let forked = Report::Forked { id, pid };
                        report_with(self.reports.as_fd(), &forked, Some(stack_dump.as_fd()))?;
                    }
                    Ok(Side::Worker(stack_dump)) => {
                        return Ok(self.become_worker(py, id, cell, stack_dump, probe));
                    }
                    Err(error) => {
                        let reason = error.to_string();
                        report(self.reports.as_fd(), &Report::ForkFailed { id, reason })?;
                    }
                },
            }
        }
    }

    /// Forks a worker.
    fn fork(&self, py: Python<'_>, id: u64, cell: u16) -> io::Result<Side> {
        let cell = self.scoreboard.cell(cell);
        let cell = cell.ok_or_else(|| io::Error::other("the scoreboard has no such cell"))?;
        cell.reset();
        let stack_dump = memfd_create(c"rcorn-stack-dump", MFdFlags::MFD_CLOEXEC)?;
        if let Some(hooks) = &self.hooks {
            hooks.pre_fork(py, id);
        }
        self.warn_of_threads();
        // A worker that is told to leave before its handlers are installed must not die of it
        // unnoticed: the signals wait until then (`worker::boot`).
        block()?;
        let forked = fork_twice(py);
        if !matches!(forked, Ok(Forked::Worker)) {
            SigSet::empty().thread_set_mask()?;
        }
        match forked? {
            Forked::Worker => Ok(Side::Worker(stack_dump)),
            Forked::Template(pid) => Ok(Side::Template(pid, stack_dump)),
        }
    }

    /// In a fork only the forking thread lives on. An import that starts threads is not preloaded,
    /// but a hook or a library may start one later.
    fn warn_of_threads(&self) {
        let others = count_threads().map_or(0, |threads| threads.saturating_sub(1));
        if others > 0 && !self.has_warned.replace(true) {
            log::warning(format_args!(
                "Forking workers while {others} other thread{} of the template run{}: a lock that one holds stays locked in the worker (started by a hook? see --no-preload)",
                if others == 1 { "" } else { "s" },
                if others == 1 { "s" } else { "" },
            ));
        }
    }

    fn become_worker(
        self,
        py: Python<'_>,
        id: u64,
        cell: u16,
        stack_dump: OwnedFd,
        probe: bool,
    ) -> i32 {
        drop(self.commands);
        let insisted = self.start.settings.preload_app == Preload::On;
        if insisted && is_loaded(py, "numpy") {
            reseed_numpy(py);
        }
        if let Err(error) = self.app_state.give_back() {
            log::error(format_args!(
                "cannot restore what the app set at import: {error}"
            ));
        }
        let hooks = self.hooks.map(|hooks| hooks.into_worker(py)).transpose();
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
                cell,
                stack_dump,
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
