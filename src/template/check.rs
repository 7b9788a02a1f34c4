//! A check of the configuration: imports the app like a template, and does nothing else.

use std::io;
use std::os::fd::AsFd;

use pyo3::prelude::*;

use rcorn_app::hooks;
use rcorn_app::import::import;
use rcorn_evidence::ImportWatch;
use rcorn_link::{IMPORTED_EXIT_CODE, Start};
use rcorn_log::{self as log, ErrorLogSettings};
use rcorn_settings::{LogTarget, Preload, Settings};
use rcorn_sys::descriptor::duplicate;
use rcorn_sys::procfs::children;
use rcorn_worker::run_exit_functions;

use super::boot::{enter_working_directory, load_hooks, prepare_sys, warn_of_unknown_python};
use super::identity::{check_library, drop_privileges};
use super::leftover_children::{end_children, reap};
use super::promotion::{against_sharing, tell_no_spares};

/// Imports the app; returns the exit code. The log is standard error.
pub(super) fn run(py: Python<'_>, start: &Start) -> io::Result<i32> {
    // Nobody receives reports, and there are none, because `reload` is off.
    let nobody = duplicate(start.error_log)?;
    let log = ErrorLogSettings {
        target: LogTarget::Standard,
        ..ErrorLogSettings::of(&start.settings)
    };
    log::init(nobody.try_clone()?, &log, log::WORKER_PATIENCE)?;
    warn_of_unknown_python(py);
    let config = hooks::source(&start.settings);
    enter_working_directory(&start.settings)?;
    drop_privileges(&start.settings)?;
    check_library(py, &start.settings)?;
    prepare_sys(py, start).map_err(io::Error::other)?;
    let before = children();
    let checked = load_hooks(py, start, config.as_deref(), true).and_then(|hooks| {
        let preload = start.settings.preload_app;
        let hooks = hooks.filter(|_| preload == Preload::Auto);
        let mut against = hooks.map_or_else(Vec::new, |hooks| against_sharing(py, &hooks));
        let is_watched = preload != Preload::Off;
        let watch = is_watched.then(|| ImportWatch::begin(py, &start.settings));
        let app = import(py, &start.settings, nobody.as_fd())?;
        if let Some(watch) = watch {
            let (verdict, _after) = watch.end(py);
            against.extend(verdict.lines());
        }
        tell(&start.settings, &against);
        Ok(app)
    });
    // Without the list the new ones cannot be told apart.
    let ended = before.map(|before| end_children(py, &before));
    // What the import has made for its process is not to outlive it. Threads do not keep us.
    run_exit_functions(py);
    reap(&ended.unwrap_or_default());
    Ok(checked.map_or_else(|failure| failure.code, |_app| IMPORTED_EXIT_CODE))
}

/// Logs what speaks against sharing the import, and what follows, as the server does.
fn tell(settings: &Settings, against: &[String]) {
    for found in against {
        if settings.preload_app == Preload::On {
            log::warning(format_args!("Preloading as ordered, although {found}"));
        } else {
            log::info(format_args!("Not preloading: {found}"));
        }
    }
    if settings.preload_app == Preload::Auto && against.is_empty() {
        tell_no_spares(settings);
    }
}
