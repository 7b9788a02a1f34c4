//! A control group whose memory is limited, for tests in which the kernel kills (cgroups(7)).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::{Deadline, holds_within};

/// How long the kernel may take until a group without processes can be removed.
const AFTERWARDS: Duration = Duration::from_secs(5);

/// Where a version has its groups, and what their files are called: that which shows that groups
/// can be made here, the memory in use, its limit, and that of swap.
struct Version {
    root: &'static str,
    mark: &'static str,
    used: &'static str,
    limit: &'static str,
    swap: (&'static str, &'static str),
}

const VERSIONS: [Version; 2] = [
    Version {
        root: "/sys/fs/cgroup",
        mark: "memory.current",
        used: "memory.current",
        limit: "memory.max",
        swap: ("memory.swap.max", "0"),
    },
    Version {
        root: "/sys/fs/cgroup/memory",
        mark: "memory.limit_in_bytes",
        used: "memory.usage_in_bytes",
        limit: "memory.limit_in_bytes",
        swap: ("memory.swappiness", "0"),
    },
];

/// A group of its own, removed in the end.
pub(crate) struct MemoryGroup {
    path: PathBuf,
    version: &'static Version,
}

impl MemoryGroup {
    /// An empty group without a limit.
    ///
    /// # Errors
    ///
    /// Only root may make one, and only where the kernel or the container lets it.
    pub(crate) fn new() -> io::Result<Self> {
        let mut why = io::Error::from(io::ErrorKind::Unsupported);
        for version in &VERSIONS {
            match Self::of(version) {
                Ok(group) => return Ok(group),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn of(version: &'static Version) -> io::Result<Self> {
        // A folder of a temporary name, which the kernel fills.
        let folder = TempDir::with_prefix_in("rcorn-test-", version.root)?;
        let group = Self {
            path: folder.keep(),
            version,
        };
        if !group.path.join(version.mark).exists() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(group)
    }

    /// The file to which a process writes its pid to join.
    pub(crate) fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets its processes use so much more than they do now, and no swap.
    pub(crate) fn limit_growth(&self, bytes: u64) {
        let used = fs::read_to_string(self.path.join(self.version.used)).unwrap();
        let limit = used.trim().parse::<u64>().unwrap() + bytes;
        let (swap, none) = self.version.swap;
        // A kernel without swap has no such file in version 2.
        fs::write(self.path.join(swap), none).ok();
        fs::write(self.path.join(self.version.limit), limit.to_string()).unwrap();
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // It is busy until the last process is reaped.
        holds_within(Deadline::after(AFTERWARDS), || {
            fs::remove_dir(&self.path).is_ok() || !self.path.exists()
        });
    }
}
