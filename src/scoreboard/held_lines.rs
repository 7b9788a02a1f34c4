//! Lines of the access log that a worker has not written to the file yet: it writes those of
//! requests that were ready at once together. They are in shared memory, so that the arbiter can
//! write them if the worker dies before.
//!
//! They are in a file of their own, as samples are ([`Samples`](crate::Samples)), which an upgrade
//! in place hands over.
#![expect(unsafe_code, reason = "shared memory: seeing atomics in it")]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::sys::stat::fstat;

use rcorn_sys::memfd;

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::memory::Memory;

/// The bytes of one word.
const WORD_BYTES: usize = size_of::<u64>();
/// The words that the lines of one worker have room in.
const WORDS: usize = 1023;

/// The lines of one worker.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct HeldLines {
    /// The words in use.
    used: AtomicU32,
    /// Lines, each from a word of its own on; behind its line feed are zeros.
    words: [AtomicU64; WORDS],
}

// The file outlives an upgrade in place: workers of one build write to it while the arbiter of
// another one reads.
#[cfg(not(all(loom, test)))]
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<HeldLines>() == 8192 && align_of::<HeldLines>() == 128);
    assert!(offset_of!(HeldLines, used) == 0 && offset_of!(HeldLines, words) == 8);
};

impl HeldLines {
    /// Adds a line; false, and nothing is changed, if there is no room for it. The worker alone may
    /// call this, and no two threads of it at once.
    #[must_use]
    pub fn push(&self, line: &[u8]) -> bool {
        let used = self.used();
        let length = line.len().div_ceil(WORD_BYTES);
        let end = used.saturating_add(length);
        let Some(places) = self.words.get(used..end) else {
            return false;
        };
        let (words, rest) = line.as_chunks::<WORD_BYTES>();
        for (place, word) in places.iter().zip(words) {
            place.store(u64::from_le_bytes(*word), Ordering::Relaxed);
        }
        if let (Some(place), false) = (places.last(), rest.is_empty()) {
            let mut word = [0; WORD_BYTES];
            word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            place.store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
        let end = u32::try_from(end).unwrap_or(u32::MAX);
        self.used.store(end, Ordering::Release);
        true
    }

    /// Forgets all lines: they are written.
    pub fn clear(&self) {
        self.used.store(0, Ordering::Release);
    }

    /// Takes the lines of a worker that has ended. If it was killed between writing them and saying
    /// so, they are in the file already.
    #[must_use = "they are gone otherwise"]
    pub fn take(&self) -> Vec<u8> {
        let used = self.words.iter().take(self.used());
        let mut lines: Vec<u8> = used
            .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
            .collect();
        lines.retain(|byte| *byte != 0);
        self.clear();
        lines
    }

    fn used(&self) -> usize {
        let used = self.used.load(Ordering::Acquire);
        usize::try_from(used).unwrap_or(usize::MAX).min(WORDS)
    }
}

/// The lines of all workers, as one process has mapped them.
#[derive(Debug)]
pub struct AllHeldLines {
    memory: Memory,
    workers: u16,
}

impl AllHeldLines {
    /// Makes room for so many workers, with the descriptor by which others map it. Its size is
    /// sealed (`F_ADD_SEALS` of fcntl(2)). Memory that no worker has used is never there.
    ///
    /// # Errors
    ///
    /// Those of `memfd_create(2)`, ftruncate(2) and mmap(2).
    pub fn create(workers: u16) -> io::Result<(Self, OwnedFd)> {
        let fd = memfd::of_size(c"rcorn-lines", size(workers))?;
        Ok((Self::open(fd.as_fd())?, fd))
    }

    /// Maps what another process has made.
    ///
    /// # Errors
    ///
    /// Those of fstat(2) and mmap(2); `Other` if it is something else.
    pub fn open(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let none = || io::Error::other("there is no room for lines of the access log");
        let length = usize::try_from(fstat(fd)?.st_size).map_err(io::Error::other)?;
        let workers = u16::try_from(length.div_euclid(size_of::<HeldLines>()));
        let workers = workers.map_err(io::Error::other)?;
        let length = NonZeroUsize::new(length).filter(|length| length.get() == size(workers));
        Ok(Self {
            memory: Memory::map(fd, length.ok_or_else(none)?)?,
            workers,
        })
    }

    /// Those of one worker, by the index of its cell; `None` past the end.
    #[must_use]
    pub fn of(&self, index: u16) -> Option<&HeldLines> {
        if index >= self.workers {
            return None;
        }
        // SAFETY: it holds atomics only.
        unsafe { self.memory.at(size(index)) }
    }
}

fn size(workers: u16) -> usize {
    size_of::<HeldLines>().saturating_mul(workers.into())
}

#[cfg(not(any(loom, miri)))]
#[cfg(test)]
mod tests {
    use nix::sys::memfd::MFdFlags;
    use nix::unistd::ftruncate;

    use super::*;

    #[test]
    fn lines_are_taken_as_they_were_added() {
        let (ours, fd) = AllHeldLines::create(3).unwrap();
        let theirs = AllHeldLines::open(fd.as_fd()).unwrap();
        assert!(theirs.of(3).is_none());
        let mut added = Vec::new();
        for length in 0..40_u8 {
            let mut line = vec![b'a' + length % 26; length.into()];
            line.push(b'\n');
            assert!(theirs.of(2).unwrap().push(&line));
            added.extend(line);
        }
        assert_eq!(ours.of(1).unwrap().take(), b"");
        assert_eq!(ours.of(2).unwrap().take(), added);
        assert_eq!(ours.of(2).unwrap().take(), b"");
    }

    #[test]
    fn a_line_without_room_changes_nothing() {
        let (lines, _fd) = AllHeldLines::create(1).unwrap();
        let lines = lines.of(0).unwrap();
        let whole = [b'a'; WORDS * WORD_BYTES];
        assert!(!lines.push(&[b'a'; WORDS * WORD_BYTES + 1]));
        assert!(lines.push(&whole));
        assert!(!lines.push(b"b"));
        assert_eq!(lines.take(), whole);
        assert!(lines.push(b"a"));
        lines.clear();
        assert!(lines.push(b"b"));
        assert_eq!(lines.take(), b"b");
    }

    #[test]
    fn what_is_something_else_is_refused() {
        let fd = memfd::create(c"", MFdFlags::empty()).unwrap();
        for size in [0, 1, 8191, 8193] {
            ftruncate(&fd, size).unwrap();
            assert!(AllHeldLines::open(fd.as_fd()).is_err(), "{size}");
        }
    }
}
