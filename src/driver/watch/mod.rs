//! `--reload`: a change of the app's files orders a reload, the same that HUP orders. Files are
//! compared with their previous state (`tree.rs`), when inotify reports an event (`inotify.rs`) or
//! once a second. There is no thread: the arbiter's loop waits for both. Without `reload` nothing
//! of this exists.

mod inotify;
mod pattern;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::statfs::{
    AFS_SUPER_MAGIC, CODA_SUPER_MAGIC, FUSE_SUPER_MAGIC, FsType, NCP_SUPER_MAGIC, NFS_SUPER_MAGIC,
    SMB_SUPER_MAGIC, statfs,
};

use rcorn_link::CodeDirectory;
use rcorn_log as log;
use rcorn_settings::{ConfigFile, ReloadEngine, Settings};
use rcorn_sys::clock;
use rcorn_types::Monotonic;

use inotify::{InotifyWatcher, NoInotify};
use tree::{Scope, Stamp};

/// A change leads to a reload when nothing else has changed for this long: one save is several
/// events, a checkout is thousands.
const QUIET_TIME: Duration = Duration::from_millis(60);
/// The longest delay of a reload by changes that do not stop.
const MAX_DELAY: Duration = Duration::from_secs(1);
/// The time between two scans of the engine `poll`,
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// and at least this many times what the last scan took: the loop has other things to do.
const POLL_COST_RATIO: u32 = 10;
/// Scans that follow one another at most, because directories appear while the watch begins.
const MAX_SCANS: usize = 4;
/// With more roots than these, reported ones that do not exist any more are forgotten.
const MAX_ROOTS: usize = 100;

/// The watched files, their previous state, and what has changed since.
#[derive(Debug)]
struct Watch {
    scope: Scope,
    /// How many of the roots are from the settings; the others were reported by workers.
    named: usize,
    files: BTreeMap<PathBuf, Stamp>,
    directories: usize,
    engine: Engine,
    burst: Option<Burst>,
    /// Changes that were found and have not led to a reload yet.
    found: BTreeSet<PathBuf>,
    /// When the last load of the code began.
    loaded: SystemTime,
    is_cut: bool,
}

#[derive(Debug)]
enum Engine {
    Inotify(InotifyWatcher),
    Poll { next: Monotonic },
}

/// Something changes.
#[derive(Clone, Copy, Debug)]
struct Burst {
    first: Monotonic,
    due: Monotonic,
}

impl Watch {
    /// Begins to watch what the settings name.
    fn begin(settings: &Settings, now: Monotonic) -> Self {
        let directories = std::iter::once(&settings.chdir).chain(&settings.pythonpath);
        let roots: Vec<CodeDirectory> = directories
            .map(|path| CodeDirectory {
                path: path.clone(),
                is_recursive: true,
            })
            .collect();
        let config = match &settings.config {
            Some(ConfigFile::Yaml(path) | ConfigFile::Python(path)) => Some(path),
            Some(ConfigFile::Module(_)) | None => None,
        };
        let extra = settings.reload_extra_files.iter().chain(config);
        let mut watch = Self {
            named: roots.len(),
            scope: Scope {
                roots,
                extra: extra.map(|path| pattern::read(path)).collect(),
            },
            files: BTreeMap::new(),
            directories: 0,
            engine: Engine::Poll { next: now },
            burst: None,
            found: BTreeSet::new(),
            loaded: SystemTime::now(),
            is_cut: false,
        };
        watch.choose_engine(settings.reload_engine);
        watch.scan(now);
        watch.found.clear();
        watch
    }

    fn choose_engine(&mut self, wanted: ReloadEngine) {
        if wanted == ReloadEngine::Poll {
            return;
        }
        let mut paths = self.scope.roots.iter().map(|root| &root.path);
        if wanted == ReloadEngine::Auto
            && let Some(path) = paths.find(|path| is_remote(path))
        {
            log::info(format_args!(
                "{} is on a network file system, which does not tell of changes made elsewhere: watching by poll (--reload-engine inotify insists)",
                path.display()
            ));
            return;
        }
        match InotifyWatcher::new() {
            Ok(inotify) => self.engine = Engine::Inotify(inotify),
            Err(error) => say_no_inotify(&error),
        }
    }

    /// What to wait on, if anything.
    fn source(&self) -> Option<RawFd> {
        match &self.engine {
            Engine::Inotify(inotify) => Some(inotify.source().as_fd().as_raw_fd()),
            Engine::Poll { .. } => None,
        }
    }

    /// When to scan the files, if inotify reports nothing.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        let poll = match self.engine {
            Engine::Inotify(_) => None,
            Engine::Poll { next } => Some(next),
        };
        self.burst.map(|burst| burst.due).or(poll)
    }

    /// Reads the events of inotify.
    fn read_events(&mut self, now: Monotonic) {
        let Engine::Inotify(inotify) = &self.engine else {
            return;
        };
        match inotify.read_events() {
            Ok(false) => {}
            Ok(true) => self.debounce(now),
            Err(error) => {
                log::warning(format_args!("inotify failed: {error}; watching by poll"));
                self.engine = Engine::Poll { next: now };
            }
        }
    }

    /// Notes an event, and waits for more.
    fn debounce(&mut self, now: Monotonic) {
        let first = self.burst.map_or(now, |burst| burst.first);
        let due = now.after(QUIET_TIME).min(first.after(MAX_DELAY));
        self.burst = Some(Burst { first, due });
    }

    /// Scans if it is due; returns the files that have changed, once they stop changing.
    fn changes(&mut self, now: Monotonic) -> BTreeSet<PathBuf> {
        if self.deadline().is_none_or(|due| due > now) {
            return BTreeSet::new();
        }
        let is_polling = matches!(self.engine, Engine::Poll { .. });
        let moved = self.scan(now);
        let over = self
            .burst
            .is_some_and(|burst| burst.first.after(MAX_DELAY) <= now);
        // Without inotify, changes have stopped when two scans see the same.
        if is_polling && moved && !over {
            self.debounce(now);
            return BTreeSet::new();
        }
        self.burst = None;
        let found = std::mem::take(&mut self.found);
        if !found.is_empty() {
            self.loaded = SystemTime::now();
        }
        found
    }

    /// Compares all files with their previous state; returns whether any has changed.
    fn scan(&mut self, began: Monotonic) -> bool {
        let mut view = self.scope.scan();
        for _scan in 0..MAX_SCANS {
            let Engine::Inotify(inotify) = &mut self.engine else {
                break;
            };
            match inotify.watch(&view.directories) {
                Ok(true) => view = self.scope.scan(),
                Ok(false) => break,
                Err(error) => {
                    say_no_inotify(&error);
                    self.engine = Engine::Poll { next: began };
                }
            }
        }
        if let Engine::Poll { next } = &mut self.engine {
            let ended = clock::now();
            let took = ended.since(began);
            *next = ended.after(POLL_INTERVAL.max(took.saturating_mul(POLL_COST_RATIO)));
        }
        if view.is_cut && !self.is_cut {
            log::warning(format_args!(
                "More than {} directories to watch: changes in the deeper ones go unnoticed (start in the directory of the app, or name it with --chdir)",
                view.directories.len()
            ));
        }
        self.is_cut = view.is_cut;
        self.directories = view.directories.len();
        let before = std::mem::replace(&mut self.files, view.files);
        let (cut, loaded) = (view.is_cut, self.loaded);
        let is_new = |(path, stamp): &(&PathBuf, &Stamp)| match before.get(*path) {
            Some(known) => known != *stamp,
            // The set of directories within the limit may change without a change of a file.
            None => !cut || stamp.is_after(loaded),
        };
        let changed = self.files.iter().filter(is_new).map(|(path, _)| path);
        let gone = before.keys().filter(|path| !self.files.contains_key(*path));
        let gone = gone.filter(|path| !cut || !path.exists());
        let changed: Vec<PathBuf> = changed.chain(gone).cloned().collect();
        let any = !changed.is_empty();
        self.found.extend(changed);
        any
    }

    /// Adds roots from which the app was loaded.
    fn add(&mut self, roots: Vec<CodeDirectory>, now: Monotonic) {
        let known = &self.scope.roots;
        let new: Vec<CodeDirectory> = roots
            .into_iter()
            .filter(|root| !known.contains(root))
            .collect();
        if new.is_empty() {
            return;
        }
        if self.scope.roots.len() > MAX_ROOTS {
            // An app may make itself another directory each time.
            let reported = self.scope.roots.split_off(self.named);
            let there = reported.into_iter().filter(|root| root.path.is_dir());
            self.scope.roots.extend(there);
        }
        self.scope.roots.extend(new);
        let (before, found) = (self.files.clone(), self.found.clone());
        self.scan(now);
        // A file that is seen for the first time has not changed, unless it did while the app was
        // loaded.
        let (files, loaded) = (&self.files, self.loaded);
        self.found.retain(|path| {
            let is_late = files.get(path).is_none_or(|stamp| stamp.is_after(loaded));
            found.contains(path) || before.contains_key(path) || is_late
        });
        if !self.found.is_empty() {
            self.debounce(now);
        }
    }
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = match self.engine {
            Engine::Inotify(_) => "inotify",
            Engine::Poll { .. } => "poll",
        };
        let (files, directories) = (self.files.len(), self.directories);
        write!(
            f,
            "Watching by {engine} (files: {files}, directories: {directories})"
        )
    }
}

fn say_no_inotify(error: &NoInotify) {
    log::warning(format_args!(
        "Cannot use inotify: {error}; watching by poll"
    ));
}

/// Whether other machines may change the files, of which the kernel does not know.
fn is_remote(path: &Path) -> bool {
    const CIFS: FsType = FsType(0xff53_4d42);
    const SMB2: FsType = FsType(0xfe53_4d42);
    const NINE_P: FsType = FsType(0x0102_1997);
    const VBOX: FsType = FsType(0x786f_4256);
    let remote = [
        AFS_SUPER_MAGIC,
        CODA_SUPER_MAGIC,
        FUSE_SUPER_MAGIC,
        NCP_SUPER_MAGIC,
        NFS_SUPER_MAGIC,
        SMB_SUPER_MAGIC,
        CIFS,
        SMB2,
        NINE_P,
        VBOX,
    ];
    statfs(path).is_ok_and(|about| remote.contains(&about.filesystem_type()))
}

/// Whether both settings watch the same files in the same way.
fn are_same(one: &Settings, other: &Settings) -> bool {
    one.reload == other.reload
        && one.reload_engine == other.reload_engine
        && one.reload_extra_files == other.reload_extra_files
        && one.chdir == other.chdir
        && one.pythonpath == other.pythonpath
}

/// The watch of the settings, or none.
#[derive(Debug, Default)]
pub(super) struct FileWatcher {
    watch: Option<Watch>,
}

impl FileWatcher {
    /// Watches what the settings name, or nothing.
    pub(super) fn begin(&mut self, settings: &Settings, registry: &Registry, token: Token) {
        let was_on = self.watch.take().is_some();
        if !settings.reload {
            return;
        }
        if !was_on {
            log::warning(format_args!("Reloader is on. Use in development only!"));
        }
        let mut watch = Watch::begin(settings, clock::now());
        if let Some(source) = watch.source()
            && let Err(error) = registry.register(&mut SourceFd(&source), token, Interest::READABLE)
        {
            log::warning(format_args!(
                "cannot wait for inotify: {error}; watching by poll"
            ));
            watch.engine = Engine::Poll { next: clock::now() };
        }
        log::info(format_args!("{watch}"));
        self.watch = Some(watch);
    }

    /// Called after a reload: begins again if the settings of the watch have changed.
    pub(super) fn renew(
        &mut self,
        before: &Settings,
        settings: &Settings,
        registry: &Registry,
        token: Token,
    ) {
        if !are_same(before, settings) {
            self.begin(settings, registry, token);
        }
    }

    /// When to scan the files, if inotify reports nothing.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.watch.as_ref().and_then(Watch::deadline)
    }

    /// Reads the events of inotify.
    pub(super) fn read_events(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.read_events(clock::now());
        }
    }

    /// Adds the directories from which a template or worker has loaded the app.
    pub(super) fn add(&mut self, directories: Vec<CodeDirectory>) {
        if let Some(watch) = &mut self.watch {
            watch.add(directories, clock::now());
        }
    }

    /// The files that have changed, once they stop changing.
    pub(super) fn take_changes(&mut self, now: Monotonic) -> BTreeSet<PathBuf> {
        match &mut self.watch {
            Some(watch) => watch.changes(now),
            None => BTreeSet::new(),
        }
    }
}

/// gunicorn's line before a reload for changed files; `None` when nothing has changed.
pub(super) fn describe_changes(files: &BTreeSet<PathBuf>) -> Option<String> {
    let first = files.first()?.display();
    Some(match files.len().saturating_sub(1) {
        0 => format!("Worker reloading: {first} modified"),
        others => format!("Worker reloading: {first} modified, and {others} more"),
    })
}
