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
use rcorn_python::observe::Observation;
use rcorn_settings::Settings;

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

impl ImportWatch {
    /// Begins the watch. What cannot be watched becomes a finding.
    #[must_use]
    pub fn begin(py: Python<'_>, settings: &Settings) -> Self {
        let recorder = Arc::new(Recorder::new(py, settings));
        let before = Snapshot::take(py);
        let observation = Observation::begin(py, recorder.clone())
            .and_then(|observation| functions::watch_all(py).map(|()| observation));
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

    /// Ends the watch, and returns the verdict.
    #[must_use]
    pub fn end(self, py: Python<'_>) -> Verdict {
        let Self {
            observation,
            recorder,
            before,
        } = self;
        if let Some(Err(error)) = observation.map(Observation::end) {
            recorder.cannot_watch(&error);
        }
        recorder.release_threads(py);
        let left = before.and_then(|before| before.compare(py, recorder.places(), &[]));
        let left = left
            .inspect_err(|error| recorder.cannot_watch(error))
            .unwrap_or_default();
        recorder.verdict(py, left)
    }
}
