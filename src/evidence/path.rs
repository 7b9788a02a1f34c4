//! A path that Python code names, and what the system finds there: one file has many spellings.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// A path, as it was named and as this process finds it.
#[derive(Clone, Debug)]
pub(crate) struct NamedPath {
    pub(crate) name: String,
    path: PathBuf,
}

/// What the contents of a file differ by, from process to process or from read to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Chance.
    Random,
    /// The process that reads.
    OwnProcess,
}

/// The devices of random numbers, by major and minor number (`Documentation/admin-guide/
/// devices.txt` of Linux): `/dev/random`, `/dev/urandom`, `/dev/hwrng`.
const RANDOM_DEVICES: [(u64, u64); 3] = [(1, 8), (1, 9), (10, 183)];

/// The same by their usual names, which they have even where they are missing.
const RANDOM_NAMES: [&str; 4] = [
    "/dev/random",
    "/dev/urandom",
    "/dev/hwrng",
    "/proc/sys/kernel/random/uuid",
];

impl NamedPath {
    /// The path that an argument is; `None` for a descriptor.
    pub(crate) fn of(argument: &Bound<'_, PyAny>) -> Option<Self> {
        if let Ok(bytes) = argument.cast::<PyBytes>() {
            return Some(Self::from(OsStr::from_bytes(bytes.as_bytes())));
        }
        if let Ok(path) = argument.extract::<PathBuf>() {
            return Some(Self::from(path.as_os_str()));
        }
        // An object of the app, which may run any code.
        let is_number = argument.extract::<i64>().is_ok();
        (!is_number && !argument.is_none()).then(|| Self::from(argument.to_string().as_ref()))
    }

    /// Where this process is.
    pub(crate) fn here() -> Self {
        Self::from(".".as_ref())
    }

    fn from(path: &OsStr) -> Self {
        Self {
            name: path.to_string_lossy().into_owned(),
            path: path.into(),
        }
    }

    /// As seen from an open directory (`dir_fd`), if there is one.
    pub(crate) fn beside(mut self, folder: Option<&Bound<'_, PyAny>>) -> Self {
        let folder: Option<RawFd> = folder.and_then(|folder| folder.extract().ok());
        // Without one, audit events have -1.
        if let Some(folder) = folder.filter(|fd| *fd >= 0)
            && self.path.is_relative()
        {
            self.path = Path::new(&format!("/proc/self/fd/{folder}")).join(&self.path);
        }
        self
    }

    /// Whether there is something, if only a link to nowhere.
    pub(crate) fn exists(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    /// What a reader gets that another process, or another time, would not.
    pub(crate) fn source(&self) -> Option<Source> {
        if RANDOM_NAMES.contains(&self.name.as_str()) {
            return Some(Source::Random);
        }
        if is_own_process(&self.name) {
            return Some(Source::OwnProcess);
        }
        let found = self.path.metadata().ok()?;
        if is_random_device(&found) {
            return Some(Source::Random);
        }
        // All files of /proc are empty, so that few other files are looked at closer.
        if !found.is_dir() && found.len() > 0 {
            return None;
        }
        let real = self.path.canonicalize().ok()?;
        let real = real.to_str()?;
        if RANDOM_NAMES.contains(&real) {
            return Some(Source::Random);
        }
        is_own_process(real).then_some(Source::OwnProcess)
    }

    /// Whether it is a link whose target tells of this process.
    pub(crate) fn is_link_to_own_process(&self) -> bool {
        if is_own_process(&self.name) {
            return true;
        }
        let folder = match self.path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return false,
        };
        let (Ok(folder), Some(last)) = (folder.canonicalize(), self.path.file_name()) else {
            return false;
        };
        folder.join(last).to_str().is_some_and(is_own_process)
    }
}

fn is_random_device(found: &Metadata) -> bool {
    let device = found.rdev();
    found.file_type().is_char_device() && RANDOM_DEVICES.contains(&(major(device), minor(device)))
}

/// Whether a path is about one process. Paths that describe the machine for any process, such as
/// mounts and control groups, are the same in all workers.
pub(crate) fn is_own_process(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/proc/") else {
        return false;
    };
    let mut parts = rest.split('/');
    let process = parts.next().unwrap_or(rest);
    let is_process = ["self", "thread-self"].contains(&process)
        || (!process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit()));
    let mut what = parts.next().unwrap_or_default();
    if what == "task" && parts.next().is_some() {
        // A thread has the same files.
        what = parts.next().unwrap_or_default();
    }
    let common = ["cgroup", "mountinfo", "mounts", "exe", "root", "cwd", "net"];
    is_process && process != "1" && !common.contains(&what)
}
