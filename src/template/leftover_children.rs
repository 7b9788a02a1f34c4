//! Ends processes that the import of `--check-config` has started: that import is not used, and
//! nobody else would end them. (Any other import belongs to a process that lives with it. What that
//! process has started outlives it, as under gunicorn.)

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeSpec;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use pyo3::prelude::*;

use rcorn_log as log;
use rcorn_sys::clock;
use rcorn_sys::process::watch;
use rcorn_sys::procfs::children;
use rcorn_types::Monotonic;

/// How long they may take, together, to end after TERM.
const EXIT_WAIT: Duration = Duration::from_secs(1);

/// Ends the children that did not exist before: sends TERM, and KILL after a second. Returns them:
/// they are reaped later ([`reap`]), because Python's own functions for the exit wait for some.
pub(super) fn end_children(py: Python<'_>, before: &BTreeSet<i32>) -> Vec<i32> {
    let tracker = resource_tracker(py);
    let now = match children() {
        Ok(now) => now,
        Err(error) => {
            log::warning(format_args!(
                "cannot see which processes the import has left: {error}"
            ));
            return Vec::new();
        }
    };
    // They are not reaped yet, so the pids belong to them.
    let left: Vec<i32> = now
        .difference(before)
        .copied()
        .filter(|pid| Some(*pid) != tracker)
        .collect();
    for pid in &left {
        kill(Pid::from_raw(*pid), Signal::SIGTERM).ok();
    }
    let until = clock::now().after(EXIT_WAIT);
    for pid in &left {
        if !ends(*pid, until) {
            kill(Pid::from_raw(*pid), Signal::SIGKILL).ok();
        }
    }
    left
}

/// Reaps those of them that nobody has reaped. All of them were ended.
pub(super) fn reap(children: &[i32]) {
    for pid in children {
        waitpid(Pid::from_raw(*pid), None).ok();
    }
}

/// Waits for its end; returns whether it came in time.
fn ends(pid: i32, until: Monotonic) -> bool {
    let Ok(end) = watch(pid) else {
        return false;
    };
    let mut end = [PollFd::new(end.as_fd(), PollFlags::POLLIN)];
    loop {
        let time = TimeSpec::from_duration(until.since(clock::now()));
        match ppoll(&mut end, Some(time), None) {
            Err(Errno::EINTR) => {}
            Ok(ended) => return ended > 0,
            Err(_) => return false,
        }
    }
}

/// It ends by itself, after it has removed what its processes left behind.
fn resource_tracker(py: Python<'_>) -> Option<i32> {
    let modules = py.import("sys").and_then(|sys| sys.getattr("modules"));
    let module = modules.and_then(|modules| modules.get_item("multiprocessing.resource_tracker"));
    let pid = module
        .and_then(|module| module.getattr("_resource_tracker"))
        .and_then(|tracker| tracker.getattr("_pid"));
    pid.and_then(|pid| pid.extract()).ok()
}
