//! The connection as an exchange sees it: what it sends and receives while the app runs. Every call tries
//! without blocking first, with the GIL held; only a call that would block releases it (releasing around
//! every call costs milliseconds a request when the app has a busy thread: the GIL convoy).

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rcorn_scoreboard::Cell;
use rcorn_sys::clock;
use rcorn_sys::net;

use super::outbox::{FileRest, Flush, Outbox};
use super::pace::{LEAST_RATE, Pace, Verdict};
use super::unlocked::Unlocked;

/// Why a connection cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The client closed or reset it.
    #[error("the client left")]
    Gone(#[source] io::Error),
    /// The client took or gave nothing for too long.
    #[error("the client {} nothing for {} s", .0, .1.as_secs_f32())]
    Slow(&'static str, Duration),
    /// The client took or gave something now and then, but too little.
    #[error("the client {} too little: less than {LEAST_RATE} bytes a second", .0)]
    Drip(&'static str),
    /// A file had fewer bytes than it had when its reply began.
    #[error("the file has become shorter while it was sent")]
    Short,
    /// The worker was told to leave at once.
    #[error("the worker was told to leave")]
    Leaving,
}

/// How long the app waits for the client at most, and what it need not wait for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Between two pieces of a request body; `None` means for ever.
    pub read: Option<Duration>,
    /// Between two pieces of a reply.
    pub write: Option<Duration>,
    /// So many bytes of a reply may leave after the worker has gone on.
    pub buffer: usize,
    /// Where the waiting is noted, so that it does not count as the app's time.
    pub cell: Option<&'static Cell>,
}

#[derive(Debug)]
struct Inner {
    socket: OwnedFd,
    patience: Patience,
    continue_due: AtomicBool,
    /// How many bytes of a body of known length have not been received.
    unread: AtomicU64,
    lost: AtomicBool,
    outbox: Mutex<Outbox>,
}

/// One connection, shared by the worker, the reply and the body. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Channel(Arc<Inner>);

/// Who sends what waits when the app does not go on.
pub trait Deputy: std::fmt::Debug + Send + Sync {
    /// Something waits in this channel: it must not wait long.
    fn send_soon(&self, channel: &Channel);

    /// The kernel has a whole reply that it may keep ([`Flush::Later`]): it must not keep it long.
    fn flush_soon(&self, channel: &Channel);
}

/// A channel that may be gone when it is wanted: whoever has it keeps no connection open.
#[derive(Clone, Debug)]
pub struct WeakChannel(Weak<Inner>);

impl WeakChannel {
    /// The channel, while the connection is open.
    #[must_use]
    pub fn get(&self) -> Option<Channel> {
        self.0.upgrade().map(Channel)
    }
}

impl Channel {
    /// Wraps an accepted, non-blocking socket.
    #[must_use]
    pub fn new(socket: OwnedFd, patience: Patience) -> Self {
        let (continue_due, lost) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(Inner {
            socket,
            patience,
            continue_due,
            unread: AtomicU64::new(0),
            lost,
            outbox: Mutex::default(),
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

    /// So many bytes of the body have not been received yet.
    pub fn owe_body(&self, unread: u64) {
        self.0.unread.store(unread, Ordering::Relaxed);
    }

    /// How many of a body of known length those are.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.0.unread.load(Ordering::Relaxed)
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

    /// What became of a try to send.
    fn failed(&self, error: io::Error) -> Lost {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            // The client is not to blame.
            Lost::Short
        } else {
            self.lose(Lost::Gone(error))
        }
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

    /// Does not keep the connection open.
    #[must_use]
    pub fn downgrade(&self) -> WeakChannel {
        WeakChannel(Arc::downgrade(&self.0))
    }

    // Held for calls that do not wait.
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.0.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something of a reply has not been sent yet.
    #[must_use]
    pub fn owes(&self) -> bool {
        !self.outbox().is_empty()
    }

    /// What the client has taken since the connection began: what is still in the kernel's hands it has not.
    #[must_use]
    pub fn taken(&self) -> u64 {
        let unsent = net::unacknowledged(self.socket()).unwrap_or(0);
        self.outbox().taken().saturating_sub(unsent)
    }

    /// Sends all parts, behind what waits. Comes back with `true` when all is out, and with `false` when so little is
    /// left that it can leave by itself ([`Patience::buffer`]).
    pub fn send(
        &self,
        py: &impl Unlocked,
        mut parts: &mut [IoSlice<'_>],
        flush: Flush,
    ) -> Result<bool, Lost> {
        let mut slowness = None;
        loop {
            {
                let mut outbox = self.outbox();
                let pushed = outbox.push(self.socket(), parts, flush);
                let (done, rest) = pushed.map_err(|error| self.failed(error))?;
                if done {
                    return Ok(true);
                }
                parts = rest;
                let rest = parts.iter().map(|part| part.len()).sum::<usize>();
                if outbox.len().saturating_add(rest) <= self.0.patience.buffer {
                    outbox.keep(parts);
                    return Ok(false);
                }
            }
            self.wait_for_room(py, &mut slowness)?;
        }
    }

    /// Keeps parts that others may follow at once; whoever calls this sees to it that they leave soon. Gives the
    /// number of bytes that wait now.
    pub fn hold(&self, parts: &[IoSlice<'_>]) -> usize {
        let mut outbox = self.outbox();
        outbox.keep(parts);
        outbox.len()
    }

    /// The kernel sends what it was given for later. A failure is for whoever reads or sends next to find.
    pub fn flush(&self) {
        net::flush(self.socket()).ok();
    }

    /// Sends what waits, as far as it goes without waiting; `true` when all is out.
    pub fn pump(&self) -> Result<bool, Lost> {
        let pushed = self.outbox().push(self.socket(), &mut [], Flush::Now);
        let pushed = pushed.map(|(done, _none)| done);
        pushed.map_err(|error| self.failed(error))
    }

    /// The same for the deputy: a failure is kept for the worker.
    #[must_use]
    pub fn pump_aside(&self) -> bool {
        let mut outbox = self.outbox();
        let pushed = outbox.push(self.socket(), &mut [], Flush::Now);
        match pushed.map(|(done, _none)| done) {
            Ok(done) => done,
            Err(error) => {
                outbox.fail(error);
                true
            }
        }
    }

    /// Sends a head and a file by sendfile(2), which reads it as the client takes it: of a large file most leaves after
    /// the worker has gone on.
    pub fn send_file(&self, py: &impl Unlocked, head: &[u8], file: FileRest) -> Result<(), Lost> {
        self.hold(&[IoSlice::new(head)]);
        self.outbox().keep_file(file);
        // The file may be on a slow disk: let the app's threads run meanwhile.
        if py.unlocked(|| self.pump())? || self.0.patience.buffer > 0 {
            return Ok(());
        }
        let mut slowness = None;
        while !py.unlocked(|| self.pump())? {
            self.wait_for_room(py, &mut slowness)?;
        }
        Ok(())
    }

    /// Waits, without the GIL, until the client takes more of the reply.
    fn wait_for_room(
        &self,
        py: &impl Unlocked,
        slowness: &mut Option<Slowness>,
    ) -> Result<(), Lost> {
        let base = self.taken();
        let slowness = slowness.get_or_insert_with(|| Slowness {
            pace: Pace::new(0),
            waited: 0,
            base,
        });
        loop {
            let ready = self.wait(py, PollFlags::POLLOUT, slowness, self.0.patience.write)?;
            let moved = self.taken().saturating_sub(slowness.base);
            slowness.pace.moved(slowness.waited, moved);
            if ready {
                return Ok(());
            }
            self.check(slowness, self.0.patience.write, "took")?;
        }
    }

    /// Waits, without the GIL, until bytes of the body arrive, of which so many have come.
    pub fn wait_for_bytes(
        &self,
        py: &impl Unlocked,
        slowness: &mut Slowness,
        total: u64,
    ) -> Result<(), Lost> {
        slowness.pace.moved(slowness.waited, total);
        while !self.wait(py, PollFlags::POLLIN, slowness, self.0.patience.read)? {
            self.check(slowness, self.0.patience.read, "sent")?;
        }
        Ok(())
    }

    /// Whether the client may go on.
    fn check(
        &self,
        slowness: &Slowness,
        limit: Option<Duration>,
        what: &'static str,
    ) -> Result<(), Lost> {
        let limit = limit.unwrap_or_default();
        let lost = match slowness
            .pace
            .verdict(slowness.waited, clock::nanoseconds(limit))
        {
            Verdict::Well => return Ok(()),
            Verdict::Pauses => Lost::Slow(what, limit),
            Verdict::Drips => Lost::Drip(what),
        };
        Err(self.lose(lost))
    }

    /// Waits until the socket is ready; `false` when the client's time is over before.
    fn wait(
        &self,
        py: &impl Unlocked,
        flags: PollFlags,
        slowness: &mut Slowness,
        limit: Option<Duration>,
    ) -> Result<bool, Lost> {
        let due = slowness
            .pace
            .deadline(clock::nanoseconds(limit.unwrap_or_default()));
        let timeout = if due == u64::MAX {
            PollTimeout::NONE
        } else {
            let left = due
                .saturating_sub(slowness.waited)
                .saturating_add(1_000_000);
            PollTimeout::try_from(Duration::from_nanos(left)).unwrap_or(PollTimeout::MAX)
        };
        loop {
            let (ready, waited) = py.unlocked(|| {
                let begun = clock::monotonic();
                if let Some(cell) = self.0.patience.cell {
                    cell.wait();
                }
                let ready = poll(&mut [PollFd::new(self.socket(), flags)], timeout);
                let waited = clock::monotonic().saturating_sub(begun);
                if let Some(cell) = self.0.patience.cell {
                    cell.go_on(waited);
                }
                (ready, waited)
            });
            slowness.waited = slowness.waited.saturating_add(waited);
            if py.must_leave() {
                return Err(self.lose(Lost::Leaving));
            }
            match ready {
                Ok(count) => return Ok(count > 0),
                Err(nix::Error::EINTR) => {}
                Err(errno) => return Err(self.lose(Lost::Gone(errno.into()))),
            }
        }
    }
}

/// How a client does while it is waited for. The clock of its pace is the time spent waiting.
#[derive(Debug, Default)]
pub struct Slowness {
    pace: Pace,
    waited: u64,
    /// What the client had taken before.
    base: u64,
}
