//! The connection as an exchange sees it: what it sends and receives while the app runs. Every call
//! first tries without blocking, with the GIL held; only a call that would block releases it.
//! Releasing it around every call would cost milliseconds per request if the app has a busy thread
//! (the GIL convoy).

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rcorn_front_link::SharedBody;
use rcorn_scoreboard::{Cell, Counters, Metric, RequestEntry};

use crate::lost::Lost;
use crate::poller::Interest;
use crate::sync::{Guard, Lock};
use crate::transport::{Flush, Transport};
use crate::unlocked::Unlocked;
use crate::wait::WaitProgress;
use crate::write_buffer::{FileRest, Pushed, WriteBuffer, wide};

/// How often one look receives what is discarded.
const MAX_DISCARDS: usize = 16;

/// How long the app waits for the client at most, and what it need not wait for.
#[derive(Clone, Copy, Debug)]
pub struct ClientTimeouts {
    /// The longest wait for the next piece of a request body; `None`: for ever.
    pub read: Option<Duration>,
    /// The longest wait for the client to take the next piece of a response; `None`: for ever.
    pub write: Option<Duration>,
    /// How many bytes of a response may still have to be sent when the worker goes on.
    pub buffer: usize,
    /// Where the events of the connection are recorded.
    pub entry: Option<WorkerEntry>,
}

/// A worker's part of the scoreboard.
#[derive(Clone, Copy, Debug)]
pub struct WorkerEntry {
    /// The worker's cell. It records the time spent waiting for the client, so that it does not
    /// count as the app's; with several threads, the cell of the one that serves the client does.
    pub cell: &'static Cell,
    /// The cells of the threads; none for a worker with one thread.
    pub threads: &'static [&'static Cell],
    /// The worker's counters.
    pub counters: Counters<'static>,
}

#[derive(Debug)]
struct Inner {
    transport: Transport,
    timeouts: ClientTimeouts,
    continue_due: AtomicBool,
    /// How many bytes of a body of known length have not been received yet.
    unread: AtomicU64,
    lost: AtomicBool,
    /// The other end is a front that takes large bodies in memory.
    takes_memory: AtomicBool,
    /// The number of the thread that serves it, counted from 1; 0: the worker has one.
    thread: AtomicU16,
    write_buffer: Lock<WriteBuffer>,
}

/// One connection, shared by the worker, the response and the body. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Channel(Arc<Inner>);

/// Sends what waits in a channel while the app is busy.
pub trait WriteOffload: std::fmt::Debug + Send + Sync {
    /// Something waits in this channel, and must be sent soon.
    fn send_soon(&self, channel: &Channel);

    /// The kernel may keep a whole response ([`Flush::Later`]), which must be flushed soon.
    fn flush_soon(&self, channel: &Channel);
}

/// A weak reference to a channel, which does not keep the connection open.
#[derive(Clone, Debug)]
pub struct WeakChannel(Weak<Inner>);

impl WeakChannel {
    /// Whether it is this channel.
    #[must_use]
    pub fn is(&self, channel: &Channel) -> bool {
        self.0.as_ptr() == Arc::as_ptr(&channel.0)
    }

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
            takes_memory: AtomicBool::new(false),
            thread: AtomicU16::new(0),
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
        self.set_takes_memory(false);
        self.write_buffer().drop_memory();
        if let Some(entry) = self.request_entry() {
            entry.wait();
        }
        Ok(copy)
    }

    /// Ends the app's use of the socket.
    pub fn end_socket(&self) {
        if let Some(entry) = self.request_entry() {
            entry.resume(Duration::ZERO);
        }
    }

    /// The transport of the bytes.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        &self.0.transport
    }

    /// Notes that the end of the response is about to be sent: the client may have it at any moment
    /// from now on.
    pub fn ending(&self) {
        if let Some(entry) = self.request_entry() {
            entry.set_ending();
        }
    }

    /// Notes that the whole response was sent: whatever happens to this worker, the client gets it.
    pub fn answered(&self) {
        if let Some(entry) = self.request_entry() {
            entry.set_answered();
        }
    }

    /// Notes which of several threads serves it from now on, counted from 1.
    pub fn served_by(&self, thread: u16) {
        self.0.thread.store(thread, Ordering::Relaxed);
    }

    /// Where the scoreboard shows the request in hand.
    fn request_entry(&self) -> Option<RequestEntry<'static>> {
        let entry = self.0.timeouts.entry.as_ref()?;
        let thread = usize::from(self.0.thread.load(Ordering::Relaxed));
        let cell = match thread.checked_sub(1) {
            None => entry.cell,
            Some(index) => entry.threads.get(index)?,
        };
        Some(cell.request_entry())
    }

    /// Counts something that has happened to the connection.
    pub fn count(&self, metric: Metric) {
        self.add(metric, 1);
    }

    pub(crate) fn add(&self, metric: Metric, amount: u64) {
        if let Some(entry) = &self.0.timeouts.entry {
            entry.counters.add(metric, amount);
        }
    }

    /// Notes whether the client waits for `100 Continue` before it sends the body (RFC 9110 section
    /// 10.1.1).
    pub fn owe_continue(&self, owed: bool) {
        self.0.continue_due.store(owed, Ordering::Relaxed);
    }

    /// Whether the client still waits for `100 Continue`.
    #[must_use]
    pub fn owes_continue(&self) -> bool {
        self.0.continue_due.load(Ordering::Relaxed)
    }

    /// Notes how many bytes of the body have not been received yet; `u64::MAX`: its end will never
    /// be found.
    pub fn owe_body(&self, unread: u64) {
        self.0.unread.store(unread, Ordering::Relaxed);
    }

    /// How many bytes of a body of known length have not been received yet.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.0.unread.load(Ordering::Relaxed)
    }

    /// Whether a call of this channel has failed: then the app is not to blame.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Notes that the client has left, as the decoder of the body has found.
    pub fn mark_lost(&self) {
        self.0.lost.store(true, Ordering::Relaxed);
    }

    /// Notes that a call has failed, and returns the reason.
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

    /// Receives the bytes that have arrived; `None` if there are none yet, 0 at the end of the
    /// stream.
    ///
    /// # Errors
    ///
    /// [`Lost::Gone`].
    pub fn try_receive(&self, buffer: &mut [u8]) -> Result<Option<usize>, Lost> {
        self.received(self.0.transport.receive(buffer))
    }

    /// Appends the bytes that have arrived, at most `max`, to `buffer`; `None` if there are none
    /// yet, 0 at the end of the stream.
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

    /// Discards what the client has sent meanwhile; whether it has sent its end, or is gone.
    pub(crate) fn has_ended(&self) -> bool {
        let mut discarded = [0; 4096];
        for _ in 0..MAX_DISCARDS {
            match self.try_receive(&mut discarded) {
                Ok(None) => return false,
                Ok(Some(0)) | Err(_) => return true,
                Ok(Some(_)) => {}
            }
        }
        false
    }

    /// A reference to this channel that does not keep the connection open.
    #[must_use]
    pub fn downgrade(&self) -> WeakChannel {
        WeakChannel(Arc::downgrade(&self.0))
    }

    fn write_buffer(&self) -> Guard<'_, WriteBuffer> {
        self.0.write_buffer.lock()
    }

    /// Whether a part of a response has not been sent yet.
    #[must_use]
    pub fn owes(&self) -> bool {
        !self.write_buffer().is_empty()
    }

    /// How many bytes the client has taken since the connection began, without those that are still
    /// in the kernel.
    #[must_use]
    pub fn taken(&self) -> u64 {
        let unsent = self.0.transport.unacknowledged();
        self.write_buffer().taken().saturating_sub(unsent)
    }

    /// Sends all parts, after what waits; `true` if all was sent, `false` if the rest is short
    /// enough to be sent without the worker ([`ClientTimeouts::buffer`]).
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

    /// Notes whether the front that is the other end takes large bodies in memory.
    pub(crate) fn set_takes_memory(&self, takes_memory: bool) {
        let noted = &self.0.takes_memory;
        noted.store(takes_memory, Ordering::Relaxed);
    }

    /// Puts a whole body where its front gets it, and gives what must be sent before the head,
    /// which has its length. `None`: the body must be sent. It counts as what may still have to be
    /// sent when the worker goes on ([`ClientTimeouts::buffer`]).
    #[must_use]
    pub fn share(
        &self,
        parts: impl IntoIterator<Item: AsRef<[u8]>>,
        length: usize,
    ) -> Option<[u8; SharedBody::ENCODED_BYTES]> {
        if !self.0.takes_memory.load(Ordering::Relaxed) {
            return None;
        }
        let most = self.0.timeouts.buffer;
        let mut buffer = self.write_buffer();
        buffer.share(&self.0.transport, most, parts, length)
    }

    /// Sends as much of a last message as fits, and drops the rest.
    pub fn send_or_give_up(&self, message: &[u8]) {
        self.0.transport.send(message, Flush::Now).ok();
    }

    /// Keeps parts that others may follow at once; the caller has them sent soon
    /// ([`WriteOffload::send_soon`]). Returns the number of bytes that wait now.
    pub fn hold(&self, parts: &[IoSlice<'_>]) -> usize {
        let mut buffer = self.write_buffer();
        buffer.keep(parts);
        buffer.len()
    }

    /// Sends as much of what waits as is possible without blocking; `true` if all was sent.
    ///
    /// # Errors
    ///
    /// The client left, or a file has become shorter.
    pub fn pump(&self) -> Result<bool, Lost> {
        self.try_pump().map_err(|error| self.failed(error))
    }

    fn try_pump(&self) -> io::Result<bool> {
        let mut buffer = self.write_buffer();
        let pushed = buffer.push(&self.0.transport, &mut [], Flush::Now)?;
        Ok(matches!(pushed, Pushed::Done))
    }

    /// The same for the I/O thread: a failure is kept for the worker; `true` then, too, because
    /// nothing more can be sent.
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

    /// Sends a head and a file by sendfile(2), which reads the file as the client takes it: most of
    /// a large file is sent after the worker has gone on.
    ///
    /// # Errors
    ///
    /// The client left or is too slow, the file has become shorter, or the worker must leave.
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

    /// Waits, without the GIL, until more bytes of the body arrive. `total` have arrived so far.
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
        let request = self.request_entry();
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
