//! Memory that processes share, and where cells and counters lie in it.
#![expect(
    unsafe_code,
    reason = "shared memory: mapping it, and seeing atomics in it"
)]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use crate::atomic::AtomicU64;
use crate::cell::{Cell, Shared};
use crate::counters::Counters;

/// The alignment of all parts, and a pair of cache lines: processors prefetch two.
const PART_BYTES: usize = 128;

/// Cells, and behind them the counters of each cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Where the first cell begins.
    pub(crate) start: usize,
    pub(crate) cells: u16,
    /// Counters of each cell; 0 when there are none.
    pub(crate) counters: usize,
}

impl Layout {
    fn counters_start(self) -> usize {
        let cells = size_of::<Cell>().saturating_mul(self.cells.into());
        self.start.saturating_add(cells)
    }

    /// From the counters of one cell to those of the next.
    fn counters_stride(self) -> usize {
        size_of::<AtomicU64>()
            .saturating_mul(self.counters)
            .next_multiple_of(PART_BYTES)
    }

    /// Where it ends.
    pub(crate) fn end(self) -> usize {
        self.counters_start()
            .saturating_add(self.counters_stride().saturating_mul(self.cells.into()))
    }

    /// How many bytes it takes.
    pub(crate) fn bytes(self) -> usize {
        self.end().saturating_sub(self.start)
    }
}

/// Memory that starts at a multiple of [`PART_BYTES`] and holds nothing but atomics: for those
/// every bit pattern is valid, and any thread or process may write them at any time.
#[derive(Debug)]
pub(crate) struct Memory {
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
    pub(crate) fn map(fd: BorrowedFd<'_>, length: NonZeroUsize) -> io::Result<Self> {
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

    /// Miri maps no files: memory of this process, so that it can check what is done with it.
    #[cfg(miri)]
    pub(crate) fn map(_fd: BorrowedFd<'_>, length: NonZeroUsize) -> io::Result<Self> {
        Self::heap(length)
    }

    #[cfg(miri)]
    pub(crate) fn heap(length: NonZeroUsize) -> io::Result<Self> {
        let layout = std::alloc::Layout::from_size_align(length.get(), 4096);
        let layout = layout.map_err(io::Error::other)?;
        // SAFETY: the size is not zero.
        let base = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) });
        let base = base.ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, length })
    }

    /// The value of type `T` at `offset`; `None` when it is not within.
    ///
    /// # Safety
    ///
    /// `T` holds atomics only.
    pub(crate) unsafe fn at<T>(&self, offset: usize) -> Option<&T> {
        // SAFETY: as the caller says.
        unsafe { self.slice::<T>(offset, 1) }?.first()
    }

    /// `count` values of type `T` from `offset` on; `None` when they are not within, or not
    /// aligned.
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

    /// The header; `None` when there is no room for one.
    pub(crate) fn shared(&self) -> Option<&Shared> {
        // SAFETY: it holds atomics only.
        unsafe { self.at(0) }
    }

    /// One cell; `None` past the end.
    pub(crate) fn cell(&self, layout: Layout, index: u16) -> Option<&Cell> {
        if index >= layout.cells {
            return None;
        }
        let offset = size_of::<Cell>().saturating_mul(index.into());
        // SAFETY: it holds atomics only.
        unsafe { self.at(layout.start.saturating_add(offset)) }
    }

    /// The counters of one cell. There are none past the end, and in memory that has no place for
    /// them.
    pub(crate) fn counters(&self, layout: Layout, index: u16) -> Counters<'_> {
        if index >= layout.cells {
            return Counters::new(&[]);
        }
        let offset = layout.counters_stride().saturating_mul(index.into());
        let offset = layout.counters_start().saturating_add(offset);
        // SAFETY: atomics only.
        let places = unsafe { self.slice(offset, layout.counters) };
        Counters::new(places.unwrap_or(&[]))
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
