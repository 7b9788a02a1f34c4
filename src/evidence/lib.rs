//! May the import of the app be shared? It may if nobody can tell one import in one process from an
//! import in each of the workers. The import is watched in the process that does it, and the state
//! of that process before and after is compared.
//!
//! - `audit` judges audit events, `functions` calls of C functions; `thread_ids` lets an attribute
//!   call one.
//! - `path` tells what the system finds under a name.
//! - `trace` finds out whose code did it, `places` whose code a file is.
//! - `known` lists what libraries do that does no harm, with the reasons.
//! - `baseline` judges a worker that has served, of which nothing was watched.
//! - `process` compares the process before and after.
#![forbid(unsafe_code)]

mod audit;
mod baseline;
mod deed;
mod functions;
mod known;
mod path;
mod places;
mod process;
mod recorder;
#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test that fails panics")]
mod tests;
mod thread_ids;
mod trace;
mod verdict;

use std::io;
use std::sync::Arc;

use pyo3::prelude::*;

use rcorn_python::modules::is_loaded;
use rcorn_python::observe::{CannotObserve, Observation, WritableMemory};
use rcorn_settings::Settings;
use rcorn_sys::procfs::Mapping;

use functions::Interpreter;
use process::Snapshot;
use recorder::Recorder;
use thread_ids::THREADS;

pub use baseline::Baseline;
pub use verdict::{Finding, Place, Verdict};

/// The watch of one import, which ends with [`ImportWatch::end`]. If it is dropped, it ends without
/// a verdict.
#[derive(Debug)]
pub struct ImportWatch {
    observation: Option<Observation>,
    recorder: Arc<Recorder>,
    before: io::Result<Snapshot>,
}

/// What the process was at the end of a watch.
#[derive(Debug)]
pub struct AfterImport(io::Result<Snapshot>);

/// Loads what a watch needs. Otherwise each process that watches its import loads it for itself.
///
/// # Errors
///
/// This interpreter cannot be watched.
pub fn prepare(py: Python<'_>) -> Result<(), CannotObserve> {
    Interpreter::load(py).map(|_loaded| ())
}

impl ImportWatch {
    /// Begins the watch. What cannot be watched becomes a finding.
    #[must_use]
    pub fn begin(py: Python<'_>, settings: &Settings) -> Self {
        let recorder = Arc::new(Recorder::new(py, settings));
        let interpreter = Interpreter::load(py);
        // What follows maps nothing.
        let mappings = Mapping::all();
        let memory = WritableMemory::of(mappings.as_deref().unwrap_or_default());
        let before = mappings.and_then(|mappings| Snapshot::take(py, &mappings));
        let watch = |observation| interpreter?.watch(&memory).map(|()| observation);
        let observation = Observation::begin(py, recorder.clone()).and_then(watch);
        let observation = observation
            .inspect_err(|error| recorder.cannot_watch(error))
            .ok();
        if is_loaded(py, THREADS) {
            recorder.watch_threads(py);
        }
        Self {
            observation,
            recorder,
            before,
        }
    }

    /// Ends the watch, and returns the verdict, and what the process is now.
    #[must_use]
    pub fn end(self, py: Python<'_>) -> (Verdict, AfterImport) {
        let Self {
            observation,
            recorder,
            before,
        } = self;
        let mappings = Mapping::all();
        let memory = WritableMemory::of(mappings.as_deref().unwrap_or_default());
        if let Some(Err(error)) = observation.map(|observation| observation.end(py, &memory)) {
            recorder.cannot_watch(&error);
        }
        recorder.release_threads(py);
        let now = mappings.and_then(|mappings| Snapshot::take(py, &mappings));
        let compare = |before: Snapshot| match &now {
            Ok(now) => before.compare(py, recorder.places(), now),
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        let left = before.and_then(compare);
        let left = left
            .inspect_err(|error| recorder.cannot_watch(error))
            .unwrap_or_default();
        (recorder.verdict(py, left), AfterImport(now))
    }
}
