//! `--reload` in a process that loads the app: no stale bytecode (`develop.py`), a word to the
//! arbiter about where the app was loaded from, and a stand-in that shows why an app could not be.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use rcorn_link::{CodeDirectory, Report, report};
use rcorn_log as log;
use rcorn_python::{Arguments, Builtin, bind_builtin};

use super::load_embedded;

/// The name of the module in `develop.py`.
const MODULE: &str = "_rcorn_develop";
/// Places in one report, and the longest path in it, in bytes: it must fit into a datagram.
const PLACES_PER_REPORT: usize = 8;
const MAX_PATH_BYTES: usize = 1024;

/// Before the app is imported: no stale bytecode.
///
/// # Errors
///
/// Those of Python.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let develop = load_embedded(py, MODULE, include_str!("develop.py"))?;
    develop.call_method0("distrust_bytecode")?;
    Ok(())
}

/// Tells the arbiter from where the app was loaded, or by which files it could not be.
pub fn tell_places(py: Python<'_>, error: Option<&PyErr>, reports: BorrowedFd<'_>) {
    let places = || -> PyResult<Vec<(String, bool)>> {
        let develop = py.import(MODULE)?;
        let error = error.map(|error| error.value(py));
        develop.call_method1("places", (error,))?.extract()
    };
    let places: Vec<CodeDirectory> = match places() {
        Ok(places) => places
            .into_iter()
            .filter(|(path, _)| path.len() <= MAX_PATH_BYTES)
            .map(|(path, is_recursive)| CodeDirectory {
                path: path.into(),
                is_recursive,
            })
            .collect(),
        Err(error) => {
            return log::warning(format_args!(
                "cannot tell what the app consists of: {error}"
            ));
        }
    };
    for places in places.chunks(PLACES_PER_REPORT) {
        let places = places.to_vec();
        if let Err(error) = report(
            reports,
            &Report::Imported {
                directories: places,
            },
        ) {
            log::warning(format_args!(
                "cannot tell what the app consists of: {error}"
            ));
        }
    }
}

/// An app that answers everything with this text.
pub fn stand_in<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    let body = PyBytes::new(py, format!("{text}\n").as_bytes());
    bind_builtin::<StandIn>(body.as_any())
}

/// `app(environ, start_response)`, bound to the body.
struct StandIn;

impl Builtin for StandIn {
    const NAME: &'static CStr = c"app";

    fn call<'py>(
        this: &Bound<'py, PyAny>,
        arguments: &Arguments<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = this.py();
        let start_response = arguments.get(1, "start_response")?;
        let start_response = start_response.ok_or_else(|| {
            pyo3::exceptions::PyTypeError::new_err("an app is called with start_response")
        })?;
        let headers = [
            ("Content-Type", "text/plain; charset=utf-8".to_owned()),
            ("Content-Length", this.len()?.to_string()),
        ];
        start_response.call1(("500 Internal Server Error", Vec::from(headers)))?;
        Ok(PyTuple::new(py, [this])?.into_any())
    }
}
