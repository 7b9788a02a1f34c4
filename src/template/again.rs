//! A template that starts again without the app, because the app is not safe to fork from: the same process, with the
//! same descriptors.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use rcorn_link::{Failure, Start};
use rcorn_sys::descriptor::set_number_inherited;

/// How this template came to be.
#[derive(Debug)]
pub(super) struct Origin {
    /// The memfd of the native module.
    pub(super) native: RawFd,
    /// The memfd of the start orders.
    pub(super) start: File,
    /// A second exec, after the app proved unsafe to preload.
    pub(super) bare: bool,
}

/// Execs the same interpreter again, to run without the app. Same pid: the arbiter sees nothing.
pub(super) fn start_again(
    start: &Start,
    origin: &Origin,
    arguments: &[std::ffi::CString],
) -> Failure {
    let again = || -> io::Result<std::convert::Infallible> {
        for fd in inherited(start).chain([origin.native, origin.start.as_raw_fd()]) {
            set_number_inherited(fd, true)?;
        }
        let mut arguments = arguments.to_vec();
        if let Some(mode) = arguments
            .iter_mut()
            .find(|argument| argument.as_bytes() == b"first")
        {
            c"bare".clone_into(mode);
        }
        let program = std::fs::read_link("/proc/self/exe")?;
        // By the name it was started with, if that is a path: a venv is found by it.
        let first = arguments
            .first()
            .filter(|name| name.as_bytes().contains(&b'/'));
        let program = match first {
            Some(name) => name.clone(),
            None => std::ffi::CString::new(program.into_os_string().into_encoded_bytes())
                .map_err(io::Error::other)?,
        };
        Ok(nix::unistd::execv(&program, &arguments)?)
    };
    match again() {
        Ok(never) => match never {},
        Err(error) => Failure {
            code: 1,
            summary: format!("cannot start Python again: {error}"),
        },
    }
}

/// The command line this process was started with.
pub(super) fn arguments() -> io::Result<Vec<std::ffi::CString>> {
    let line = std::fs::read("/proc/self/cmdline")?;
    let words = line
        .strip_suffix(b"\0")
        .unwrap_or(&line)
        .split(|byte| *byte == 0);
    words
        .map(|word| std::ffi::CString::new(word).map_err(io::Error::other))
        .collect()
}

pub(super) fn inherited(start: &Start) -> impl Iterator<Item = RawFd> + '_ {
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
