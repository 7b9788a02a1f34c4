//! USR2: the build that is installed now takes over. Beside this arbiter, as gunicorn and nginx do
//! it (the operator ends one of the two), or in its place, under the same pid: then the workers
//! continue to serve, and the new build begins with an ordinary reload, which can be rolled back
//! like any other.

use std::convert::Infallible;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::getppid;

use rcorn_arbiter::Pid;
use rcorn_log as log;
use rcorn_sys::descriptor::{set_inherited, set_number_inherited};
use rcorn_sys::spawn::Spawn;
use rcorn_sys::{environment, process};
use rcorn_types::Monotonic;

use super::handover::{self, Handover, VARIABLE};
use super::origin::Origin;
use super::successor::{Checked, SuccessorCheck};

/// How often a new build is checked again because the state has changed during the check, before
/// the upgrade is given up.
const MAX_CHECKS: u32 = 20;

/// The name of a file that an arbiter and the one beside it both need: the newer one adds `.2`,
/// like gunicorn's pid file, until the other is gone.
pub(super) fn name_beside(path: &Path, beside: bool) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    if beside {
        name.push(".2");
    }
    name.into()
}

/// The arbiter that started us beside itself.
#[derive(Debug)]
pub(super) struct Predecessor {
    pid: i32,
    /// Readable when it has ended.
    end: Option<OwnedFd>,
}

impl Predecessor {
    pub(super) fn new(pid: i32) -> Self {
        let end = process::watch(pid).ok();
        Self { pid, end }
    }

    /// Makes the loop wake up when it ends.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let Some(end) = &self.end else {
            return Ok(());
        };
        let end = end.as_raw_fd();
        registry.register(&mut SourceFd(&end), token, Interest::READABLE)
    }

    /// Whether it has ended: then we are the child of another process.
    pub(super) fn is_gone(&self) -> bool {
        getppid().as_raw() != self.pid
    }
}

/// An upgrade in place that is being prepared.
#[derive(Debug)]
pub(super) struct InPlaceUpgrade {
    check: SuccessorCheck,
    checks: u32,
}

impl InPlaceUpgrade {
    /// Makes the new build read the hand-over.
    ///
    /// # Errors
    ///
    /// The new build cannot be started.
    pub(super) fn begin(
        origin: &Origin,
        handover: Handover,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let check = SuccessorCheck::start(&origin.program, handover)?;
        check.register(registry, token)?;
        Ok(Self { check, checks: 1 })
    }

    /// When the new build is given up.
    pub(super) fn deadline(&self) -> Monotonic {
        self.check.deadline()
    }

    /// Whether the new build has answered, or its time is over.
    pub(super) fn poll(&mut self, now: Monotonic) -> Option<io::Result<()>> {
        self.check.poll(now)
    }

    /// Continues after the new build has understood the hand-over. `current` is the hand-over of
    /// this moment: if it differs, the new build must read it, too.
    ///
    /// # Errors
    ///
    /// The state changes faster than the new build reads it, or the new build cannot be started
    /// again.
    pub(super) fn conclude(
        self,
        current: Handover,
        origin: &Origin,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Result<Checked, Self>> {
        let checks = self.checks;
        let checked = self.check.into_checked();
        if checked.bytes == current.encode()? {
            return Ok(Ok(checked));
        }
        if checks >= MAX_CHECKS {
            let text = "the workers change faster than the new build can be checked; try again";
            return Err(io::Error::other(text));
        }
        let again = Self::begin(origin, current, registry, token)?;
        Ok(Err(Self {
            checks: checks.saturating_add(1),
            ..again
        }))
    }
}

/// Starts the build that is installed now beside this one.
///
/// # Errors
///
/// It cannot be started.
pub(super) fn start_beside(origin: &Origin, handover: &Handover) -> io::Result<Pid> {
    let memory = handover::memfd(&handover.encode()?)?;
    let mut inherit = handover.descriptors();
    inherit.push(memory.as_raw_fd());
    let spawn = Spawn {
        program: origin.program.clone(),
        arguments: origin.arguments.iter().skip(1).cloned().collect(),
        environment: vec![(VARIABLE.into(), memory.as_raw_fd().to_string().into())],
        inherit,
        directory: Some(origin.directory.clone()),
        ..Spawn::default()
    };
    let pid = Pid(spawn.start()?);
    log::info(format_args!(
        "Started a new arbiter (pid:{pid}) beside this one"
    ));
    Ok(pid)
}

/// Blocks all signals until a new build has its handlers, or until it is dropped.
#[derive(Debug)]
pub(super) struct BlockedSignals(());

impl BlockedSignals {
    /// Blocks them.
    ///
    /// # Errors
    ///
    /// Those of sigprocmask(2).
    pub(super) fn new() -> io::Result<Self> {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
        Ok(Self(()))
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // It cannot fail with valid arguments.
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).ok();
    }
}

/// Execs the new build in our place. Returns only if that fails; then nothing has changed.
///
/// # Errors
///
/// Those of execve(2), and of what prepares it.
pub(super) fn replace(
    origin: &Origin,
    checked: &Checked,
    _blocked: &BlockedSignals,
) -> io::Result<Infallible> {
    let program = c_string(origin.program.as_os_str())?;
    let arguments = origin.arguments.iter().map(|word| c_string(word));
    let arguments = arguments.collect::<io::Result<Vec<CString>>>()?;
    // The release in which this process was started may have been removed.
    let before = std::env::current_dir().ok();
    let descriptors = checked.handover.descriptors();
    let go = || -> io::Result<Infallible> {
        std::env::set_current_dir(&origin.directory)?;
        set_all_inherited(&descriptors, checked.memory.as_fd(), true)?;
        environment::set(VARIABLE, &checked.memory.as_raw_fd().to_string())?;
        Ok(nix::unistd::execv(&program, &arguments)?)
    };
    let failed = go();
    environment::unset(VARIABLE).ok();
    set_all_inherited(&descriptors, checked.memory.as_fd(), false).ok();
    if let Some(before) = before {
        std::env::set_current_dir(before).ok();
    }
    failed
}

fn set_all_inherited(
    descriptors: &[RawFd],
    memory: BorrowedFd<'_>,
    is_inherited: bool,
) -> io::Result<()> {
    for fd in descriptors {
        set_number_inherited(*fd, is_inherited)?;
    }
    set_inherited(memory, is_inherited)
}

fn c_string(word: &OsStr) -> io::Result<CString> {
    CString::new(word.as_bytes()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_of_two_arbiters_has_its_files_with_2() {
        assert_eq!(
            name_beside(Path::new("/run/x.pid"), false),
            Path::new("/run/x.pid")
        );
        assert_eq!(
            name_beside(Path::new("/run/x.pid"), true),
            Path::new("/run/x.pid.2")
        );
    }

    #[test]
    fn our_parent_is_not_gone_and_a_stranger_is() {
        assert!(!Predecessor::new(getppid().as_raw()).is_gone());
        assert!(Predecessor::new(i32::MAX).is_gone());
    }
}
