//! When responses wait for each other. Waking a client on the same machine (most often a proxy)
//! costs the worker about 20 us in a virtual machine, a third of what a small Flask app needs for a
//! request. So when requests of several clients are ready at once, the kernel may keep whole
//! responses (`MSG_MORE`), and they are flushed together: a client that waits for several wakes
//! once. Interrupts of network cards are coalesced in the same way, for the same reason.
//!
//! No response is lost by it: the kernel sends what it keeps when this process ends, and after 200
//! ms in any case (tcp(7), `TCP_CORK`). The I/O thread flushes when a request takes long.

use std::time::Duration;

use rcorn_types::Monotonic;

/// The shortest request for which coalescing pays: a client that is answered faster does not fall
/// asleep.
const MIN_REQUEST: Duration = Duration::from_micros(20);
/// The longest time from the begin of the first request whose response waits until all are flushed.
const MAX_DELAY: Duration = Duration::from_micros(500);
/// The longest mean duration of requests for which coalescing pays.
const MAX_REQUEST: Duration = Duration::from_micros(250);
/// A request that takes as long as this may come again, and no response shall wait for it.
const SLOW_REQUEST: Duration = Duration::from_millis(1);
/// After this many requests in a row that were not slow, the next one is expected to be fast, too.
const STEADY_REQUESTS: u32 = 256;

/// Whether the response to the request in progress may wait for those after it.
#[derive(Debug, Default)]
pub struct Coalescing {
    /// When the last request of this turn began, if there was one.
    begun: Option<Monotonic>,
    /// The mean duration of requests.
    mean: RunningMean,
    /// How many requests in a row were not slow.
    steady: u32,
    /// When the first request began whose response waits.
    since: Option<Monotonic>,
    others: bool,
    allowed: bool,
}

impl Coalescing {
    /// Notes whether requests of other clients are ready after the next one.
    pub fn others_follow(&mut self, others: bool) {
        self.others = others;
    }

    /// Whether requests of other clients are ready after the one that has begun.
    #[must_use]
    pub fn do_others_follow(&self) -> bool {
        self.others
    }

    /// Notes that a request begins. `allowed`: its response may wait. Returns whether the responses
    /// that wait must be flushed now.
    pub fn begin(&mut self, now: Monotonic, allowed: bool) -> bool {
        if let Some(before) = self.begun.replace(now) {
            self.learn(now.since(before));
        }
        self.allowed = allowed && self.others;
        let mean = self.mean;
        let late = |since: &mut Monotonic| now.after(mean.get()).since(*since) > MAX_DELAY;
        self.since.take_if(late).is_some()
    }

    fn learn(&mut self, took: Duration) {
        if took >= SLOW_REQUEST {
            self.steady = 0;
            return;
        }
        self.steady = self.steady.saturating_add(1);
        self.mean.learn(took);
    }

    /// Whether the response to the request that has begun waits.
    pub fn waits(&mut self) -> bool {
        let is_quick = || (MIN_REQUEST..MAX_REQUEST).contains(&self.mean.get());
        let waits = self.allowed && self.steady >= STEADY_REQUESTS && is_quick();
        if waits {
            self.since = self.since.or(self.begun);
        }
        waits
    }

    /// Notes that nothing more is ready. Returns whether responses wait.
    pub fn turn_ends(&mut self) -> bool {
        self.begun = None;
        self.others = false;
        self.since.take().is_some()
    }
}

/// The mean of durations below a second; later ones weigh more. In whole nanoseconds, because it is
/// updated for each request.
#[derive(Clone, Copy, Debug, Default)]
struct RunningMean {
    nanoseconds: u32,
}

impl RunningMean {
    fn learn(&mut self, took: Duration) {
        let rest = self.nanoseconds.saturating_sub(self.nanoseconds / 8);
        self.nanoseconds = rest.saturating_add(took.subsec_nanos() / 8);
    }

    fn get(self) -> Duration {
        Duration::from_nanos(self.nanoseconds.into())
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, as it should"
)]
mod tests {
    use super::*;

    /// A turn of `requests`, each of which takes `took` us; returns how many of their responses
    /// waited, and how many flushes there were.
    fn turn(coalescing: &mut Coalescing, requests: u32, took: u64) -> (u32, u32) {
        let took = Duration::from_micros(took);
        let (mut now, mut waited, mut flushes) = (Monotonic::from_nanos(1_000_000), 0, 0);
        for left in (0..requests).rev() {
            coalescing.others_follow(left > 0);
            flushes += u32::from(coalescing.begin(now, true));
            waited += u32::from(coalescing.waits());
            now = now.after(took);
        }
        flushes += u32::from(coalescing.turn_ends());
        (waited, flushes)
    }

    fn steady(took: u64) -> Coalescing {
        let mut coalescing = Coalescing::default();
        assert_eq!(turn(&mut coalescing, STEADY_REQUESTS, took), (0, 0));
        turn(&mut coalescing, 2, took);
        coalescing
    }

    #[test]
    fn responses_wait_for_those_of_their_turn_but_the_last() {
        assert_eq!(turn(&mut steady(60), 4, 60), (3, 1));
        assert_eq!(turn(&mut steady(60), 1, 60), (0, 0));
    }

    #[test]
    fn none_waits_for_long() {
        // The first is flushed before a request that would end more than 500 us after its own
        // began.
        assert_eq!(turn(&mut steady(100), 11, 100), (10, 2));
        assert_eq!(turn(&mut steady(240), 5, 240), (4, 2));
    }

    #[test]
    fn very_quick_and_rather_slow_ones_are_sent_at_once() {
        assert_eq!(turn(&mut steady(5), 16, 5), (0, 0));
        assert_eq!(turn(&mut steady(300), 16, 300), (0, 0));
    }

    #[test]
    fn after_a_slow_one_nobody_waits_for_a_while() {
        let mut coalescing = steady(60);
        turn(&mut coalescing, 2, 1_000);
        assert_eq!(turn(&mut coalescing, STEADY_REQUESTS, 60), (0, 0));
        assert_eq!(turn(&mut coalescing, 4, 60), (2, 1));
    }

    #[test]
    fn a_response_that_may_not_wait_does_not() {
        let mut coalescing = steady(60);
        coalescing.others_follow(true);
        coalescing.begin(Monotonic::from_nanos(1), false);
        assert!(!coalescing.waits() && !coalescing.turn_ends());
    }
}
