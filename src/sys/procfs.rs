//! What `/proc` says of a process.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

/// The number of the field with the time of the fork, in clock ticks since the machine was started.
const START_TIME: usize = 22;

/// `/proc/PID/stat` of one process (`proc_pid_stat(5)`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// All fields from the third on: the second is a command in parentheses, which may hold
    /// anything.
    fields: Vec<String>,
}

impl Stat {
    /// Reads it; `None` when there is no such process, or no `/proc`.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Reads that of this process.
    #[must_use]
    pub fn of_self() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields = rest.split_whitespace().map(str::to_owned).collect();
        Some(Self { fields })
    }

    /// The state: `R`, `S`, `D`, `Z` and others.
    #[must_use]
    pub fn state(&self) -> Option<char> {
        self.fields.first()?.chars().next()
    }

    /// Whether the process has ended and waits to be reaped.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        self.state() == Some('Z')
    }

    /// How long ago the process was forked; to a hundredth of a second.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let started = u64::try_from(self.address(START_TIME)?).ok()?;
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten()?;
        let tick = 1_000_000_000_u64.checked_div(u64::try_from(ticks).ok()?)?;
        let started = Duration::from_nanos(started.saturating_mul(tick));
        let now = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
        Some(now.saturating_sub(started))
    }

    /// A field by its number in the manual page, as an address.
    #[must_use]
    pub fn address(&self, number: usize) -> Option<usize> {
        self.fields.get(number.checked_sub(3)?)?.parse().ok()
    }
}

/// Where in the kernel a process sleeps (`proc_pid_wchan(5)`); `None` when it does not, or it is
/// not ours to know.
#[must_use]
pub fn wait_channel(pid: i32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/wchan")).ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty() && name != "0")
}

/// One mapping of this process (`proc_pid_maps(5)`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// From its first byte to behind its last.
    pub addresses: Range<usize>,
    /// The process may write to it.
    pub is_writable: bool,
    /// What is written is seen by all that map the same.
    pub is_shared: bool,
    /// The inode; 0 for memory without a file.
    pub inode: u64,
    /// The file or the kernel's word for what it is; may be empty.
    pub name: String,
}

impl Mapping {
    /// All of this process.
    ///
    /// # Errors
    ///
    /// There is no `/proc`, or it cannot be read.
    pub fn all() -> io::Result<Vec<Self>> {
        let text = of_self("maps")?;
        Ok(text.lines().filter_map(Self::parse).collect())
    }

    fn parse(line: &str) -> Option<Self> {
        let mut rest = line;
        let mut field = || {
            let (field, more) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = more.trim_start();
            field
        };
        let (first, behind) = field().split_once('-')?;
        let rights = field();
        let (_offset, _device, inode) = (field(), field(), field());
        Some(Self {
            addresses: usize::from_str_radix(first, 16).ok()?
                ..usize::from_str_radix(behind, 16).ok()?,
            is_writable: rights.contains('w'),
            is_shared: rights.contains('s'),
            inode: inode.parse().ok()?,
            name: rest.to_owned(),
        })
    }
}

/// The text of a file of this process. It is read in large pieces: the size of such a file is
/// unknown, and some are made anew for each piece.
///
/// # Errors
///
/// There is no `/proc`, or no such file, or it cannot be read.
pub fn of_self(file: &str) -> io::Result<String> {
    const PIECE_BYTES: usize = 8 << 10;
    let read = || {
        let mut open = File::open(format!("/proc/self/{file}"))?;
        let mut text = Vec::new();
        let mut piece = [0; PIECE_BYTES];
        loop {
            match open.read(&mut piece) {
                Ok(0) => return Ok(String::from_utf8_lossy(&text).into_owned()),
                Ok(count) => text.extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    };
    read().map_err(|error| about(file, &error))
}

/// The locks that a descriptor of this process has (`proc_pid_fdinfo(5)`), one a line, as in
/// `/proc/locks`. None for a descriptor that is closed.
///
/// # Errors
///
/// There is no `/proc`, or it cannot be read.
pub fn locks(descriptor: i32) -> io::Result<Vec<String>> {
    let text = match of_self(&format!("fdinfo/{descriptor}")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Closed; or is there no such folder?
            fs::metadata("/proc/self/fdinfo").map_err(|error| about("fdinfo", &error))?;
            String::new()
        }
        read => read?,
    };
    let locks = text.lines().filter_map(|line| line.strip_prefix("lock:"));
    Ok(locks.map(|lock| lock.trim().to_owned()).collect())
}

/// The locks that this process has, from the list of all (`proc_locks(5)`), but for those of open
/// file descriptions. For a process that has changed its user: before Linux 5.14 it may not read
/// what [`locks`] reads.
///
/// # Errors
///
/// There is no `/proc`, or it cannot be read.
pub fn locks_by_pid() -> io::Result<Vec<String>> {
    let text = fs::read_to_string("/proc/locks")
        .map_err(|error| io::Error::new(error.kind(), format!("/proc/locks: {error}")))?;
    let me = std::process::id().to_string();
    let mine = text
        .lines()
        .filter(|line| line.split_whitespace().nth(4) == Some(&me));
    Ok(mine.map(str::to_owned).collect())
}

/// The child processes of this one (`proc_tid_children(5)`).
///
/// # Errors
///
/// There is no `/proc`, it cannot be read, or the kernel does not list children.
pub fn children() -> io::Result<BTreeSet<i32>> {
    Ok(threads_and_children()?.1)
}

/// How many threads this process has, with those that are ending, and its child processes.
///
/// # Errors
///
/// Those of [`children`].
pub fn threads_and_children() -> io::Result<(usize, BTreeSet<i32>)> {
    let threads = fs::read_dir("/proc/self/task").map_err(|error| about("task", &error))?;
    let mut found = BTreeSet::new();
    let (mut count, mut lists) = (0_usize, 0_usize);
    for thread in threads {
        let path = thread.map_err(|error| about("task", &error))?.path();
        count = count.saturating_add(1);
        match fs::read_to_string(path.join("children")) {
            Ok(list) => {
                lists = lists.saturating_add(1);
                found.extend(
                    list.split_whitespace()
                        .filter_map(|pid| pid.parse::<i32>().ok()),
                );
            }
            // That thread has ended meanwhile. The one that asks has not.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(about("task", &error)),
        }
    }
    if lists == 0 {
        return Err(io::Error::other("no /proc/self/task/*/children"));
    }
    Ok((count, found))
}

/// Whether what was read was of a thread that has ended.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}

/// The error with the file of this process that it is about.
fn about(file: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("/proc/self/{file}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_and_blanks_is_skipped() {
        let stat = Stat::parse("7 (a) b (c)) Z 1 7 7").unwrap();
        assert!(stat.is_zombie());
        assert_eq!(stat.address(4), Some(1));
        assert_eq!(stat.address(2), None);
        assert_eq!(Stat::parse("7"), None);
    }

    #[test]
    fn a_mapping_is_read_with_the_blanks_of_its_name() {
        let line = "7f00-7f10 rw-s 00000000 00:01 17                 /dev/shm/a b (deleted)";
        let mapping = Mapping::parse(line).unwrap();
        assert_eq!(mapping.addresses, 0x7f00..0x7f10);
        assert!(mapping.is_writable && mapping.is_shared);
        assert_eq!(mapping.inode, 17);
        assert_eq!(mapping.name, "/dev/shm/a b (deleted)");
        let line = "00400000-00452000 r-xp 00000000 00:00 0";
        let mapping = Mapping::parse(line).unwrap();
        assert!(!mapping.is_writable && !mapping.is_shared);
        assert_eq!((mapping.inode, mapping.name.as_str()), (0, ""));
        assert_eq!(Mapping::parse("nothing"), None);
    }

    #[cfg(not(miri))]
    #[test]
    fn this_process_has_locks_and_mappings() {
        let file = crate::memfd::sealed(c"test", b"", crate::memfd::Content::Data).unwrap();
        let file = File::from(file);
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file);
        assert_eq!(locks(descriptor).unwrap(), Vec::<String>::new());
        file.lock().unwrap();
        assert_eq!(locks(descriptor).unwrap().len(), 1);
        assert!(!locks_by_pid().unwrap().is_empty());
        let closed = i32::MAX;
        assert_eq!(locks(closed).unwrap(), Vec::<String>::new());
        let here = std::ptr::from_ref(&file).addr();
        let mappings = Mapping::all().unwrap();
        let mine = mappings.iter().find(|one| one.addresses.contains(&here));
        assert!(mine.unwrap().is_writable);
    }

    #[cfg(not(miri))]
    #[test]
    fn children_are_listed_until_they_are_reaped() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(children().unwrap().contains(&pid));
        child.wait().unwrap();
        assert!(!children().unwrap().contains(&pid));
    }

    #[cfg(not(miri))]
    #[test]
    fn this_process_runs_and_nobody_does_not() {
        assert!(!Stat::of_self().unwrap().is_zombie());
        assert_eq!(Stat::of(i32::MAX), None);
    }
}
