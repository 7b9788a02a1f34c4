//! Which threads of a worker take too long, and how long they are waited for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;

use rcorn_python::thread as python_thread;
use rcorn_scoreboard::Cell;
use rcorn_types::Monotonic;

/// The threads that were to be freed by an exception and have not come free yet.
#[derive(Debug)]
pub(super) struct HungThreads {
    state: Mutex<State>,
    /// One for each thread: it serves a connection that has a place among the parked ones.
    has_place: Vec<AtomicBool>,
    /// How long they are waited for (`abort_timeout`).
    patience: Duration,
}

#[derive(Debug)]
struct State {
    /// When each was found; `None`: it does not take too long.
    since: Vec<Option<Monotonic>>,
}

impl HungThreads {
    /// None of so many.
    pub(super) fn new(threads: usize, patience: Duration) -> Self {
        Self {
            state: Mutex::new(State {
                since: vec![None; threads],
            }),
            has_place: (0..threads).map(|_| AtomicBool::new(false)).collect(),
            patience,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Raises an exception in the thread of this index, once, if it makes no progress for longer
    /// than `limit`: in its request, or before or after it. `None`: if it has anything in hand.
    pub(super) fn end_request(
        &self,
        py: Python<'_>,
        (index, cell): (usize, &Cell),
        limit: Option<Duration>,
        now: Monotonic,
    ) {
        // Held until the exception is on its way: the thread that comes back in between finds it.
        let mut state = self.state();
        let since = cell.no_progress_since();
        let is_hung =
            since.is_some_and(|since| limit.is_none_or(|limit| now >= since.after(limit)));
        if is_hung && state.add(index, now) {
            let (ident, _) = cell.thread();
            python_thread::raise_exit(py, ident);
        }
    }

    /// What the thread of this index had in hand has ended: an exception that was meant for it must
    /// not meet the next. To be called by that thread when the scoreboard says that it has ended.
    pub(super) fn came_free(&self, py: Python<'_>, (index, cell): (usize, &Cell)) {
        if self.state().remove(index) {
            let (ident, _) = cell.thread();
            python_thread::take_back_exit(py, ident);
        }
    }

    /// Whether there are none, because all that were have come free.
    pub(super) fn are_over(&self) -> bool {
        self.state().since.iter().all(Option::is_none)
    }

    /// Notes whether the thread of this index serves a connection that has a place.
    pub(super) fn note_place(&self, index: usize, has_place: bool) {
        if let Some(noted) = self.has_place.get(index) {
            noted.store(has_place, Ordering::Relaxed);
        }
    }

    /// Those that are not waited for any more. Each has its own time, from the exception on.
    pub(super) fn given_up(&self, now: Monotonic) -> GivenUp {
        let state = self.state();
        let is_over = |since: Monotonic| now >= since.after(self.patience);
        let mut given_up = GivenUp::default();
        let threads = state.since.iter().zip(&self.has_place);
        for (_, has_place) in threads.filter(|(since, _)| since.is_some_and(is_over)) {
            given_up.threads = given_up.threads.saturating_add(1);
            let places = usize::from(has_place.load(Ordering::Relaxed));
            given_up.places = given_up.places.saturating_add(places);
        }
        given_up
    }
}

/// What hung threads keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct GivenUp {
    /// How many there are.
    pub(super) threads: usize,
    /// The places among the parked connections that stay reserved for theirs.
    pub(super) places: usize,
}

impl State {
    /// The thread of this index was to be stopped; `false`: it was before.
    fn add(&mut self, index: usize, now: Monotonic) -> bool {
        let since = self.since.get_mut(index).filter(|since| since.is_none());
        since.map(|since| *since = Some(now)).is_some()
    }

    /// The thread of this index has come free; whether it was to be stopped.
    fn remove(&mut self, index: usize) -> bool {
        self.since.get_mut(index).and_then(Option::take).is_some()
    }
}

/// One of several threads, as its request handler knows it.
#[derive(Debug)]
pub(super) struct OneOfSeveral {
    pub(super) hung: Arc<HungThreads>,
    pub(super) index: usize,
    pub(super) cell: &'static Cell,
}

impl OneOfSeveral {
    /// Its request has ended, and the scoreboard says so.
    // Not in the way of a worker with one thread.
    #[inline(never)]
    pub(super) fn request_ended(&self, py: Python<'_>) {
        self.hung.came_free(py, (self.index, self.cell));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::ZERO.after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_thread_is_given_up_when_its_time_is_over_unless_it_came_free() {
        let hung = HungThreads::new(3, Duration::from_secs(5));
        let add = |index, now| hung.state().add(index, now);
        let remove = |index| hung.state().remove(index);
        let given_up = |now| {
            let GivenUp { threads, places } = hung.given_up(now);
            (threads, places)
        };
        assert_eq!(given_up(at(1000)), (0, 0));
        hung.note_place(2, true);
        assert!(add(0, at(10)) && add(2, at(12)));
        assert!(!add(2, at(13)), "its exception is on its way");
        assert_eq!((given_up(at(14)), given_up(at(15))), ((0, 0), (1, 0)));
        assert_eq!((given_up(at(16)), given_up(at(17))), ((1, 0), (2, 1)));
        assert!(remove(0) && !remove(0) && !remove(1));
        assert_eq!((given_up(at(16)), given_up(at(17))), ((0, 0), (1, 1)));
        assert!(!hung.are_over());
        assert!(remove(2));
        assert!(hung.are_over());
        assert_eq!(given_up(at(99)), (0, 0));
        assert!(add(1, at(100)));
        assert_eq!((given_up(at(104)), given_up(at(105))), ((0, 0), (1, 0)));
    }
}
