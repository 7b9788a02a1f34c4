//! What the app prints, with `capture_output`: standard output and standard error are pipes, which
//! the arbiter reads line by line. So a line is written to the log as a whole, whoever prints at
//! the same time, and what a process has printed outlives it.
//!
//! Each process has pipes of its own, also one that the app forks. A program that it runs has
//! those of the process that has started it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::fstat;
use nix::unistd::{dup2_stderr, dup2_stdout, pipe2};
use pyo3::prelude::*;

use rcorn_app::print_lines::print_lines;
use rcorn_link::{PrintedPipe, StandardStream, Start, send_printed};
use rcorn_log as log;
use rcorn_python::fork::after_in_children;
use rcorn_sys::descriptor::adopt;

/// The pipes of this process. Only the main thread of a template, and the one thread of a process
/// that was just forked, take the lock: nobody can hold it at a fork.
static OUTPUT: Mutex<Option<Output>> = Mutex::new(None);

#[derive(Debug)]
struct Output {
    /// On which the arbiter gets the read ends.
    socket: OwnedFd,
    generation: u32,
    /// What the standard streams are.
    pipes: Option<[FileId; 2]>,
}

/// Device and inode.
type FileId = (u64, u64);

/// Sends what this process and all that are forked from it print to the arbiter, if the settings
/// say so.
///
/// # Errors
///
/// There is no descriptor left, or Python does not know a function of ours.
pub(super) fn begin(py: Python<'_>, start: &Start) -> io::Result<()> {
    let Some(socket) = start.output else {
        return Ok(());
    };
    let mut output = Output {
        socket: adopt(socket)?,
        generation: start.generation,
        pipes: None,
    };
    output.redirect([true; 2])?;
    *OUTPUT.lock().unwrap_or_else(PoisonError::into_inner) = Some(output);
    register(py).map_err(io::Error::other)?;
    print_lines(py).map_err(io::Error::other)
}

/// The standard streams of this process that are still pipes to the arbiter.
pub(super) fn numbers() -> Vec<RawFd> {
    let output = OUTPUT.lock().unwrap_or_else(PoisonError::into_inner);
    let are_ours = output.as_ref().map_or([false; 2], Output::are_ours);
    let numbers = [io::stdout().as_raw_fd(), io::stderr().as_raw_fd()];
    let numbers = numbers.into_iter().zip(are_ours);
    numbers
        .filter_map(|(number, is_ours)| is_ours.then_some(number))
        .collect()
}

/// Gives each process that Python forks pipes of its own: workers, and children of the app.
fn register(py: Python<'_>) -> PyResult<()> {
    after_in_children(py, || {
        let mut output = OUTPUT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(output) = &mut *output
            // What the app has redirected stays where it is.
            && let Err(error) = output.redirect(output.are_ours())
        {
            log::debug(format_args!(
                "what this process prints is logged as its parent's: {error}"
            ));
        }
    })
}

impl Output {
    /// Which of the standard streams are what they were made here.
    fn are_ours(&self) -> [bool; 2] {
        let Some([output, error]) = self.pipes else {
            return [false; 2];
        };
        let is = |stream: BorrowedFd<'_>, ours| id(stream).is_ok_and(|now| now == ours);
        [
            is(io::stdout().as_fd(), output),
            is(io::stderr().as_fd(), error),
        ]
    }

    /// Makes new pipes, and these standard streams write into them.
    fn redirect(&mut self, [with_output, with_error]: [bool; 2]) -> io::Result<()> {
        // Both before anything is changed: a process prints into its own pipes or into none.
        let output = self.pipe(StandardStream::Output)?;
        let error = self.pipe(StandardStream::Error)?;
        if with_output {
            dup2_stdout(&output)?;
        }
        if with_error {
            dup2_stderr(&error)?;
        }
        self.pipes = Some([id(output.as_fd())?, id(error.as_fd())?]);
        Ok(())
    }

    /// A pipe that the arbiter reads.
    fn pipe(&self, stream: StandardStream) -> io::Result<OwnedFd> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        // The arbiter never waits for a reader; the app may wait for the arbiter.
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let pipe = PrintedPipe {
            pid: std::process::id(),
            generation: self.generation,
            stream,
        };
        send_printed(self.socket.as_fd(), &pipe, reader.as_fd())?;
        Ok(writer)
    }
}

fn id(file: BorrowedFd<'_>) -> io::Result<FileId> {
    let about = fstat(file)?;
    Ok((about.st_dev, about.st_ino))
}
