//! The check of a new build before the exec, which cannot be undone: in a helper process, it reads
//! the same hand-over that it will get, and says whether it understands it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use mio::{Registry, Token};

use rcorn_arbiter::Pid;
use rcorn_types::Monotonic;

use super::handover::{self, Handover, HandoverError};
use super::helper::{Helper, HelperError, answer_pipe};

/// The hidden flag of the check: the hand-over is on standard input; a line on standard output and
/// the exit code tell the outcome.
pub const CHECK_FLAG: &str = "--handover-check";
/// The hidden flag by which builds before the check ask for the protocol's number.
pub const PROTOCOL_FLAG: &str = "--handover-protocol";

/// The line of a build that can take over.
const READY: &str = "ready";
/// How long a new build may take to start and to read the hand-over.
const CHECK_LIMIT: Duration = Duration::from_secs(2);
/// The longest reason of a new build that is passed on, in characters.
const MAX_REASON_CHARS: usize = 200;

/// Reads a hand-over from standard input without acting on it: the new build's half of the check.
/// Returns the line to print, which says that it succeeded, or why not.
///
/// # Errors
///
/// The hand-over cannot be read.
pub fn check_handover() -> Result<&'static str, HandoverError> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    Handover::read(File::from(input)).map(|_handover| READY)
}

/// A running check.
#[derive(Debug)]
pub(super) struct SuccessorCheck {
    helper: Helper,
    checked: Checked,
}

/// A hand-over that was given to the new build.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) handover: Handover,
    pub(super) bytes: Vec<u8>,
    pub(super) memory: OwnedFd,
}

impl SuccessorCheck {
    /// Starts the new build with the hand-over.
    ///
    /// # Errors
    ///
    /// The program cannot be started.
    pub(super) fn start(program: &Path, handover: Handover) -> io::Result<Self> {
        let bytes = handover.encode()?;
        let memory = handover::memfd(&bytes)?;
        let (answer, theirs) = answer_pipe()?;
        let child = Command::new(program)
            .arg(CHECK_FLAG)
            .stdin(Stdio::from(memory.try_clone()?))
            // If it prints something else, that is a part of the reason.
            .stderr(Stdio::from(theirs.try_clone()?))
            .stdout(Stdio::from(theirs))
            .spawn()?;
        let pid = Pid(i32::try_from(child.id()).map_err(io::Error::other)?);
        Ok(Self {
            helper: Helper::new(pid, answer, CHECK_LIMIT),
            checked: Checked {
                handover,
                bytes,
                memory,
            },
        })
    }

    /// Makes the loop wake up for the answer.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        self.helper.register(registry, token)
    }

    /// When it is given up.
    pub(super) fn deadline(&self) -> Monotonic {
        self.helper.deadline()
    }

    /// The outcome, once there is one: the hand-over that the new build understands, or why it does
    /// not.
    pub(super) fn poll(&mut self, now: Monotonic) -> Option<io::Result<()>> {
        let answer = self.helper.poll(now)?;
        Some(judge(answer))
    }

    /// The hand-over that was checked.
    pub(super) fn into_checked(self) -> Checked {
        self.checked
    }
}

/// The meaning of the answer of a new build.
fn judge(answer: Result<Vec<u8>, HelperError>) -> io::Result<()> {
    let answer = match answer {
        Ok(answer) => String::from_utf8_lossy(&answer).into_owned(),
        Err(HelperError::TimedOut(limit)) => {
            let limit = limit.as_secs();
            let text = format!("it does not answer {CHECK_FLAG} within {limit} s");
            return Err(io::Error::other(text));
        }
        Err(HelperError::Pipe(error)) => return Err(error),
    };
    if answer.trim() == READY {
        return Ok(());
    }
    let said = answer.lines().map(str::trim).find(|line| !line.is_empty());
    let said: String = match said {
        Some(line) => line.chars().take(MAX_REASON_CHARS).collect(),
        None => format!("it does not know {CHECK_FLAG}"),
    };
    Err(io::Error::other(format!(
        "this build cannot take over from the one that runs ({said}); use upgrade: beside, or restart"
    )))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rcorn_sys::clock;

    use super::*;

    fn check(script: &str) -> io::Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("rcorn");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let handover = Handover::new(Vec::new(), (0, 1), None);
        let mut check = loop {
            match SuccessorCheck::start(&program, Handover::new(Vec::new(), (0, 1), None)) {
                // Another test forks while the script is open for writing.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
                started => break started.unwrap(),
            }
        };
        assert_eq!(check.checked.bytes, handover.encode().unwrap());
        loop {
            if let Some(outcome) = check.poll(clock::now()) {
                return outcome;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_build_that_is_ready_is_taken() {
        check("test \"$1\" = --handover-check && grep -q protocol && echo ready").unwrap();
    }

    #[test]
    fn a_build_that_is_not_ready_is_refused_with_its_reason() {
        let refused = |script: &str| check(script).unwrap_err().to_string();
        let error = refused("echo the hand-over is of protocol 6; exit 1");
        assert!(
            error.contains("(the hand-over is of protocol 6)"),
            "{error}"
        );
        let error = refused("echo 'rcorn: error: unknown flag' >&2; exit 2");
        assert!(error.contains("(rcorn: error: unknown flag)"), "{error}");
        let error = refused("exit 0");
        assert!(error.contains("does not know --handover-check"), "{error}");
    }

    #[test]
    fn a_build_that_hangs_is_refused_in_time() {
        let error = check("exec sleep 1000").unwrap_err().to_string();
        assert!(error.contains("it does not answer"), "{error}");
    }
}
