//! Python's loggers `gunicorn.error` and `gunicorn.access`, and the configuration of all loggers by
//! the settings. Done before the configuration file and the app run.
//!
//! The logger `gunicorn.error` writes into rcorn's error log. Lines of the access log are written
//! by rcorn itself, unless somebody has changed something about the logger `gunicorn.access`: then
//! each line is a record of that logger.

use std::sync::atomic::{AtomicU8, Ordering};

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyString, PyTuple};

use rcorn_link::{Failure, Start};
use rcorn_log::{self as log, ErrorLogSettings, Logged};
use rcorn_python::modules::loaded;
use rcorn_python::traceback;
use rcorn_settings::{ConfigFile, Level};

use super::hooks::Hooks;
use super::load_embedded;
use super::when_imported::when_imported;

/// The name of the module in `loggers.py`.
const MODULE: &str = "_rcorn_loggers";
/// The name of the `Loggers` in it.
const LOGGERS: &str = "loggers";

/// Whether lines of the access log go through Python: one of the following. Written whenever
/// somebody changes something about `gunicorn.access`, and read for each line.
static ACCESS: AtomicU8 = AtomicU8::new(DIRECT);
/// They do not.
const DIRECT: u8 = 0;
/// They do.
const BY_PYTHON: u8 = 1;
/// Something has changed since the last line.
const CHANGED: u8 = 2;

/// Writes a record of `gunicorn.error`, with its line end.
#[pyfunction]
fn write_error(text: &Bound<'_, PyString>) {
    log::raw(text.to_string_lossy().as_bytes());
}

/// Writes a record of a logger as JSON. `number`: its level, as Python counts.
#[pyfunction]
fn write_record(number: i64, logger: &str, text: &Bound<'_, PyString>) {
    log::python_record(
        level_of(number),
        logger,
        format_args!("{}", text.to_string_lossy()),
    );
}

/// Sends a record of `gunicorn.error` to syslog, if the settings say so. `number`: its level, as
/// Python counts.
#[pyfunction]
fn send_error(number: i64, text: &Bound<'_, PyString>) {
    log::syslog_text(level_of(number), format_args!("{}", text.to_string_lossy()));
}

/// Counts a record for statsd, as gunicorn's `Logger` does: `critical`, `error`, `warning` or
/// `exception`.
#[pyfunction]
pub(super) fn count_record(name: &str) {
    if let Some(kind) = Logged::ALL.into_iter().find(|kind| kind.name() == name) {
        log::note_logged(kind);
    }
}

/// Sends a line of statsd, without prefix and tags.
#[pyfunction]
pub(super) fn send_metric(line: &str) {
    log::metric(line);
}

/// The level of a record of Python.
fn level_of(number: i64) -> Level {
    let reached = |level: &Level| i64::from(level.python_number()) <= number;
    let level = Level::ALL.into_iter().rev().find(reached);
    level.unwrap_or(Level::Debug)
}

/// Writes a line of `gunicorn.access`, with its line end.
#[pyfunction]
fn write_access(text: &Bound<'_, PyString>) {
    if let Some(access) = log::access_log() {
        access.write(&mut text.to_string_lossy().into_owned().into_bytes(), None);
    }
}

/// Somebody has changed something about `gunicorn.access`.
#[pyfunction]
fn access_changed() {
    ACCESS.store(CHANGED, Ordering::Relaxed);
}

/// Whether the settings configure Python's loggers.
pub fn are_configured(start: &Start) -> bool {
    let settings = &start.settings;
    settings.logconfig.is_some()
        || settings.logconfig_json.is_some()
        || settings.logconfig_dict.is_some()
}

/// Sets up `gunicorn.error` and `gunicorn.access`, as soon as the module `logging` is imported. An
/// app that does not log does not pay for it.
///
/// # Errors
///
/// Those of Python.
pub fn install(py: Python<'_>, start: &Start) -> PyResult<()> {
    let level = start.settings.loglevel;
    let form = ErrorLogSettings::of(&start.settings).form;
    let is_for_python = form.is_for_python() || log::is_journal();
    let sends_errors = start.settings.syslog;
    let has_access_log = log::access_log().is_some();
    let then = move |arguments: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
        set_up(
            arguments.py(),
            level,
            is_for_python,
            sends_errors,
            has_access_log,
        )
    };
    let then = PyCFunction::new_closure(py, None, None, then)?;
    let config = start.settings.config.as_ref();
    if config.is_some_and(|config| !matches!(config, ConfigFile::Yaml(_))) {
        // Hooks log, and their module needs that of the loggers.
        py.import("logging")?;
    }
    when_imported(py, "logging", then.into_any())
}

fn set_up(
    py: Python<'_>,
    level: Level,
    is_for_python: bool,
    sends_errors: bool,
    has_access_log: bool,
) -> PyResult<()> {
    let send_error: Bound<'_, PyCFunction> = wrap_pyfunction!(send_error, py)?;
    let count_record: Bound<'_, PyCFunction> = wrap_pyfunction!(count_record, py)?;
    let send_metric: Bound<'_, PyCFunction> = wrap_pyfunction!(send_metric, py)?;
    let write_error: Bound<'_, PyCFunction> = wrap_pyfunction!(write_error, py)?;
    let write_record: Bound<'_, PyCFunction> = wrap_pyfunction!(write_record, py)?;
    let write_access: Bound<'_, PyCFunction> = wrap_pyfunction!(write_access, py)?;
    let changed: Bound<'_, PyCFunction> = wrap_pyfunction!(access_changed, py)?;
    let module = module(py)?;
    let loggers = module.getattr("Loggers")?.call1((
        level.name(),
        write_error,
        is_for_python.then_some(write_record),
        (sends_errors && !is_for_python).then_some(send_error),
        write_access,
        has_access_log,
        changed,
    ))?;
    module.setattr(LOGGERS, &loggers)?;
    module.setattr("count_record", count_record)?;
    module.setattr("send_metric", send_metric)?;
    loggers.call_method0("set_up")?;
    Ok(())
}

/// The module in `loggers.py`, loaded if it is not.
///
/// # Errors
///
/// Those of Python.
fn module(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    match loaded(py, MODULE) {
        Some(module) => Ok(module.cast_into()?),
        None => load_embedded(py, MODULE, include_str!("loggers.py")),
    }
}

/// Configures the loggers as the settings say.
///
/// # Errors
///
/// The configuration is wrong. The log has the traceback.
pub fn configure(py: Python<'_>, start: &Start, hooks: Option<&Hooks>) -> Result<(), Failure> {
    if !are_configured(start) {
        return Ok(());
    }
    let settings = &start.settings;
    let apply = || -> PyResult<()> {
        let mapping = match &settings.logconfig_dict {
            None => None,
            Some(mapping) => match (mapping.json(), hooks) {
                (_, Some(hooks)) => Some(hooks.logconfig_dict(py)?),
                (Some(json), None) => Some(py.import("json")?.call_method1("loads", (json,))?),
                (None, None) => None,
            },
        };
        let path = |path: &Option<std::path::PathBuf>| {
            path.as_ref()
                .map(|path| path.to_string_lossy().into_owned())
        };
        module(py)?.getattr("configure")?.call1((
            mapping,
            path(&settings.logconfig_json),
            path(&settings.logconfig),
        ))?;
        Ok(())
    };
    apply().map_err(|error| {
        log::error(format_args!(
            "The loggers cannot be configured\n{}",
            traceback::format(py, &error)
        ));
        Failure {
            code: 1,
            summary: format!("logconfig: {}", traceback::summary(py, &error)),
        }
    })
}

/// Whether the next line of the access log must be a record of `gunicorn.access`. Without a change
/// since the last line this is one load.
#[inline]
pub fn access_needs_python(py: Python<'_>) -> bool {
    match ACCESS.load(Ordering::Relaxed) {
        DIRECT => false,
        BY_PYTHON => true,
        _ => decide(py),
    }
}

/// The same where nobody may ask Python: also if it must be asked first.
#[must_use]
pub fn access_may_need_python() -> bool {
    ACCESS.load(Ordering::Relaxed) != DIRECT
}

#[cold]
fn decide(py: Python<'_>) -> bool {
    // First: what changes meanwhile, in another thread, is looked at for the next line.
    ACCESS.store(DIRECT, Ordering::Relaxed);
    let asked = module(py)
        .and_then(|module| module.getattr(LOGGERS)?.call_method0("needs_python"))
        .and_then(|needs| needs.extract());
    let needs = asked.unwrap_or_else(|error: PyErr| {
        log::error(format_args!(
            "Cannot look at the logger gunicorn.access\n{}",
            traceback::format(py, &error)
        ));
        false
    });
    if needs {
        let unchanged = Ordering::Relaxed;
        ACCESS
            .compare_exchange(DIRECT, BY_PYTHON, unchanged, unchanged)
            .ok();
    }
    needs
}

/// Opens the files of all `FileHandler`s again, for log rotation.
pub fn reopen_files(py: Python<'_>) {
    // Otherwise nobody has imported `logging`.
    let reopened = loaded(py, MODULE).map(|module| module.call_method0("reopen_files"));
    if let Some(Err(error)) = reopened {
        log::error(format_args!(
            "Cannot reopen the files of Python's loggers\n{}",
            traceback::format(py, &error)
        ));
    }
}

/// A function that makes a record of `gunicorn.access`, given the atoms of a request.
///
/// # Errors
///
/// Those of Python.
pub fn access_logger<'py>(py: Python<'py>, format: &str) -> PyResult<Bound<'py, PyAny>> {
    module(py)?.getattr("access_logger")?.call1((format,))
}
