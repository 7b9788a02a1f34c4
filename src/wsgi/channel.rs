//! The connection as an exchange sees it: what it sends and receives while the app runs. Every call tries
//! without blocking first, with the GIL held; only a call that would block releases it (releasing around
//! every call costs milliseconds a request when the app has a busy thread: the GIL convoy).

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pyo3::prelude::*;

use crate::python::call;
use crate::sys::clock;
use crate::sys::net;
use crate::sys::scoreboard::Cell;

/// Why a connection cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The client closed or reset it.
    #[error("the client left")]
    Gone(#[source] io::Error),
    /// The client took or gave nothing for too long.
    #[error("the client {} nothing for {} s", .0, .1.as_secs_f32())]
    Slow(&'static str, Duration),
    /// The worker was told to leave at once.
    #[error("the worker was told to leave")]
    Leaving,
}

impl From<Lost> for PyErr {
    fn from(lost: Lost) -> Self {
        let text = lost.to_string();
        match lost {
            // OSError subclasses: frameworks (Werkzeug, Django) take them as "client disconnected".
            Lost::Gone(_) => pyo3::exceptions::PyConnectionResetError::new_err(text),
            Lost::Slow(..) => pyo3::exceptions::PyTimeoutError::new_err(text),
            Lost::Leaving => pyo3::exceptions::PySystemExit::new_err(0),
        }
    }
}

/// How long the app waits for the client at most.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Between two pieces of a request body; `None` means for ever.
    pub read: Option<Duration>,
    /// Between two pieces of a reply.
    pub write: Option<Duration>,
    /// Where the waiting is noted, so that it does not count as the app's time.
    pub cell: Option<&'static Cell>,
}

#[derive(Debug)]
struct Inner {
    socket: OwnedFd,
    patience: Patience,
    continue_due: AtomicBool,
    lost: AtomicBool,
}

/// One connection, shared by the worker, the reply and the body. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Channel(Arc<Inner>);

impl Channel {
    /// Wraps an accepted, non-blocking socket.
    #[must_use]
    pub fn new(socket: OwnedFd, patience: Patience) -> Self {
        let (continue_due, lost) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(Inner {
            socket,
            patience,
            continue_due,
            lost,
        }))
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.0.socket.as_fd()
    }

    /// The reply is out to its end: whatever becomes of this worker, the client has it.
    pub fn answered(&self) {
        if let Some(cell) = self.0.patience.cell {
            cell.answered.store(1, Ordering::Release);
        }
    }

    /// The client waits for `100 Continue` before it sends the body (RFC 9110 section 10.1.1).
    pub fn owe_continue(&self, owed: bool) {
        self.0.continue_due.store(owed, Ordering::Relaxed);
    }

    /// Whether it still waits.
    #[must_use]
    pub fn owes_continue(&self) -> bool {
        self.0.continue_due.load(Ordering::Relaxed)
    }

    /// Whether a call here has failed: the client is not to blame the app for.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Notes that the client has left, seen by whoever decodes what it sent.
    pub fn mark_lost(&self) {
        self.0.lost.store(true, Ordering::Relaxed);
    }

    fn lose(&self, lost: Lost) -> Lost {
        self.0.lost.store(true, Ordering::Relaxed);
        lost
    }

    /// Reads what is there; `None` when that is nothing yet, 0 at the end of the stream.
    pub fn try_receive(&self, buffer: &mut [u8]) -> Result<Option<usize>, Lost> {
        loop {
            match net::receive(self.socket(), buffer) {
                Ok(got) => return Ok(Some(got)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lose(Lost::Gone(error))),
            }
        }
    }

    /// Sends all parts.
    pub fn send(&self, py: Python<'_>, mut parts: &mut [IoSlice<'_>]) -> Result<(), Lost> {
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            let sent = match &*parts {
                [one] => net::send(self.socket(), one, false),
                several => net::send_gathered(self.socket(), several),
            };
            match sent {
                Ok(sent) => IoSlice::advance_slices(&mut parts, sent),
                Err(error) => self.after_send(py, error)?,
            }
        }
        Ok(())
    }

    /// Sends a head that a file follows: the kernel may put both into one packet.
    pub fn send_head_of_file(&self, py: Python<'_>, mut head: &[u8]) -> Result<(), Lost> {
        while !head.is_empty() {
            match net::send(self.socket(), head, true) {
                Ok(sent) => head = head.get(sent..).unwrap_or(&[]),
                Err(error) => self.after_send(py, error)?,
            }
        }
        Ok(())
    }

    /// Sends `count` bytes of a file from `offset` on by sendfile(2). Gives what was sent: less when the
    /// file ended early.
    pub fn send_file(
        &self,
        py: Python<'_>,
        file: BorrowedFd<'_>,
        offset: i64,
        count: u64,
    ) -> Result<u64, Lost> {
        let mut at = offset;
        let mut left = count;
        while left > 0 {
            let piece = usize::try_from(left.min(1 << 30)).unwrap_or(1 << 30);
            // The file may be on a slow disk: let the app's threads run meanwhile.
            let sent = py
                .detach(|| nix::sys::sendfile::sendfile(self.socket(), file, Some(&mut at), piece));
            match sent {
                Ok(0) => break,
                Ok(sent) => left = left.saturating_sub(u64::try_from(sent).unwrap_or(0)),
                Err(errno) => self.after_send(py, errno.into())?,
            }
        }
        Ok(count.saturating_sub(left))
    }

    /// What to do when a send did not go through: wait if that helps.
    fn after_send(&self, py: Python<'_>, error: io::Error) -> Result<(), Lost> {
        if error.kind() == io::ErrorKind::WouldBlock {
            self.wait(py, PollFlags::POLLOUT)
        } else if error.kind() == io::ErrorKind::Interrupted {
            Ok(())
        } else {
            Err(self.lose(Lost::Gone(error)))
        }
    }

    /// Waits, without the GIL, until bytes of the body arrive.
    pub fn wait_for_bytes(&self, py: Python<'_>) -> Result<(), Lost> {
        self.wait(py, PollFlags::POLLIN)
    }

    fn wait(&self, py: Python<'_>, flags: PollFlags) -> Result<(), Lost> {
        let (limit, what) = if flags.contains(PollFlags::POLLIN) {
            (self.0.patience.read, "sent")
        } else {
            (self.0.patience.write, "took")
        };
        let timeout = limit.map_or(PollTimeout::NONE, |limit| {
            PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)
        });
        loop {
            let ready = py.detach(|| {
                let begun = clock::monotonic();
                if let Some(cell) = self.0.patience.cell {
                    cell.wait();
                }
                let ready = poll(&mut [PollFd::new(self.socket(), flags)], timeout);
                if let Some(cell) = self.0.patience.cell {
                    cell.go_on(clock::monotonic().saturating_sub(begun));
                }
                ready
            });
            if call::interrupted() {
                return Err(self.lose(Lost::Leaving));
            }
            match ready {
                Ok(0) => return Err(self.lose(Lost::Slow(what, limit.unwrap_or_default()))),
                Ok(_) => return Ok(()),
                Err(nix::Error::EINTR) => {}
                Err(errno) => return Err(self.lose(Lost::Gone(errno.into()))),
            }
        }
    }
}
