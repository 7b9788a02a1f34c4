//! A template: its parts, the fork of a worker, and what the worker becomes.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::memfd::MFdFlags;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::getppid;
use pyo3::prelude::*;

use rcorn_app::hooks::Hooks;
use rcorn_app::loggers;
use rcorn_evidence::{AfterImport, Baseline};
use rcorn_link::{Failure, Report, Start, report, report_with};
use rcorn_log as log;
use rcorn_python::fork::{Forked, fork_twice, pid};
use rcorn_scoreboard::Scoreboard;
use rcorn_settings::Preload;
use rcorn_sys as sys;
use rcorn_sys::descriptor::replace;
use rcorn_sys::fork::count_threads;
use rcorn_sys::memfd;
use rcorn_sys::signal::was_swallowed;
use rcorn_types::with_remedy;
use rcorn_worker::orders::{block, forget_orders_of_template, unblock};
use rcorn_worker::{self as worker, WorkerEnd, WorkerSpec};

use super::app_state::AppState;
use super::close_fds_in_children;

/// A template that is ready to fork.
pub(super) struct Template {
    pub(super) start: &'static Start,
    pub(super) app_state: AppState,
    /// As long as the process.
    pub(super) scoreboard: &'static Scoreboard,
    /// Open to the end of the process.
    pub(super) reports: BorrowedFd<'static>,
    /// The app, which workers that are forked from here need not import.
    pub(super) app: Option<Py<PyAny>>,
    pub(super) hooks: Option<Hooks>,
    /// The memfd into which this process dumps its stacks. In a worker that is forked here the same
    /// number is a memfd of its own.
    pub(super) stack_dump: OwnedFd,
    /// What a worker has from here, and a template that it becomes may have; `None` without the
    /// app.
    pub(super) baseline: Option<Baseline>,
    /// Whether functions for the exit run at the end of this process. Not in one that was promoted
    /// after its import: with an import in each worker they would run in the workers alone.
    pub(super) runs_exit_functions: bool,
    /// Whether the log has a warning about threads, of the import or of a fork.
    has_warned: Cell<bool>,
}

/// How a worker was ordered.
pub(super) struct Newborn {
    pub(super) id: u64,
    pub(super) cell: u16,
    pub(super) probe: bool,
    /// It becomes the template, if its import may be shared.
    pub(super) promote: bool,
    /// It waits until it is told to serve.
    pub(super) spare: bool,
    /// What already speaks against that.
    pub(super) against: Vec<String>,
}

/// The side of the fork of a worker on which this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Template,
    Worker,
}

impl Template {
    /// A template that has not forked yet.
    pub(super) fn new(
        py: Python<'_>,
        start: &'static Start,
        app_state: AppState,
        scoreboard: Scoreboard,
        reports: BorrowedFd<'static>,
        stack_dump: OwnedFd,
        (app, hooks): (Option<Py<PyAny>>, Option<Hooks>),
    ) -> Self {
        let baseline = app.as_ref().map(|_app| Baseline::take(py));
        Self {
            start,
            app_state,
            scoreboard: Box::leak(Box::new(scoreboard)),
            reports,
            app,
            hooks,
            stack_dump,
            baseline,
            runs_exit_functions: true,
            has_warned: Cell::new(start.settings.preload_app == Preload::On),
        }
    }

    /// Forks a worker, and reports it to the arbiter. A fork that fails is reported, too.
    pub(super) fn fork_and_report(
        &mut self,
        py: Python<'_>,
        id: u64,
        cell: u16,
    ) -> io::Result<Side> {
        match self.fork(py, id, cell) {
            Ok((Forked::Template(pid), stack_dump)) => {
                if let Some(hooks) = &self.hooks {
                    hooks.note_forked(py, pid);
                }
                let forked = Report::Forked { id, pid };
                report_with(self.reports, &forked, Some(stack_dump.as_fd()))?;
                Ok(Side::Template)
            }
            Ok((Forked::Worker, stack_dump)) => {
                // In one step: faulthandler goes on writing to this number.
                replace(&self.stack_dump, stack_dump)?;
                Ok(Side::Worker)
            }
            Err(error) => {
                let reason = with_remedy(&error);
                report(self.reports, &Report::ForkFailed { id, reason })?;
                Ok(Side::Template)
            }
        }
    }

    /// Forks a worker. Both sides get the memfd of its stack dump.
    fn fork(&self, py: Python<'_>, id: u64, cell: u16) -> io::Result<(Forked, OwnedFd)> {
        let cell = self.scoreboard.cell(cell);
        let cell = cell.ok_or_else(|| io::Error::other("the scoreboard has no such cell"))?;
        cell.reset();
        let stack_dump = memfd::create(c"rcorn-stack-dump", MFdFlags::MFD_CLOEXEC)?;
        if let Some(hooks) = &self.hooks {
            hooks.pre_fork(py, id);
        }
        self.warn_of_threads();
        // The signals are blocked until the handlers of the worker are installed (`worker::boot`):
        // an order to leave must not kill it before that.
        block()?;
        let forked = fork_twice(py);
        if !matches!(forked, Ok(Forked::Worker)) {
            unblock()?;
        }
        let forked = forked?;
        if matches!(forked, Forked::Worker) {
            forget_orders_of_template();
        }
        Ok((forked, stack_dump))
    }

    /// Only the forking thread exists after a fork. An import that starts threads is not shared,
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

    /// Serves to the end of the worker. `app`: `None` if the worker is to import it.
    pub(super) fn become_worker(
        &self,
        py: Python<'_>,
        newborn: &Newborn,
        app: Result<Option<Py<PyAny>>, Failure>,
    ) -> WorkerEnd {
        close_fds_in_children::end();
        let hooks = self.hooks.as_ref().map(|hooks| hooks.of_worker(py));
        let hooks = hooks.transpose();
        let hooks = hooks.unwrap_or_else(|error| {
            log::error(format_args!("the hooks cannot be called: {error}"));
            None
        });
        worker::run(
            py,
            &WorkerSpec {
                // As long as the process: the threads of a worker have them.
                hooks: hooks.map(|hooks| &*Box::leak(Box::new(hooks))),
                start: self.start,
                scoreboard: self.scoreboard,
                reports: self.reports,
                id: newborn.id,
                cell: newborn.cell,
                stack_dump: self.stack_dump.as_fd(),
                probe: newborn.probe,
                spare: newborn.spare,
            },
            app,
        )
    }

    /// Tells the arbiter that this process, a worker until now, can be the template of its
    /// generation, and readies it. `after`: what it was after its import, if it has done nothing
    /// since. With the template: the socket from which it takes orders. `None`: the arbiter is
    /// gone.
    pub(super) fn take_place(
        mut self,
        py: Python<'_>,
        newborn: &Newborn,
        mut after: Option<AfterImport>,
    ) -> io::Result<Option<(Self, OwnedFd)>> {
        if getppid().as_raw() != self.start.arbiter {
            return Ok(None);
        }
        if was_swallowed(Signal::SIGUSR1) {
            log::reopen();
            loggers::reopen_files(py);
            // It has other files now.
            after = None;
        }
        name_process(self.start);
        let (commands, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        close_fds_in_children::begin(self.start, Some(commands.as_raw_fd()));
        self.baseline = Some(match after {
            Some(after) => Baseline::after(py, after),
            None => Baseline::take(py),
        });
        let promoted = Report::Promoted {
            id: newborn.id,
            pid: pid(),
        };
        report_with(self.reports, &promoted, Some(theirs.as_fd()))?;
        Ok(Some((self, commands)))
    }
}

/// Sets what `ps` shows.
pub(super) fn name_process(start: &Start) {
    let name = start.settings.process_name();
    sys::process::set_title(&format!("rcorn: template [{name}]"));
}
