//! Is this a safe thing to fork from? What an import leaves behind that a fork would share or lose: threads,
//! connections, half-written files, random generators seeded once for all workers.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::RawFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use pyo3::prelude::*;

use crate::sys::fork::threads;
use crate::sys::process::borrow_inherited;

/// What was open, and how many threads ran, before the import.
#[derive(Debug)]
pub(super) struct Before {
    descriptors: BTreeMap<RawFd, String>,
    threads: usize,
    children: usize,
}

impl Before {
    /// Looks at this process.
    pub(super) fn look() -> Self {
        Self {
            descriptors: descriptors(),
            threads: threads(),
            children: children(),
        }
    }

    /// What the import left that makes forking unsafe, in words for the log; empty when nothing.
    pub(super) fn found_since(&self, py: Python<'_>) -> Vec<String> {
        let mut found = Vec::new();
        let new_threads = threads().saturating_sub(self.threads);
        if new_threads > 0 {
            found.push(format!(
                "{new_threads} thread{}",
                if new_threads == 1 { "" } else { "s" }
            ));
        }
        let new_children = children().saturating_sub(self.children);
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

/// How many child processes there are (`proc_tid_children(5)`).
fn children() -> usize {
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return 0;
    };
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .map(|list| list.split_whitespace().count())
        .sum()
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

/// What a fork would share with this descriptor; `None` when that does no harm (files read or appended to).
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
    let descriptor = borrow_inherited(number).ok()?;
    let flags = OFlag::from_bits_truncate(fcntl(descriptor, FcntlArg::F_GETFL).ok()?);
    let regular = target.starts_with('/') && !target.starts_with("/dev/");
    let writes = flags.contains(OFlag::O_RDWR) && !flags.contains(OFlag::O_APPEND);
    (regular && writes).then(|| format!("the file {target} open for reading and writing"))
}
