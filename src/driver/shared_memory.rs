//! The scoreboard as the arbiter uses it, and the counts of the workers that have ended.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rcorn_arbiter::{CellIndex, WorkerId};
use rcorn_log as log;
use rcorn_scoreboard::{Counts, Scoreboard, Slots, StopMode, Times, Totals};

/// Cells of the scoreboard: the highest number of workers that settings allow, that of spare ones,
/// and room for replacements.
pub(super) const CELLS: u16 = 4096 + 64 + 64;

/// The scoreboard, the memfd by which templates map it, and the counts that are kept when a worker
/// ends.
#[derive(Debug)]
pub(super) struct SharedMemory {
    scoreboard: Scoreboard,
    memory: OwnedFd,
    /// The memfd with the cells of threads, once workers have had threads.
    threads: Option<OwnedFd>,
    totals: Totals,
    times: Times,
}

impl SharedMemory {
    /// Makes a new one.
    ///
    /// # Errors
    ///
    /// Those of `memfd_create(2)` and mmap(2).
    pub(super) fn create() -> io::Result<Self> {
        let (scoreboard, memory) = Scoreboard::create(CELLS)?;
        Ok(Self {
            scoreboard,
            memory,
            threads: None,
            totals: Totals::default(),
            times: Times::default(),
        })
    }

    /// Takes over that of the predecessor. `threads`: the cells of its workers' threads; `totals`
    /// and `times`: what its workers that have ended had counted and measured.
    ///
    /// # Errors
    ///
    /// It is not a scoreboard.
    pub(super) fn take_over(
        memory: OwnedFd,
        threads: Option<OwnedFd>,
        totals: Totals,
        times: &Times,
    ) -> io::Result<Self> {
        let mut scoreboard = Scoreboard::take_over(memory.as_fd())?;
        if let Some(threads) = &threads {
            scoreboard.add_slots(Slots::open(threads.as_fd())?);
        }
        Ok(Self {
            scoreboard,
            memory,
            threads,
            totals,
            times: *times,
        })
    }

    /// The memfd's number.
    pub(super) fn number(&self) -> RawFd {
        self.memory.as_raw_fd()
    }

    /// The number of the memfd with the cells of threads; `None` if there is none.
    pub(super) fn number_of_threads_memory(&self) -> Option<RawFd> {
        self.threads.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Makes room for workers with this many threads; gives the number of the memfd with their
    /// cells. `None`: workers with one thread need none.
    ///
    /// # Errors
    ///
    /// Those of `memfd_create(2)`, ftruncate(2) and mmap(2).
    pub(super) fn make_room(&mut self, threads: u32) -> io::Result<Option<RawFd>> {
        if threads <= 1 {
            return Ok(None);
        }
        let threads = u16::try_from(threads).map_err(io::Error::other)?;
        let memory = if let Some(memory) = &self.threads {
            self.scoreboard.grow_slots(memory.as_fd(), threads)?;
            memory
        } else {
            let (slots, memory) = Slots::create(self.scoreboard.cells(), threads)?;
            self.scoreboard.add_slots(slots);
            self.threads.insert(memory)
        };
        Ok(Some(memory.as_raw_fd()))
    }

    /// The scoreboard itself, to look at.
    pub(super) fn scoreboard(&self) -> &Scoreboard {
        &self.scoreboard
    }

    /// What the worker with this cell has counted so far.
    pub(super) fn counts(&self, index: CellIndex) -> Counts {
        self.scoreboard.counts(index.0)
    }

    /// The counts of the workers that have ended, and of the arbiter itself.
    pub(super) fn totals(&self) -> Totals {
        let mut totals = self.totals;
        totals.add_ended(&Counts {
            lost_log_records: log::lost(),
            ..Counts::default()
        });
        totals
    }

    /// What the workers that have ended had measured.
    pub(super) fn ended_times(&self) -> Times {
        self.times
    }

    /// What these workers have measured, and those that have ended.
    pub(super) fn times(&self, living: impl Iterator<Item = CellIndex>) -> Times {
        let mut times = self.times;
        for index in living {
            times.add(&self.scoreboard.times(index.0));
        }
        times
    }

    /// Notes that balancers should send new clients elsewhere.
    pub(super) fn drain(&self) {
        self.scoreboard.shared().drain();
    }

    /// Notes how many workers are wanted; returns the previous number.
    pub(super) fn set_wanted(&self, wanted: u32) -> u32 {
        self.scoreboard.shared().set_wanted(wanted)
    }

    /// Notes whether workers that are to be replaced are not, for now.
    pub(super) fn set_retirement_stalls(&self, stalls: bool) {
        self.scoreboard.shared().set_retirement_stalls(stalls);
    }

    /// Tells the workers how to stop.
    pub(super) fn stop(&self, mode: StopMode) {
        self.scoreboard.shared().stop(mode);
    }

    /// Marks the worker that is to become the template.
    pub(super) fn set_candidate(&self, id: WorkerId) {
        self.scoreboard.shared().set_candidate(id.0);
    }

    /// Makes the cell of a worker that has ended ready for another, and adds its counts to the
    /// totals.
    pub(super) fn free(&mut self, index: CellIndex) {
        let (counts, times) = self.scoreboard.free(index.0);
        self.totals.add_ended(&counts);
        self.times.add(&times);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcorn_scoreboard::Timing;
    use rcorn_types::Monotonic;

    use super::*;

    fn serve(memory: &SharedMemory, index: CellIndex) {
        let entry = memory.scoreboard.cell(index.0).unwrap().request_entry();
        entry.begin(clock(1), b"GET / HTTP/1.1", b"");
        entry.end(clock(2));
        let counters = memory.scoreboard.counters(index.0);
        counters.count_response(200);
        counters.observe(Timing::Request, Duration::from_millis(1));
    }

    fn clock(nanoseconds: u64) -> Monotonic {
        Monotonic::from_nanos(nanoseconds)
    }

    #[test]
    fn what_a_worker_has_counted_outlives_it_and_an_upgrade() {
        let mut memory = SharedMemory::create().unwrap();
        serve(&memory, CellIndex(0));
        serve(&memory, CellIndex(1));
        memory.free(CellIndex(0));
        assert_eq!(memory.counts(CellIndex(0)), Counts::default());
        let SharedMemory {
            memory,
            totals,
            times,
            ..
        } = memory;
        let memory = SharedMemory::take_over(memory, None, totals, &times).unwrap();
        let sums = memory.totals().with_living([memory.counts(CellIndex(1))]);
        assert_eq!((sums.requests, sums.responses_2xx), (2, 2));
        let times = memory.times([CellIndex(1)].into_iter());
        assert_eq!(times.request.count(), 2);
    }

    #[test]
    fn threads_have_memory_once_there_are_some_and_it_is_handed_over() {
        let mut memory = SharedMemory::create().unwrap();
        assert_eq!(memory.make_room(1).unwrap(), None);
        assert_eq!(memory.number_of_threads_memory(), None);
        let number = memory.make_room(4).unwrap();
        assert!(number.is_some());
        assert_eq!(memory.make_room(2).unwrap(), number);
        assert_eq!(memory.make_room(16).unwrap(), number);
        let worker = memory.scoreboard.cell(3).unwrap();
        worker.set_slots(16);
        let thread = memory.scoreboard.slot(3, 15).unwrap();
        thread.request_entry().end(clock(2));
        let SharedMemory {
            memory,
            threads,
            totals,
            times,
            ..
        } = memory;
        let memory = SharedMemory::take_over(memory, threads, totals, &times).unwrap();
        assert_eq!(memory.counts(CellIndex(3)).requests, 1);
    }
}
