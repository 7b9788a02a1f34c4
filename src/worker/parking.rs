//! The places of parked connections: shared by the worker and its deputy, each of whom takes a connection out of its
//! place for as long as it deals with it.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rcorn_scoreboard::Cell;

use super::connection::{Connection, Waiting};

/// See the file's head.
#[derive(Debug)]
pub(super) struct Parking {
    lot: Mutex<Places>,
    /// Where their number is published.
    cell: &'static Cell,
}

#[derive(Debug, Default)]
pub(super) struct Places {
    // Boxed: they are taken out and put back for each request.
    places: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
}

impl Parking {
    pub(super) fn new(cell: &'static Cell) -> Self {
        Self {
            lot: Mutex::default(),
            cell,
        }
    }

    /// All places. Held for calls that do not wait.
    pub(super) fn places(&self) -> MutexGuard<'_, Places> {
        self.lot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection out of its place, which stays its own.
    pub(super) fn take(&self, index: usize) -> Option<Box<Connection>> {
        self.places().places.get_mut(index).and_then(Option::take)
    }

    /// A place for one more connection.
    pub(super) fn reserve(&self) -> usize {
        let mut all = self.places();
        let index = all.free.pop().unwrap_or_else(|| {
            all.places.push(None);
            all.places.len().saturating_sub(1)
        });
        self.publish(&all);
        index
    }

    /// Puts a connection into its place.
    pub(super) fn put(&self, index: usize, connection: Box<Connection>) {
        if let Some(place) = self.places().places.get_mut(index) {
            *place = Some(connection);
        }
    }

    /// The place of a connection that was taken out is free.
    pub(super) fn vacate(&self, index: usize) {
        let mut all = self.places();
        all.free.push(index);
        self.publish(&all);
    }

    fn publish(&self, all: &Places) {
        let held = u32::try_from(all.held()).unwrap_or(u32::MAX);
        self.cell.connections.store(held, Ordering::Relaxed);
    }

    /// How many places are taken.
    pub(super) fn held(&self) -> usize {
        self.places().held()
    }
}

impl Places {
    /// How many places are taken, also by connections that are being dealt with.
    pub(super) fn held(&self) -> usize {
        self.places.len().saturating_sub(self.free.len())
    }

    /// All parked connections, with the numbers of their places.
    pub(super) fn parked(&mut self) -> impl Iterator<Item = (usize, &mut Connection)> {
        let places = self.places.iter_mut().enumerate();
        places.filter_map(|(index, place)| Some((index, place.as_deref_mut()?)))
    }

    /// The connection to close when there are too many: of the most dispensable kind the one that has waited longest.
    /// None that a reply is on its way to, and not the spared one.
    pub(super) fn most_idle(&mut self, spared: Option<usize>) -> Option<usize> {
        let rank = |waiting: Waiting| match waiting {
            Waiting::Close => Some(0),
            Waiting::NextRequest => Some(1),
            Waiting::FirstByte => Some(2),
            Waiting::Head => Some(3),
            Waiting::Body(_) | Waiting::Chunks => Some(4),
            Waiting::Reply(_) => None,
        };
        self.parked()
            .filter(|(index, _)| Some(*index) != spared)
            .filter_map(|(index, connection)| {
                Some((rank(connection.waiting)?, connection.pace.begun(), index))
            })
            .min()
            .map(|(_, _, index)| index)
    }
}
