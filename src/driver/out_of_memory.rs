//! Whether the kernel killed a process because of a lack of memory. It is logged only if the
//! kernel's own counter shows it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rcorn_arbiter::Pid;
use rcorn_log as log;
use rcorn_sys::clock;
use rcorn_types::Monotonic;

/// Processes that the kernel kills together have all ended within this time.
const TOGETHER: Duration = Duration::from_secs(1);

/// The kernel's count of the processes in our control group that it has killed because of a lack of
/// memory.
#[derive(Debug)]
pub(super) struct OutOfMemory {
    file: Option<PathBuf>,
    seen: u64,
    /// Kills that the last look has shown beside that of its worker, and when it was: workers that
    /// were killed together end one after the other.
    others: (u64, Monotonic),
}

impl OutOfMemory {
    /// Finds the counter (cgroups(7): `memory.events` of version 2, `memory.oom_control` of version
    /// 1).
    pub(super) fn find() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut files = groups.lines().filter_map(counter_files);
        let file = files.find_map(|files| files.into_iter().find(|file| file.is_file()));
        Self::watch(file)
    }

    fn watch(file: Option<PathBuf>) -> Self {
        let mut found = Self {
            file,
            seen: 0,
            others: (0, Monotonic::ZERO),
        };
        found.seen = found.count();
        found
    }

    fn count(&self) -> u64 {
        let text = self.file.as_ref().map(fs::read_to_string);
        let text = text.and_then(Result::ok).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill "))
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Called after a KILL that was not ours: logs it if the kernel did it. Returns whether it did.
    pub(super) fn note_kill(&mut self, pid: Pid) -> bool {
        let text = self.explain(pid, clock::now());
        if let Some(text) = &text {
            log::error(format_args!("{text}"));
        }
        text.is_some()
    }

    fn explain(&mut self, pid: Pid, now: Monotonic) -> Option<String> {
        let count = self.count();
        let (others, at) = self.others;
        let before = if now.since(at) < TOGETHER {
            self.seen.saturating_sub(others)
        } else {
            self.seen
        };
        let kills = count.saturating_sub(before);
        (self.seen, self.others) = (count, (kills.saturating_sub(1), now));
        let file = self.file.as_ref().filter(|_| kills > 0)?;
        Some(format!(
            "Worker (pid:{pid}) ended when the kernel killed a process for want of memory: oom_kill in {} went from \
             {before} to {count}.",
            file.display()
        ))
    }
}

/// Where the counter of this control group may be, and that of the root of a container.
fn counter_files(group: &str) -> Option<[PathBuf; 2]> {
    let mut parts = group.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let path = path.trim_start_matches('/');
    let (root, name) = if controllers.is_empty() {
        ("/sys/fs/cgroup", "memory.events")
    } else if controllers.split(',').any(|name| name == "memory") {
        ("/sys/fs/cgroup/memory", "memory.oom_control")
    } else {
        return None;
    };
    let root = PathBuf::from(root);
    Some([root.join(path).join(name), root.join(name)])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn both_versions_of_control_groups_have_their_files() {
        let first = |group| counter_files(group).map(|[first, _]| first);
        assert_eq!(
            first("0::/x.service").as_deref(),
            Some(Path::new("/sys/fs/cgroup/x.service/memory.events"))
        );
        assert_eq!(
            first("4:memory:/x").as_deref(),
            Some(Path::new("/sys/fs/cgroup/memory/x/memory.oom_control"))
        );
        assert_eq!(first("5:cpu,cpuacct:/x"), None);
    }

    #[test]
    fn a_kill_is_explained_only_when_the_counter_has_moved() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let put = |count: u32| fs::write(file.path(), format!("oom 9\noom_kill {count}\n"));
        put(3).unwrap();
        let mut counter = OutOfMemory::watch(Some(file.path().to_owned()));
        let at = |seconds| Monotonic::ZERO.after(Duration::from_secs(seconds));
        assert_eq!(counter.explain(Pid(7), at(10)), None);
        put(4).unwrap();
        let text = counter.explain(Pid(7), at(20)).unwrap();
        assert!(text.contains("from 3 to 4"), "{text}");
        assert_eq!(counter.explain(Pid(7), at(20)), None);
    }

    #[test]
    fn workers_that_are_killed_together_are_all_explained() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let put = |count: u32| fs::write(file.path(), format!("oom_kill {count}\n"));
        put(3).unwrap();
        let mut counter = OutOfMemory::watch(Some(file.path().to_owned()));
        let at = |millis| Monotonic::ZERO.after(Duration::from_millis(millis));
        put(6).unwrap();
        assert!(counter.explain(Pid(7), at(10_000)).is_some());
        let text = counter.explain(Pid(8), at(10_100)).unwrap();
        assert!(text.contains("from 4 to 6"), "{text}");
        // The third was no worker, and somebody kills one later.
        assert_eq!(counter.explain(Pid(9), at(11_100)), None);
    }
}
