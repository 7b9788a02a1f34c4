//! The scoreboard's memory: creates and maps it, and divides it into cells and counters.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;
use rcorn_types::Monotonic;

use rcorn_sys::memfd;

use crate::atomic::Ordering;
use crate::cell::{Cell, RequestEntry, Shared};
use crate::counters::{Counters, Counts, PLACES};
use crate::durations::Times;
use crate::held_lines::{AllHeldLines, HeldLines};
use crate::memory::{Layout, Memory};
use crate::samples::{Place, Samples};
use crate::slots::Slots;

/// The scoreboard, as one process has mapped it.
#[derive(Debug)]
pub struct Scoreboard {
    memory: Memory,
    layout: Layout,
    /// Those of workers with threads, if there have been any.
    slots: Option<Slots>,
    /// Where requests are noted for statsd, if they are.
    samples: Option<&'static Samples>,
    /// Lines of the access log that workers have not written yet, if there is one.
    held_lines: Option<&'static AllHeldLines>,
}

/// Where the cells and counters of a scoreboard lie.
fn layout(cells: u16, counters: usize) -> Layout {
    Layout {
        start: size_of::<Shared>(),
        cells,
        counters,
    }
}

impl Scoreboard {
    /// Makes a scoreboard of this many cells, with the descriptor by which others map it. Its size
    /// is sealed (`F_ADD_SEALS` of fcntl(2)), so that no process can truncate it while others use
    /// it.
    ///
    /// # Errors
    ///
    /// Those of `memfd_create(2)`, ftruncate(2) and mmap(2).
    pub fn create(cells: u16) -> io::Result<(Self, OwnedFd)> {
        let layout = layout(cells, PLACES);
        let fd = memfd::of_size(c"rcorn-scoreboard", layout.end())?;
        Ok((Self::with_layout(fd.as_fd(), layout)?, fd))
    }

    /// Maps a scoreboard made by another process.
    ///
    /// # Errors
    ///
    /// Those of fstat(2) and mmap(2); `Other` if the file is not a scoreboard, or smaller than its
    /// header says.
    pub fn open(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let none = || io::Error::other("not a scoreboard");
        let size = usize::try_from(fstat(fd)?.st_size).map_err(io::Error::other)?;
        let length = NonZeroUsize::new(size)
            .filter(|length| length.get() >= size_of::<Shared>())
            .ok_or_else(none)?;
        let mut scoreboard = Self {
            memory: Memory::map(fd, length)?,
            layout: layout(0, 0),
            slots: None,
            samples: None,
            held_lines: None,
        };
        let shared = scoreboard.shared();
        let cells = shared.cells.load(Ordering::Acquire);
        let counters = shared.counters.load(Ordering::Acquire);
        scoreboard.layout = if cells == 0 {
            // The first build (cb54ddf): cells to the end of the file.
            let space = size.saturating_sub(size_of::<Shared>());
            let cells = space.div_euclid(size_of::<Cell>());
            layout(u16::try_from(cells).map_err(io::Error::other)?, 0)
        } else {
            layout(
                u16::try_from(cells).map_err(io::Error::other)?,
                usize::try_from(counters).map_err(io::Error::other)?,
            )
        };
        if scoreboard.layout.cells == 0 || scoreboard.layout.end() > size {
            return Err(none());
        }
        Ok(scoreboard)
    }

    /// Takes over the scoreboard of a predecessor, whose workers continue to use it. That of the
    /// first build (cb54ddf) has no counters and is not sealed, so counters are added after the
    /// cells. Its old workers do not count there; the new ones do.
    ///
    /// # Errors
    ///
    /// Those of [`Scoreboard::open`] and ftruncate(2).
    pub fn take_over(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let old = Self::open(fd)?;
        if old.layout.counters > 0 {
            return Ok(old);
        }
        let layout = layout(old.layout.cells, PLACES);
        match ftruncate(fd, i64::try_from(layout.end()).map_err(io::Error::other)?) {
            Ok(()) => Self::with_layout(fd, layout),
            // It is sealed by a build that counts nothing, so this one counts nothing either.
            Err(Errno::EPERM) => Ok(old),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Maps a file of the size of this layout, and writes the layout into its header.
    fn with_layout(fd: BorrowedFd<'_>, layout: Layout) -> io::Result<Self> {
        let length = NonZeroUsize::new(layout.end()).filter(|_| layout.cells > 0);
        let length = length.ok_or_else(|| io::Error::other("a scoreboard needs a cell"))?;
        let scoreboard = Self {
            memory: Memory::map(fd, length)?,
            layout,
            slots: None,
            samples: None,
            held_lines: None,
        };
        let shared = scoreboard.shared();
        let counters = u32::try_from(layout.counters).map_err(io::Error::other)?;
        shared.counters.store(counters, Ordering::Release);
        shared.cells.store(layout.cells.into(), Ordering::Release);
        Ok(scoreboard)
    }

    /// How many cells there are.
    #[must_use]
    pub fn cells(&self) -> u16 {
        self.layout.cells
    }

    /// What all processes share.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        clippy::expect_used,
        reason = "each constructor makes or checks a header"
    )]
    pub fn shared(&self) -> &Shared {
        self.memory.shared().expect("a header")
    }

    /// One worker's cell; `None` past the end.
    #[must_use]
    pub fn cell(&self, index: u16) -> Option<&Cell> {
        self.memory.cell(self.layout, index)
    }

    /// One worker's counters. There are none after the last cell, and none in a scoreboard without
    /// room for them.
    #[must_use]
    pub fn counters(&self, index: u16) -> Counters<'_> {
        self.memory.counters(self.layout, index)
    }

    /// Adds the cells of threads, which are apart: only workers with threads have some.
    pub fn add_slots(&mut self, slots: Slots) {
        self.slots = Some(slots);
    }

    /// Adds the places where workers note requests for statsd.
    pub fn add_samples(&mut self, samples: &'static Samples) {
        self.samples = Some(samples);
    }

    /// Adds the memory where workers keep lines of the access log that they have not written yet.
    pub fn add_held_lines(&mut self, lines: &'static AllHeldLines) {
        self.held_lines = Some(lines);
    }

    /// Where the worker with this cell keeps lines that it has not written yet; `None`: nowhere.
    #[must_use]
    pub fn held_lines(&self, index: u16) -> Option<&'static HeldLines> {
        self.held_lines?.of(index)
    }

    /// Where the worker with this cell notes requests for statsd; `None`: it does not.
    #[must_use]
    pub fn sample(&self, index: u16) -> Option<&'static Place> {
        self.samples?.place(index)
    }

    /// Makes room for at least this many threads of each worker ([`Slots::grow`]).
    ///
    /// # Errors
    ///
    /// Those of ftruncate(2) and mmap(2).
    pub fn grow_slots(&mut self, fd: BorrowedFd<'_>, threads: u16) -> io::Result<()> {
        match &mut self.slots {
            Some(slots) => slots.grow(fd, threads),
            None => Ok(()),
        }
    }

    /// How many threads the worker with this cell has; 0 when it has none but its own.
    #[must_use]
    pub fn slots(&self, index: u16) -> u16 {
        self.cell(index).map_or(0, Cell::slots)
    }

    /// The cell of one thread of the worker with this cell. Its request entry is that of the
    /// requests that the thread serves. It is awake while the thread has a connection in hand.
    #[must_use]
    pub fn slot(&self, index: u16, slot: u16) -> Option<&Cell> {
        self.slots.as_ref()?.cell(index, slot)
    }

    /// What that thread counts.
    #[must_use]
    pub fn slot_counters(&self, index: u16, slot: u16) -> Counters<'_> {
        let slots = self.slots.as_ref();
        slots.map_or(Counters::new(&[]), |slots| slots.counters(index, slot))
    }

    /// The cells of all threads that the worker with this cell has, with their numbers.
    pub fn threads(&self, index: u16) -> impl Iterator<Item = (u16, &Cell)> {
        let slots = 0..self.slots(index);
        slots.filter_map(move |slot| Some((slot, self.slot(index, slot)?)))
    }

    /// The entries of all requests that the worker with this cell can have in hand: its own, or
    /// those of its threads.
    pub fn request_entries(&self, index: u16) -> impl Iterator<Item = RequestEntry<'_>> {
        let own = self.cell(index).filter(|cell| cell.slots() == 0);
        let threads = self.threads(index).map(|(_, cell)| cell);
        own.into_iter().chain(threads).map(Cell::request_entry)
    }

    /// Whether the worker with this cell stays, and has a thread that serves no request. One whose
    /// threads have cells that this process has not mapped is taken for such a worker.
    #[must_use]
    pub fn is_free(&self, index: u16) -> bool {
        let stays = |cell: &Cell| cell.is_taken() && !cell.leaves();
        let mut entries = self.request_entries(index).peekable();
        self.cell(index).is_some_and(stays)
            && (entries.peek().is_none() || entries.any(|entry| entry.begun().is_none()))
    }

    /// Since when the worker with this cell has made no progress, as far as can be seen: in its
    /// loop, or in the thread that has been at one thing for longest.
    #[must_use]
    pub fn no_progress_since(&self, index: u16) -> Option<Monotonic> {
        let own = self.cell(index)?.no_progress_since();
        let threads = self.threads(index);
        let threads = threads.filter_map(|(_, cell)| cell.no_progress_since());
        own.into_iter().chain(threads).min()
    }

    /// What the worker with this cell has counted so far.
    #[must_use]
    pub fn counts(&self, index: u16) -> Counts {
        let mut counts = Counts::default();
        self.counters(index).read_into(&mut counts);
        if let Some(cell) = self.cell(index) {
            counts.requests = cell.requests();
            counts.connections = cell.connections().into();
            counts.idle_connections = cell.idle_connections().into();
        }
        for (slot, cell) in self.threads(index) {
            let mut of_thread = Counts::default();
            self.slot_counters(index, slot).read_into(&mut of_thread);
            of_thread.requests = cell.requests();
            counts.add(&of_thread);
        }
        counts
    }

    /// What the worker with this cell has measured so far.
    #[must_use]
    pub fn times(&self, index: u16) -> Times {
        let mut times = self.counters(index).times();
        for (slot, _cell) in self.threads(index) {
            times.add(&self.slot_counters(index, slot).times());
        }
        times
    }

    /// Makes the cell of a worker that has ended ready for another. Returns what it had counted and
    /// measured, which the caller adds to its [`crate::Totals`].
    #[must_use = "what it had counted is lost otherwise"]
    pub fn free(&self, index: u16) -> (Counts, Times) {
        let counted = (self.counts(index), self.times(index));
        for (slot, cell) in self.threads(index) {
            self.slot_counters(index, slot).reset();
            cell.reset();
        }
        self.counters(index).reset();
        if let Some(cell) = self.cell(index) {
            cell.reset();
        }
        counted
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::cell::Answered;
    use crate::counters::Metric;
    use crate::durations::Timing;

    use super::*;

    const LINE: &[u8] = b"GET /a/long/path/that/needs/several/words HTTP/1.1";

    fn at(nanoseconds: u64) -> Monotonic {
        Monotonic::from_nanos(nanoseconds)
    }

    /// In this process alone, so that it also runs under Miri.
    fn board(cells: u16) -> Scoreboard {
        #[cfg(miri)]
        {
            let layout = layout(cells, PLACES);
            let memory = Memory::heap(NonZeroUsize::new(layout.end()).unwrap()).unwrap();
            let slots = None;
            Scoreboard {
                memory,
                layout,
                slots,
                samples: None,
                held_lines: None,
            }
        }
        #[cfg(not(miri))]
        Scoreboard::create(cells).unwrap().0
    }

    #[test]
    fn a_cell_tells_of_the_request_in_hand() {
        let board = board(4);
        assert!(board.cell(4).is_none());
        let cell = board.cell(3).unwrap();
        cell.register(9, 4711, 1);
        assert!(cell.is_taken() && !board.cell(2).unwrap().is_taken());
        let entry = cell.request_entry();
        assert_eq!(entry.request(), None);
        entry.begin(at(7), LINE, b"127.0.0.1:1");
        assert_eq!(entry.begun(), Some(at(7)));
        let now = entry.request().unwrap();
        assert_eq!(
            (now.line.as_slice(), now.peer.as_slice()),
            (LINE, &b"127.0.0.1:1"[..])
        );
        assert_eq!(entry.answered(), Answered::No);
        entry.set_ending();
        assert_eq!(entry.answered(), Answered::Perhaps);
        entry.set_answered();
        assert_eq!(entry.answered(), Answered::Yes);
        entry.end(at(9));
        assert_eq!(entry.begun(), None);
        assert_eq!(cell.no_progress_since(), Some(at(9)));
        assert_eq!(cell.requests(), 1);
        cell.reset();
        assert_eq!(entry.request(), None);
        assert!(!cell.is_taken());
    }

    #[test]
    fn time_spent_on_the_client_is_not_the_apps() {
        let board = board(1);
        let cell = board.cell(0).unwrap();
        let entry = cell.request_entry();
        entry.begin(at(100), b"GET / HTTP/1.1", b"p");
        assert_eq!(cell.no_progress_since(), Some(at(100)));
        entry.wait();
        assert_eq!(cell.no_progress_since(), None);
        entry.resume(Duration::from_nanos(50));
        assert_eq!(cell.no_progress_since(), Some(at(150)));
    }

    #[test]
    fn a_worker_that_sleeps_is_not_silent() {
        let board = board(1);
        let cell = board.cell(0).unwrap();
        assert_eq!(cell.no_progress_since(), None);
        cell.wake(at(5));
        assert_eq!(cell.no_progress_since(), Some(at(5)));
        cell.sleep();
        assert_eq!(cell.no_progress_since(), None);
    }

    #[test]
    fn a_long_line_is_cut_not_lost() {
        let board = board(1);
        let entry = board.cell(0).unwrap().request_entry();
        entry.begin(at(1), &[b'x'; 1000], &[b'y'; 1000]);
        let now = entry.request().unwrap();
        assert_eq!((now.line, now.peer), (vec![b'x'; 256], vec![b'y'; 48]));
    }

    #[test]
    fn counters_of_neighbours_are_apart_and_are_given_back_once() {
        let board = board(3);
        for index in 0..3 {
            for _ in 0..=index {
                board.counters(index).count_response(200);
            }
            board.counters(index).add(Metric::ReceivedBytes, 100);
            board.counters(index).count(Metric::HandedOffConnections);
            let cell = board.cell(index).unwrap();
            cell.request_entry().end(at(1));
            cell.set_connections(5);
        }
        board.counters(3).count(Metric::AppErrors);
        board
            .counters(1)
            .observe(Timing::Request, Duration::from_millis(7));
        let (freed, times) = board.free(1);
        assert_eq!(times.request.count(), 1);
        let expected = Counts {
            requests: 1,
            responses_2xx: 2,
            received_bytes: 100,
            handed_off_connections: 1,
            connections: 5,
            ..Counts::default()
        };
        assert_eq!(freed, expected);
        assert_eq!(board.free(1), (Counts::default(), Times::default()));
        assert_eq!(board.counts(0).responses_2xx, 1);
        assert_eq!(board.counts(2).responses_2xx, 3);
    }

    #[cfg(not(miri))]
    #[cfg(test)]
    mod files {
        use nix::sys::memfd::MFdFlags;

        use super::*;

        #[test]
        fn two_mappings_see_the_same_cells_and_counters() {
            let (ours, fd) = Scoreboard::create(4).unwrap();
            let theirs = Scoreboard::open(fd.as_fd()).unwrap();
            assert_eq!(theirs.cells(), 4);
            assert!(theirs.cell(4).is_none());
            let entry = ours.cell(3).unwrap().request_entry();
            entry.begin(at(7), LINE, b"p");
            let seen = theirs.cell(3).unwrap().request_entry();
            assert_eq!(seen.begun(), Some(at(7)));
            assert_eq!(seen.request().unwrap().line, LINE);
            ours.counters(3).count(Metric::AppErrors);
            assert_eq!(theirs.counts(3).app_errors, 1);
            let again = Scoreboard::take_over(fd.as_fd()).unwrap();
            assert_eq!(again.counts(3).app_errors, 1);
        }

        #[test]
        fn nobody_can_change_its_size() {
            let (_board, fd) = Scoreboard::create(4).unwrap();
            for size in [0, 128, 1 << 20] {
                assert_eq!(ftruncate(&fd, size), Err(Errno::EPERM));
            }
        }

        #[test]
        fn what_is_no_scoreboard_is_refused() {
            let fd = memfd::create(c"", MFdFlags::empty()).unwrap();
            for size in [0, 127, 128, 128 + 383] {
                ftruncate(&fd, size).unwrap();
                assert!(Scoreboard::open(fd.as_fd()).is_err(), "{size}");
            }
            // A header that promises more than there is.
            let (board, sealed) = Scoreboard::create(2).unwrap();
            board.shared().cells.store(3, Ordering::Release);
            assert!(Scoreboard::open(sealed.as_fd()).is_err());
        }

        /// An upgrade in place from the first build (cb54ddf): its workers keep their mapping of
        /// the smaller file.
        #[test]
        fn the_scoreboard_of_an_old_build_is_taken_over_and_grows_counters() {
            let fd = memfd::create(c"", MFdFlags::empty()).unwrap();
            let size = size_of::<Shared>() + 4160 * size_of::<Cell>();
            ftruncate(&fd, i64::try_from(size).unwrap()).unwrap();
            let old = Scoreboard::open(fd.as_fd()).unwrap();
            assert_eq!(old.cells(), 4160);
            // It counts nothing, and does not fail.
            old.counters(0).count(Metric::AppErrors);
            let last = old.cell(4159).unwrap();
            last.register(1, 2, 3);
            last.request_entry().begin(at(7), LINE, b"p");
            old.shared().set_wanted(4);
            let ours = Scoreboard::take_over(fd.as_fd()).unwrap();
            assert_eq!((ours.cells(), ours.shared().wanted()), (4160, 4));
            let seen = ours.cell(4159).unwrap();
            assert_eq!(seen.request_entry().request().unwrap().line, LINE);
            // Its old worker continues, and a new one counts.
            last.request_entry().end(at(8));
            let template = Scoreboard::open(fd.as_fd()).unwrap();
            template.counters(4159).count_response(500);
            let (counts, _times) = ours.free(4159);
            assert_eq!((counts.requests, counts.responses_5xx), (1, 1));
            assert!(!last.is_taken());
        }
    }
}
