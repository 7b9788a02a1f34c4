//! When to scan files: inotify(7) reports at once, and at no cost, that something has happened in a
//! directory. A scan finds out what.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use super::tree::Interest;

/// Why inotify cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoInotify {
    /// Not at all.
    #[error("{source}{}", limit("max_user_instances", *.source))]
    Instance {
        /// What the kernel said.
        source: Errno,
    },
    /// Not for this many directories.
    #[error("{}: {source}{}", .path.display(), limit("max_user_watches", *.source))]
    Directory {
        /// The first that there was no room for.
        path: PathBuf,
        /// What the kernel said.
        source: Errno,
    },
}

/// The limit that caused a refusal, with its value.
fn limit(name: &str, errno: Errno) -> String {
    if !matches!(errno, Errno::ENOSPC | Errno::EMFILE) {
        return String::new();
    }
    let value = fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).unwrap_or_default();
    format!("; fs.inotify.{name} is {}", value.trim())
}

/// The inotify instance, and what matters in each directory that it watches.
#[derive(Debug)]
pub(super) struct InotifyWatcher {
    inotify: Inotify,
    interests: BTreeMap<WatchDescriptor, Interest>,
}

impl InotifyWatcher {
    /// Watches nothing yet.
    pub(super) fn new() -> Result<Self, NoInotify> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .map_err(|source| NoInotify::Instance { source })?;
        Ok(Self {
            inotify,
            interests: BTreeMap::new(),
        })
    }

    /// What to wait on.
    pub(super) fn source(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Watches these directories and no others; returns whether one of them is new, so that changes
    /// in it may have been missed.
    pub(super) fn watch(
        &mut self,
        directories: &BTreeMap<PathBuf, Interest>,
    ) -> Result<bool, NoInotify> {
        let mut interests: BTreeMap<WatchDescriptor, Interest> = BTreeMap::new();
        let mut is_new = false;
        for (path, interest) in directories {
            // The kernel returns the same number for the same directory, even under a new name.
            let Some(number) = self.add(path)? else {
                continue;
            };
            is_new |= !self.interests.contains_key(&number);
            interests.entry(number).or_default().join(interest.clone());
        }
        let before = std::mem::replace(&mut self.interests, interests);
        for number in before.into_keys() {
            if !self.interests.contains_key(&number) {
                // EINVAL: the directory is gone, and the kernel has forgotten it.
                self.inotify.rm_watch(number).ok();
            }
        }
        Ok(is_new)
    }

    fn add(&self, path: &Path) -> Result<Option<WatchDescriptor>, NoInotify> {
        // Only the end of a write: a file that is being written is not scanned yet.
        let wanted = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ONLYDIR;
        match self.inotify.add_watch(path, wanted) {
            Ok(number) => Ok(Some(number)),
            Err(source @ (Errno::ENOSPC | Errno::ENOMEM)) => Err(NoInotify::Directory {
                path: path.to_owned(),
                source,
            }),
            // It has been removed, or may not be read.
            Err(_other) => Ok(None),
        }
    }

    /// Reads the events; returns whether a scan is needed.
    pub(super) fn read_events(&self) -> io::Result<bool> {
        let mut is_relevant = false;
        loop {
            match self.inotify.read_events() {
                Ok(events) => is_relevant |= events.iter().any(|event| self.matters(event)),
                Err(Errno::EAGAIN) => return Ok(is_relevant),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn matters(&self, event: &InotifyEvent) -> bool {
        // The queue of events has overflowed.
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            return true;
        }
        let Some(interest) = self.interests.get(&event.wd) else {
            return false;
        };
        // The directory itself is gone.
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            return true;
        }
        let is_directory = event.mask.contains(AddWatchFlags::IN_ISDIR);
        let name = event.name.as_deref();
        name.is_some_and(|name| interest.matches(name, is_directory))
    }
}
