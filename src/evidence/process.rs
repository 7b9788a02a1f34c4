//! The process before and after an import.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_int;
use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;

use nix::sys::prctl::{get_child_subreaper, get_pdeathsig};
use nix::sys::resource::{Resource, getrlimit, rlim_t};
use nix::unistd::{Pid, getpgrp, getsid};
use pyo3::prelude::*;

use rcorn_python::modules::loaded;
use rcorn_sys::procfs::{self, Mapping};
use rcorn_sys::signal::{Effect, effects};

use super::deed::Kind;
use super::places::{Owner, Places};

/// Something that an import has left.
#[derive(Debug)]
pub(crate) struct Leftover {
    pub(crate) kind: Kind,
    /// A clause without its subject.
    pub(crate) what: String,
}

fn left(kind: Kind, what: impl Into<String>) -> Leftover {
    Leftover {
        kind,
        what: what.into(),
    }
}

/// The state of a process that a fork would share, lose or double.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// What each descriptor is, as `/proc` names it.
    descriptors: BTreeMap<RawFd, String>,
    locks: usize,
    /// Shared mappings, by inode and name.
    shared: BTreeSet<(u64, String)>,
    threads: usize,
    children: BTreeSet<i32>,
    effects: BTreeMap<c_int, Effect>,
    /// Running timers of setitimer(2), and of `timer_create(2)`.
    timers: usize,
    family: Family,
    confinement: Confinement,
    /// The finalizers that run at exit, by their identity.
    finalizers: BTreeSet<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Family {
    session: Pid,
    group: Pid,
    is_subreaper: bool,
    death_signal: Option<c_int>,
}

/// The namespaces that workers have in common with their arbiter, or that it has to know them by
/// (`namespaces(7)`).
const NAMESPACES: [&str; 8] = [
    "cgroup",
    "ipc",
    "mnt",
    "net",
    "pid_for_children",
    "time_for_children",
    "user",
    "uts",
];

/// What hinders a process from forking workers, or those from being its like.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Confinement {
    /// How many processes its user may have (getrlimit(2), `RLIMIT_NPROC`).
    processes: rlim_t,
    /// The mode of seccomp(2) and the number of filters, as `/proc/self/status` has them; none if
    /// the kernel has no seccomp.
    seccomp: Vec<String>,
    /// The namespaces of [`NAMESPACES`], in this order; none where the kernel has no such.
    namespaces: Vec<Option<PathBuf>>,
}

impl Snapshot {
    /// Looks at this process. `mappings`: all of it.
    ///
    /// # Errors
    ///
    /// Something cannot be seen, so it is unknown what an import leaves there.
    pub(crate) fn take(py: Python<'_>, mappings: &[Mapping]) -> io::Result<Self> {
        // Its own import sets a handler for SIGINT.
        drop(py.import("_signal"));
        let descriptors = descriptors()?;
        let (threads, children) = procfs::threads_and_children()?;
        Ok(Self {
            locks: locks(&descriptors)?,
            descriptors,
            shared: shared(mappings),
            threads,
            children,
            effects: effects().into_iter().collect(),
            timers: timers(py)?,
            family: Family::of_self()?,
            confinement: Confinement::of_self()?,
            finalizers: finalizers(py)?.iter().map(|one| one.key).collect(),
        })
    }

    /// Forgets what a fork of this process does not have: threads, children, timers.
    pub(crate) fn keep_what_forks_inherit(&mut self) {
        self.threads = 1;
        self.children.clear();
        self.timers = 0;
    }

    /// Forgets these descriptors.
    pub(crate) fn forget(&mut self, descriptors: &[RawFd]) {
        self.descriptors
            .retain(|number, _| !descriptors.contains(number));
    }

    /// Looks once more at what a process changes about itself when it becomes a template: what
    /// signals do, and its family.
    ///
    /// # Errors
    ///
    /// As [`Self::take`].
    pub(crate) fn look_at_roles(&mut self) -> io::Result<()> {
        self.effects = effects().into_iter().collect();
        self.family = Family::of_self()?;
        Ok(())
    }

    /// What there is now that was not there before.
    ///
    /// # Errors
    ///
    /// As [`Self::take`].
    pub(crate) fn compare(
        &self,
        py: Python<'_>,
        places: &Places,
        now: &Self,
    ) -> io::Result<Vec<Leftover>> {
        let mut found = self.new_descriptors(now);
        if now.locks > self.locks {
            found.push(left(Kind::Lock, "left a lock on a file"));
        }
        for (_, name) in now.shared.difference(&self.shared) {
            let what = format!("left shared memory ({name})");
            found.push(left(Kind::SharedMemory, what));
        }
        let threads = now.threads.saturating_sub(self.threads);
        if threads > 0 {
            let plural = if threads == 1 { "" } else { "s" };
            found.push(left(Kind::Thread, format!("left {threads} thread{plural}")));
        }
        let children = now.children.difference(&self.children).count();
        if children > 0 {
            let plural = if children == 1 { "" } else { "es" };
            let what = format!("left {children} child process{plural}");
            found.push(left(Kind::Child, what));
        }
        for (number, effect) in &now.effects {
            if self.effects.get(number) != Some(effect) {
                let name = nix::sys::signal::Signal::try_from(*number)
                    .map_or_else(|_| format!("signal {number}"), |signal| signal.to_string());
                found.push(left(Kind::Signal, format!("changed what {name} does")));
            }
        }
        if now.timers > self.timers {
            found.push(left(Kind::Timer, "left a timer"));
        }
        if now.family != self.family {
            let what = "changed the session, the process group or who adopts orphans";
            found.push(left(Kind::Session, what));
        }
        found.extend(self.confinement.changes(&now.confinement));
        found.extend(self.new_finalizers(py, places)?);
        Ok(found)
    }

    fn new_descriptors(&self, now: &Self) -> Vec<Leftover> {
        let streams: BTreeSet<_> = (0..3).filter_map(|fd| self.descriptors.get(&fd)).collect();
        let mut found = Vec::new();
        for (number, target) in &now.descriptors {
            let is_old = self.descriptors.get(number) == Some(target);
            if is_old || streams.contains(target) || target == "/dev/null" {
                continue;
            }
            found.push(if target.starts_with("socket:") {
                left(Kind::Socket, format!("left a socket (descriptor {number})"))
            } else if target.starts_with('/') {
                left(
                    Kind::File,
                    format!("left {target} open (descriptor {number})"),
                )
            } else {
                let kind = target.split(":[").next().unwrap_or(target);
                let kind = kind.trim_start_matches("anon_inode:");
                let what = format!("left a descriptor ({kind}, number {number})");
                left(Kind::Descriptor, what)
            });
        }
        found
    }

    fn new_finalizers(&self, py: Python<'_>, places: &Places) -> io::Result<Vec<Leftover>> {
        let new = finalizers(py)?;
        let new = new.iter().filter(|one| !self.finalizers.contains(&one.key));
        let harmful = new.filter(|one| one.is_of_concern(py, places));
        let left = harmful.map(|one| {
            let what = format!("left a function for the exit ({})", one.name);
            left(Kind::Exit, what)
        });
        Ok(left.collect())
    }
}

impl Family {
    fn of_self() -> io::Result<Self> {
        Ok(Self {
            session: getsid(None)?,
            group: getpgrp(),
            is_subreaper: get_child_subreaper()?,
            death_signal: get_pdeathsig()?.map(rcorn_sys::signal::number),
        })
    }
}

impl Confinement {
    fn of_self() -> io::Result<Self> {
        let (processes, _hard) = getrlimit(Resource::RLIMIT_NPROC)?;
        let status = procfs::of_self("status")?;
        let seccomp = status.lines().filter(|line| line.starts_with("Seccomp"));
        // Not all in the directory: who has changed its user may not list it.
        let namespaces = NAMESPACES.iter().map(|name| {
            let link = fs::read_link(format!("/proc/self/ns/{name}"));
            link.ok()
        });
        Ok(Self {
            processes,
            seccomp: seccomp.map(str::to_owned).collect(),
            namespaces: namespaces.collect(),
        })
    }

    /// What was changed.
    fn changes(&self, now: &Self) -> impl Iterator<Item = Leftover> {
        let changes = [
            (
                now.processes < self.processes,
                "limited the number of processes",
            ),
            (now.seccomp != self.seccomp, "filtered system calls"),
            (now.namespaces != self.namespaces, "changed its namespaces"),
        ];
        let changed = changes.into_iter().filter(|(is_changed, _)| *is_changed);
        changed.map(|(_, what)| left(Kind::Confinement, what))
    }
}

/// Adds to an error what it is about.
fn about(what: &str, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{what}: {error}"))
}

fn descriptors() -> io::Result<BTreeMap<RawFd, String>> {
    const FOLDER: &str = "/proc/self/fd";
    let mut numbers: Vec<RawFd> = Vec::new();
    for entry in fs::read_dir(FOLDER).map_err(|error| about(FOLDER, &error))? {
        let name = entry.map_err(|error| about(FOLDER, &error))?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<RawFd>().ok()));
    }
    let mut found = BTreeMap::new();
    for number in numbers {
        match fs::read_link(format!("{FOLDER}/{number}")) {
            Ok(target) => {
                found.insert(number, target.to_string_lossy().into_owned());
            }
            // The descriptor of the directory itself is closed by now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(about(FOLDER, &error)),
        }
    }
    Ok(found)
}

fn locks(descriptors: &BTreeMap<RawFd, String>) -> io::Result<usize> {
    let each = descriptors.keys().map(|fd| procfs::locks(*fd));
    let count: io::Result<usize> = each.map(|locks| locks.map(|locks| locks.len())).sum();
    match count {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            procfs::locks_by_pid().map(|locks| locks.len())
        }
        count => count,
    }
}

fn shared(mappings: &[Mapping]) -> BTreeSet<(u64, String)> {
    let shared = mappings
        .iter()
        .filter(|one| one.is_shared && one.is_writable);
    shared.map(|one| (one.inode, one.name.clone())).collect()
}

fn timers(py: Python<'_>) -> io::Result<usize> {
    let created = procfs::of_self("timers")?;
    let created = created.lines().filter(|line| line.starts_with("ID:"));
    let is_running = |which: i32| -> PyResult<bool> {
        let left = py.import("_signal")?.call_method1("getitimer", (which,))?;
        let (left, _): (f64, f64) = left.extract()?;
        Ok(left > 0.0)
    };
    let mut count = created.count();
    // ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF.
    for which in [0, 1, 2] {
        let is_running = is_running(which).map_err(|error| about("getitimer", &error))?;
        count = count.saturating_add(usize::from(is_running));
    }
    Ok(count)
}

/// A `weakref.finalize` that runs at exit.
struct Finalizer {
    key: usize,
    name: String,
    module: String,
}

/// Modules of the standard library whose functions remove things that others may still use.
const REMOVERS: [&str; 5] = ["os", "pathlib", "posix", "shutil", "tempfile"];

impl Finalizer {
    /// Libraries know what they do, such as Django with its signals' receivers.
    fn is_of_concern(&self, py: Python<'_>, places: &Places) -> bool {
        let top = self.module.split('.').next().unwrap_or(&self.module);
        if REMOVERS.contains(&top) {
            return true;
        }
        let module = loaded(py, &self.module);
        let file = module.and_then(|module| module.getattr("__file__").ok()?.extract().ok());
        file.is_some_and(|file: String| matches!(places.owner(&file), Owner::App(_)))
    }
}

fn finalizers(py: Python<'_>) -> io::Result<Vec<Finalizer>> {
    let find = || -> PyResult<Vec<Finalizer>> {
        let Some(module) = loaded(py, "weakref") else {
            return Ok(Vec::new());
        };
        let registry = module.getattr("finalize")?.getattr("_registry")?;
        let mut found = Vec::new();
        // A copy, because an object may end during the loop.
        let registry = registry.call_method0("copy")?;
        for pair in registry.call_method0("items")?.try_iter()? {
            let (key, info): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair?.extract()?;
            if !info.getattr("atexit")?.is_truthy()? {
                continue;
            }
            let function = info.getattr("func")?;
            // A `functools.partial`.
            let function = function.getattr("func").unwrap_or(function);
            let text = |name: &str| {
                let text = function.getattr(name).and_then(|text| text.extract());
                text.unwrap_or_default()
            };
            found.push(Finalizer {
                key: key.as_ptr().addr(),
                name: text("__qualname__"),
                module: text("__module__"),
            });
        }
        Ok(found)
    };
    // Another version of Python may keep them in another way.
    find().map_err(|error| about("weakref.finalize", &error))
}
