//! The boot of a template, from the start message to the report that it can fork. The order of the
//! steps matters; each says why.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::chdir;
use pyo3::prelude::*;
use pyo3::types::PyList;

use rcorn_app::develop;
use rcorn_app::hooks::{self, Hooks};
use rcorn_app::loggers;
use rcorn_link::{Failure, Report, Start, report};
use rcorn_log::{self as log, ErrorLogSettings};
use rcorn_python::{stack_dump, traceback};
use rcorn_scoreboard::{AllHeldLines, Samples, Scoreboard, Slots};
use rcorn_settings::{LogTarget, Preload, Settings};
use rcorn_sys::descriptor::{adopt, claim, keep_open};
use rcorn_types::{NEWEST_PYTHON, with_remedy};
use rcorn_worker::orders::ignore_in_template;
use rcorn_worker::{leave, make_types};

use super::about;
use super::app_state::AppState;
use super::captured_output;
use super::close_fds_in_children;
use super::identity::{check_library, drop_privileges};
use super::import;
use super::serve::serve;
use super::template::{Template, name_process};

/// Runs the template to its end; returns its exit code.
pub(super) fn run(py: Python<'_>, start: &'static Start) -> io::Result<i32> {
    // So that programs that a hook or the app starts do not inherit them.
    descriptors(start).try_for_each(claim)?;
    let reports = keep_open(start.reports)?;
    let samples = samples(start)?;
    start_log(start)?;
    captured_output::begin(py, start)?;
    let stack_dump = adopt(start.stack_dump)?;
    warn_of_unknown_python(py);
    let loaded = prepare(py, start, stack_dump.as_fd())
        .and_then(|config| load(py, start, config.as_deref(), reports));
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(failure) => return fail(py, start, failure, reports),
    };
    let mut scoreboard = Scoreboard::open(adopt(start.scoreboard)?.as_fd())?;
    if let Some(threads) = start.threads {
        scoreboard.add_slots(Slots::open(adopt(threads)?.as_fd())?);
    }
    if let Some(samples) = samples {
        scoreboard.add_samples(samples);
    }
    if let Some(number) = start.held_lines {
        let lines = AllHeldLines::open(adopt(number)?.as_fd())?;
        scoreboard.add_held_lines(Box::leak(Box::new(lines)));
    }
    let commands = adopt(start.commands)?;
    if let Some(hooks) = &loaded.1 {
        hooks.when_ready(py, start.reason);
    }
    // After all code of the app and of the user that runs before the first fork.
    let app_state = AppState::take()?;
    name_process(start);
    let generation = start.generation;
    let python = about::python(py).ok();
    report(reports, &Report::TemplateReady { generation, python })?;
    prepare_for_forks(py, &start.settings);
    let template = Template::new(
        py, start, app_state, scoreboard, reports, stack_dump, loaded,
    );
    Ok(serve(py, template, commands))
}

/// Makes what all processes that are forked from here need, while the arbiter orders the first one.
fn prepare_for_forks(py: Python<'_>, settings: &Settings) {
    make_types(py);
    // If it fails, the watch will say so.
    if settings.preload_app == Preload::Auto
        && let Err(error) = rcorn_evidence::prepare(py)
    {
        log::debug(format_args!("an import cannot be watched: {error}"));
    }
}

/// Warns if nobody has tried this build with a Python that is so new.
pub(super) fn warn_of_unknown_python(py: Python<'_>) {
    let version = py.import("sys").and_then(|sys| sys.getattr("version_info"));
    let major_minor = version.and_then(|version| {
        let part = |index: usize| version.get_item(index)?.extract::<u8>();
        Ok((part(0)?, part(1)?))
    });
    let newest = NEWEST_PYTHON;
    if let Ok((major, minor)) = major_minor
        && (major, minor) > newest
    {
        log::warning(format_args!(
            "Python {major}.{minor} is newer than this rcorn, which was tried with up to {}.{}; hint: look for a newer rcorn",
            newest.0, newest.1
        ));
    }
}

/// The descriptors that the start message names, without the standard streams.
fn descriptors(start: &Start) -> impl Iterator<Item = RawFd> + '_ {
    let logs = [start.error_log]
        .into_iter()
        .chain(start.access_log)
        .filter(|fd| *fd > 2)
        .chain(start.relay)
        .chain(start.samples)
        .chain(start.held_lines)
        .chain(start.output);
    let sockets = [
        start.scoreboard,
        start.commands,
        start.reports,
        start.stack_dump,
        start.handoff_queue.0,
        start.handoff_queue.1,
    ];
    let listeners = start.listeners.iter().map(|listener| listener.fd);
    listeners.chain(sockets).chain(start.threads).chain(logs)
}

/// Where requests and records of the log are noted for statsd, if they are.
fn samples(start: &Start) -> io::Result<Option<&'static Samples>> {
    let Some(number) = start.samples else {
        return Ok(None);
    };
    let samples = Samples::open(adopt(number)?.as_fd())?;
    let samples: &'static Samples = Box::leak(Box::new(samples));
    log::count_logged(|kind| samples.note_logged(kind.number()));
    Ok(Some(samples))
}

fn start_log(start: &Start) -> io::Result<()> {
    let settings = &start.settings;
    log::set_generation(start.generation);
    let error_log = ErrorLogSettings::of(settings);
    log::init(adopt(start.error_log)?, &error_log, log::WORKER_PATIENCE)?;
    if let Some(fd) = start.access_log {
        let path = settings.accesslog.as_ref().and_then(LogTarget::path);
        log::init_access(adopt(fd)?, path, log::WORKER_PATIENCE)?;
    }
    if let Some(relay) = start.relay {
        log::init_relay(adopt(relay)?);
        log::set_syslog(log::Syslog::of(settings));
        if log::syslog_takes_access() {
            log::init_access_for_syslog();
        }
    }
    Ok(())
}

/// Does everything that precedes code of the user or of the app. Returns the text of the Python
/// config file.
fn prepare(
    py: Python<'_>,
    start: &Start,
    stack_dump: BorrowedFd<'_>,
) -> Result<Option<Vec<u8>>, Failure> {
    // The file is read with the privileges that rcorn was started with, and executed as the user.
    let config = hooks::source(&start.settings);
    let steps = || -> io::Result<()> {
        ignore_in_template()?;
        enter_working_directory(&start.settings)?;
        // If the import hangs, the arbiter can ask for the stacks.
        stack_dump::register(py, stack_dump).map_err(io::Error::other)?;
        drop_privileges(&start.settings)?;
        check_library(py, &start.settings)?;
        // A change of the user clears it.
        set_pdeathsig(Signal::SIGKILL)?;
        prepare_sys(py, start).map_err(io::Error::other)?;
        close_fds_in_children::begin(start, Some(start.commands));
        close_fds_in_children::register(py).map_err(io::Error::other)
    };
    steps().map(|()| config).map_err(|error| {
        log::error(format_args!(
            "the template cannot be set up: {}",
            with_remedy(&error)
        ));
        Failure {
            code: 1,
            summary: with_remedy(&error),
        }
    })
}

/// Loads the config file's functions, the loggers, and the app if `preload_app` is on.
fn load(
    py: Python<'_>,
    start: &Start,
    config: Option<&[u8]>,
    reports: BorrowedFd<'_>,
) -> Result<(Option<Py<PyAny>>, Option<Hooks>), Failure> {
    let hooks = load_hooks(py, start, config, false)?;
    let app = import::preload(py, start, reports)?;
    Ok((app, hooks))
}

/// Loads the config file's functions and the loggers, before anything of the app. `is_check`:
/// nothing is started.
pub(super) fn load_hooks(
    py: Python<'_>,
    start: &Start,
    config: Option<&[u8]>,
    is_check: bool,
) -> Result<Option<Hooks>, Failure> {
    loggers::install(py, start).map_err(|error| {
        let summary = format!("loggers: {}", traceback::summary(py, &error));
        log::error(format_args!("{}", traceback::format(py, &error)));
        Failure { code: 1, summary }
    })?;
    let hooks = Hooks::load(py, start, config)?;
    loggers::configure(py, start, hooks.as_ref())?;
    if let Some(hooks) = &hooks {
        hooks.on_starting(py, start.reason, is_check)?;
    }
    Ok(hooks)
}

/// Reports the failure to the arbiter, and leaves; returns the exit code.
fn fail(
    py: Python<'_>,
    start: &Start,
    failure: Failure,
    reports: BorrowedFd<'_>,
) -> io::Result<i32> {
    let code = failure.code;
    let generation = start.generation;
    report(
        reports,
        &Report::TemplateFailed {
            generation,
            failure,
        },
    )?;
    leave(py);
    Ok(code)
}

/// Changes to the directory and umask of the settings. This precedes the drop of privileges, which
/// the directory may need.
pub(super) fn enter_working_directory(settings: &Settings) -> io::Result<()> {
    chdir(&settings.chdir)?;
    umask(Mode::from_bits_truncate(settings.umask.bits()));
    Ok(())
}

/// Sets `sys.path` and `sys.argv` as under gunicorn: the working directory comes first, and the
/// arguments are the command line of the server.
pub(super) fn prepare_sys(py: Python<'_>, start: &Start) -> PyResult<()> {
    let sys = py.import("sys")?;
    let path = sys.getattr("path")?.cast_into::<PyList>()?;
    // `python -c` puts an empty string first (unless PYTHONSAFEPATH): whatever directory is current
    // at an import. The working directory is named instead.
    let first = path.get_item(0).and_then(|first| first.extract::<String>());
    if first.is_ok_and(|first| first.is_empty()) {
        path.del_item(0)?;
    }
    let settings = &start.settings;
    let directories = std::iter::once(&settings.chdir).chain(&settings.pythonpath);
    for (place, directory) in directories.enumerate() {
        path.insert(place, directory.to_string_lossy())?;
    }
    sys.setattr("argv", PyList::new(py, &start.argv)?)?;
    if settings.reload {
        develop::prepare(py)?;
    }
    Ok(())
}
