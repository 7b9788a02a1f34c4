//! `--daemon`: the process that was started waits until the server has bound its addresses, and its
//! exit code says whether that succeeded. So an error is seen where it was caused.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, pipe2, setsid};

use rcorn_sys::exit_now;
use rcorn_sys::fork::{Fork, fork};

/// The pipe to the process that was started.
#[derive(Debug)]
pub struct Background {
    parent: File,
}

impl Background {
    /// Leaves the caller's session. Returns in the process that is to serve; the first one ends
    /// here.
    ///
    /// # Errors
    ///
    /// Those of pipe2(2), fork(2), waitpid(2) and setsid(2).
    pub fn prepare() -> io::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        match fork()? {
            Fork::Parent(child) => {
                drop(writer);
                waitpid(child, None)?;
                let mut code = [1];
                // The pipe ends without a byte if the server exits before it has bound its
                // addresses.
                let told = File::from(reader).read_exact(&mut code);
                let [code] = code;
                exit_now(if told.is_ok() { code.into() } else { 1 })
            }
            Fork::Child => {}
        }
        drop(reader);
        setsid()?;
        // The second child is not the leader of the session, so it can never get a terminal again.
        match fork()? {
            Fork::Parent(_) => exit_now(0),
            Fork::Child => Ok(Self {
                parent: writer.into(),
            }),
        }
    }

    /// Called when the server has its addresses: from now on it needs no terminal.
    pub(super) fn enter(mut self) -> io::Result<()> {
        let null = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        dup2_stdin(null.as_fd())?;
        dup2_stdout(null.as_fd())?;
        dup2_stderr(null.as_fd())?;
        self.parent.write_all(&[0])
    }
}
