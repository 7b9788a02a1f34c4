//! When replies wait for each other. To wake a client on this machine (a proxy, most often) costs the worker about 20 us
//! where processors are virtual, a third of what a small Flask app needs for a request. So when requests of several
//! clients are ready at once, the kernel may keep whole replies (`MSG_MORE`), and they are flushed together: a client
//! that waits for many wakes once. Interrupts of network cards are coalesced in the same way, for the same reason.
//!
//! No reply depends on it: the kernel sends what it keeps when this process ends, and after 200 ms in any case (tcp(7),
//! `TCP_CORK`). The deputy flushes when a request takes long.

/// The shortest request for which it pays, in ns: a client that is answered faster does not fall asleep.
const WORTH: u64 = 20_000;
/// From the first request whose reply waits until all leave, in ns.
const LONGEST: u64 = 500_000;
/// A request as long as this may come again, and nobody is to wait for it.
const SLOW: u64 = 1_000_000;
/// So many requests in a row that were not slow let the next one be expected to be as quick.
const STEADY: u32 = 256;

/// See the file's head. Times are monotonic ns.
#[derive(Debug, Default)]
pub struct Coalescing {
    /// When the turn's last request began, if it has had one.
    begun: Option<u64>,
    /// How long requests take, as a running mean.
    mean: u64,
    /// How many in a row were not slow.
    steady: u32,
    /// When the first request began whose reply waits.
    since: Option<u64>,
    others: bool,
    allowed: bool,
}

impl Coalescing {
    /// Whether other clients' requests are ready behind the next one.
    pub fn others_follow(&mut self, others: bool) {
        self.others = others;
    }

    /// A request begins. `allowed`: its reply may wait. Gives whether those that wait already must leave now.
    pub fn begin(&mut self, now: u64, allowed: bool) -> bool {
        if let Some(before) = self.begun.replace(now) {
            self.learn(now.saturating_sub(before));
        }
        self.allowed = allowed && self.others;
        let ends = now.saturating_add(self.mean);
        let late = |since: &mut u64| ends.saturating_sub(*since) > LONGEST;
        self.since.take_if(late).is_some()
    }

    fn learn(&mut self, took: u64) {
        if took >= SLOW {
            self.steady = 0;
            return;
        }
        self.steady = self.steady.saturating_add(1);
        self.mean = self
            .mean
            .saturating_sub(self.mean / 8)
            .saturating_add(took / 8);
    }

    /// Whether the reply of the request that has begun waits.
    pub fn waits(&mut self) -> bool {
        let quick = self.steady >= STEADY && (WORTH..LONGEST / 2).contains(&self.mean);
        let waits = self.allowed && quick;
        if waits {
            self.since = self.since.or(self.begun);
        }
        waits
    }

    /// Nothing more is ready. Gives whether replies wait.
    pub fn turn_ends(&mut self) -> bool {
        self.begun = None;
        self.others = false;
        self.since.take().is_some()
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, as it should"
)]
mod tests {
    use super::*;

    /// A turn of so many requests, each as long; gives how many of their replies waited, and how many flushes there were.
    fn turn(coalescing: &mut Coalescing, requests: u32, took: u64) -> (u32, u32) {
        let (mut now, mut waited, mut flushes) = (1_000_000_000, 0, 0);
        for left in (0..requests).rev() {
            coalescing.others_follow(left > 0);
            flushes += u32::from(coalescing.begin(now, true));
            waited += u32::from(coalescing.waits());
            now += took;
        }
        flushes += u32::from(coalescing.turn_ends());
        (waited, flushes)
    }

    fn steady(took: u64) -> Coalescing {
        let mut coalescing = Coalescing::default();
        assert_eq!(turn(&mut coalescing, STEADY, took), (0, 0));
        turn(&mut coalescing, 2, took);
        coalescing
    }

    #[test]
    fn replies_wait_for_those_of_their_turn_but_the_last() {
        assert_eq!(turn(&mut steady(60_000), 4, 60_000), (3, 1));
        assert_eq!(turn(&mut steady(60_000), 1, 60_000), (0, 0));
    }

    #[test]
    fn none_waits_for_long() {
        // The first leaves before a request that would end more than 500 us after its own began.
        assert_eq!(turn(&mut steady(100_000), 11, 100_000), (10, 2));
        assert_eq!(turn(&mut steady(240_000), 5, 240_000), (4, 2));
    }

    #[test]
    fn very_quick_and_rather_slow_ones_are_sent_at_once() {
        assert_eq!(turn(&mut steady(5_000), 16, 5_000), (0, 0));
        assert_eq!(turn(&mut steady(300_000), 16, 300_000), (0, 0));
    }

    #[test]
    fn after_a_slow_one_nobody_waits_for_a_while() {
        let mut coalescing = steady(60_000);
        turn(&mut coalescing, 2, SLOW);
        assert_eq!(turn(&mut coalescing, STEADY, 60_000), (0, 0));
        assert_eq!(turn(&mut coalescing, 4, 60_000), (2, 1));
    }

    #[test]
    fn a_reply_that_may_not_wait_does_not() {
        let mut coalescing = steady(60_000);
        coalescing.others_follow(true);
        coalescing.begin(1, false);
        assert!(!coalescing.waits() && !coalescing.turn_ends());
    }
}
