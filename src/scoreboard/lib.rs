//! The scoreboard: one memfd mapped by arbiter, templates and workers. One cell a worker, atomics only, no
//! lock that anyone can die with. It is the only truth about what workers do: timeouts, status and the
//! post-mortem of a killed worker all read it.
#![expect(
    unsafe_code,
    reason = "shared memory: mapping it, and seeing cells in it"
)]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;

/// Words of the request line and of the peer kept for the post-mortem (8 bytes each).
const LINE_WORDS: usize = 32;
const PEER_WORDS: usize = 6;

/// What all processes share, before the cells.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Shared {
    /// How many workers are wanted: more than one makes `wsgi.multiprocess` true.
    pub wanted: AtomicU32,
    /// Not 0 while the arbiter stops: [`QUEUE_FIRST`] or [`AT_ONCE`].
    pub stopping: AtomicU32,
}

/// [`Shared::stopping`]: workers empty the accept queue before they leave.
pub const QUEUE_FIRST: u32 = 1;
/// [`Shared::stopping`]: nobody is let in any more.
pub const AT_ONCE: u32 = 2;

/// One worker. Written by that worker only (and reset by whoever gives it the slot).
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Cell {
    /// The worker's id; 0 when the cell is free.
    pub worker: AtomicU64,
    /// When the request in hand began, ns of the monotonic clock; 0 when none is.
    pub busy_since: AtomicU64,
    /// When the worker last woke up or finished a request, ns of the monotonic clock; 0 while it sleeps.
    pub awake_since: AtomicU64,
    /// Not 0 while the app waits for its client: that time is not the app's.
    pub waits: AtomicU32,
    /// Not 0 once the reply to the request in hand is out to its end.
    pub answered: AtomicU32,
    /// Requests served.
    pub requests: AtomicU64,
    /// Its pid.
    pub pid: AtomicU32,
    /// Its generation.
    pub generation: AtomicU32,
    /// Connections it holds.
    pub connections: AtomicU32,
    /// Odd while the text is being written (a sequence lock).
    sequence: AtomicU32,
    line: [AtomicU64; LINE_WORDS],
    peer: [AtomicU64; PEER_WORDS],
}

/// The request in hand, as the scoreboard shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestNow {
    /// Method, target and version; cut at 256 bytes.
    pub line: Vec<u8>,
    /// The peer's address.
    pub peer: Vec<u8>,
}

impl Cell {
    /// Makes the cell ready for another worker.
    pub fn reset(&self) {
        let counters = [
            &self.worker,
            &self.busy_since,
            &self.awake_since,
            &self.requests,
        ];
        for counter in counters {
            counter.store(0, Ordering::Relaxed);
        }
        self.waits.store(0, Ordering::Relaxed);
        self.pid.store(0, Ordering::Relaxed);
        self.connections.store(0, Ordering::Relaxed);
        // A worker killed while writing leaves an odd number behind.
        self.sequence.store(0, Ordering::Relaxed);
        self.write_text(b"", b"");
    }

    /// Notes that a request begins: its line and peer first, the time last, so that who sees the time also
    /// sees the text.
    pub fn begin(&self, now: u64, line: &[u8], peer: &[u8]) {
        self.write_text(line, peer);
        self.answered.store(0, Ordering::Relaxed);
        self.busy_since.store(now, Ordering::Release);
    }

    /// Since when this worker has been getting on with nothing, as far as can be seen: its request, or its own turn
    /// between two of them. `None` while it sleeps or waits for a client, whose time limits are others.
    pub fn silent_since(&self) -> Option<u64> {
        if self.waits.load(Ordering::Acquire) != 0 {
            return None;
        }
        let busy = self.busy_since.load(Ordering::Acquire);
        let since = if busy == 0 {
            self.awake_since.load(Ordering::Acquire)
        } else {
            busy
        };
        (since != 0).then_some(since)
    }

    /// The app waits for its client from now on.
    pub fn wait(&self) {
        self.waits.store(1, Ordering::Release);
    }

    /// The wait is over, after so many ns: they are not the app's.
    pub fn go_on(&self, waited: u64) {
        let busy = self.busy_since.load(Ordering::Relaxed);
        if busy != 0 {
            self.busy_since
                .store(busy.saturating_add(waited), Ordering::Release);
        }
        self.waits.store(0, Ordering::Release);
    }

    /// Notes that the request has ended.
    pub fn end(&self, now: u64) {
        self.awake_since.store(now, Ordering::Release);
        self.busy_since.store(0, Ordering::Release);
        // Only this worker writes: no read-modify-write needed.
        self.requests.store(
            self.requests.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
    }

    fn write_text(&self, line: &[u8], peer: &[u8]) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence
            .store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        write_words(&self.line, line);
        write_words(&self.peer, peer);
        self.sequence
            .store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// The request in hand; `None` when there is none or it changes all the time.
    pub fn request(&self) -> Option<RequestNow> {
        for _ in 0..8 {
            let before = self.sequence.load(Ordering::Acquire);
            let now = RequestNow {
                line: read_words(&self.line),
                peer: read_words(&self.peer),
            };
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && before == self.sequence.load(Ordering::Relaxed) {
                return (!now.line.is_empty()).then_some(now);
            }
        }
        None
    }
}

/// Stores text in 8-byte words, ended by a zero byte unless it fills them all.
fn write_words(words: &[AtomicU64], text: &[u8]) {
    let (whole, rest) = text.as_chunks::<8>();
    let mut last = [0_u8; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    for (word, bytes) in words.iter().zip(whole.iter().chain([&last])) {
        word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
    }
}

fn read_words(words: &[AtomicU64]) -> Vec<u8> {
    let mut text: Vec<u8> = words
        .iter()
        .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes())
        .collect();
    if let Some(end) = text.iter().position(|byte| *byte == 0) {
        text.truncate(end);
    }
    text
}

/// The mapping of one process.
#[derive(Debug)]
pub struct Scoreboard {
    base: NonNull<u8>,
    length: NonZeroUsize,
    cells: u16,
}

// SAFETY: the mapping is only ever read and written through atomics, from any thread.
unsafe impl Send for Scoreboard {}
// SAFETY: as above.
unsafe impl Sync for Scoreboard {}

impl Scoreboard {
    /// Makes a scoreboard of so many cells, with the descriptor by which others map it.
    pub fn create(cells: u16) -> io::Result<(Self, OwnedFd)> {
        let fd = memfd_create(c"rcorn-scoreboard", MFdFlags::MFD_CLOEXEC)?;
        let length =
            size_of::<Shared>().saturating_add(size_of::<Cell>().saturating_mul(cells.into()));
        ftruncate(&fd, i64::try_from(length).map_err(io::Error::other)?)?;
        Ok((Self::open(fd.as_fd())?, fd))
    }

    /// Maps a scoreboard made by another process.
    pub fn open(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let size = usize::try_from(fstat(fd)?.st_size).map_err(io::Error::other)?;
        let room = size
            .saturating_sub(size_of::<Shared>())
            .checked_div(size_of::<Cell>());
        let cells = u16::try_from(room.unwrap_or(0)).map_err(io::Error::other)?;
        let length = NonZeroUsize::new(size).filter(|_| cells > 0);
        let length = length.ok_or_else(|| io::Error::other("not a scoreboard"))?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, at an address the kernel chooses, of a file of at least `length` bytes
        // that nobody shrinks.
        let base = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, fd, 0) }?;
        Ok(Self {
            base: base.cast(),
            length,
            cells,
        })
    }

    /// How many cells there are.
    #[must_use]
    pub fn cells(&self) -> u16 {
        self.cells
    }

    /// What all processes share.
    #[must_use]
    pub fn shared(&self) -> &Shared {
        // SAFETY: the mapping is page-aligned, at least this large, lives as long as `self`, and holds
        // atomics, for which every bit pattern is valid.
        unsafe { self.base.cast::<Shared>().as_ref() }
    }

    /// One worker's cell; `None` past the end.
    #[must_use]
    pub fn cell(&self, index: u16) -> Option<&Cell> {
        if index >= self.cells {
            return None;
        }
        let offset =
            size_of::<Shared>().saturating_add(size_of::<Cell>().saturating_mul(index.into()));
        // SAFETY: the offset is inside the mapping (index checked).
        let cell = unsafe { self.base.add(offset) };
        // SAFETY: both sizes are multiples of the alignment, so the cell is aligned; atomics take every
        // bit pattern; the mapping lives as long as `self`.
        Some(unsafe { cell.cast::<Cell>().as_ref() })
    }
}

impl Drop for Scoreboard {
    fn drop(&mut self) {
        // SAFETY: `base` and `length` are of the mapping that `open` made; references to it end with self.
        let unmapped = unsafe { munmap(self.base.cast(), self.length.get()) };
        debug_assert!(unmapped.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_see_the_same_cells() {
        let (ours, fd) = Scoreboard::create(4).unwrap();
        let theirs = Scoreboard::open(fd.as_fd()).unwrap();
        assert_eq!(theirs.cells(), 4);
        assert!(theirs.cell(4).is_none());
        let line = b"GET /a/long/path/that/needs/several/words HTTP/1.1";
        ours.cell(3).unwrap().begin(7, line, b"127.0.0.1:1");
        let cell = theirs.cell(3).unwrap();
        assert_eq!(cell.busy_since.load(Ordering::Acquire), 7);
        let now = cell.request().unwrap();
        assert_eq!(
            (now.line.as_slice(), now.peer.as_slice()),
            (&line[..], &b"127.0.0.1:1"[..])
        );
        ours.cell(3).unwrap().end(9);
        assert_eq!(cell.busy_since.load(Ordering::Acquire), 0);
        assert_eq!(cell.silent_since(), Some(9));
        assert_eq!(cell.requests.load(Ordering::Relaxed), 1);
        cell.reset();
        assert_eq!(ours.cell(3).unwrap().request(), None);
    }

    #[test]
    fn time_spent_on_the_client_is_not_the_apps() {
        let (board, _fd) = Scoreboard::create(1).unwrap();
        let cell = board.cell(0).unwrap();
        cell.begin(100, b"GET / HTTP/1.1", b"p");
        assert_eq!(cell.silent_since(), Some(100));
        cell.wait();
        assert_eq!(cell.silent_since(), None);
        cell.go_on(50);
        assert_eq!(cell.silent_since(), Some(150));
    }

    #[test]
    fn a_long_line_is_cut_not_lost() {
        let (board, _fd) = Scoreboard::create(1).unwrap();
        board.cell(0).unwrap().begin(1, &[b'x'; 1000], b"p");
        assert_eq!(
            board.cell(0).unwrap().request().unwrap().line,
            vec![b'x'; 256]
        );
    }
}
