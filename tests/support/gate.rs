//! A gate in the app: the test waits until the app has reached it, and opens it. It consists of two
//! FIFOs; the Python side is `tests/apps/gate.py`.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use tempfile::TempDir;

use super::{Deadline, Server, Wire, get};

/// A gate.
#[derive(Debug)]
pub(crate) struct Gate {
    reached: File,
    opened: File,
    directory: TempDir,
}

impl Gate {
    /// A closed gate.
    pub(crate) fn new() -> Self {
        let directory = TempDir::with_prefix("rcorn-gate-").unwrap();
        let fifo = |name| {
            let path = directory.path().join(name);
            mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
            // For reading and writing: then no open waits for the other side.
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .unwrap()
        };
        Self {
            reached: fifo("reached"),
            opened: fifo("opened"),
            directory,
        }
    }

    /// The variables that tell the app where the gate is.
    pub(crate) fn variables(&self) -> [(OsString, OsString); 2] {
        let path = |name| self.directory.path().join(name).into_os_string();
        [
            ("GATE_REACHED".into(), path("reached")),
            ("GATE_OPENED".into(), path("opened")),
        ]
    }

    /// Waits until a process stands at the gate, and returns its pid.
    pub(crate) fn expect(&self, deadline: Deadline) -> Pid {
        let mut line = String::new();
        loop {
            let mut wanted = [PollFd::new(self.reached.as_fd(), PollFlags::POLLIN)];
            match poll(&mut wanted, deadline.poll_timeout()) {
                Ok(0) => assert!(!deadline.left().is_zero(), "nobody came to the gate"),
                Err(Errno::EINTR) => {}
                Err(errno) => panic!("cannot wait at the gate: {errno}"),
                Ok(_) => {
                    // One byte at a time: what follows is the next process's line.
                    let mut byte = [0];
                    (&self.reached).read_exact(&mut byte).unwrap();
                    if byte == *b"\n" {
                        return Pid::from_raw(line.parse().unwrap());
                    }
                    line.push(char::from(byte[0]));
                }
            }
        }
    }

    /// A connection whose request for `/held` stands at the gate.
    pub(crate) fn hold(&self, server: &Server) -> Wire {
        let mut wire = server.connect();
        wire.send(get("/held"));
        self.expect(server.deadline());
        wire
    }

    /// Lets one process through.
    pub(crate) fn open(&self) {
        (&self.opened).write_all(b"\n").unwrap();
    }
}
