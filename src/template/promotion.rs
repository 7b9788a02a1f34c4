//! A process that imports the app, and becomes the template if what the import did may be shared.
//! If not, it continues as the worker that it was forked as, so the import is not wasted.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use pyo3::prelude::*;

use rcorn_app::hooks::Hooks;
use rcorn_evidence::AfterImport;
use rcorn_link::{Failure, Report, report};
use rcorn_log as log;
use rcorn_python::fork::pid;
use rcorn_python::stack_dump;
use rcorn_settings::Settings;
use rcorn_sys::fork::count_threads;
use rcorn_sys::procfs::children;
use rcorn_worker::adoption;
use rcorn_worker::orders::{ignore_in_template, install_import_handlers};

use super::app_state::AppState;
use super::close_fds_in_children;
use super::import::WatchedImport;
use super::template::{Newborn, Template};

/// Hooks that gunicorn calls before the import of the app, once for each worker. With one import
/// for all workers they would run at another time, or once too often.
const HOOKS_BEFORE_IMPORT: [&str; 2] = ["pre_fork", "post_fork"];

/// A worker whose import is its own.
pub(super) struct Unshared {
    /// What forked it.
    pub(super) template: Template,
    /// What it was forked as.
    pub(super) newborn: Newborn,
    /// The app, if it was imported.
    pub(super) app: Result<Option<Py<PyAny>>, Failure>,
}

/// What the process is to be.
pub(super) enum Promotion {
    /// It is a template now, and takes orders from this socket.
    Promoted(Box<Template>, OwnedFd),
    /// A worker.
    Worker(Box<Unshared>),
    /// Nothing: the arbiter is gone.
    Orphan,
}

/// Imports the app, and decides: the template of this generation, or a worker.
pub(super) fn promote(
    py: Python<'_>,
    template: Template,
    newborn: Newborn,
) -> io::Result<Promotion> {
    // The arbiter takes no report from a process that is not its child yet.
    if !adoption::wait(template.start.arbiter)? {
        return Ok(Promotion::Orphan);
    }
    if !newborn.against.is_empty() {
        // This is known before the import, so the others need not wait for it.
        tell_not_promoted(&template, &newborn, newborn.against.clone())?;
        return Ok(unshared(template, newborn, Ok(None)));
    }
    begin(py, &template)?;
    let imported = WatchedImport::run(py, template.start, template.reports);
    let app = match imported {
        Ok(imported) if imported.found.is_empty() => match imported.share(py) {
            Ok((app, after)) => return become_template(py, template, &newborn, app, after),
            Err(failure) => Err(failure),
        },
        Ok(imported) => {
            tell_not_promoted(&template, &newborn, imported.found.clone())?;
            imported.keep().map(Some)
        }
        Err(failure) => Err(failure),
    };
    Ok(unshared(template, newborn, app))
}

fn unshared(
    template: Template,
    newborn: Newborn,
    app: Result<Option<Py<PyAny>>, Failure>,
) -> Promotion {
    Promotion::Worker(Box::new(Unshared {
        template,
        newborn,
        app,
    }))
}

/// Prepares the process for the import, like a worker.
fn begin(py: Python<'_>, template: &Template) -> io::Result<()> {
    close_fds_in_children::begin(template.start, None);
    // If the import hangs, the arbiter can ask for the stacks.
    stack_dump::register(py, template.stack_dump.as_fd()).map_err(io::Error::other)?;
    install_import_handlers()
}

/// What speaks against one import for all workers before it begins: certain hooks of the config
/// file, and what hooks have left in this template, which exits when a worker is promoted.
pub(super) fn against_sharing(py: Python<'_>, hooks: &Hooks) -> Vec<String> {
    let mut against = Vec::new();
    match hooks.present(py, &HOOKS_BEFORE_IMPORT) {
        Ok(present) => against.extend(
            present
                .into_iter()
                .map(|hook| format!("the config file has {hook}, which runs before the import")),
        ),
        Err(error) => against.push(format!("the config file's hooks cannot be read: {error}")),
    }
    match hooks.have_exit_functions(py) {
        Ok(false) => {}
        Ok(true) => against.push("the config file registers a function for the exit".to_owned()),
        Err(error) => against.push(format!("the functions for the exit are unknown: {error}")),
    }
    match count_threads() {
        Ok(..=1) => {}
        Ok(_) => against.push("a hook of the config file has started a thread".to_owned()),
        Err(error) => against.push(format!("the template's threads cannot be counted: {error}")),
    }
    match children() {
        Ok(children) if children.is_empty() => {}
        Ok(_) => against.push("a hook of the config file has started a process".to_owned()),
        Err(error) => against.push(format!("the template's children cannot be seen: {error}")),
    }
    against
}

fn tell_not_promoted(template: &Template, newborn: &Newborn, found: Vec<String>) -> io::Result<()> {
    for finding in &found {
        log::info(format_args!("Not preloading: {finding}"));
    }
    let told = Report::NotPromoted {
        id: newborn.id,
        pid: pid(),
        found,
    };
    report(template.reports, &told)
}

/// Logs that there are no spare workers, though the settings want some.
pub(super) fn tell_no_spares(settings: &Settings) {
    if settings.spare_workers > 0 {
        log::info(format_args!(
            "No spare workers: the import is shared, and a worker is forked as quickly"
        ));
    }
}

/// From now on this process forks workers, which have the app already.
fn become_template(
    py: Python<'_>,
    mut template: Template,
    newborn: &Newborn,
    app: Py<PyAny>,
    after: AfterImport,
) -> io::Result<Promotion> {
    tell_no_spares(&template.start.settings);
    ignore_in_template()?;
    template.app_state = AppState::take()?;
    set_pdeathsig(Signal::SIGKILL)?;
    template.app = Some(app);
    template.runs_exit_functions = false;
    Ok(match template.take_place(py, newborn, Some(after))? {
        Some((template, commands)) => Promotion::Promoted(Box::new(template), commands),
        None => Promotion::Orphan,
    })
}
