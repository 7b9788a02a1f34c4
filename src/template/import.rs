//! The import of the app in a template, or in a process that may become one.

use std::os::fd::BorrowedFd;

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use rcorn_app::import::import;
use rcorn_evidence::{AfterImport, ImportWatch};
use rcorn_link::{Failure, Start};
use rcorn_log as log;
use rcorn_settings::Preload;
use rcorn_sys::process::trim_heap;

/// Imports the app with `preload_app: on`, whatever the import does.
///
/// # Errors
///
/// The app cannot be loaded.
pub(super) fn preload(
    py: Python<'_>,
    start: &Start,
    reports: BorrowedFd<'_>,
) -> Result<Option<Py<PyAny>>, Failure> {
    if start.settings.preload_app != Preload::On {
        return Ok(None);
    }
    let imported = WatchedImport::run(py, start, reports)?;
    for found in &imported.found {
        log::warning(format_args!("Preloading as ordered, although {found}"));
    }
    // Nothing of it is known to do no harm.
    collect(py)?;
    let (app, _after) = imported.share(py)?;
    Ok(Some(app))
}

/// An app that was imported in this process, and what speaks against forking from it.
#[derive(Debug)]
pub(super) struct WatchedImport<'py> {
    app: Bound<'py, PyAny>,
    gc: PausedCollection<'py>,
    /// The findings as text for the log; empty if there are none.
    pub(super) found: Vec<String>,
    after: AfterImport,
}

impl<'py> WatchedImport<'py> {
    /// Imports the app.
    ///
    /// # Errors
    ///
    /// The app cannot be loaded; the log says why.
    pub(super) fn run(
        py: Python<'py>,
        start: &Start,
        reports: BorrowedFd<'_>,
    ) -> Result<Self, Failure> {
        let gc = PausedCollection::new(py).map_err(host_failure)?;
        let watch = ImportWatch::begin(py, &start.settings);
        let app = import(py, &start.settings, reports)?;
        let (verdict, after) = watch.end(py);
        let found = verdict.lines().collect();
        Ok(Self {
            app,
            gc,
            found,
            after,
        })
    }

    /// Prepares the process for forks. The garbage of the import is kept: to collect it would take
    /// as long as a tenth of the import, and leave holes that each worker fills for itself.
    ///
    /// # Errors
    ///
    /// Those of Python's module `gc`.
    pub(super) fn share(self, py: Python<'py>) -> Result<(Py<PyAny>, AfterImport), Failure> {
        self.gc.resume().map_err(host_failure)?;
        ready_for_forks(py)?;
        Ok((self.app.unbind(), self.after))
    }

    /// Keeps the app in this process alone.
    ///
    /// # Errors
    ///
    /// Those of Python's module `gc`.
    pub(super) fn keep(self) -> Result<Py<PyAny>, Failure> {
        self.gc.resume().map_err(host_failure)?;
        Ok(self.app.unbind())
    }
}

/// Gives the memory of this process the form in which forks share the most of it.
///
/// # Errors
///
/// Those of Python's module `gc`.
pub(super) fn ready_for_forks(py: Python<'_>) -> Result<(), Failure> {
    freeze(py).map_err(host_failure)?;
    trim_heap();
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn host_failure(error: PyErr) -> Failure {
    Failure {
        code: 1,
        summary: error.to_string(),
    }
}

/// Pauses garbage collection during an import, since most objects that an import makes stay.
#[derive(Debug)]
struct PausedCollection<'py> {
    gc: Bound<'py, PyModule>,
    threshold: Bound<'py, PyAny>,
}

impl<'py> PausedCollection<'py> {
    /// Sets a threshold of 0. Not `gc.disable()`: if the app disabled collection itself, that would
    /// be lost at the end.
    fn new(py: Python<'py>) -> PyResult<Self> {
        let gc = py.import("gc")?;
        let threshold = gc.call_method0("get_threshold")?;
        gc.call_method1("set_threshold", (0,))?;
        Ok(Self { gc, threshold })
    }

    /// Restores collection.
    fn resume(self) -> PyResult<()> {
        let Self { gc, threshold } = self;
        let (first, _, _): (i64, i64, i64) = gc.call_method0("get_threshold")?.extract()?;
        // Otherwise the app has set its own threshold.
        if first == 0 {
            gc.getattr("set_threshold")?
                .call1(threshold.cast_into::<PyTuple>()?)?;
        }
        Ok(())
    }
}

/// Collects garbage once, so that what it has is given back before the forks.
///
/// # Errors
///
/// Those of Python's module `gc`.
pub(super) fn collect(py: Python<'_>) -> Result<(), Failure> {
    let collect = || py.import("gc")?.call_method0("collect");
    collect().map(|_count| ()).map_err(host_failure)
}

/// Exempts what there is from collections. Otherwise a full collection in a worker would copy every
/// page that has an object.
fn freeze(py: Python<'_>) -> PyResult<()> {
    py.import("gc")?.call_method0("freeze").map(|_none| ())
}
