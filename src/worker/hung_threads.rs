//! Which threads of a worker have a request that takes too long, and how long they are waited for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;

use rcorn_python::thread as python_thread;
use rcorn_scoreboard::Cell;
use rcorn_types::Monotonic;

/// The threads whose request was to be ended by an exception and has not ended yet.
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
    /// One for each thread.
    flags: Vec<bool>,
    /// When the first was found.
    since: Option<Monotonic>,
}

impl HungThreads {
    /// None of so many.
    pub(super) fn new(threads: usize, patience: Duration) -> Self {
        Self {
            state: Mutex::new(State {
                flags: vec![false; threads],
                since: None,
            }),
            has_place: (0..threads).map(|_| AtomicBool::new(false)).collect(),
            patience,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Raises an exception in the thread of this index, once, if its request makes no progress for
    /// longer than `limit`; `None`: if it has a request.
    pub(super) fn end_request(
        &self,
        py: Python<'_>,
        (index, cell): (usize, &Cell),
        limit: Option<Duration>,
        now: Monotonic,
    ) {
        // Held until the exception is on its way: the thread that comes back in between finds it.
        let mut state = self.state();
        let since = cell.request_entry().no_progress_since();
        let is_hung =
            since.is_some_and(|since| limit.is_none_or(|limit| now >= since.after(limit)));
        if is_hung && state.add(index, now) {
            let (ident, _) = cell.thread();
            python_thread::raise_exit(py, ident);
        }
    }

    /// The request of the thread of this index has ended: an exception that was meant for it must
    /// not meet the next. To be called by that thread when the scoreboard says that it has ended.
    fn request_ended(&self, py: Python<'_>, (index, cell): (usize, &Cell)) {
        if self.state().remove(index) {
            let (ident, _) = cell.thread();
            python_thread::take_back_exit(py, ident);
        }
    }

    /// Whether there are none, because all that were have come free.
    pub(super) fn are_over(&self) -> bool {
        !self.state().flags.contains(&true)
    }

    /// All have come free: what is found from now on has its own time.
    pub(super) fn begin_anew(&self) {
        self.state().since = None;
    }

    /// Notes whether the thread of this index serves a connection that has a place.
    pub(super) fn note_place(&self, index: usize, has_place: bool) {
        if let Some(noted) = self.has_place.get(index) {
            noted.store(has_place, Ordering::Relaxed);
        }
    }

    /// Those that are not waited for any more.
    pub(super) fn given_up(&self, now: Monotonic) -> GivenUp {
        let state = self.state();
        let is_over = |since: Monotonic| now >= since.after(self.patience);
        let mut given_up = GivenUp::default();
        if state.since.is_some_and(is_over) {
            let flags = state.flags.iter().zip(&self.has_place);
            for (_, has_place) in flags.filter(|(is_hung, _)| **is_hung) {
                given_up.threads = given_up.threads.saturating_add(1);
                let places = usize::from(has_place.load(Ordering::Relaxed));
                given_up.places = given_up.places.saturating_add(places);
            }
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
        let flag = self.flags.get_mut(index);
        let is_new = flag.is_some_and(|flag| !std::mem::replace(flag, true));
        if is_new {
            // Only the first counts.
            self.since.get_or_insert(now);
        }
        is_new
    }

    /// The request of the thread of this index has ended; whether it was to be stopped.
    fn remove(&mut self, index: usize) -> bool {
        let flag = self.flags.get_mut(index);
        flag.is_some_and(std::mem::take)
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
        self.hung.request_ended(py, (self.index, self.cell));
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
        assert!(remove(0) && !remove(0) && !remove(1));
        assert_eq!((given_up(at(14)), given_up(at(15))), ((0, 0), (1, 1)));
        assert!(!hung.are_over());
        assert!(remove(2));
        assert!(hung.are_over());
        assert_eq!(given_up(at(99)), (0, 0));
        hung.begin_anew();
        assert!(add(1, at(100)));
        assert_eq!((given_up(at(104)), given_up(at(105))), ((0, 0), (1, 0)));
    }
}
