//! The scoreboard as the arbiter uses it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

use rcorn_arbiter::Slot;
use rcorn_scoreboard::{AT_ONCE, Cell, QUEUE_FIRST, Scoreboard};

/// Cells of the scoreboard: the highest number of workers that settings allow, and room for replacements.
const CELLS: u16 = 4096 + 64;

/// The scoreboard, and the memfd by which templates map it.
#[derive(Debug)]
pub(super) struct SharedMemory {
    scoreboard: Scoreboard,
    memory: OwnedFd,
}

impl SharedMemory {
    /// Makes a new one.
    ///
    /// # Errors
    ///
    /// Those of `memfd_create(2)` and mmap(2).
    pub(super) fn create() -> io::Result<Self> {
        let (scoreboard, memory) = Scoreboard::create(CELLS)?;
        Ok(Self { scoreboard, memory })
    }

    /// Maps that of the arbiter in whose place we are.
    ///
    /// # Errors
    ///
    /// It is not a scoreboard.
    pub(super) fn open(memory: OwnedFd) -> io::Result<Self> {
        let scoreboard = Scoreboard::open(memory.as_fd())?;
        Ok(Self { scoreboard, memory })
    }

    /// The memfd's number.
    pub(super) fn number(&self) -> RawFd {
        self.memory.as_raw_fd()
    }

    /// The cell of a slot.
    pub(super) fn cell(&self, slot: Slot) -> Option<&Cell> {
        self.scoreboard.cell(slot.0)
    }

    /// Notes how many workers are wanted; gives the number before.
    pub(super) fn set_wanted(&self, wanted: u32) -> u32 {
        let cell = &self.scoreboard.shared().wanted;
        cell.swap(wanted, Ordering::AcqRel)
    }

    /// The workers shall leave: after they have emptied the accept queue, or at once.
    pub(super) fn set_stopping(&self, is_immediate: bool) {
        let how = if is_immediate { AT_ONCE } else { QUEUE_FIRST };
        let cell = &self.scoreboard.shared().stopping;
        cell.store(how, Ordering::Release);
    }

    /// Makes the cell ready for another worker.
    pub(super) fn free(&self, slot: Slot) {
        if let Some(cell) = self.cell(slot) {
            cell.reset();
        }
    }
}
