//! Signals to child processes.

use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid as NixPid;

use rcorn_arbiter::Pid;
use rcorn_log as log;
use rcorn_sys::signal::number;

/// Whether the process is a child of ours that was not reaped yet.
pub(super) fn is_child(pid: Pid) -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    pid.0 > 0 && waitid(Id::Pid(NixPid::from_raw(pid.0)), look).is_ok()
}

/// Sends a signal to a child that was not reaped yet: its number cannot belong to another process.
pub(super) fn signal(pid: Pid, signal: Signal) {
    if let Err(error) = rcorn_sys::signal::send(pid.0, number(signal)) {
        log::debug(format_args!("cannot send {signal} to {pid}: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_never_signalled() {
        for group in [0, -1] {
            // A harmless signal: if it is sent after all, it goes to all processes.
            let sent = rcorn_sys::signal::send(group, number(Signal::SIGCONT));
            assert!(sent.is_err());
            assert!(!is_child(Pid(group)));
        }
    }
}
