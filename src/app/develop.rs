//! `--reload` in a process that loads the app: no stale bytecode (`develop.py`), a word to the arbiter about where
//! the app was loaded from, and a stand-in that shows why an app could not be.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use rcorn_link::{CodeDirectory, Report, report};
use rcorn_log as log;
use rcorn_python::{Arguments, Builtin, bind_builtin};

const CODE: &str = concat!(include_str!("develop.py"), "\0");
const NAME: &CStr = c"_rcorn_develop";
/// Places in one report, and the longest path in it: it must fit into a datagram.
const AT_ONCE: usize = 8;
const LONGEST_PATH: usize = 1024;

/// Before the app is imported.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let code = CStr::from_bytes_with_nul(CODE.as_bytes())
        .map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))?;
    // It stays in `sys.modules`, where `tell_places` and the workers find it.
    let develop = PyModule::from_code(py, code, c"<rcorn>", NAME)?;
    develop.call_method0("distrust_bytecode")?;
    Ok(())
}

/// Tells the arbiter from where the app was loaded, or by which files it could not be.
pub fn tell_places(py: Python<'_>, error: Option<&PyErr>, reports: BorrowedFd<'_>) {
    let places = || -> PyResult<Vec<(String, bool)>> {
        let develop = py.import(NAME.to_str().unwrap_or_default())?;
        let error = error.map(|error| error.value(py));
        develop.call_method1("places", (error,))?.extract()
    };
    let places: Vec<CodeDirectory> = match places() {
        Ok(places) => places
            .into_iter()
            .filter(|(path, _)| path.len() <= LONGEST_PATH)
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
    for places in places.chunks(AT_ONCE) {
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
