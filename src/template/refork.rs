//! A worker that has served, and becomes the template of its generation: what requests have loaded
//! and cached is then shared by all workers that are forked from it. Only if it looks as its
//! template did: what it has opened since belongs to it alone. If not, it exits, as a worker that
//! was replaced.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use pyo3::prelude::*;

use rcorn_link::{Report, report};
use rcorn_log as log;
use rcorn_python::fork::pid;
use rcorn_settings::Preload;
use rcorn_sys::clock;
use rcorn_sys::fork::count_threads;
use rcorn_worker::leave;

use super::app_state::AppState;
use super::captured_output;
use super::import::{collect, ready_for_forks};
use super::template::{Newborn, Template};

/// How long a thread may be seen after its end.
const MAX_THREAD_END: Duration = Duration::from_millis(100);

/// Becomes the template; returned with the socket from which it takes orders. `None`: the process
/// exits. `changed`: the signals whose effect the app has changed since it began to serve.
pub(super) fn refork(
    py: Python<'_>,
    mut template: Template,
    newborn: &Newborn,
    changed: &[Signal],
) -> io::Result<Option<(Template, OwnedFd)>> {
    if let Err(failure) = collect(py).and_then(|()| ready_for_forks(py)) {
        refuse(py, &template, newborn, vec![failure.summary])?;
        return Ok(None);
    }
    set_pdeathsig(Signal::SIGKILL)?;
    let state = AppState::take()?;
    let mut against: Vec<String> = changed
        .iter()
        .map(|signal| format!("serving changed what {signal} does"))
        .collect();
    if state.is_subreaper() != template.app_state.is_subreaper() {
        against.push("serving changed who adopts orphans".to_owned());
    }
    against.extend(left(py, &template));
    if !against.is_empty() {
        refuse(py, &template, newborn, against)?;
        return Ok(None);
    }
    template.app_state = state;
    // It has served: what is registered runs once in each process that has.
    template.runs_exit_functions = true;
    template.take_place(py, newborn, None)
}

/// What serving has left.
fn left(py: Python<'_>, template: &Template) -> Vec<String> {
    let Some(baseline) = &template.baseline else {
        return vec!["the app's import is not shared".to_owned()];
    };
    let until = clock::now().after(MAX_THREAD_END);
    while count_threads().is_ok_and(|threads| threads > 1) && clock::now() < until {
        std::thread::yield_now();
    }
    let settings = &template.start.settings;
    let mut own = captured_output::numbers();
    own.push(template.stack_dump.as_raw_fd());
    let reseeds_numpy = settings.preload_app == Preload::On;
    baseline.left_by_serving(py, settings, &own, reseeds_numpy)
}

/// Tells the arbiter why, and exits as a worker does.
fn refuse(
    py: Python<'_>,
    template: &Template,
    newborn: &Newborn,
    found: Vec<String>,
) -> io::Result<()> {
    let told = Report::NotReforked {
        id: newborn.id,
        pid: pid(),
        found,
    };
    report(template.reports, &told)?;
    log::info(format_args!("Worker exiting (pid: {})", pid()));
    leave(py);
    Ok(())
}
