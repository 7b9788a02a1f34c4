//! Starts a program by fork + exec with inherited descriptors.
#![expect(unsafe_code, reason = "code between fork and exec needs pre_exec")]

use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};

/// A program to start.
#[derive(Debug, Default)]
pub struct Spawn {
    /// Its path; also `argv[0]`, by which a Python finds its virtual environment.
    pub program: PathBuf,
    /// Its arguments after `argv[0]`.
    pub arguments: Vec<OsString>,
    /// Variables to set.
    pub environment: Vec<(OsString, OsString)>,
    /// Variables to remove.
    pub without: Vec<OsString>,
    /// Descriptors that survive the exec under the same number.
    pub inherit: Vec<RawFd>,
    /// SIGINT is ignored from the start: Ctrl-C in a terminal goes to the whole group, and the arbiter
    /// alone decides what it means.
    pub ignore_interrupt: bool,
    /// The child gets SIGTERM when the thread that started it dies.
    pub die_with_parent: bool,
    /// Where to start; our own directory if not given.
    pub directory: Option<PathBuf>,
}

impl Spawn {
    /// Starts it and gives its pid. The caller reaps. An exec failure is an error here, not an exit code.
    pub fn start(self) -> io::Result<i32> {
        let Self {
            program,
            arguments,
            environment,
            without,
            inherit,
            ..
        } = self;
        let (ignore_interrupt, die_with_parent) = (self.ignore_interrupt, self.die_with_parent);
        let mut command = Command::new(program);
        command
            .args(arguments)
            .envs(environment)
            .stdin(Stdio::inherit());
        for name in without {
            command.env_remove(name);
        }
        if let Some(directory) = self.directory {
            command.current_dir(directory);
        }
        let parent = std::process::id();
        let prepare = move || {
            for fd in &inherit {
                // SAFETY: the number is an open descriptor of the parent, so of this copy of it.
                let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
                fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
            }
            if die_with_parent {
                nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
                // The parent may be gone already; then no signal comes any more.
                if nix::unistd::getppid().as_raw().cast_unsigned() != parent {
                    return Err(io::Error::other("the parent is gone"));
                }
            }
            let disposition = if ignore_interrupt {
                SigHandler::SigIgn
            } else {
                SigHandler::SigDfl
            };
            // SAFETY: SIG_IGN and SIG_DFL run no code of ours.
            unsafe { signal(Signal::SIGINT, disposition) }?;
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
            Ok(())
        };
        // SAFETY: the closure makes only async-signal-safe calls (fcntl, prctl, getppid, sigaction,
        // sigprocmask) and does not allocate.
        unsafe { command.pre_exec(prepare) };
        let child = command.spawn()?;
        // Dropping a std Child neither kills nor waits: the arbiter reaps by pid.
        i32::try_from(child.id()).map_err(io::Error::other)
    }
}
