//! The import of the app, and what the log says when it fails.

use std::os::fd::BorrowedFd;

use pyo3::exceptions::PyModuleNotFoundError;
use pyo3::prelude::*;

use rcorn_link::Failure;
use rcorn_log as log;
use rcorn_python::fork::pid;
use rcorn_python::streams::flush_standard_streams;
use rcorn_settings::Settings;
use rcorn_sys::exit_now;

use super::closed_directories::log_closed;
use super::develop;
use super::gil::GilBefore;
use super::load::{LoadError, load};

/// Imports the app. With `reload` an app that cannot be imported is replaced by one that shows the
/// error, until the next reload.
///
/// # Errors
///
/// The app cannot be imported; the log has the reason.
pub fn import<'py>(
    py: Python<'py>,
    settings: &Settings,
    reports: BorrowedFd<'_>,
) -> Result<Bound<'py, PyAny>, Failure> {
    let Some(app) = &settings.wsgi_app else {
        return Err(Failure {
            code: 4,
            summary: "No application module specified.".to_owned(),
        });
    };
    let importer = pid();
    let before = GilBefore::look(py);
    let loaded = load(py, app);
    if pid() != importer {
        // A process that the import forked has come back from it: it serves nobody.
        flush_standard_streams(py, |_error| {});
        exit_now(i32::from(loaded.is_err()));
    }
    if settings.reload {
        let error = loaded.as_ref().err().and_then(LoadError::raised);
        develop::report_directories(py, error, reports);
    }
    let error = match loaded {
        Ok(app) => {
            before.compare(py);
            return Ok(app);
        }
        Err(error) => error,
    };
    match &error {
        LoadError::Raised {
            traceback, error, ..
        } => {
            log::exception(
                None,
                format_args!("Exception in worker process\n{traceback}"),
            );
            log_closed(py, error);
            log_missing_gunicorn(py, error);
        }
        LoadError::NoAttribute { .. } | LoadError::NotCallable { .. } => {
            log::error(format_args!("{error}"));
        }
    }
    if settings.reload
        && let Ok(stand_in) = develop::stand_in(py, &error.to_string())
    {
        return Ok(stand_in);
    }
    Err(Failure {
        code: error.code(),
        summary: error.summary(),
    })
}

/// After an import that failed: says what to do if the app imports gunicorn, and there is none.
fn log_missing_gunicorn(py: Python<'_>, error: &PyErr) {
    if !error.is_instance_of::<PyModuleNotFoundError>(py) {
        return;
    }
    let name = error.value(py).getattr("name");
    let name = name.and_then(|name| name.extract::<String>());
    if name.is_ok_and(|name| name == "gunicorn" || name.starts_with("gunicorn.")) {
        log::error(format_args!(
            "rcorn does not need gunicorn, but the app imports it; hint: take out the import, or install gunicorn for this Python (rcorn does not start it)"
        ));
    }
}
