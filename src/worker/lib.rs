//! A worker: one process that answers one request at a time, or as many as it has threads. Forked
//! from the template; tells the arbiter when it is ready; leaves when told, when its parent is
//! gone, or replaced after `max_requests`.
//!
//! The [`event_loop`] waits, accepts, and says what is to be served; [`receive`] reads; [`http`]
//! and [`uwsgi`] find requests in what was received, and [`front`] what a front says of them; the
//! [`handler`] of a request [`slot`] serves them.
//! One thread drives the loop and serves, or several do so in turn ([`app_threads`]).
#![forbid(unsafe_code)]

pub mod adoption;
pub mod orders;

mod access_line;
mod access_log;
mod access_log_fields;
mod app_threads;
mod buffer_body;
mod common_lines;
mod connection;
mod endpoints;
mod error_pages;
mod event_loop;
mod front;
mod handler;
mod health;
mod http;
mod hung_threads;
mod leadership;
mod lifecycle;
mod overdue;
mod overdue_request;
mod preface;
mod receive;
mod recorder;
mod refused;
mod reload_probe;
mod request;
mod request_id;
mod request_quota;
mod retirement;
mod rules;
mod setup;
mod slot;
mod spare;
mod spec;
mod static_file;
mod turn;
mod uwsgi;
mod waiting_since;
mod wake_event;
mod work;

#[cfg(loom)]
#[cfg(test)]
mod loom_tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::Signal;

use pyo3::prelude::*;

use rcorn_app::import::import;
use rcorn_connection::Listener;
use rcorn_link::report;
use rcorn_link::{Failure, Report};
use rcorn_log as log;
use rcorn_python::call;
use rcorn_python::fork::pid;
use rcorn_python::streams::flush_standard_streams;
use rcorn_python::{stack_dump, traceback};
use rcorn_scoreboard::{Metric, Scoreboard};
use rcorn_sys as sys;
use rcorn_sys::private::keep_private;
use rcorn_types::with_remedy;

use app_threads::Started;
use event_loop::{Driver, EventLoop, ThreadPool};
use orders::{AbortOrder, LeaveOrders, Orders, OrphanLimits, Serving};
use overdue_request::KeptLines;
use slot::RequestSlot;

pub use rcorn_wsgi::make_types;
pub use spec::WorkerSpec;

/// What becomes of the process when its time as a worker is over.
#[derive(Debug)]
pub enum WorkerEnd {
    /// It exits with this code.
    Exit(i32),
    /// It is to become the template. It holds no connection, and nothing that it had only as a
    /// worker.
    Candidate {
        /// The signals whose effect the app has changed while it served.
        changed: Vec<Signal>,
    },
}

/// Runs the worker to its end. `app`: `None` if it is to be imported here; a failure if that was
/// tried before.
pub fn run(
    py: Python<'_>,
    spec: &WorkerSpec<'_>,
    app: Result<Option<Py<PyAny>>, Failure>,
) -> WorkerEnd {
    let code = match boot(py, spec, app) {
        Ok(booted) => match serve(py, spec, booted) {
            WorkerEnd::Exit(code) => code,
            candidate @ WorkerEnd::Candidate { .. } => return candidate,
        },
        Err(BootError::Failed(failure)) => boot_failed(spec, failure),
        Err(BootError::Orphaned | BootError::NotNeeded) => 0,
        Err(BootError::Host(error)) => {
            log::error(format_args!(
                "the worker cannot be set up: {}",
                with_remedy(&error)
            ));
            let failure = Failure {
                code: 1,
                summary: with_remedy(&error),
            };
            boot_failed(spec, failure)
        }
    };
    call::clear_pending_interrupt(py);
    log::info(format_args!("Worker exiting (pid: {})", pid()));
    if let Some(hooks) = &spec.hooks {
        hooks.worker_exit(py);
    }
    leave(py);
    WorkerEnd::Exit(code)
}

/// Takes everything from the process that it had only as a worker. `orders`: those of a worker with
/// several threads; otherwise its loop has them.
fn become_candidate(
    py: Python<'_>,
    spec: &WorkerSpec<'_>,
    event_loop: EventLoop,
    orders: Option<Orders>,
) -> WorkerEnd {
    let EventLoop { io, driver, .. } = event_loop;
    io.end();
    drop(io);
    // What it has opened for itself as a worker is closed here.
    if let Some(hooks) = &spec.hooks {
        hooks.worker_exit(py);
    }
    sys::fork::unmark_forks();
    COUNTED.store(0, Ordering::Relaxed);
    let orders = match driver {
        Driver::Alone(orders) => Some(orders),
        Driver::Threads(_) => orders,
    };
    match orders.map_or(Ok(Vec::new()), Orders::uninstall) {
        Ok(changed) => WorkerEnd::Candidate { changed },
        Err(error) => {
            log::error(format_args!(
                "the worker cannot become the template: {error}"
            ));
            leave(py);
            WorkerEnd::Exit(0)
        }
    }
}

/// The cell in whose counters lost log records are counted, plus 1; 0: in none.
static COUNTED: AtomicU32 = AtomicU32::new(0);

/// Counts the log records that this process loses as those of its worker.
fn count_lost(scoreboard: &'static Scoreboard, cell: u16) {
    COUNTED.store(u32::from(cell).saturating_add(1), Ordering::Relaxed);
    // Once in this process and in those that it was forked from: all have this scoreboard.
    log::count_lost(move || {
        let cell = COUNTED.load(Ordering::Relaxed).checked_sub(1);
        if let Some(cell) = cell.and_then(|cell| u16::try_from(cell).ok()) {
            scoreboard.counters(cell).count(Metric::LostLogRecords);
        }
    });
}

/// Serves until the worker leaves.
fn serve(py: Python<'_>, spec: &WorkerSpec<'_>, booted: Booted) -> WorkerEnd {
    let Booted {
        mut event_loop,
        leave,
        who,
        kept,
    } = booted;
    let (code, event_loop, orders) = match who {
        Who::MainThread(mut slots) => {
            event_loop::run_alone(py, &mut event_loop, &mut slots);
            drop(slots);
            (0, Some(event_loop), None)
        }
        Who::AppThreads(threads) => {
            let io = event_loop.io.clone();
            let ended = threads.run(py, event_loop);
            io.end_and_tell();
            write_kept(py, spec, &kept, ended.event_loop.is_some());
            (ended.code, ended.event_loop, Some(ended.orders))
        }
    };
    if let Some(event_loop) = event_loop.filter(EventLoop::is_candidate) {
        return become_candidate(py, spec, event_loop, orders);
    }
    if let Some(hooks) = spec.hooks.filter(|_| leave.quit()) {
        hooks.worker_int(py);
    }
    WorkerEnd::Exit(code)
}

/// Writes the lines of the access log that no thread of the app has written; without `is_idle`,
/// counts them as lost: a thread that is in the app may have a lock of the logger for ever.
fn write_kept(py: Python<'_>, spec: &WorkerSpec<'_>, kept: &Arc<KeptLines>, is_idle: bool) {
    if is_idle && let Ok(Some(log)) = setup::access_log(spec.start) {
        let mut log = log.with_kept(Some(Arc::clone(kept)));
        log.write_kept(py, usize::MAX);
    }
    kept.lose();
}

/// Reports the failure to the arbiter, if it is there; returns the exit code.
fn boot_failed(spec: &WorkerSpec<'_>, failure: Failure) -> i32 {
    let code = failure.code;
    let told = Report::BootFailed {
        id: spec.id,
        pid: pid(),
        failure,
    };
    report(spec.reports, &told).ok();
    code
}

enum BootError {
    /// The app cannot be loaded; the log says why.
    Failed(Failure),
    /// The arbiter is gone.
    Orphaned,
    /// A spare worker was told to leave.
    NotNeeded,
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

/// A worker that can serve.
struct Booted {
    event_loop: EventLoop,
    leave: LeaveOrders,
    who: Who,
    /// Lines of the access log that a thread with the GIL is to write.
    kept: Arc<KeptLines>,
}

/// Who drives the loop and serves.
enum Who {
    /// The main thread, with the one slot.
    MainThread(Vec<RequestSlot>),
    /// Several threads, which wait for the loop.
    AppThreads(Box<Started>),
}

/// Everything before the first request.
fn boot(
    py: Python<'_>,
    spec: &WorkerSpec<'_>,
    app: Result<Option<Py<PyAny>>, Failure>,
) -> Result<Booted, BootError> {
    let app = app.map_err(BootError::Failed)?;
    if !adoption::wait(spec.start.arbiter)? {
        return Err(BootError::Orphaned);
    }
    register(py, spec)?;
    if let Some(hooks) = &spec.hooks {
        orders::unblock_for_hook()?;
        let called = hooks.post_fork(py, pid());
        orders::block()?;
        called.map_err(BootError::Failed)?;
    }
    let settings = &spec.start.settings;
    let app = if let Some(app) = app {
        app.into_bound(py)
    } else {
        // An import may take long, and start programs, which would inherit blocked signals.
        orders::install_import_handlers()?;
        import(py, settings, spec.reports).map_err(BootError::Failed)?
    };
    // After the import, because it may have installed handlers of its own.
    let listeners = setup::listeners(spec.start)?;
    let mut orders = take_orders(py, spec, &listeners)?;
    let app = match &spec.hooks {
        Some(hooks) => hooks
            .post_worker_init(py, &app)
            .map_err(BootError::Failed)?,
        None => app,
    };
    if !adoption::ask_for_death_signal(spec.start.arbiter)? {
        return Err(BootError::Orphaned);
    }
    if spec.spare && !spare::wait(py, spec, &mut orders)? {
        return Err(BootError::NotNeeded);
    }
    // Not before: siblings share connections with all that have a cell.
    if let Some(cell) = spec.scoreboard.cell(spec.cell) {
        cell.register(spec.id, pid().cast_unsigned(), spec.start.generation);
    }
    orders.note_effects()?;
    let leave = orders.leave().clone();
    let (driver, stands_by) = setup::driver(py, spec, orders)?;
    let pool = stands_by.as_ref().map(|(pool, _)| pool);
    let kept = Arc::default();
    let mut event_loop = setup::event_loop(py, spec, app, driver, (&leave, &kept), listeners)?;
    let mut slots = setup::slots(py, spec, &event_loop.io, pool.map(|pool| (pool, &kept)))?;
    // A developer wants to see what the app answers, whatever that is.
    let probe = spec.probe && !settings.reload;
    if let Some(path) = settings.reload_probe.as_deref().filter(|_| probe)
        && let Some(slot) = slots.first_mut()
    {
        reload_probe::probe(py, &mut event_loop, slot, path).map_err(BootError::Failed)?;
    }
    // Before the report: a worker without its threads is not ready.
    let who = who(py, &event_loop, slots, stands_by)?;
    let ready = Report::Ready {
        id: spec.id,
        pid: pid(),
    };
    report(spec.reports, &ready)?;
    Ok(Booted {
        event_loop,
        leave,
        who,
        kept,
    })
}

/// Who serves with these slots. `pool`: that of a worker with several threads, and what its main
/// thread follows.
fn who(
    py: Python<'_>,
    event_loop: &EventLoop,
    slots: Vec<RequestSlot>,
    pool: Option<(ThreadPool, Orders)>,
) -> io::Result<Who> {
    let Some((pool, orders)) = pool else {
        return Ok(Who::MainThread(slots));
    };
    let started = app_threads::start(py, event_loop, slots, pool, orders).map_err(|error| {
        let hint = "hint: lower threads, or raise the limit of processes (`ulimit -u`, TasksMax of systemd, pids.max)";
        io::Error::new(error.kind(), format!("cannot start its threads: {error}; {hint}"))
    })?;
    Ok(Who::AppThreads(Box::new(started)))
}

/// Makes the process known as this worker: in the process list, in the log and to who asks it for
/// its stacks.
fn register(py: Python<'_>, spec: &WorkerSpec<'_>) -> Result<(), BootError> {
    count_lost(spec.scoreboard, spec.cell);
    let role = if spec.spare { "spare" } else { "worker" };
    let title = format!("rcorn: {role} [{}]", spec.start.settings.process_name());
    sys::process::set_title(&title);
    sys::fork::mark_forks()?;
    keep_private(&spec.reports);
    stack_dump::register(py, spec.stack_dump)?;
    log::info(format_args!("Booting worker with pid: {}", pid()));
    Ok(())
}

/// Installs the handlers of the worker's orders. From now on the app must not close the
/// `listeners`.
fn take_orders(
    py: Python<'_>,
    spec: &WorkerSpec<'_>,
    listeners: &[Listener],
) -> Result<Orders, BootError> {
    let sockets = listeners.iter().map(|listener| {
        keep_private(&listener.socket);
        listener.socket
    });
    let sockets = sockets.collect();
    let abort = abort_order(py, spec)?;
    let arbiter = spec.start.arbiter;
    let serving = match spec.start.settings.threads {
        0 | 1 => Serving::MainThread,
        _ => Serving::AppThreads,
    };
    let limits = OrphanLimits {
        graceful: spec.start.settings.graceful_timeout.duration(),
        abort: spec.start.settings.abort_timeout.duration(),
    };
    let abort_order = abort.as_ref();
    let orders =
        Orders::install_worker_handlers(py, serving, arbiter, sockets, limits, abort_order)?;
    if let Some(hooks) = spec.hooks.as_ref().filter(|_| abort.is_none()) {
        hooks.install_abort_handler(py)?;
    }
    Ok(orders)
}

/// What SIGABRT does: `None` with `abort_timeout: 0`.
fn abort_order<'py>(
    py: Python<'py>,
    spec: &WorkerSpec<'_>,
) -> Result<Option<AbortOrder<'py>>, BootError> {
    let settings = &spec.start.settings;
    if settings.abort_timeout.limit().is_none() {
        return Ok(None);
    }
    let hook = match &spec.hooks {
        Some(hooks) => hooks.abort_callback(py)?,
        None => py.None().into_bound(py),
    };
    Ok(Some(AbortOrder {
        cell: (spec.start.settings.threads <= 1)
            .then(|| spec.own_cell())
            .transpose()?,
        limit: settings.timeout.limit(),
        hook,
        may_survive: settings.survive_timeout,
    }))
}

/// The visible part of an interpreter's end: threads are joined, exit handlers run, standard
/// streams are flushed. The heap is not torn down, because the kernel frees it anyway.
pub fn leave(py: Python<'_>) {
    call_at_exit(py, "threading", "_shutdown");
    run_exit_functions(py);
}

/// The same, but no thread is waited for.
pub fn run_exit_functions(py: Python<'_>) {
    call_at_exit(py, "atexit", "_run_exitfuncs");
    flush_standard_streams(py, |error| warn_at_exit(py, error));
}

fn call_at_exit(py: Python<'_>, module: &str, function: &str) {
    let called = py
        .import(module)
        .and_then(|module| module.call_method0(function));
    if let Err(error) = called {
        warn_at_exit(py, &error);
    }
}

fn warn_at_exit(py: Python<'_>, error: &PyErr) {
    let text = traceback::format(py, error);
    log::warning(format_args!("while leaving: {text}"));
}
