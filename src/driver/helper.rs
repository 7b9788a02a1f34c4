//! Helpers: child processes that do for the loop what may block (run Python, look up a name, try a
//! new build), and answer with text on a pipe. The loop waits for the pipe as for everything else,
//! until a fixed deadline.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid as NixPid, pipe2};

use rcorn_arbiter::Pid;
use rcorn_sys::clock;
use rcorn_types::Monotonic;

use super::process::{is_child, signal};

/// The longest answer of a helper, in bytes: more is an error.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// How long a helper may live after its answer, when the process waits for its end.
const EXIT_GRACE: Duration = Duration::from_secs(2);

/// Why a helper gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelperError {
    /// It was not done in time.
    #[error("it was not done within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// Its pipe failed.
    #[error(transparent)]
    Pipe(#[from] io::Error),
}

/// A running helper. Dropping it kills the process, if it still lives.
#[derive(Debug)]
pub(super) struct Helper {
    pid: Pid,
    answer: File,
    text: Vec<u8>,
    limit: Duration,
    deadline: Monotonic,
}

/// A pipe for a helper's answer: our end, which never blocks, and the helper's. Both are closed at
/// exec.
///
/// # Errors
///
/// Those of pipe2(2): no descriptor is free.
pub(super) fn answer_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((ours, theirs))
}

impl Helper {
    /// Follows a process that was started with the other end of `answer`, for at most `limit`.
    pub(super) fn new(pid: Pid, answer: OwnedFd, limit: Duration) -> Self {
        Self {
            pid,
            answer: answer.into(),
            text: Vec::new(),
            limit,
            deadline: clock::now().after(limit),
        }
    }

    /// Makes the loop wake up for the answer.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let source = self.answer.as_raw_fd();
        registry.register(&mut SourceFd(&source), token, Interest::READABLE)
    }

    /// When it is given up.
    pub(super) fn deadline(&self) -> Monotonic {
        self.deadline
    }

    /// Reads what has arrived. Returns the whole answer once the helper has closed its end, or why
    /// there is none.
    pub(super) fn poll(&mut self, now: Monotonic) -> Option<Result<Vec<u8>, HelperError>> {
        let mut chunk = [0; 4096];
        loop {
            match self.answer.read(&mut chunk) {
                Ok(0) => return Some(Ok(std::mem::take(&mut self.text))),
                Ok(count) => {
                    self.text
                        .extend_from_slice(chunk.get(..count).unwrap_or_default());
                    if self.text.len() > MAX_ANSWER_BYTES {
                        let error = io::Error::other("its answer is too long");
                        return Some(Err(error.into()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let is_late = self.deadline <= now;
                    return is_late.then_some(Err(HelperError::TimedOut(self.limit)));
                }
                Err(error) => return Some(Err(error.into())),
            }
        }
    }

    /// Waits for the answer and for the end of the process. For commands that have no loop.
    ///
    /// # Errors
    ///
    /// As [`Helper::poll`].
    pub(super) fn wait(mut self) -> Result<Vec<u8>, HelperError> {
        let answer = loop {
            let now = clock::now();
            if let Some(answer) = self.poll(now) {
                break answer;
            }
            wait_readable(&self.answer, self.deadline.since(now));
        };
        self.wait_exit();
        answer
    }

    /// It has answered, so it is about to exit. If it does not, it is killed.
    fn wait_exit(&self) {
        let pid = NixPid::from_raw(self.pid.0);
        let is_gone = || {
            let status = waitpid(pid, Some(WaitPidFlag::WNOHANG));
            !matches!(status, Ok(WaitStatus::StillAlive) | Err(nix::Error::EINTR))
        };
        if let Ok(end) = rcorn_sys::process::watch(self.pid.0) {
            wait_readable(&end, EXIT_GRACE);
        }
        if !is_gone() {
            signal(self.pid, Signal::SIGKILL);
            while waitpid(pid, None) == Err(nix::Error::EINTR) {}
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if is_child(self.pid) {
            signal(self.pid, Signal::SIGKILL);
        }
    }
}

/// Waits until `source` can be read, but no longer than `limit`; wakes early for a signal.
fn wait_readable(source: impl AsFd, limit: Duration) {
    // Rounded up to milliseconds, in which poll(2) counts.
    let limit = PollTimeout::try_from(limit.saturating_add(Duration::from_micros(999)));
    let mut wanted = [PollFd::new(source.as_fd(), PollFlags::POLLIN)];
    // The result is ignored: the next read of the source shows what happened.
    poll(&mut wanted, limit.unwrap_or(PollTimeout::MAX)).ok();
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[expect(
        clippy::zombie_processes,
        reason = "the helper is reaped, or killed, by its pid"
    )]
    fn helper(script: &str, limit: Duration) -> Helper {
        let (ours, theirs) = answer_pipe().unwrap();
        let mut command = Command::new("sh");
        let command = command.args(["-c", script]).stdout(Stdio::from(theirs));
        let child = command.spawn().unwrap();
        Helper::new(Pid(i32::try_from(child.id()).unwrap()), ours, limit)
    }

    #[test]
    fn the_whole_answer_comes_when_the_helper_has_ended() {
        let answer = helper("echo one; echo two", Duration::from_secs(20)).wait();
        assert_eq!(answer.unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn a_helper_that_hangs_is_given_up_at_its_deadline_and_killed() {
        let mut hung = helper("exec sleep 1000", Duration::from_millis(50));
        assert!(hung.poll(clock::now()).is_none());
        let late = hung.poll(hung.deadline());
        assert!(matches!(late, Some(Err(HelperError::TimedOut(_)))));
        let pid = NixPid::from_raw(hung.pid.0);
        drop(hung);
        assert!(matches!(
            waitpid(pid, None),
            Ok(WaitStatus::Signaled(_, Signal::SIGKILL, _))
        ));
    }

    #[test]
    fn a_helper_that_lives_on_after_its_answer_does_not_hold_its_caller() {
        let answer = helper(
            "echo x; exec 1>&-; exec sleep 1000",
            Duration::from_secs(20),
        )
        .wait();
        assert_eq!(answer.unwrap(), b"x\n");
    }
}
