//! Directories that the user of this process may not enter. Python says of a module below one only
//! that it does not exist.

use std::path::PathBuf;

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

use rcorn_log as log;
use rcorn_sys::user::first_closed;

/// After an import that failed: names the directories of `sys.path` in which it could not look.
pub(crate) fn log_closed(py: Python<'_>, error: &PyErr) {
    if !error.is_instance_of::<PyImportError>(py) {
        return;
    }
    let path = py.import("sys").and_then(|sys| sys.getattr("path"));
    // The app may have put anything there.
    let Ok(path) = path.and_then(|path| path.extract::<Vec<Bound<'_, PyAny>>>()) else {
        return;
    };
    let folders = path.iter().filter_map(|one| one.extract::<PathBuf>().ok());
    for folder in folders.filter(|folder| folder.is_absolute()) {
        if let Some(closed) = first_closed(&folder) {
            let (folder, closed) = (folder.display(), closed.display());
            log::error(format_args!(
                "no module of {folder} can be found: the user of the workers may not enter {closed}; hint: chmod o+x {closed}"
            ));
        }
    }
}
