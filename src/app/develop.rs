//! `--reload` in a process that imports the app: it ignores stale bytecode (`develop.py`), reports
//! to the arbiter which directories to watch, and replaces an app that cannot be imported by one
//! that shows the error.

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
/// How many directories one report names: it must fit into a datagram.
const DIRECTORIES_PER_REPORT: usize = 8;
/// The longest path in a report.
const MAX_PATH_BYTES: usize = 1024;

/// Makes imports ignore stale bytecode. Called before the app is imported.
///
/// # Errors
///
/// Those of Python.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let develop = load_embedded(py, MODULE, include_str!("develop.py"))?;
    develop.call_method0("distrust_bytecode")?;
    Ok(())
}

/// Reports to the arbiter the directories from which the app was imported, and those of the files
/// in the traceback of `error`, which ended the import.
pub fn report_directories(py: Python<'_>, error: Option<&PyErr>, reports: BorrowedFd<'_>) {
    let find = || -> PyResult<Vec<(String, bool)>> {
        let develop = py.import(MODULE)?;
        let error = error.map(|error| error.value(py));
        develop.call_method1("directories", (error,))?.extract()
    };
    let directories: Vec<CodeDirectory> = match find() {
        Ok(directories) => directories
            .into_iter()
            .filter(|(path, _)| path.len() <= MAX_PATH_BYTES)
            .map(|(path, is_recursive)| CodeDirectory {
                path: path.into(),
                is_recursive,
            })
            .collect(),
        Err(error) => {
            return log::warning(format_args!(
                "Cannot find out which files to watch: {error}"
            ));
        }
    };
    for directories in directories.chunks(DIRECTORIES_PER_REPORT) {
        let directories = directories.to_vec();
        if let Err(error) = report(reports, &Report::Imported { directories }) {
            log::warning(format_args!(
                "Cannot find out which files to watch: {error}"
            ));
        }
    }
}

/// An app that answers every request with status 500 and this text.
///
/// # Errors
///
/// Python is out of memory.
pub fn stand_in<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    let body = PyBytes::new(py, format!("{text}\n").as_bytes());
    bind_builtin::<StandIn>(body.as_any())
}

/// The function `app(environ, start_response)` of [`stand_in`]. It is bound to the response body.
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
