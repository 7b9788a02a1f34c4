//! The cells of threads: a worker with threads has one for each, beside its own.
//!
//! They are in a file of their own, which is made when workers have threads for the first time, and
//! which grows when they have more. So the scoreboard itself stays as it was, and workers with one
//! thread need nothing of this. First all workers' first threads, then all workers' second threads,
//! and so on: memory that no thread has used is never there.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::MFdFlags;
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;

use rcorn_sys::memfd;

use crate::atomic::Ordering;
use crate::cell::{Cell, Shared};
use crate::counters::{Counters, PLACES};
use crate::memory::{Layout, Memory};

/// The cells and counters of threads, as one process has mapped them.
#[derive(Debug)]
pub struct Slots {
    memory: Memory,
    /// Of all workers' first threads. Those of their other threads follow.
    first: Layout,
    /// How many threads a worker can have.
    most: u16,
}

impl Slots {
    /// Makes cells for `slots` threads of each worker of a scoreboard of `cells` cells, with the
    /// descriptor by which others map them. Nobody can make the file smaller (`F_ADD_SEALS` of
    /// fcntl(2)).
    ///
    /// # Errors
    ///
    /// Those of `memfd_create(2)`, ftruncate(2) and mmap(2).
    pub fn create(cells: u16, slots: u16) -> io::Result<(Self, OwnedFd)> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let fd = memfd::create(c"rcorn-threads", flags)?;
        let counters = PLACES;
        let first = layout(cells, counters);
        resize(fd.as_fd(), first, slots)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
        let made = Self {
            memory: map(fd.as_fd(), size(first, slots))?,
            first,
            most: slots,
        };
        let header = made.memory.shared().ok_or_else(none)?;
        let counters = u32::try_from(counters).map_err(io::Error::other)?;
        header.counters.store(counters, Ordering::Release);
        header.cells.store(cells.into(), Ordering::Release);
        Ok((made, fd))
    }

    /// Maps what another process has made.
    ///
    /// # Errors
    ///
    /// Those of fstat(2) and mmap(2); `Other` when it is something else.
    pub fn open(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let length = usize::try_from(fstat(fd)?.st_size).map_err(io::Error::other)?;
        let memory = map(fd, length)?;
        let header = memory.shared().ok_or_else(none)?;
        let cells = header.cells.load(Ordering::Acquire);
        let counters = header.counters.load(Ordering::Acquire);
        let first = layout(
            u16::try_from(cells).map_err(io::Error::other)?,
            usize::try_from(counters).map_err(io::Error::other)?,
        );
        let slots = length
            .saturating_sub(first.start)
            .checked_div(first.bytes())
            .ok_or_else(none)?;
        Ok(Self {
            memory,
            first,
            most: u16::try_from(slots).map_err(io::Error::other)?,
        })
    }

    /// Makes room for at least `slots` threads of each worker. `fd`: the file. Other processes keep
    /// what they have mapped.
    ///
    /// # Errors
    ///
    /// Those of ftruncate(2) and mmap(2).
    pub fn grow(&mut self, fd: BorrowedFd<'_>, slots: u16) -> io::Result<()> {
        if slots > self.most {
            resize(fd, self.first, slots)?;
            self.memory = map(fd, size(self.first, slots))?;
            self.most = slots;
        }
        Ok(())
    }

    /// The cell of one thread of the worker with this cell; `None` past the end.
    pub(crate) fn cell(&self, index: u16, slot: u16) -> Option<&Cell> {
        self.memory.cell(self.layout(slot)?, index)
    }

    /// What that thread counts. There are no counters past the end.
    pub(crate) fn counters(&self, index: u16, slot: u16) -> Counters<'_> {
        let layout = self.layout(slot);
        layout.map_or(Counters::new(&[]), |layout| {
            self.memory.counters(layout, index)
        })
    }

    /// Where the cells of all workers' threads of one number are.
    fn layout(&self, slot: u16) -> Option<Layout> {
        let before = self.first.bytes().checked_mul(slot.into())?;
        let start = self.first.start.checked_add(before)?;
        (slot < self.most).then_some(Layout {
            start,
            ..self.first
        })
    }
}

/// Where the cells of all workers' first threads are.
fn layout(cells: u16, counters: usize) -> Layout {
    Layout {
        start: size_of::<Shared>(),
        cells,
        counters,
    }
}

fn size(first: Layout, slots: u16) -> usize {
    let cells = first.bytes().saturating_mul(slots.into());
    first.start.saturating_add(cells)
}

fn resize(fd: BorrowedFd<'_>, first: Layout, slots: u16) -> io::Result<()> {
    let size = i64::try_from(size(first, slots)).map_err(io::Error::other)?;
    Ok(ftruncate(fd, size)?)
}

fn map(fd: BorrowedFd<'_>, length: usize) -> io::Result<Memory> {
    Memory::map(fd, NonZeroUsize::new(length).ok_or_else(none)?)
}

fn none() -> io::Error {
    io::Error::other("these are no cells of threads")
}

#[cfg(not(any(loom, miri)))]
#[cfg(test)]
mod tests {
    use nix::errno::Errno;
    use rcorn_types::Monotonic;

    use super::*;
    use crate::{Counts, Scoreboard};

    fn at(nanoseconds: u64) -> Monotonic {
        Monotonic::from_nanos(nanoseconds)
    }

    /// A worker with threads, and the arbiter.
    #[test]
    fn the_arbiter_sees_each_thread_and_the_sum_of_what_they_count() {
        let (mut ours, memory) = Scoreboard::create(4).unwrap();
        let (slots, threads) = Slots::create(ours.cells(), 3).unwrap();
        ours.add_slots(slots);
        let mut theirs = Scoreboard::open(memory.as_fd()).unwrap();
        theirs.add_slots(Slots::open(threads.as_fd()).unwrap());
        let cell = theirs.cell(2).unwrap();
        cell.register(9, 4711, 1);
        cell.set_slots(3);
        for slot in 0..3 {
            let thread = theirs.slot(2, slot).unwrap();
            thread.register_thread(0x7f00 + u64::from(slot), 100 + u32::from(slot));
            thread
                .request_entry()
                .begin(at(50 - u64::from(slot)), b"GET / HTTP/1.1", b"p");
            theirs.slot_counters(2, slot).count_response(200);
        }
        theirs.counters(2).count_response(404);
        let seen: Vec<_> = ours
            .threads(2)
            .map(|(slot, cell)| (slot, cell.thread()))
            .collect();
        assert_eq!(
            seen,
            [(0, (0x7f00, 100)), (1, (0x7f01, 101)), (2, (0x7f02, 102))]
        );
        assert_eq!(ours.request_entries(2).count(), 3);
        assert_eq!(ours.no_progress_since(2), Some(at(48)));
        let oldest = theirs.slot(2, 2).unwrap().request_entry();
        oldest.wait();
        assert_eq!(
            ours.no_progress_since(2),
            Some(at(49)),
            "of those that do not wait"
        );
        oldest.end(at(60));
        let expected = Counts {
            requests: 1,
            responses_2xx: 3,
            responses_4xx: 1,
            ..Counts::default()
        };
        assert_eq!(ours.counts(2), expected);
        assert_eq!(ours.free(2).0, expected);
        assert_eq!((ours.counts(2), ours.slots(2)), (Counts::default(), 0));
        assert_eq!(theirs.slot(2, 0).unwrap().thread(), (0, 0));
        // Its neighbour has one thread, and its entry is its own.
        assert_eq!(ours.request_entries(1).count(), 1);
    }

    #[test]
    fn a_worker_is_free_while_one_of_its_threads_is_and_it_stays() {
        let (mut ours, memory) = Scoreboard::create(2).unwrap();
        ours.add_slots(Slots::create(2, 2).unwrap().0);
        let own = ours.cell(1).unwrap();
        assert!(!ours.is_free(1) && !ours.is_free(9), "nobody is there");
        own.register(9, 4711, 1);
        own.set_slots(2);
        let begin = |slot| {
            let entry = ours.slot(1, slot).unwrap().request_entry();
            entry.begin(at(5), b"GET / HTTP/1.1", b"p");
        };
        begin(0);
        assert!(ours.is_free(1));
        begin(1);
        assert!(!ours.is_free(1));
        // Who has not mapped them cannot know.
        let theirs = Scoreboard::open(memory.as_fd()).unwrap();
        assert!(theirs.is_free(1));
        ours.slot(1, 1).unwrap().request_entry().end(at(6));
        own.set_leaves(true);
        assert!(!ours.is_free(1) && !theirs.is_free(1));
        own.reset();
        own.register(10, 4712, 1);
        assert!(ours.is_free(1));
    }

    #[test]
    fn a_thread_is_silent_from_the_bytes_of_a_connection_to_its_place() {
        let (mut ours, _memory) = Scoreboard::create(1).unwrap();
        ours.add_slots(Slots::create(1, 1).unwrap().0);
        ours.cell(0).unwrap().set_slots(1);
        let thread = ours.slot(0, 0).unwrap();
        let entry = thread.request_entry();
        thread.wake(at(4));
        assert_eq!(ours.no_progress_since(0), Some(at(4)), "not begun yet");
        entry.begin(at(5), b"GET / HTTP/1.1", b"p");
        assert_eq!(ours.no_progress_since(0), Some(at(5)));
        entry.end(at(6));
        assert_eq!(ours.no_progress_since(0), Some(at(6)), "its end takes long");
        thread.sleep();
        assert_eq!(ours.no_progress_since(0), None);
    }

    #[test]
    fn more_threads_make_the_file_longer_and_old_mappings_stay() {
        let (mut ours, fd) = Slots::create(4, 2).unwrap();
        let theirs = Slots::open(fd.as_fd()).unwrap();
        assert!(theirs.cell(3, 1).is_some() && theirs.cell(3, 2).is_none());
        theirs.cell(3, 1).unwrap().register_thread(7, 8);
        ours.grow(fd.as_fd(), 16).unwrap();
        assert_eq!(ours.cell(3, 1).unwrap().thread(), (7, 8));
        ours.cell(3, 15).unwrap().register_thread(9, 10);
        let later = Slots::open(fd.as_fd()).unwrap();
        assert_eq!(later.cell(3, 15).unwrap().thread(), (9, 10));
        assert!(later.cell(3, 16).is_none() && later.cell(4, 0).is_none());
        ours.grow(fd.as_fd(), 4).unwrap();
        assert!(ours.cell(0, 15).is_some(), "it never shrinks");
        assert_eq!(ftruncate(&fd, 128), Err(Errno::EPERM));
    }

    #[test]
    fn what_is_something_else_is_refused() {
        let fd = memfd::create(c"", MFdFlags::empty()).unwrap();
        for size in [0, 127, 128, 4096] {
            ftruncate(&fd, size).unwrap();
            assert!(Slots::open(fd.as_fd()).is_err(), "{size}");
        }
    }
}
