//! Processes as the kernel shows them: starts the one under test so that it dies with its test,
//! waits for ends through pidfds, lists children, and makes sure that no process is left.
#![expect(
    unsafe_code,
    reason = "code between fork and exec, and pidfd_open, which no library offers safely"
)]

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::Deadline;

/// Starts a program as the leader of a process group of its own. Descriptors in `inherit` survive
/// the exec under the same number, in this child only: other tests start servers at the same time.
pub(crate) fn start(command: &mut Command, inherit: Vec<RawFd>) -> io::Result<Child> {
    // Processes that the group leaves behind become ours, so that `reap_group` sees them.
    prctl::set_child_subreaper(true)?;
    command.process_group(0);
    let prepare = move || {
        // The death signal is tied to a thread: the test's own, which outlives its server.
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        for fd in &inherit {
            // SAFETY: F_SETFD takes any number and changes only this child's flag.
            if unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: the closure calls prctl and fcntl only, which are async-signal-safe, and does not
    // allocate.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

/// A process that can be waited for without being its parent, and whose pid cannot be reused.
#[derive(Debug)]
pub(crate) struct Pidfd(OwnedFd);

impl Pidfd {
    /// Opens the process of this pid.
    pub(crate) fn open(pid: Pid) -> io::Result<Self> {
        // SAFETY: pidfd_open takes any pid, and flags of 0.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
        let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Waits until the process has ended; `false` when the deadline comes first.
    pub(crate) fn wait(&self, deadline: Deadline) -> bool {
        loop {
            let mut wanted = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            match poll(&mut wanted, deadline.poll_timeout()) {
                Ok(0) if deadline.left().is_zero() => return false,
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return true,
                Err(errno) => panic!("cannot wait for a process: {errno}"),
            }
        }
    }
}

/// The children of a process, as the kernel lists them; none when it has ended.
pub(crate) fn children(parent: Pid) -> Vec<Pid> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace()
        .map(|pid| Pid::from_raw(pid.parse().unwrap()))
        .collect()
}

/// What `ps` shows for a process: its title or its command line. Empty for a zombie or a pid that
/// is not in use.
pub(crate) fn title(pid: Pid) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
    text.trim_end().to_owned()
}

/// The thread of a process that has this name; `None`: there is none.
pub(crate) fn thread_named(pid: Pid, name: &str) -> Option<Pid> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut threads = threads.map(|entry| entry.unwrap());
    let found = threads.find(|thread| {
        let comm = fs::read_to_string(thread.path().join("comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    })?;
    let number = found.file_name().to_str().unwrap().parse().unwrap();
    Some(Pid::from_raw(number))
}

/// Reaps the ended processes of a group that became ours, and returns whether the group is empty.
/// The leader must have been waited for already.
pub(crate) fn reap_group(group: Pid) -> bool {
    loop {
        match waitpid(Pid::from_raw(-group.as_raw()), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return false,
            Ok(_) | Err(Errno::EINTR) => {}
            // No child of ours; but one may still have a living parent outside the group.
            Err(_) => return matches!(killpg(group, None), Err(Errno::ESRCH)),
        }
    }
}

/// One line for each living process of a group: pid, state, where it waits, title.
pub(crate) fn describe_group(group: Pid) -> String {
    let mut lines = String::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let Some(pid) = name
            .to_str()
            .and_then(|name| name.parse().ok())
            .map(Pid::from_raw)
        else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // state, parent, group; behind the command's name, which may hold anything.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
        if let [state, parent, of_group, ..] = fields[..]
            && of_group == group.to_string()
        {
            let wchan = fs::read_to_string(entry.path().join("wchan")).unwrap_or_default();
            let title = title(pid);
            writeln!(
                lines,
                "  {pid} state {state} parent {parent} in {wchan}: {title}"
            )
            .unwrap();
        }
    }
    lines
}

/// Registers a function that is called when the test program ends, successfully or not.
pub(super) fn at_exit(report: extern "C" fn()) {
    // SAFETY: atexit takes any function without arguments; this one may run beside threads that
    // still live.
    let result = unsafe { libc::atexit(report) };
    assert_eq!(result, 0, "no room for another function at exit");
}

/// Takes ownership of a descriptor that a message has just brought.
pub(crate) fn own(number: RawFd) -> OwnedFd {
    // SAFETY: the kernel made this descriptor for us a moment ago, and nobody else knows its
    // number.
    unsafe { OwnedFd::from_raw_fd(number) }
}
