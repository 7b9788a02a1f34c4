//! What statsd is told of requests: how many had which status, and how long each took. Workers note
//! it here, in a few instructions; the arbiter takes it from here, and sends it.
//!
//! It is in a file of its own, which is made when a statsd server is named for the first time. What
//! is taken is gone, so the state of the arbiter is in here, too, and an upgrade in place loses
//! nothing.
#![expect(unsafe_code, reason = "shared memory: seeing atomics in it")]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::stat::fstat;

use rcorn_sys::memfd;

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::memory::Memory;

/// Statuses have three digits (RFC 9110 section 15).
const STATUSES: usize = 1000;
/// Durations that a worker can note before the arbiter takes them; the oldest ones are overwritten.
const DURATIONS: usize = 4096;
/// Kinds of records of the error log.
const KINDS: usize = 4;

/// What all processes share.
#[repr(C, align(128))]
struct Header {
    /// One more than the highest index of a place that was used.
    used: AtomicU32,
    /// Records of the error log, by kind.
    logged: [AtomicU64; KINDS],
}

/// The place of one worker.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct Place {
    /// How many durations were noted.
    noted: AtomicU64,
    /// How many of them were taken.
    taken: AtomicU64,
    /// How many requests had this status, since the last look.
    statuses: [AtomicU32; STATUSES],
    /// In microseconds, and one more: 0 is none.
    durations: [AtomicU32; DURATIONS],
}

// The file outlives an upgrade in place: workers of one build write to it while the arbiter of
// another one reads.
#[cfg(not(all(loom, test)))]
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<Header>() == 128 && align_of::<Header>() == 128);
    assert!(offset_of!(Header, used) == 0 && offset_of!(Header, logged) == 8);
    assert!(size_of::<Place>() == 20_480 && align_of::<Place>() == 128);
    assert!(offset_of!(Place, noted) == 0 && offset_of!(Place, taken) == 8);
    assert!(offset_of!(Place, statuses) == 16 && offset_of!(Place, durations) == 4016);
};

impl Place {
    /// Notes a request that has ended. Any thread of the worker may do so.
    pub fn note(&self, status: u16, duration: Duration) {
        if let Some(count) = self.statuses.get(usize::from(status)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        let number = self.noted.fetch_add(1, Ordering::Relaxed);
        if let Some(place) = self.durations.get(place_of(number)) {
            place.store(micros.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Takes what was noted since the last time, into `taken`.
    fn take(&self, taken: &mut Taken) {
        let noted = self.noted.load(Ordering::Relaxed);
        let before = self.taken.swap(noted, Ordering::Relaxed);
        if noted == before {
            return;
        }
        for (status, count) in (0..).zip(&self.statuses) {
            // Most are 0, and a look is cheaper than a swap.
            if count.load(Ordering::Relaxed) > 0 {
                taken.add(status, count.swap(0, Ordering::Relaxed));
            }
        }
        let kept = u64::try_from(DURATIONS).unwrap_or(u64::MAX);
        for number in noted.saturating_sub(kept).max(before)..noted {
            let place = self.durations.get(place_of(number));
            let duration = place.map_or(0, |place| place.swap(0, Ordering::Relaxed));
            // A thread has taken the number and not noted the duration yet, or never will.
            if let Some(micros) = duration.checked_sub(1) {
                taken.durations.push(micros);
            }
        }
    }
}

fn place_of(number: u64) -> usize {
    let kept = u64::try_from(DURATIONS).unwrap_or(1);
    usize::try_from(number.checked_rem(kept).unwrap_or(0)).unwrap_or(0)
}

/// What was taken at one look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many requests had each status, in the order of statuses; those that none had are not in
    /// it.
    pub statuses: Vec<(u16, u64)>,
    /// How long requests took, in microseconds. There are fewer than requests if these were too
    /// many.
    pub durations: Vec<u32>,
    /// Records of the error log, by kind.
    pub logged: [u64; KINDS],
}

impl Taken {
    fn add(&mut self, status: u16, count: u32) {
        let count = u64::from(count);
        match self.statuses.binary_search_by_key(&status, |(one, _)| *one) {
            Ok(at) => {
                if let Some((_, sum)) = self.statuses.get_mut(at) {
                    *sum = sum.saturating_add(count);
                }
            }
            Err(at) => self.statuses.insert(at, (status, count)),
        }
    }

    /// How many requests there were.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.statuses.iter().map(|(_, count)| *count).sum()
    }
}

/// The places of all workers, as one process has mapped them.
#[derive(Debug)]
pub struct Samples {
    memory: Memory,
    places: u16,
}

impl Samples {
    /// Makes places for so many workers, with the descriptor by which others map them. Its size is
    /// sealed (`F_ADD_SEALS` of fcntl(2)). Memory that no worker has used is never there.
    ///
    /// # Errors
    ///
    /// Those of `memfd_create(2)`, ftruncate(2) and mmap(2).
    pub fn create(places: u16) -> io::Result<(Self, OwnedFd)> {
        let fd = memfd::of_size(c"rcorn-samples", size(places))?;
        Ok((Self::open(fd.as_fd())?, fd))
    }

    /// Maps what another process has made.
    ///
    /// # Errors
    ///
    /// Those of fstat(2) and mmap(2); `Other` if it is something else.
    pub fn open(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let none = || io::Error::other("these are no places for samples");
        let length = usize::try_from(fstat(fd)?.st_size).map_err(io::Error::other)?;
        let places = length.saturating_sub(size_of::<Header>());
        let places =
            u16::try_from(places.div_euclid(size_of::<Place>())).map_err(io::Error::other)?;
        let length = NonZeroUsize::new(length).filter(|length| length.get() == size(places));
        Ok(Self {
            memory: Memory::map(fd, length.filter(|_| places > 0).ok_or_else(none)?)?,
            places,
        })
    }

    /// The place of one worker, by the index of its cell; `None` past the end. It counts as used
    /// from now on.
    #[must_use]
    pub fn place(&self, index: u16) -> Option<&Place> {
        let place = self.at(index)?;
        let used = u32::from(index).saturating_add(1);
        self.header()?.used.fetch_max(used, Ordering::Relaxed);
        Some(place)
    }

    /// Notes a record of the error log of this kind. Any process may do so.
    pub fn note_logged(&self, kind: usize) {
        if let Some(count) = self.header().and_then(|header| header.logged.get(kind)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes everything that was noted since the last time.
    #[must_use = "it is gone otherwise"]
    pub fn take(&self) -> Taken {
        let mut taken = Taken::default();
        let Some(header) = self.header() else {
            return taken;
        };
        for (sum, count) in taken.logged.iter_mut().zip(&header.logged) {
            if count.load(Ordering::Relaxed) > 0 {
                *sum = count.swap(0, Ordering::Relaxed);
            }
        }
        let used = u16::try_from(header.used.load(Ordering::Relaxed)).unwrap_or(self.places);
        for place in (0..used).filter_map(|index| self.at(index)) {
            place.take(&mut taken);
        }
        taken
    }

    fn header(&self) -> Option<&Header> {
        // SAFETY: it holds atomics only.
        unsafe { self.memory.at(0) }
    }

    fn at(&self, index: u16) -> Option<&Place> {
        if index >= self.places {
            return None;
        }
        let before = size_of::<Place>().saturating_mul(index.into());
        // SAFETY: it holds atomics only.
        unsafe { self.memory.at(size_of::<Header>().saturating_add(before)) }
    }
}

fn size(places: u16) -> usize {
    let all = size_of::<Place>().saturating_mul(places.into());
    size_of::<Header>().saturating_add(all)
}

#[cfg(not(any(loom, miri)))]
#[cfg(test)]
mod tests {
    use nix::sys::memfd::MFdFlags;
    use nix::unistd::ftruncate;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_workers_note_is_taken_once() {
        let (ours, fd) = Samples::create(4224).unwrap();
        let theirs = Samples::open(fd.as_fd()).unwrap();
        assert_eq!(ours.take(), Taken::default());
        let place = theirs.place(3).unwrap();
        place.note(200, MS);
        place.note(404, 2 * MS);
        theirs
            .place(0)
            .unwrap()
            .note(200, Duration::from_secs(1 << 40));
        theirs.note_logged(2);
        theirs.note_logged(9);
        let taken = ours.take();
        assert_eq!(taken.statuses, [(200, 2), (404, 1)]);
        assert_eq!(taken.durations, [u32::MAX - 1, 1000, 2000]);
        assert_eq!((taken.logged, taken.requests()), ([0, 0, 1, 0], 3));
        assert_eq!(ours.take(), Taken::default());
        assert!(theirs.place(4224).is_none());
    }

    #[test]
    fn too_many_durations_lose_the_oldest_and_no_count() {
        let (samples, _fd) = Samples::create(1).unwrap();
        let place = samples.place(0).unwrap();
        place.note(1000, MS);
        for number in 0..10_000_u64 {
            place.note(200, Duration::from_micros(number));
        }
        let taken = samples.take();
        assert_eq!(taken.statuses, [(200, 10_000)]);
        assert_eq!(taken.durations.len(), DURATIONS);
        assert_eq!(taken.durations.first(), Some(&(10_000 - 4096)));
        assert_eq!(taken.durations.last(), Some(&9999));
    }

    #[test]
    fn what_is_something_else_is_refused() {
        let fd = memfd::create(c"", MFdFlags::empty()).unwrap();
        for size in [0, 127, 128, 4096, 1 << 20] {
            ftruncate(&fd, size).unwrap();
            assert!(Samples::open(fd.as_fd()).is_err(), "{size}");
        }
    }
}
