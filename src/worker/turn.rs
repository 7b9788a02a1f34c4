//! One turn of a worker's event loop: what one wait found ready, and how far it was dealt with.

use std::time::Duration;

use rcorn_connection::{Events, Source};
use rcorn_types::Monotonic;

use super::waiting_since::WaitingSince;

/// The most events that one wait returns.
const MAX_EVENTS: usize = 256;
/// How long a leader keeps the GIL while the app does not run: Python's switch interval.
const MAX_GIL_HOLD: Duration = Duration::from_millis(5);

/// One turn of the loop: what one wait found ready, and how far it was dealt with.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) events: Events,
    pub(super) stage: Stage,
    /// When it began, by the coarse clock.
    pub(super) begun: Monotonic,
    /// Since when requests of this turn may have waited, where that is measured.
    pub(super) waiting_since: Option<WaitingSince>,
    /// How many of the connections are served that have come anew.
    pub(super) most: usize,
    /// How many parked connections were ready.
    pub(super) own: usize,
    /// Something else was ready, too.
    pub(super) has_others: bool,
    /// The next event to look at.
    pub(super) next: usize,
    /// How many connections were taken from the source in hand.
    pub(super) taken: usize,
    /// The parked connection that is ready next.
    pub(super) following: Option<usize>,
    /// When the GIL was released last, or the app ran, where another thread may release it.
    pub(super) python_ran: Monotonic,
    /// How many requests there were then.
    requests: u64,
}

/// The parts of a turn, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing is known to be ready.
    Waiting,
    /// Connections of the hand-off queue: they have waited for longest.
    HandedOn,
    /// Our own: those let in are served again and again before those who are not.
    Parked,
    /// New ones, and orders.
    Others,
}

impl Turn {
    /// Nothing was waited for yet. `measures_queue_wait`: whether anyone may ask how long requests
    /// wait.
    pub(super) fn new(measures_queue_wait: bool) -> Self {
        Self {
            events: Events::with_capacity(MAX_EVENTS),
            stage: Stage::Waiting,
            begun: Monotonic::ZERO,
            waiting_since: measures_queue_wait.then(WaitingSince::default),
            most: 0,
            own: 0,
            has_others: false,
            next: 0,
            taken: 0,
            following: None,
            python_ran: Monotonic::ZERO,
            requests: 0,
        }
    }

    /// Whether the GIL need not be released yet beside threads that may want it. The app gives it
    /// to them; what is not for the app, such as the parts of a body, does not. `requests`: how
    /// many the thread has served that drives the loop.
    pub(super) fn keeps_gil(&mut self, requests: u64, now: Monotonic) -> bool {
        if requests != self.requests {
            (self.requests, self.python_ran) = (requests, now);
        }
        now < self.python_ran.after(MAX_GIL_HOLD)
    }

    pub(super) fn begin_stage(&mut self, stage: Stage) {
        (self.stage, self.next, self.taken) = (stage, 0, 0);
    }

    /// Looks for the next parked connection that is ready.
    pub(super) fn look_for_following(&mut self) {
        self.following = None;
        while let Some(source) = self.events.get(self.next) {
            self.next = self.next.saturating_add(1);
            if let Source::Connection(place) = source {
                self.following = Some(place);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gil_is_released_now_and_then_though_the_app_does_not_run() {
        let at =
            |milliseconds: u64| Monotonic::ZERO.after(Duration::from_millis(1000 + milliseconds));
        let mut turn = Turn::new(false);
        assert!(turn.keeps_gil(1, at(0)) && turn.keeps_gil(1, at(4)));
        assert!(!turn.keeps_gil(1, at(5)));
        // It was released.
        turn.python_ran = at(6);
        assert!(turn.keeps_gil(1, at(10)) && !turn.keeps_gil(1, at(11)));
        // The app ran.
        assert!(turn.keeps_gil(2, at(12)) && turn.keeps_gil(2, at(16)));
        assert!(!turn.keeps_gil(2, at(17)));
    }
}
