//! Starts a program by fork + exec with inherited descriptors.
#![expect(unsafe_code, reason = "code between fork and exec needs pre_exec")]

use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};

/// A program to start.
#[derive(Clone, Debug, Default)]
pub struct Spawn {
    /// Its path; also `argv[0]`, by which a Python finds its virtual environment.
    pub program: PathBuf,
    /// Its arguments after `argv[0]`.
    pub arguments: Vec<OsString>,
    /// Variables to set.
    pub environment: Vec<(OsString, OsString)>,
    /// Variables to remove.
    pub without: Vec<OsString>,
    /// It has no variables but those of `environment`.
    pub clears_environment: bool,
    /// Its name (`argv[0]`), if that is not its path.
    pub name: Option<OsString>,
    /// Descriptors that survive the exec under the same number.
    pub inherit: Vec<RawFd>,
    /// A descriptor that it gets under another number: ours, then that number, which is in use here
    /// by something that it does not get.
    pub renumbered: Option<(RawFd, RawFd)>,
    /// SIGINT is ignored from the start: Ctrl-C in a terminal goes to the whole group, and the
    /// arbiter alone decides what it means.
    pub ignore_interrupt: bool,
    /// The child gets SIGTERM when the thread that started it dies.
    pub die_with_parent: bool,
    /// Where to start; our own directory if not given.
    pub directory: Option<PathBuf>,
}

impl Spawn {
    /// Starts it and returns its pid. The caller reaps it.
    ///
    /// # Errors
    ///
    /// Those of fork(2) and execve(2): that the program cannot be executed is an error here, not an
    /// exit code. ESRCH when this process ended before the child could ask for a signal at its
    /// death.
    pub fn start(self) -> io::Result<i32> {
        let Self {
            program,
            arguments,
            environment,
            without,
            inherit,
            renumbered,
            ..
        } = self;
        let (ignore_interrupt, die_with_parent) = (self.ignore_interrupt, self.die_with_parent);
        let mut command = Command::new(program);
        if self.clears_environment {
            command.env_clear();
        }
        if let Some(name) = self.name {
            command.arg0(name);
        }
        command
            .args(arguments)
            .envs(environment)
            .stdin(Stdio::inherit());
        for name in without {
            command.env_remove(name);
        }
        if let Some(directory) = self.directory {
            // The error of the child would not say that the directory is what is missing.
            directory.read_dir().map_err(|error| {
                let what = format!("the directory {}: {error}", directory.display());
                io::Error::new(error.kind(), what)
            })?;
            command.current_dir(directory);
        }
        let parent = std::process::id();
        let prepare = move || {
            for fd in &inherit {
                keep_at_exec(*fd)?;
            }
            if let Some((ours, theirs)) = renumbered {
                renumber(ours, theirs)?;
            }
            if die_with_parent {
                nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
                // The parent may be gone already; then no signal comes any more.
                if nix::unistd::getppid().as_raw().cast_unsigned() != parent {
                    return Err(io::Error::from_raw_os_error(libc::ESRCH));
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
        // SAFETY: between fork and exec this process may have had other threads, so the closure may
        // only do what is async-signal-safe (signal-safety(7)). It calls fcntl, dup2, prctl,
        // getppid, sigaction and sigprocmask, which are system calls, and neither allocates
        // nor frees: `inherit` is only read, and each error is an errno, which an
        // `io::Error` holds in itself. All else was allocated before the fork; the standard library
        // reports the error through a pipe and calls _exit(2).
        unsafe { command.pre_exec(prepare) };
        let child = command.spawn()?;
        // Dropping a std Child neither kills nor waits: the arbiter reaps by pid.
        i32::try_from(child.id()).map_err(io::Error::other)
    }
}

/// Between fork and exec: this descriptor survives the exec.
fn keep_at_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: the number is an open descriptor of the parent, so of this copy of it.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}

/// Between fork and exec: the descriptor `ours` survives the exec as `theirs`.
fn renumber(ours: RawFd, theirs: RawFd) -> io::Result<()> {
    if ours == theirs {
        return keep_at_exec(ours);
    }
    // SAFETY: numbers alone. Nobody uses what `theirs` was: not the pipe of the standard library
    // either, which was opened while that number was taken.
    if unsafe { libc::dup2(ours, theirs) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::{AsRawFd, OwnedFd};

    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{Pid, pipe};

    use super::*;

    fn shell(script: &str, inherit: Vec<RawFd>) -> Spawn {
        Spawn {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            inherit,
            die_with_parent: true,
            ..Spawn::default()
        }
    }

    fn wait(pid: i32) -> WaitStatus {
        waitpid(Pid::from_raw(pid), None).unwrap()
    }

    #[test]
    fn only_what_is_named_is_inherited() {
        let (reader, writer) = pipe().unwrap();
        let (other, _end) = std::os::unix::net::UnixStream::pair().unwrap();
        crate::descriptor::set_inherited(&writer, false).unwrap();
        let (named, unnamed) = (writer.as_raw_fd(), other.as_raw_fd());
        // By its path: dash takes descriptors of one digit only after `>&`.
        let script = format!("test -e /proc/self/fd/{unnamed} || echo well >/proc/self/fd/{named}");
        let pid = shell(&script, vec![named]).start().unwrap();
        drop::<OwnedFd>(writer);
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        assert_eq!(text, "well\n");
        assert!(matches!(wait(pid), WaitStatus::Exited(_, 0)));
    }

    #[test]
    fn a_descriptor_gets_another_number_and_a_program_another_name() {
        let (reader, writer) = pipe().unwrap();
        let (taken, _end) = std::os::unix::net::UnixStream::pair().unwrap();
        crate::descriptor::set_inherited(&writer, false).unwrap();
        for theirs in [taken.as_raw_fd(), writer.as_raw_fd()] {
            let script = format!("echo \"$0 $HOME $X\" >/proc/self/fd/{theirs}");
            let spawn = Spawn {
                name: Some("front".into()),
                clears_environment: true,
                environment: vec![("X".into(), "x".into())],
                renumbered: Some((writer.as_raw_fd(), theirs)),
                ..shell(&script, Vec::new())
            };
            assert!(matches!(
                wait(spawn.start().unwrap()),
                WaitStatus::Exited(_, 0)
            ));
        }
        drop::<OwnedFd>(writer);
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        assert_eq!(text, "front  x\nfront  x\n");
    }

    #[test]
    fn what_fails_before_the_exec_is_an_error_with_its_number() {
        // Not open in the child either.
        let error = shell("exit 0", vec![1 << 20]).start().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        let missing = Spawn {
            program: "/nonexistent/program".into(),
            ..Spawn::default()
        };
        let error = missing.start().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }
}
