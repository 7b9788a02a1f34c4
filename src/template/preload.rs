//! The import of the app in a template, for all workers.

use std::os::fd::BorrowedFd;

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use rcorn_app::import::import;
use rcorn_evidence::ImportWatch;
use rcorn_link::{Failure, Start};
use rcorn_log as log;
use rcorn_settings::Preload;
use rcorn_sys::process::trim_heap;

use super::leftover_children::{children, end_children};
use super::reexec::Invocation;

/// Imports the app, if the settings say so. With `preload_app: auto` an app that is not safe to
/// fork from makes this process start again without it; that does not return.
pub(super) fn preload(
    py: Python<'_>,
    start: &Start,
    invocation: &Invocation,
    reports: BorrowedFd<'_>,
) -> Result<Option<Py<PyAny>>, Failure> {
    if invocation.no_preload || start.settings.preload_app == Preload::Off {
        return Ok(None);
    }
    let before = children();
    let gc = PausedCollection::new(py).map_err(host_failure)?;
    let watch = ImportWatch::begin(py, &start.settings);
    let app = import(py, &start.settings, reports)?;
    let verdict = watch.end(py);
    if !verdict.is_boring() && start.settings.preload_app == Preload::Auto {
        for line in verdict.lines() {
            log::info(format_args!("Not preloading: {line}"));
        }
        end_children(py, &before);
        return Err(invocation.exec_without_app(start));
    }
    for line in verdict.lines() {
        log::warning(format_args!("Preloading as ordered, although {line}"));
    }
    let app = app.unbind();
    gc.resume().map_err(host_failure)?;
    trim_heap();
    Ok(Some(app))
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn host_failure(error: PyErr) -> Failure {
    Failure {
        code: 1,
        summary: error.to_string(),
    }
}

/// The garbage collection, which an import does without: what it makes is meant to stay.
struct PausedCollection<'py> {
    gc: Bound<'py, PyModule>,
    threshold: Bound<'py, PyAny>,
}

impl<'py> PausedCollection<'py> {
    /// Sets a threshold of 0. Not `gc.disable()`: the wish of an app that disables collection
    /// itself would be lost at the end.
    fn new(py: Python<'py>) -> PyResult<Self> {
        let gc = py.import("gc")?;
        let threshold = gc.call_method0("get_threshold")?;
        gc.call_method1("set_threshold", (0,))?;
        Ok(Self { gc, threshold })
    }

    /// Collects once, freezes what is left, and lets workers collect as they would have. Without
    /// the freeze, one full collection in each worker would copy every page with an object on
    /// it.
    fn resume(self) -> PyResult<()> {
        let Self { gc, threshold } = self;
        let (first, _, _): (i64, i64, i64) = gc.call_method0("get_threshold")?.extract()?;
        // Otherwise the app has set its own.
        if first == 0 {
            gc.getattr("set_threshold")?
                .call1(threshold.cast_into::<PyTuple>()?)?;
        }
        gc.call_method0("collect")?;
        gc.call_method0("freeze")?;
        Ok(())
    }
}
