//! Is this a safe thing to fork from? What an import leaves behind that a fork would share or lose:
//! threads, connections, half-written files, random generators seeded once for all workers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::RawFd;

use nix::fcntl::OFlag;
use pyo3::prelude::*;

use rcorn_app::load_embedded;
use rcorn_log as log;
use rcorn_sys::descriptor::status_flags;
use rcorn_sys::fork::count_threads;

use super::leftover_children::children;

/// What was open, and what ran, before the import.
#[derive(Debug)]
pub(super) struct Before {
    descriptors: BTreeMap<RawFd, String>,
    threads: usize,
    pub(super) children: BTreeSet<i32>,
    /// Of `safety.py`.
    watch: Option<Py<PyAny>>,
}

impl Before {
    /// Looks at this process.
    pub(super) fn look(py: Python<'_>) -> Self {
        let watch = load_embedded(py, "_rcorn_safety", include_str!("safety.py"))
            .and_then(|module| module.call_method0("Watch"));
        Self {
            descriptors: descriptors(),
            threads: count_threads().unwrap_or(1),
            children: children(),
            watch: watch.map(Bound::unbind).inspect_err(cannot_tell).ok(),
        }
    }

    /// What the import left that makes forking unsafe, in words for the log; empty when nothing.
    pub(super) fn found_since(&self, py: Python<'_>) -> Vec<String> {
        let mut found = Vec::new();
        let new_threads = count_threads().unwrap_or(1).saturating_sub(self.threads);
        if new_threads > 0 {
            found.push(format!(
                "{new_threads} thread{}",
                if new_threads == 1 { "" } else { "s" }
            ));
        }
        let new_children = children().difference(&self.children).count();
        if new_children > 0 {
            found.push(format!(
                "{new_children} child process{}",
                if new_children == 1 { "" } else { "es" }
            ));
        }
        for (number, target) in descriptors() {
            if self.descriptors.get(&number) == Some(&target) {
                continue;
            }
            if let Some(what) = shared(number, &target) {
                found.push(what);
            }
        }
        if let Some(watch) = &self.watch {
            let seen = watch.call_method0(py, "found");
            let seen = seen.and_then(|seen| seen.extract::<Vec<String>>(py));
            found.extend(seen.inspect_err(cannot_tell).unwrap_or_default());
        }
        for module in ["numpy", "torch"] {
            if is_loaded(py, module) {
                found.push(format!(
                    "the module {module} (its random generators would repeat in every worker)"
                ));
            }
        }
        found
    }
}

fn cannot_tell(error: &PyErr) {
    log::warning(format_args!(
        "cannot tell all that the app's import left: {error}"
    ));
}

/// Whether a module was imported.
pub(super) fn is_loaded(py: Python<'_>, module: &str) -> bool {
    let modules = py.import("sys").and_then(|sys| sys.getattr("modules"));
    modules
        .and_then(|modules| modules.contains(module))
        .unwrap_or(false)
}

fn descriptors() -> BTreeMap<RawFd, String> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        return BTreeMap::new();
    };
    let one = |entry: fs::DirEntry| {
        let number: RawFd = entry.file_name().to_str()?.parse().ok()?;
        let target = fs::read_link(entry.path()).ok()?;
        Some((number, target.to_string_lossy().into_owned()))
    };
    entries.filter_map(|entry| one(entry.ok()?)).collect()
}

/// What a fork would share with this descriptor; `None` when that does no harm (files that are only
/// written).
fn shared(number: RawFd, target: &str) -> Option<String> {
    if target.starts_with("socket:") {
        return Some(format!("a socket (descriptor {number})"));
    }
    if target.starts_with("pipe:") {
        return Some(format!("a pipe (descriptor {number})"));
    }
    if target.starts_with("anon_inode:") && !target.contains("inotify") {
        return Some(format!(
            "an {} (descriptor {number})",
            target.trim_start_matches("anon_inode:")
        ));
    }
    let flags = status_flags(number).ok()?;
    let regular = fs::metadata(format!("/proc/self/fd/{number}")).is_ok_and(|file| file.is_file());
    // All processes would read from one position.
    let open = match flags & OFlag::O_ACCMODE {
        OFlag::O_RDONLY => "reading",
        OFlag::O_RDWR if !flags.contains(OFlag::O_APPEND) => "reading and writing",
        _ => return None,
    };
    regular.then(|| format!("the file {target} open for {open}"))
}
