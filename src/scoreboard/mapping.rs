//! The scoreboard's memory: creates and maps it, and divides it into cells and counters.
#![expect(
    unsafe_code,
    reason = "shared memory: mapping it, and seeing atomics in it"
)]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::MFdFlags;
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;

use rcorn_sys::memfd;

use crate::atomic::{AtomicU64, Ordering};
use crate::cell::{Cell, Shared};
use crate::counters::{Counters, Counts, Metric};

/// The alignment of all parts, and a pair of cache lines: processors prefetch two.
const PART_BYTES: usize = 128;

/// What the file's header says about its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    cells: u16,
    /// Counters of each cell; 0 when there are none.
    counters: usize,
}

impl Layout {
    /// The layout of this build.
    fn of(cells: u16) -> Self {
        Self {
            cells,
            counters: Metric::ALL.len(),
        }
    }

    fn counters_start(self) -> usize {
        size_of::<Shared>().saturating_add(size_of::<Cell>().saturating_mul(self.cells.into()))
    }

    /// The distance from the counters of one cell to those of the next, in bytes.
    fn counters_stride(self) -> usize {
        size_of::<AtomicU64>()
            .saturating_mul(self.counters)
            .next_multiple_of(PART_BYTES)
    }

    fn total(self) -> usize {
        self.counters_start()
            .saturating_add(self.counters_stride().saturating_mul(self.cells.into()))
    }
}

/// Memory that starts at a multiple of [`PART_BYTES`] and holds only atomics, for which every bit
/// pattern is valid, and which any thread or process may write at any time.
#[derive(Debug)]
struct Memory {
    base: NonNull<u8>,
    length: NonZeroUsize,
}

// SAFETY: the memory is only ever read and written through atomics, from any thread.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps the first `length` bytes of a file, which must have that many.
    #[cfg(not(miri))]
    fn map(fd: BorrowedFd<'_>, length: NonZeroUsize) -> io::Result<Self> {
        use nix::sys::mman::{MapFlags, ProtFlags, mmap};
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, at an address the kernel chooses. The file is at least that long
        // (the caller looked) and stays so: it is sealed against shrinking. One from the
        // first build (cb54ddf) is not, but no program of ours shrinks it.
        let base = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, fd, 0) }?;
        Ok(Self {
            base: base.cast(),
            length,
        })
    }

    /// Memory of this process, because Miri cannot map files.
    #[cfg(miri)]
    fn map(_fd: BorrowedFd<'_>, length: NonZeroUsize) -> io::Result<Self> {
        Self::heap(length)
    }

    #[cfg(miri)]
    fn heap(length: NonZeroUsize) -> io::Result<Self> {
        let layout = std::alloc::Layout::from_size_align(length.get(), 4096);
        let layout = layout.map_err(io::Error::other)?;
        // SAFETY: the size is not zero.
        let base = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) });
        let base = base.ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, length })
    }

    /// The value of type `T` at `offset`; `None` if it is outside of the memory.
    ///
    /// # Safety
    ///
    /// `T` holds atomics only.
    unsafe fn at<T>(&self, offset: usize) -> Option<&T> {
        // SAFETY: as the caller says.
        unsafe { self.slice::<T>(offset, 1) }?.first()
    }

    /// `count` values of type `T` from `offset` on; `None` if they are outside of the memory, or
    /// not aligned.
    ///
    /// # Safety
    ///
    /// `T` holds atomics only.
    unsafe fn slice<T>(&self, offset: usize, count: usize) -> Option<&[T]> {
        let bytes = size_of::<T>().checked_mul(count)?;
        let end = offset.checked_add(bytes)?;
        if end > self.length.get() || !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: the offset is inside the memory.
        let first = unsafe { self.base.add(offset) }.cast::<T>();
        // SAFETY: all of it is inside the memory, aligned (the base is, to more), initialised (a
        // file's bytes are, and atomics take each pattern), lives as long as `self`, and is
        // only written through atomics.
        Some(unsafe { std::slice::from_raw_parts(first.as_ptr(), count) })
    }
}

impl Drop for Memory {
    #[cfg(not(miri))]
    fn drop(&mut self) {
        // SAFETY: `base` and `length` are of the mapping that `map` made; references to it end with
        // self.
        let unmapped = unsafe { nix::sys::mman::munmap(self.base.cast(), self.length.get()) };
        debug_assert!(unmapped.is_ok());
    }

    #[cfg(miri)]
    fn drop(&mut self) {
        if let Ok(layout) = std::alloc::Layout::from_size_align(self.length.get(), 4096) {
            // SAFETY: made by `heap` with this layout; references to it end with self.
            unsafe { std::alloc::dealloc(self.base.as_ptr(), layout) }
        }
    }
}

/// The scoreboard, as one process has mapped it.
#[derive(Debug)]
pub struct Scoreboard {
    memory: Memory,
    layout: Layout,
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
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let fd = memfd::create(c"rcorn-scoreboard", flags)?;
        let layout = Layout::of(cells);
        ftruncate(
            &fd,
            i64::try_from(layout.total()).map_err(io::Error::other)?,
        )?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
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
            layout: Layout::of(0),
        };
        let shared = scoreboard.shared();
        let cells = shared.cells.load(Ordering::Acquire);
        let counters = shared.counters.load(Ordering::Acquire);
        scoreboard.layout = if cells == 0 {
            // The first build (cb54ddf): cells to the end of the file.
            let space = size.saturating_sub(size_of::<Shared>());
            Layout {
                cells: u16::try_from(space.div_euclid(size_of::<Cell>()))
                    .map_err(io::Error::other)?,
                counters: 0,
            }
        } else {
            Layout {
                cells: u16::try_from(cells).map_err(io::Error::other)?,
                counters: usize::try_from(counters).map_err(io::Error::other)?,
            }
        };
        if scoreboard.layout.cells == 0 || scoreboard.layout.total() > size {
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
        let layout = Layout::of(old.layout.cells);
        match ftruncate(fd, i64::try_from(layout.total()).map_err(io::Error::other)?) {
            Ok(()) => Self::with_layout(fd, layout),
            // It is sealed by a build that counts nothing, so this one counts nothing either.
            Err(Errno::EPERM) => Ok(old),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Maps a file of the size of this layout, and writes the layout into its header.
    fn with_layout(fd: BorrowedFd<'_>, layout: Layout) -> io::Result<Self> {
        let length = NonZeroUsize::new(layout.total()).filter(|_| layout.cells > 0);
        let length = length.ok_or_else(|| io::Error::other("a scoreboard needs a cell"))?;
        let scoreboard = Self {
            memory: Memory::map(fd, length)?,
            layout,
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
        // SAFETY: it holds atomics only.
        unsafe { self.memory.at(0) }.expect("a header")
    }

    /// One worker's cell; `None` past the end.
    #[must_use]
    pub fn cell(&self, index: u16) -> Option<&Cell> {
        if index >= self.layout.cells {
            return None;
        }
        let offset =
            size_of::<Shared>().saturating_add(size_of::<Cell>().saturating_mul(index.into()));
        // SAFETY: it holds atomics only.
        unsafe { self.memory.at(offset) }
    }

    /// One worker's counters. There are none after the last cell, and none in a scoreboard without
    /// room for them.
    #[must_use]
    pub fn counters(&self, index: u16) -> Counters<'_> {
        let layout = self.layout;
        if index >= layout.cells {
            return Counters::new(&[]);
        }
        let offset = layout.counters_stride().saturating_mul(index.into());
        let offset = layout.counters_start().saturating_add(offset);
        // SAFETY: atomics only.
        let places = unsafe { self.memory.slice(offset, layout.counters) };
        Counters::new(places.unwrap_or(&[]))
    }

    /// What the worker with this cell has counted so far.
    #[must_use]
    pub fn counts(&self, index: u16) -> Counts {
        let mut counts = Counts::default();
        self.counters(index).read_into(&mut counts);
        if let Some(cell) = self.cell(index) {
            counts.requests = cell.requests();
            counts.connections = cell.connections().into();
        }
        counts
    }

    /// Makes the cell of a worker that has ended ready for another. Returns what it had counted,
    /// which the caller adds to the [`crate::Totals`].
    #[must_use = "what it had counted is lost otherwise"]
    pub fn free(&self, index: u16) -> Counts {
        let counts = self.counts(index);
        self.counters(index).reset();
        if let Some(cell) = self.cell(index) {
            cell.reset();
        }
        counts
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcorn_types::Monotonic;

    use crate::cell::Answered;

    use super::*;

    const LINE: &[u8] = b"GET /a/long/path/that/needs/several/words HTTP/1.1";

    fn at(nanoseconds: u64) -> Monotonic {
        Monotonic::from_nanos(nanoseconds)
    }

    /// In this process alone, so that it also runs under Miri.
    fn board(cells: u16) -> Scoreboard {
        #[cfg(miri)]
        {
            let layout = Layout::of(cells);
            let memory = Memory::heap(NonZeroUsize::new(layout.total()).unwrap()).unwrap();
            Scoreboard { memory, layout }
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
        let freed = board.free(1);
        let expected = Counts {
            requests: 1,
            responses_2xx: 2,
            received_bytes: 100,
            handed_off_connections: 1,
            connections: 5,
            ..Counts::default()
        };
        assert_eq!(freed, expected);
        assert_eq!(board.free(1), Counts::default());
        assert_eq!(board.counts(0).responses_2xx, 1);
        assert_eq!(board.counts(2).responses_2xx, 3);
    }

    #[cfg(not(miri))]
    #[cfg(test)]
    mod files {
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
            let counts = ours.free(4159);
            assert_eq!((counts.requests, counts.responses_5xx), (1, 1));
            assert!(!last.is_taken());
        }
    }
}
