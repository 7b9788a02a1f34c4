//! May what a worker has become while it served be shared? Its requests are not watched: that would
//! cost time. What can be seen of a process is compared with what it was forked from.

use std::io;
use std::os::fd::RawFd;

use pyo3::prelude::*;

use rcorn_python::modules::{is_loaded, loaded};
use rcorn_settings::Settings;
use rcorn_sys::procfs::Mapping;

use super::AfterImport;
use super::places::Places;
use super::process::Snapshot;
use super::recorder::GENERATORS;

/// What a template has, and so the workers that are forked from it.
#[derive(Debug)]
pub struct Baseline {
    /// An error: something cannot be seen, so nothing is known.
    seen: io::Result<Seen>,
}

#[derive(Debug)]
struct Seen {
    process: Snapshot,
    /// How many functions run at exit.
    at_exit: usize,
    /// Modules with random generators that workers have in common already.
    generators: Vec<&'static str>,
}

impl Seen {
    fn take(py: Python<'_>) -> io::Result<Self> {
        Self::with(py, Snapshot::take(py, &Mapping::all()?)?)
    }

    fn with(py: Python<'_>, process: Snapshot) -> io::Result<Self> {
        let generators = GENERATORS.into_iter().filter(|name| is_loaded(py, name));
        Ok(Self {
            process,
            at_exit: at_exit(py).map_err(io::Error::other)?,
            generators: generators.collect(),
        })
    }
}

fn at_exit(py: Python<'_>) -> PyResult<usize> {
    match loaded(py, "atexit") {
        Some(atexit) => atexit.call_method0("_ncallbacks")?.extract(),
        None => Ok(0),
    }
}

impl Baseline {
    /// Looks at this process, a template that has not forked yet.
    #[must_use]
    pub fn take(py: Python<'_>) -> Self {
        Self::of(Seen::take(py))
    }

    /// The same right after a watched import, since when the process has done nothing but become a
    /// template: no look at the rest is needed.
    #[must_use]
    pub fn after(py: Python<'_>, import: AfterImport) -> Self {
        let AfterImport(process) = import;
        let seen = process.and_then(|mut process| {
            process.look_at_roles()?;
            Seen::with(py, process)
        });
        Self::of(seen)
    }

    fn of(seen: io::Result<Seen>) -> Self {
        let seen = seen.map(|mut seen| {
            seen.process.keep_what_forks_inherit();
            seen
        });
        Self { seen }
    }

    /// What serving has left in this process, which was forked from that template: one line each.
    /// `own`: descriptors that it has as a worker. `reseeds_numpy`: the generator of numpy is no
    /// concern.
    #[must_use]
    pub fn left_by_serving(
        &self,
        py: Python<'_>,
        settings: &Settings,
        own: &[RawFd],
        reseeds_numpy: bool,
    ) -> Vec<String> {
        let places = Places::new(py, settings);
        let compare = || -> Result<Vec<String>, String> {
            let before = self.seen.as_ref().map_err(ToString::to_string)?;
            let mut now = Seen::take(py).map_err(|error| error.to_string())?;
            now.process.forget(own);
            let found = before.process.compare(py, &places, &now.process);
            let found = found.map_err(|error| error.to_string())?;
            let mut lines: Vec<String> = found
                .into_iter()
                .map(|leftover| format!("serving {}", places.shorten(&leftover.what)))
                .collect();
            if now.at_exit > before.at_exit {
                lines.push("serving left a function for the exit".to_owned());
            }
            let is_new = |name: &&str| {
                let is_reseeded = reseeds_numpy && name.starts_with("numpy");
                !is_reseeded && !before.generators.contains(name)
            };
            lines.extend(now.generators.into_iter().filter(is_new).map(|name| {
                format!("serving imported {name}, whose numbers would repeat in every worker")
            }));
            Ok(lines)
        };
        compare().unwrap_or_else(|error| vec![format!("the worker cannot be looked at: {error}")])
    }
}
