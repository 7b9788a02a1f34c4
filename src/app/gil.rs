//! Tells of modules of the app that turn the GIL on again, in an interpreter that was started
//! without it.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use rcorn_log as log;
use rcorn_python::modules::loaded;
use rcorn_python::thread::has_gil;

/// Whether there is a GIL before the import.
#[derive(Clone, Copy, Debug)]
pub(super) struct GilBefore(bool);

impl GilBefore {
    pub(super) fn look(py: Python<'_>) -> Self {
        Self(has_gil(py))
    }

    /// Says it if there is one now, and was none before. To be called after the import.
    pub(super) fn compare(self, py: Python<'_>) {
        if self.0 || !has_gil(py) {
            return;
        }
        let module = culprit(py);
        let module = module.as_deref().unwrap_or("a module of the app");
        log::warning(format_args!(
            "{module} has turned the GIL on again, so threads of a worker run Python one at a time; hint: look for a release of it that supports free-threaded Python, or set PYTHON_GIL=0 if it is known to be safe without the GIL"
        ));
    }
}

/// The module that CPython has warned of. It keeps what it has warned of in the import system,
/// unless a filter of warnings ignores it.
fn culprit(py: Python<'_>) -> Option<String> {
    let warned = loaded(py, "_frozen_importlib")?.getattr("__warningregistry__");
    let warned = warned.ok()?.cast_into::<PyDict>().ok()?;
    warned.keys().iter().find_map(|warning| {
        let text: String = warning.get_item(0).ok()?.extract().ok()?;
        let (_, named) = text.split_once("(GIL) has been enabled to load module '")?;
        named.split_once('\'').map(|(name, _)| name.to_owned())
    })
}
