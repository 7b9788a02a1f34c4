//! Configures Python's loggers by the settings, before the app is imported.

use pyo3::prelude::*;

use rcorn_link::{Failure, Start};
use rcorn_log as log;
use rcorn_python::traceback;

use super::hooks::Hooks;
use super::load_embedded;

/// The name of the module in `loggers.py`.
const MODULE: &str = "_rcorn_loggers";

/// Whether the settings shape Python's loggers.
pub fn are_shaped(start: &Start) -> bool {
    let settings = &start.settings;
    settings.logconfig.is_some()
        || settings.logconfig_json.is_some()
        || settings.logconfig_dict.is_some()
}

/// Configures them.
///
/// # Errors
///
/// The configuration is wrong; the log has the traceback.
pub fn shape(py: Python<'_>, start: &Start, hooks: Option<&Hooks>) -> Result<(), Failure> {
    if !are_shaped(start) {
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
        let module = load_embedded(py, MODULE, include_str!("loggers.py"))?;
        module.getattr("apply")?.call1((
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

/// A function that logs one request, given the fields of its line.
///
/// # Errors
///
/// [`shape`] was not called before.
pub fn access_logger<'py>(py: Python<'py>, format: &str) -> PyResult<Bound<'py, PyAny>> {
    let module = py.import(MODULE)?;
    module.getattr("access_logger")?.call1((format,))
}
