//! The second exec of a template whose app is not safe to fork from: the same process with the same
//! descriptors, but without the app.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStringExt;

use rcorn_link::{Failure, Start};
use rcorn_sys::descriptor::{adopt, claim, set_number_inherited};

/// The mode argument of a template that may import the app.
const FIRST: &std::ffi::CStr = c"first";
/// The mode argument of a second exec.
pub(super) const NO_PRELOAD: &std::ffi::CStr = c"no-preload";

/// How this template was started.
#[derive(Debug)]
pub(super) struct Invocation {
    /// The memfd of the native module.
    native: RawFd,
    /// The memfd of the start message.
    start: File,
    /// This is a second exec, after the app proved unsafe to preload.
    pub(super) no_preload: bool,
    /// Its command line.
    command_line: Vec<CString>,
}

impl Invocation {
    /// This process's.
    pub(super) fn new(native: RawFd, start: File, mode: &str) -> io::Result<Self> {
        Ok(Self {
            native,
            start,
            no_preload: mode.as_bytes() == NO_PRELOAD.to_bytes(),
            command_line: command_line()?,
        })
    }

    /// Keeps the server's descriptors from programs that the app starts. Before the first of them
    /// is taken.
    pub(super) fn claim_descriptors(&self, start: &Start) -> io::Result<()> {
        descriptors(start).chain([self.native]).try_for_each(claim)
    }

    /// Closes what only a second exec needs.
    pub(super) fn close(self) -> io::Result<()> {
        drop(adopt(self.native)?);
        Ok(())
    }

    /// Execs the same interpreter again, to run without the app. The pid stays: the arbiter sees
    /// nothing. Returns only if it fails.
    pub(super) fn exec_without_app(&self, start: &Start) -> Failure {
        match self.exec(start) {
            Ok(never) => match never {},
            Err(error) => Failure {
                code: 1,
                summary: format!("cannot start Python again: {error}"),
            },
        }
    }

    fn exec(&self, start: &Start) -> io::Result<Infallible> {
        for fd in descriptors(start).chain([self.native, self.start.as_raw_fd()]) {
            set_number_inherited(fd, true)?;
        }
        let mut arguments = self.command_line.clone();
        for argument in &mut arguments {
            if argument.as_c_str() == FIRST {
                NO_PRELOAD.clone_into(argument);
            }
        }
        // By the name it was started with, if that is a path: a venv is found by it.
        let name = arguments
            .first()
            .filter(|name| name.as_bytes().contains(&b'/'));
        let program = match name {
            Some(name) => name.clone(),
            None => CString::new(
                std::fs::read_link("/proc/self/exe")?
                    .into_os_string()
                    .into_vec(),
            )?,
        };
        Ok(nix::unistd::execv(&program, &arguments)?)
    }
}

/// The command line this process was started with (`proc_pid_cmdline(5)`).
fn command_line() -> io::Result<Vec<CString>> {
    let line = std::fs::read("/proc/self/cmdline")?;
    let words = line.strip_suffix(b"\0").unwrap_or(&line);
    words
        .split(|byte| *byte == 0)
        .map(|word| Ok(CString::new(word)?))
        .collect()
}

/// The descriptors that the start message names, without the standard streams.
fn descriptors(start: &Start) -> impl Iterator<Item = RawFd> + '_ {
    let logs = [start.error_log]
        .into_iter()
        .chain(start.access_log)
        .filter(|fd| *fd > 2);
    let sockets = [
        start.scoreboard,
        start.commands,
        start.reports,
        start.stack_dump,
        start.handoff_queue.0,
        start.handoff_queue.1,
    ];
    start
        .listeners
        .iter()
        .map(|listener| listener.fd)
        .chain(sockets)
        .chain(logs)
}
