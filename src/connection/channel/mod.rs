//! The connection as an exchange sees it: what it sends and receives while the app runs. Every call
//! tries without blocking first, with the GIL held; only a call that would block releases it
//! (releasing around every call costs milliseconds a request when the app has a busy thread: the
//! GIL convoy).

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rcorn_scoreboard::{Cell, Counters, Metric};

use crate::lost::Lost;
use crate::poller::Interest;
use crate::sync::{Guard, Lock};
use crate::transport::{Flush, Transport};
use crate::unlocked::Unlocked;
use crate::wait::WaitProgress;
use crate::write_buffer::{FileRest, Pushed, WriteBuffer, wide};

/// How long the app waits for the client at most, and what it need not wait for.
#[derive(Clone, Copy, Debug)]
pub struct ClientTimeouts {
    /// Between two pieces of a request body; `None`: for ever.
    pub read: Option<Duration>,
    /// Between two pieces of a response; `None`: for ever.
    pub write: Option<Duration>,
    /// How many bytes of a response may leave after the worker has gone on.
    pub buffer: usize,
    /// Where it is noted what becomes of the connection.
    pub entry: Option<WorkerEntry>,
}

/// What the scoreboard has of a worker.
#[derive(Clone, Copy, Debug)]
pub struct WorkerEntry {
    /// Time spent waiting for the client is noted here, so that it does not count as the app's.
    pub cell: &'static Cell,
    /// What is counted.
    pub counters: Counters<'static>,
}

#[derive(Debug)]
struct Inner {
    transport: Transport,
    timeouts: ClientTimeouts,
    continue_due: AtomicBool,
    /// How many bytes of a body of known length have not been received.
    unread: AtomicU64,
    lost: AtomicBool,
    write_buffer: Lock<WriteBuffer>,
}

/// One connection, shared by the worker, the response and the body. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Channel(Arc<Inner>);

/// Sends what waits in a channel when the app does not go on.
pub trait WriteOffload: std::fmt::Debug + Send + Sync {
    /// Something waits in this channel: it must not wait long.
    fn send_soon(&self, channel: &Channel);

    /// The kernel has a whole response that it may keep ([`Flush::Later`]): it must not keep it
    /// long.
    fn flush_soon(&self, channel: &Channel);
}

/// A channel that may be gone when it is wanted: it keeps no connection open.
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
    /// A channel over this transport.
    #[must_use]
    pub fn new(transport: Transport, timeouts: ClientTimeouts) -> Self {
        Self(Arc::new(Inner {
            transport,
            timeouts,
            continue_due: AtomicBool::new(false),
            unread: AtomicU64::new(0),
            lost: AtomicBool::new(false),
            write_buffer: Lock::default(),
        }))
    }

    /// A copy of the socket for the app, which has the connection to itself from now on. Its time
    /// is not limited: it may wait for its client.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2), `F_DUPFD_CLOEXEC`.
    pub fn give_socket(&self) -> io::Result<OwnedFd> {
        let copy = self.0.transport.copy()?;
        if let Some(entry) = &self.0.timeouts.entry {
            entry.cell.request_entry().wait();
        }
        Ok(copy)
    }

    /// The app's time with the connection is over.
    pub fn end_socket(&self) {
        if let Some(entry) = &self.0.timeouts.entry {
            entry.cell.request_entry().resume(Duration::ZERO);
        }
    }

    /// What the bytes go through.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        &self.0.transport
    }

    /// The response is out to its end: whatever becomes of this worker, the client has it.
    pub fn answered(&self) {
        if let Some(entry) = &self.0.timeouts.entry {
            entry.cell.request_entry().set_answered();
        }
    }

    /// Counts something that has happened to the connection.
    pub fn count(&self, metric: Metric) {
        self.add(metric, 1);
    }

    fn add(&self, metric: Metric, amount: u64) {
        if let Some(entry) = &self.0.timeouts.entry {
            entry.counters.add(metric, amount);
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

    /// Notes how many bytes of the body have not been received yet; `u64::MAX`: its end will never
    /// be found.
    pub fn owe_body(&self, unread: u64) {
        self.0.unread.store(unread, Ordering::Relaxed);
    }

    /// How many of a body of known length those are.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.0.unread.load(Ordering::Relaxed)
    }

    /// Whether a call here has failed: then the app is not to blame.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Notes that the client has left: for the decoder of what it sent, which sees that.
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
        self.mark_lost();
        lost
    }

    /// Reads what is there; `None` when that is nothing yet, 0 at the end of the stream.
    ///
    /// # Errors
    ///
    /// [`Lost::Gone`].
    pub fn try_receive(&self, buffer: &mut [u8]) -> Result<Option<usize>, Lost> {
        self.received(self.0.transport.receive(buffer))
    }

    /// Appends what is there, at most `max` bytes, to `buffer`; `None` when that is nothing yet, 0
    /// at the end of the stream.
    ///
    /// # Errors
    ///
    /// [`Lost::Gone`].
    pub fn try_receive_into(
        &self,
        buffer: &mut Vec<u8>,
        max: usize,
    ) -> Result<Option<usize>, Lost> {
        self.received(self.0.transport.receive_into(buffer, max))
    }

    fn received(&self, got: io::Result<usize>) -> Result<Option<usize>, Lost> {
        match got {
            Ok(got) => {
                self.add(Metric::ReceivedBytes, wide(got));
                Ok(Some(got))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(self.lose(Lost::Gone(error))),
        }
    }

    /// Does not keep the connection open.
    #[must_use]
    pub fn downgrade(&self) -> WeakChannel {
        WeakChannel(Arc::downgrade(&self.0))
    }

    fn write_buffer(&self) -> Guard<'_, WriteBuffer> {
        self.0.write_buffer.lock()
    }

    /// Whether something of a response has not been sent yet.
    #[must_use]
    pub fn owes(&self) -> bool {
        !self.write_buffer().is_empty()
    }

    /// Bytes that the client has taken since the connection began: not those that the kernel still
    /// has.
    #[must_use]
    pub fn taken(&self) -> u64 {
        let unsent = self.0.transport.unacknowledged();
        self.write_buffer().taken().saturating_sub(unsent)
    }

    /// Sends all parts, behind what waits; `true` when all is out, `false` when the rest is short
    /// enough to leave by itself ([`ClientTimeouts::buffer`]).
    ///
    /// # Errors
    ///
    /// The client left or is too slow, or the worker must leave.
    pub fn send(
        &self,
        py: &impl Unlocked,
        mut parts: &mut [IoSlice<'_>],
        flush: Flush,
    ) -> Result<bool, Lost> {
        let mut progress = None;
        loop {
            {
                let mut buffer = self.write_buffer();
                match buffer.push(&self.0.transport, parts, flush) {
                    Ok(Pushed::Done) => return Ok(true),
                    Ok(Pushed::Left(rest)) => parts = rest,
                    Err(error) => return Err(self.failed(error)),
                }
                let rest = parts.iter().map(|part| part.len()).sum::<usize>();
                if buffer.len().saturating_add(rest) <= self.0.timeouts.buffer {
                    buffer.keep(parts);
                    return Ok(false);
                }
            }
            self.wait_for_room(py, &mut progress)?;
        }
    }

    /// Sends what fits of a last message, and gives up the rest.
    pub fn send_or_give_up(&self, message: &[u8]) {
        self.0.transport.send(message, Flush::Now).ok();
    }

    /// Keeps parts that others may follow at once; the caller has them sent soon
    /// ([`WriteOffload::send_soon`]). Gives the number of bytes that wait now.
    pub fn hold(&self, parts: &[IoSlice<'_>]) -> usize {
        let mut buffer = self.write_buffer();
        buffer.keep(parts);
        buffer.len()
    }

    /// Sends what waits, as far as it goes without waiting; `true` when all is out.
    ///
    /// # Errors
    ///
    /// The client left, or a file is shorter than it was.
    pub fn pump(&self) -> Result<bool, Lost> {
        self.try_pump().map_err(|error| self.failed(error))
    }

    fn try_pump(&self) -> io::Result<bool> {
        let mut buffer = self.write_buffer();
        let pushed = buffer.push(&self.0.transport, &mut [], Flush::Now)?;
        Ok(matches!(pushed, Pushed::Done))
    }

    /// The same for the I/O thread: a failure is kept for the worker, and counts as all that can be
    /// done.
    #[must_use]
    pub fn pump_aside(&self) -> bool {
        let mut buffer = self.write_buffer();
        match buffer.push(&self.0.transport, &mut [], Flush::Now) {
            Ok(pushed) => matches!(pushed, Pushed::Done),
            Err(error) => {
                buffer.fail(error);
                true
            }
        }
    }

    /// Sends a head and a file by sendfile(2), which reads it as the client takes it: of a large
    /// file most leaves after the worker has gone on.
    ///
    /// # Errors
    ///
    /// The client left or is too slow, the file is shorter than it was, or the worker must leave.
    pub fn send_file(&self, py: &impl Unlocked, head: &[u8], file: FileRest) -> Result<(), Lost> {
        {
            let mut buffer = self.write_buffer();
            buffer.keep(&[IoSlice::new(head)]);
            buffer.keep_file(file);
        }
        // The file may be on a slow disk: let the app's threads run meanwhile.
        if py.unlocked(|| self.pump())? || self.0.timeouts.buffer > 0 {
            return Ok(());
        }
        let mut progress = None;
        while !py.unlocked(|| self.pump())? {
            self.wait_for_room(py, &mut progress)?;
        }
        Ok(())
    }

    /// Waits, without the GIL, until the client takes more of the response.
    fn wait_for_room(
        &self,
        py: &impl Unlocked,
        progress: &mut Option<WaitProgress>,
    ) -> Result<(), Lost> {
        let limit = self.0.timeouts.write;
        let taken = self.taken();
        let progress = progress.get_or_insert_with(|| WaitProgress::new(taken));
        loop {
            let ready = self.wait(py, Interest::Writable, progress, limit)?;
            progress.moved_to(self.taken());
            if ready {
                return Ok(());
            }
            self.check(progress, limit, "took")?;
        }
    }

    /// Waits, without the GIL, until bytes of the body arrive, of which `total` have come.
    ///
    /// # Errors
    ///
    /// The client left or is too slow, or the worker must leave.
    pub fn wait_for_bytes(
        &self,
        py: &impl Unlocked,
        progress: &mut WaitProgress,
        total: u64,
    ) -> Result<(), Lost> {
        let limit = self.0.timeouts.read;
        progress.moved_to(total);
        while !self.wait(py, Interest::Readable, progress, limit)? {
            self.check(progress, limit, "sent")?;
        }
        Ok(())
    }

    fn wait(
        &self,
        py: &impl Unlocked,
        interest: Interest,
        progress: &mut WaitProgress,
        limit: Option<Duration>,
    ) -> Result<bool, Lost> {
        let request = self
            .0
            .timeouts
            .entry
            .map(|entry| entry.cell.request_entry());
        let waited = progress.wait(py, &self.0.transport, interest, limit, request);
        waited.map_err(|lost| self.lose(lost))
    }

    fn check(
        &self,
        progress: &WaitProgress,
        limit: Option<Duration>,
        what: &'static str,
    ) -> Result<(), Lost> {
        let checked = progress.check(limit, what);
        checked.map_err(|lost| self.lose(lost))
    }
}

#[cfg(test)]
mod tests;
