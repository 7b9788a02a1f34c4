//! The part of the scoreboard that one worker writes, and the part that all processes share. Both
//! have the layout of the first build (cb54ddf): see the assertions at the end.

use std::time::Duration;

use rcorn_types::Monotonic;

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::seqlock;

/// Words of the request line kept for status and post-mortem: 256 bytes.
const LINE_WORDS: usize = 32;
/// The same in bytes.
pub const LINE_BYTES: usize = LINE_WORDS * size_of::<u64>();
/// Words of the peer's address: 48 bytes.
const PEER_WORDS: usize = 6;

/// What all processes share, before the cells.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Shared {
    /// How many workers are wanted: more than one makes `wsgi.multiprocess` true.
    wanted: AtomicU32,
    /// Not 0 while the arbiter stops: [`QUEUE_FIRST`] or [`AT_ONCE`].
    stopping: AtomicU32,
    /// How many cells there are. 0 means a scoreboard of the first build (cb54ddf): cells fill it
    /// to its end, and there are no counters. Written before another process maps the file.
    pub(crate) cells: AtomicU32,
    /// How many counters each cell has, after the cells.
    pub(crate) counters: AtomicU32,
    /// The id of the worker that is to become the template when it leaves; 0: none was asked to.
    /// Workers of builds that do not know this leave.
    candidate: AtomicU64,
    /// Not 0 while the server serves and is to get no new clients: `drain_delay`.
    draining: AtomicU32,
    /// Not 0 while workers that are to be replaced are not: their replacements cannot start.
    retirement_stalls: AtomicU32,
}

/// [`Shared::stopping`]: workers empty the accept queue before they leave.
const QUEUE_FIRST: u32 = 1;
/// [`Shared::stopping`]: workers accept nobody any more.
const AT_ONCE: u32 = 2;

/// How workers leave while the arbiter stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// They empty the accept queue first.
    QueueFirst,
    /// They accept nobody any more.
    AtOnce,
}

impl Shared {
    /// How many workers are wanted.
    #[must_use]
    pub fn wanted(&self) -> u32 {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Sets how many workers are wanted; returns the previous number.
    pub fn set_wanted(&self, wanted: u32) -> u32 {
        self.wanted.swap(wanted, Ordering::AcqRel)
    }

    /// Whether this worker is to become the template when it is told to leave.
    #[must_use]
    pub fn is_candidate(&self, worker: u64) -> bool {
        self.candidate.load(Ordering::Acquire) == worker
    }

    /// Sets which worker is to become the template. Never taken back: no other worker has its id.
    pub fn set_candidate(&self, worker: u64) {
        self.candidate.store(worker, Ordering::Release);
    }

    /// Whether workers that are to be replaced are not, for now: they serve on.
    #[must_use]
    pub fn retirement_stalls(&self) -> bool {
        self.retirement_stalls.load(Ordering::Relaxed) != 0
    }

    /// Sets whether they are not replaced for now.
    pub fn set_retirement_stalls(&self, stalls: bool) {
        self.retirement_stalls
            .store(u32::from(stalls), Ordering::Release);
    }

    /// How workers have to leave; `None` while the arbiter does not stop.
    #[must_use]
    pub fn stop_mode(&self) -> Option<StopMode> {
        match self.stopping.load(Ordering::Acquire) {
            QUEUE_FIRST => Some(StopMode::QueueFirst),
            AT_ONCE => Some(StopMode::AtOnce),
            _ => None,
        }
    }

    /// Whether balancers should send new clients elsewhere: the arbiter stops, or is about to.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed) != 0 || self.stop_mode().is_some()
    }

    /// Notes that the arbiter is about to stop.
    pub fn drain(&self) {
        self.draining.store(1, Ordering::Release);
    }

    /// Notes that the arbiter stops.
    pub fn stop(&self, mode: StopMode) {
        let number = match mode {
            StopMode::QueueFirst => QUEUE_FIRST,
            StopMode::AtOnce => AT_ONCE,
        };
        self.stopping.store(number, Ordering::Release);
    }
}

/// One worker, or one of its threads. Written by that worker only, and reset by the process that
/// gives it the cell.
///
/// One part of it is about the worker, the other about its current request, which
/// [`Cell::request_entry`] returns. A worker with threads has a further cell for each of them,
/// which has the request entry of that thread, and its [`Cell::thread`] ([`crate::Slots`]).
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Cell {
    /// The worker's id; 0 while no worker serves with this cell.
    worker: AtomicU64,
    /// Request entry: when the current request began, in nanoseconds of the monotonic clock; 0 if
    /// there is none.
    busy_since: AtomicU64,
    /// When the worker last woke up or finished a request, in nanoseconds of the monotonic clock; 0
    /// while it sleeps. Of a thread: when it took a connection in hand, or finished a request; 0
    /// while it has none.
    awake_since: AtomicU64,
    /// Request entry: not 0 while the app waits for its client, which does not count as the app's
    /// time.
    waits: AtomicU32,
    /// Request entry: 0 until the end of the response to the current request is about to be sent,
    /// then [`ENDING`]; [`ANSWERED`] once the whole response was sent.
    answered: AtomicU32,
    /// Requests served: the counter [`crate::Metric::Requests`].
    requests: AtomicU64,
    /// Its pid.
    pid: AtomicU32,
    /// Its generation.
    generation: AtomicU32,
    /// Connections it holds: the gauge [`crate::Metric::Connections`].
    connections: AtomicU32,
    /// Request entry: odd while the text is being written (a sequence lock).
    sequence: AtomicU32,
    /// Request entry: the request line.
    line: [AtomicU64; LINE_WORDS],
    /// Request entry: the peer's address.
    peer: [AtomicU64; PEER_WORDS],
    /// How many threads the worker has that serve requests, each with a cell of its own
    /// ([`crate::Slots`]); 0 when it serves them with the request entry here.
    slots: AtomicU32,
    /// Those of its connections that wait for the next request of their client: the gauge
    /// [`crate::Metric::IdleConnections`].
    idle_connections: AtomicU32,
    /// Not 0 when the worker leaves, and takes no connection from its siblings. Workers of builds
    /// that do not know this are taken for those that stay.
    leaves: AtomicU32,
}

/// The whole response was sent. The first build (cb54ddf) writes nothing else.
const ANSWERED: u32 = 1;
/// The end of the response is about to be sent. The client can have it, and act on it, before its
/// worker can note that.
const ENDING: u32 = 2;

/// Whether the client of the current request has its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Not the whole response.
    No,
    /// Perhaps: the worker was sending the end of it.
    Perhaps,
    /// The whole response was sent.
    Yes,
}

/// The current request, as the scoreboard shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestNow {
    /// Method, target and version; cut at 256 bytes.
    pub line: Vec<u8>,
    /// The peer's address; empty for the peer of a unix socket.
    pub peer: Vec<u8>,
}

/// A point in time as the cell keeps it; 0 means none.
fn time(nanoseconds: u64) -> Option<Monotonic> {
    (nanoseconds != 0).then(|| Monotonic::from_nanos(nanoseconds))
}

impl Cell {
    /// Makes the cell ready for another worker. Its counters are reset by
    /// [`crate::Scoreboard::free`].
    pub fn reset(&self) {
        let numbers = [
            &self.worker,
            &self.busy_since,
            &self.awake_since,
            &self.requests,
        ];
        for number in numbers {
            number.store(0, Ordering::Relaxed);
        }
        self.waits.store(0, Ordering::Relaxed);
        self.pid.store(0, Ordering::Relaxed);
        self.slots.store(0, Ordering::Relaxed);
        self.leaves.store(0, Ordering::Relaxed);
        self.connections.store(0, Ordering::Relaxed);
        self.idle_connections.store(0, Ordering::Relaxed);
        // A worker killed while writing leaves an odd number behind.
        self.sequence.store(0, Ordering::Relaxed);
        self.request_entry().write_text(b"", b"");
    }

    /// Assigns the cell to a worker that is about to serve.
    pub fn register(&self, worker: u64, pid: u32, generation: u32) {
        self.pid.store(pid, Ordering::Relaxed);
        self.generation.store(generation, Ordering::Relaxed);
        self.worker.store(worker, Ordering::Release);
    }

    /// The worker has this many threads that serve requests, each with a cell of its own.
    pub fn set_slots(&self, slots: u16) {
        self.slots.store(slots.into(), Ordering::Release);
    }

    /// How many threads with a cell of their own the worker has.
    #[must_use]
    pub fn slots(&self) -> u16 {
        u16::try_from(self.slots.load(Ordering::Acquire)).unwrap_or(0)
    }

    /// Notes whether the worker leaves, or is about to, and takes no connection from its siblings.
    pub fn set_leaves(&self, leaves: bool) {
        self.leaves.store(u32::from(leaves), Ordering::Release);
    }

    /// Whether the worker takes no connection from its siblings.
    #[must_use]
    pub fn leaves(&self) -> bool {
        self.leaves.load(Ordering::Acquire) != 0
    }

    /// The thread whose cell this is from now on: Python's number of it
    /// (`threading.get_ident()`), and the kernel's.
    pub fn register_thread(&self, ident: u64, tid: u32) {
        self.reset();
        self.pid.store(tid, Ordering::Relaxed);
        self.worker.store(ident, Ordering::Release);
    }

    /// The thread's numbers, Python's and the kernel's; 0 before it has registered.
    #[must_use]
    pub fn thread(&self) -> (u64, u32) {
        let ident = self.worker.load(Ordering::Acquire);
        (ident, self.pid())
    }

    /// Whether a worker serves with it.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.worker.load(Ordering::Relaxed) != 0
    }

    /// The worker's pid; 0 before it serves.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Requests served.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Connections the worker holds.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Those of them that wait for the next request of their client.
    #[must_use]
    pub fn idle_connections(&self) -> u32 {
        self.idle_connections.load(Ordering::Relaxed)
    }

    /// The number of connections, for the object that counts them.
    #[must_use]
    pub fn connections_gauge(&self) -> &AtomicU32 {
        &self.connections
    }

    /// The number of idle connections, for the object that counts them.
    #[must_use]
    pub fn idle_connections_gauge(&self) -> &AtomicU32 {
        &self.idle_connections
    }

    /// Sets how many connections the worker holds.
    pub fn set_connections(&self, held: u32) {
        self.connections.store(held, Ordering::Relaxed);
    }

    /// Since when the worker has been awake; `None` while it sleeps.
    #[must_use]
    pub fn awake_since(&self) -> Option<Monotonic> {
        time(self.awake_since.load(Ordering::Relaxed))
    }

    /// Notes that the worker has woken up.
    pub fn wake(&self, now: Monotonic) {
        self.awake_since.store(now.as_nanos(), Ordering::Release);
    }

    /// Notes that the worker goes to sleep, because it has nothing to do.
    pub fn sleep(&self) {
        self.awake_since.store(0, Ordering::Release);
    }

    /// The entry of the current request.
    #[must_use]
    pub fn request_entry(&self) -> RequestEntry<'_> {
        RequestEntry { cell: self }
    }

    /// Since when this worker has visibly made no progress, either with its request or with a turn
    /// of its loop between two requests. `None` while it sleeps or waits for a client, which have
    /// limits of their own.
    #[must_use]
    pub fn no_progress_since(&self) -> Option<Monotonic> {
        if self.waits.load(Ordering::Acquire) != 0 {
            return None;
        }
        self.request_entry()
            .begun()
            .or_else(|| time(self.awake_since.load(Ordering::Acquire)))
    }
}

/// What a worker publishes about its current request. A view of its [`Cell`].
#[derive(Clone, Copy, Debug)]
pub struct RequestEntry<'a> {
    cell: &'a Cell,
}

impl RequestEntry<'_> {
    /// Notes that a request begins. Its line and peer are written first and the time last, so a
    /// reader that sees the time also sees the text.
    pub fn begin(self, now: Monotonic, line: &[u8], peer: &[u8]) {
        self.write_text(line, peer);
        self.cell.answered.store(0, Ordering::Relaxed);
        self.cell
            .busy_since
            .store(now.as_nanos(), Ordering::Release);
    }

    /// When the current request began, plus the time that it has waited for its client; `None` if
    /// there is none.
    #[must_use]
    pub fn begun(self) -> Option<Monotonic> {
        time(self.cell.busy_since.load(Ordering::Acquire))
    }

    /// When the current request began, unless the app waits for its client.
    #[must_use]
    pub fn no_progress_since(self) -> Option<Monotonic> {
        let waits = self.cell.waits.load(Ordering::Acquire) != 0;
        self.begun().filter(|_| !waits)
    }

    /// Notes that the app begins to wait for its client.
    pub fn wait(self) {
        self.cell.waits.store(1, Ordering::Release);
    }

    /// Notes that the wait is over. Its duration does not count as the app's time.
    pub fn resume(self, waited: Duration) {
        if let Some(begun) = time(self.cell.busy_since.load(Ordering::Relaxed)) {
            let moved = begun.after(waited).as_nanos();
            self.cell.busy_since.store(moved, Ordering::Release);
        }
        self.cell.waits.store(0, Ordering::Release);
    }

    /// Notes that the end of the response is about to be sent.
    pub fn set_ending(self) {
        self.cell.answered.store(ENDING, Ordering::Release);
    }

    /// Notes that the whole response was sent.
    pub fn set_answered(self) {
        self.cell.answered.store(ANSWERED, Ordering::Release);
    }

    /// Whether the client has the response.
    #[must_use]
    pub fn answered(self) -> Answered {
        match self.cell.answered.load(Ordering::Acquire) {
            0 => Answered::No,
            ENDING => Answered::Perhaps,
            _ => Answered::Yes,
        }
    }

    /// Notes that the request has ended, and counts it.
    pub fn end(self, now: Monotonic) {
        let cell = self.cell;
        cell.awake_since.store(now.as_nanos(), Ordering::Release);
        cell.busy_since.store(0, Ordering::Release);
        // Only this worker writes: no read-modify-write needed.
        cell.requests.store(
            cell.requests.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
    }

    /// Notes that the request is dropped: nobody is to miss it. Another thread than its own may do
    /// so.
    pub fn discard(self) {
        self.cell.busy_since.store(0, Ordering::Release);
    }

    /// The request's line and peer; `None` if there is none, or if it changes too fast to be read.
    #[must_use]
    pub fn request(self) -> Option<RequestNow> {
        let [line, peer] = seqlock::read(&self.cell.sequence, [&self.cell.line, &self.cell.peer])?;
        (!line.is_empty()).then_some(RequestNow { line, peer })
    }

    fn write_text(self, line: &[u8], peer: &[u8]) {
        let cell = self.cell;
        seqlock::write(&cell.sequence, [(&cell.line, line), (&cell.peer, peer)]);
    }
}

// Workers of the first build (cb54ddf) continue to write their cells after an upgrade in place. New
// data goes into the counters, or after them.
#[cfg(not(all(loom, test)))]
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<Shared>() == 128);
    assert!(offset_of!(Shared, wanted) == 0 && offset_of!(Shared, stopping) == 4);
    assert!(offset_of!(Shared, cells) == 8 && offset_of!(Shared, counters) == 12);
    assert!(offset_of!(Shared, candidate) == 16 && offset_of!(Shared, draining) == 24);
    assert!(offset_of!(Shared, retirement_stalls) == 28);
    assert!(size_of::<Cell>() == 384 && align_of::<Cell>() == 128);
    assert!(offset_of!(Cell, worker) == 0 && offset_of!(Cell, busy_since) == 8);
    assert!(offset_of!(Cell, awake_since) == 16 && offset_of!(Cell, waits) == 24);
    assert!(offset_of!(Cell, answered) == 28 && offset_of!(Cell, requests) == 32);
    assert!(offset_of!(Cell, pid) == 40 && offset_of!(Cell, generation) == 44);
    assert!(offset_of!(Cell, connections) == 48 && offset_of!(Cell, sequence) == 52);
    assert!(offset_of!(Cell, line) == 56 && offset_of!(Cell, peer) == 312);
    // Zeros of the padding in that build.
    assert!(offset_of!(Cell, slots) == 360 && offset_of!(Cell, idle_connections) == 364);
    assert!(offset_of!(Cell, leaves) == 368);
};
