//! Memory that one process writes and another one reads.
#![expect(
    unsafe_code,
    reason = "shared memory: mapping it, writing it, and seeing bytes in it"
)]

use std::ffi::CStr;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::sys::stat::fstat;
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};

use crate::memfd;

/// A mapping, until it is dropped.
#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    length: NonZeroUsize,
    /// The one that made it.
    process: u32,
}

// SAFETY: the mapping belongs to this value alone; it may be used from any thread.
unsafe impl Send for Mapping {}
// SAFETY: who has a shared reference can only read it.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps a whole file that is sealed against shrinking: pages that do not exist would kill the
    /// process (SIGBUS).
    fn new(file: BorrowedFd<'_>, length: NonZeroUsize, protection: ProtFlags) -> io::Result<Self> {
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let base = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, file, 0) }?;
        let mapping = Self {
            base: base.cast(),
            length,
            process: std::process::id(),
        };
        // SAFETY: the range is that of the mapping. A child that the app forks has no use for it.
        unsafe { madvise(base, length.get(), MmapAdvise::MADV_DONTFORK) }?;
        Ok(mapping)
    }

    /// Where these bytes are; `None` if they are not within.
    fn at(&self, offset: usize, length: usize) -> Option<NonNull<u8>> {
        let end = offset.checked_add(length)?;
        // SAFETY: it is within the mapping, or just behind it.
        (end <= self.length.get()).then(|| unsafe { self.base.add(offset) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // A process that was forked has no such mapping, and may have another one there.
        if self.process != std::process::id() {
            return;
        }
        // SAFETY: the mapping is this value's own, and nothing else refers to it.
        unsafe { munmap(self.base.cast(), self.length.get()) }.ok();
    }
}

/// How many bytes of memory this process has written in blocks that it still has.
static WRITTEN: AtomicUsize = AtomicUsize::new(0);

/// How many bytes of resident memory are those of blocks that this process has made.
#[must_use]
pub fn resident_bytes() -> usize {
    WRITTEN.load(Ordering::Relaxed)
}

/// The writer's end.
#[derive(Debug)]
pub struct SharedBlock {
    mapping: Mapping,
    /// How far it was ever written.
    written: usize,
}

impl Drop for SharedBlock {
    fn drop(&mut self) {
        WRITTEN.fetch_sub(self.written, Ordering::Relaxed);
    }
}

impl SharedBlock {
    /// Makes memory of so many bytes, and the descriptor by which another process can open it.
    ///
    /// # Errors
    ///
    /// Those of `memfd_create(2)`, ftruncate(2), fallocate(2) and mmap(2).
    pub fn create(name: &CStr, length: NonZeroUsize) -> io::Result<(Self, OwnedFd)> {
        let file = memfd::of_size(name, length.get())?;
        // Where memory is short this fails, and a write would end the process (SIGBUS).
        let bytes = i64::try_from(length.get()).map_err(io::Error::other)?;
        fallocate(&file, FallocateFlags::empty(), 0, bytes)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let mapping = Mapping::new(file.as_fd(), length, protection)?;
        let block = Self {
            mapping,
            written: 0,
        };
        Ok((block, file))
    }

    /// How many bytes it has.
    #[must_use]
    pub fn length(&self) -> usize {
        self.mapping.length.get()
    }

    /// Writes these bytes at `offset`; false if there is no room for them.
    #[must_use]
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> bool {
        let Some(place) = self.mapping.at(offset, bytes.len()) else {
            return false;
        };
        let end = offset.saturating_add(bytes.len());
        WRITTEN.fetch_add(end.saturating_sub(self.written), Ordering::Relaxed);
        self.written = self.written.max(end);
        // SAFETY: the place is within the mapping, to which no reference exists.
        unsafe { place.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        true
    }
}

/// The reader's end.
///
/// The writer says when its bytes are complete, and leaves them alone until the reader has said
/// that it has used them: so they can be borrowed. A writer that breaks this has been taken over,
/// and what is read may change under way. So the bytes are to be copied (by the kernel, into a
/// record of TLS, into a buffer), and nothing may rely on reading them twice.
#[derive(Debug)]
pub struct SharedBlockReader(Mapping);

impl SharedBlockReader {
    /// Opens the memory of a [`SharedBlock`], of at most so many bytes.
    ///
    /// # Errors
    ///
    /// Those of fstat(2) and mmap(2); `InvalidData` if it is longer, or something else, which could
    /// become shorter than it is.
    pub fn open(file: BorrowedFd<'_>, most: usize) -> io::Result<Self> {
        // Other files have no seals (EINVAL). Those of hugetlbfs have, and may still have no pages.
        let seals = SealFlag::from_bits_retain(fcntl(file, FcntlArg::F_GET_SEALS).unwrap_or(0));
        let is_usual = fstatfs(file)?.filesystem_type() == TMPFS_MAGIC;
        if !(is_usual && seals.contains(SealFlag::F_SEAL_SHRINK)) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // From now on it is not shorter.
        let size = usize::try_from(fstat(file)?.st_size).unwrap_or(usize::MAX);
        let length = NonZeroUsize::new(size).filter(|size| size.get() <= most);
        let length = length.ok_or(io::ErrorKind::InvalidData)?;
        Mapping::new(file, length, ProtFlags::PROT_READ).map(Self)
    }

    /// The first so many bytes; `None` if there are not so many.
    #[must_use]
    pub fn bytes(&self, length: usize) -> Option<&[u8]> {
        let place = self.0.at(0, length)?;
        // SAFETY: the place is within the mapping, which lives as long as this value and which this
        // process never writes. Nor does the writer, unless it was taken over: see above.
        Some(unsafe { std::slice::from_raw_parts(place.as_ptr(), length) })
    }
}

#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use std::fs::File;

    use nix::sys::memfd::MFdFlags;

    use super::*;

    fn block(length: usize) -> (SharedBlock, OwnedFd) {
        SharedBlock::create(c"test", NonZeroUsize::new(length).unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_nothing_beyond_it() {
        let (mut writer, file) = block(10_000);
        let reader = SharedBlockReader::open(file.as_fd(), 10_000).unwrap();
        drop(file);
        assert_eq!(writer.length(), 10_000);
        assert!(writer.write(0, b"begin"));
        assert!(writer.write(9_997, b"end"));
        for offset in [9_998, 10_000, 10_001, usize::MAX] {
            assert!(!writer.write(offset, b"end"), "{offset}");
        }
        assert_eq!(reader.bytes(5), Some(&b"begin"[..]));
        assert_eq!(reader.bytes(10_001), None);
        // It outlives its writer.
        drop(writer);
        let all = reader.bytes(10_000).unwrap();
        assert!(all.starts_with(b"begin\0"));
        assert!(all.ends_with(b"\0end"));
    }

    #[test]
    fn a_child_does_not_have_it() {
        let (_writer, file) = block(4096);
        let reader = SharedBlockReader::open(file.as_fd(), 4096).unwrap();
        let start = format!("{:x}-", reader.0.base.addr());
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let ours = maps.split_once(&start).unwrap().1;
        let flags = ours.lines().find_map(|line| line.strip_prefix("VmFlags:"));
        assert!(flags.unwrap().contains(" dc"), "MADV_DONTFORK is set");
    }

    #[test]
    fn only_what_keeps_its_size_is_opened() {
        let (_writer, file) = block(4096);
        let error = SharedBlockReader::open(file.as_fd(), 4095).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let unsealed = File::from(memfd::create(c"test", MFdFlags::MFD_CLOEXEC).unwrap());
        unsealed.set_len(100).unwrap();
        for file in [unsealed, File::open("/proc/self/exe").unwrap()] {
            let error = SharedBlockReader::open(file.as_fd(), usize::MAX).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        let empty = memfd::sealed(c"test", b"", memfd::Content::Data).unwrap();
        assert!(SharedBlockReader::open(empty.as_fd(), 4096).is_err());
    }
}
