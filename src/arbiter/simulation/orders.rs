//! What the arbiter has asked the driver to do, and which of it excludes what.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;

/// What is in force of what was asked for.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Who has which cell of the scoreboard.
    cells: BTreeMap<CellIndex, WorkerId>,
    /// Settings wait for Commit or Discard.
    pub(super) has_loaded_settings: bool,
    /// The listeners are closed.
    pub(super) is_closed: bool,
    /// The number that was published last.
    pub(super) wanted: u32,
}

impl Orders {
    /// What must hold after each event.
    pub(super) fn check(&self, arbiter: &Arbiter) {
        assert_eq!(self.wanted, arbiter.wanted(), "a number is not published");
        assert_eq!(
            self.is_closed,
            arbiter.is_stopping(),
            "listeners are closed if and only if the server stops"
        );
        let in_use: BTreeSet<CellIndex> = self.cells.keys().copied().collect();
        let workers = arbiter.workers().iter();
        let known: BTreeSet<CellIndex> = workers.map(|(_, worker)| worker.cell).collect();
        assert_eq!(in_use, known, "a cell is lost or given back too early");
    }

    /// A worker gets a cell.
    pub(super) fn take(&mut self, cell: CellIndex, id: WorkerId) {
        let before = self.cells.insert(cell, id);
        assert!(before.is_none(), "{cell:?} is given away twice");
    }

    /// A cell is free again.
    pub(super) fn free(&mut self, cell: CellIndex) {
        assert!(self.cells.remove(&cell).is_some(), "{cell:?} was free");
    }

    /// The loaded settings are put into force, or dropped.
    pub(super) fn take_loaded_settings(&mut self) {
        assert!(self.has_loaded_settings, "no settings are loaded");
        self.has_loaded_settings = false;
    }

    /// New clients are refused from now on.
    pub(super) fn close_listeners(&mut self) {
        assert!(!self.is_closed, "the listeners are closed twice");
        self.is_closed = true;
    }
}
