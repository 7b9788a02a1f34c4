//! The observer of an import: it judges what it observes, and keeps the findings.

use std::ffi::CStr;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use rcorn_python::modules::is_loaded;
use rcorn_python::observe::{CalledWith, Observer, current_frame};
use rcorn_settings::Settings;

use super::audit;
use super::deed::{By, Deed, Kind};
use super::functions::{self, Generators};
use super::known::{is_known, meaning};
use super::places::Places;
use super::process::Leftover;
use super::thread_ids::{AskingThreads, THREADS};
use super::trace::Trace;
use super::verdict::{Finding, MAX_KEPT_FINDINGS, Place, Verdict};

/// What was found so far.
#[derive(Debug, Default)]
struct Record {
    found: Vec<(Kind, Finding)>,
    /// Modules whose import alone is one, if it succeeds, with the line that imports them.
    imported: Vec<(&'static str, Option<Place>)>,
}

/// The observer.
#[derive(Debug)]
pub(crate) struct Recorder {
    places: Places,
    generators: Generators,
    record: Mutex<Record>,
    threads: Mutex<Option<AskingThreads>>,
}

/// Modules that make random generators when they are imported, or that have their own, which Python
/// does not see.
pub(crate) const GENERATORS: [&str; 6] = [
    "numpy.random.mtrand",
    "torch",
    "tensorflow",
    "uuid_utils",
    "fastuuid",
    "ulid_rs",
];

impl Recorder {
    pub(crate) fn new(py: Python<'_>, settings: &Settings) -> Self {
        Self {
            places: Places::new(py, settings),
            generators: Generators::default(),
            record: Mutex::default(),
            threads: Mutex::default(),
        }
    }

    /// Watches the attributes of threads, from the import of their module on: without it there are
    /// none.
    pub(crate) fn watch_threads(&self, py: Python<'_>) {
        match AskingThreads::begin(py) {
            Ok(asking) => *self.threads.lock().unwrap_or_else(PoisonError::into_inner) = asking,
            Err(error) => self.cannot_watch(&error),
        }
    }

    /// Ends what [`Self::watch_threads`] began.
    pub(crate) fn release_threads(&self, py: Python<'_>) {
        let threads = self
            .threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(Err(error)) = threads.map(|threads| threads.end(py)) {
            self.cannot_watch(&error);
        }
    }

    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// Notes that nothing, or not everything, can be observed.
    pub(crate) fn cannot_watch(&self, error: &dyn Display) {
        self.keep(
            Kind::Unwatched,
            None,
            &format!("cannot be watched: {error}"),
        );
    }

    fn keep(&self, kind: Kind, place: Option<Place>, what: &str) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let found = &mut record.found;
        let is_new = !found
            .iter()
            .any(|(other, finding)| *other == kind && finding.place == place);
        if is_new && found.len() < MAX_KEPT_FINDINGS {
            let what = self.places.shorten(what);
            found.push((kind, Finding { place, what }));
        }
    }

    /// Whether so many findings are kept that more are not looked for.
    fn is_full(&self) -> bool {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.found.len() >= MAX_KEPT_FINDINGS
    }

    fn judge(&self, py: Python<'_>, mut deed: Deed) {
        if self.is_full() {
            return;
        }
        let frame = current_frame(py);
        if deed.by == By::AppLine && !Trace::is_app_line(frame.as_ref(), &self.places) {
            return;
        }
        let trace = Trace::of(frame, &self.places);
        if let Some((kind, what)) = meaning(&trace.passed) {
            deed = Deed::new(kind, what);
        }
        // The cache of compiled modules.
        let is_cache = deed.kind == Kind::File && trace.by_import_system;
        let counts = match deed.by {
            By::Anybody | By::AppLine => true,
            By::App => trace.by_app_itself,
        };
        if !counts || is_cache || trace.is_standard || is_known(deed.kind, &trace.passed) {
            return;
        }
        if trace.place.is_none() && self.has(Kind::Thread) {
            // A thread whose start is a finding already.
            return;
        }
        self.keep(deed.kind, trace.place, &deed.what);
    }

    fn has(&self, kind: Kind) -> bool {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.found.iter().any(|(other, _)| *other == kind)
    }

    fn imports(&self, py: Python<'_>, module: &str) {
        let Some(name) = GENERATORS.iter().find(|name| **name == module) else {
            return;
        };
        let place = Trace::app_place(current_frame(py), &self.places);
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        if !record.imported.iter().any(|(other, _)| other == name) {
            record.imported.push((name, place));
        }
    }

    /// The verdict on all findings.
    pub(crate) fn verdict(&self, py: Python<'_>, left: Vec<Leftover>) -> Verdict {
        self.take_generators(py);
        for Leftover { kind, what } in left {
            // Otherwise the line that did it is a finding already.
            if !self.has(kind) {
                self.keep(kind, None, &what);
            }
        }
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let found = std::mem::take(&mut record.found);
        if found.is_empty() {
            Verdict::Boring
        } else {
            Verdict::Findings(found.into_iter().map(|(_, finding)| finding).collect())
        }
    }

    fn take_generators(&self, py: Python<'_>) {
        let imported = {
            let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut record.imported)
        };
        for name in GENERATORS {
            if is_loaded(py, name) {
                let place = imported.iter().find(|(other, _)| *other == name);
                let what = format!("imports {name}, whose numbers would repeat in every worker,");
                self.keep(
                    Kind::Random,
                    place.and_then(|(_, place)| place.clone()),
                    &what,
                );
            }
        }
    }
}

impl Observer for Recorder {
    fn audited(&self, event: &CStr, arguments: &Bound<'_, PyTuple>) {
        let py = arguments.py();
        if event == c"import" {
            let module = arguments.get_item(0);
            let module = module.and_then(|name| name.extract::<String>());
            if let Ok(module) = module {
                self.imports(py, &module);
                if functions::is_begin_of_import(py, &module, arguments) {
                    functions::watch_module(py, &module);
                    if module == THREADS {
                        self.watch_threads(py);
                    }
                }
            }
        } else if let Some(deed) = audit::judge(event.to_bytes(), arguments) {
            self.judge(py, deed);
        }
    }

    fn called(
        &self,
        py: Python<'_>,
        function: usize,
        this: Option<&Bound<'_, PyAny>>,
        arguments: &CalledWith<'_>,
    ) {
        if let Some(deed) = functions::judge(py, &self.generators, function, this, arguments) {
            self.judge(py, deed);
        }
    }
}
