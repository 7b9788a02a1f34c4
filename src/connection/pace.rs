//! Whether a peer is too slow: it may pause only so long, and over all it must move so many bytes a second.
//! Without the second rule one byte now and then would keep a connection busy for ever.

use serde::{Deserialize, Serialize};

/// The least rate, in bytes a second (as the `MinRate` of Apache's `mod_reqtimeout`). A transfer may take the time
/// limit, and a second more for each of these.
pub const LEAST_RATE: u64 = 500;

const SECOND: u64 = 1_000_000_000;

/// What is to be said of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is quick enough.
    Well,
    /// Nothing has moved for too long.
    Pauses,
    /// Something has, but too little.
    Drips,
}

/// One transfer. Times are ns of any clock that only runs while the peer is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    begun: u64,
    /// When bytes moved last.
    last: u64,
    moved: u64,
}

impl Pace {
    /// A transfer that begins now.
    #[must_use]
    pub const fn new(now: u64) -> Self {
        Self {
            begun: now,
            last: now,
            moved: 0,
        }
    }

    /// When it began.
    #[must_use]
    pub const fn begun(&self) -> u64 {
        self.begun
    }

    /// So many bytes have moved by now, all in all.
    pub fn moved(&mut self, now: u64, total: u64) {
        if total > self.moved {
            (self.last, self.moved) = (now, total);
        }
    }

    /// When the peer is too slow, unless bytes move until then; `limit` 0: never.
    #[must_use]
    pub fn deadline(&self, limit: u64) -> u64 {
        if limit == 0 {
            return u64::MAX;
        }
        self.pause_ends(limit).min(self.whole_ends(limit))
    }

    /// Whether it is too slow now.
    #[must_use]
    pub fn verdict(&self, now: u64, limit: u64) -> Verdict {
        if limit == 0 || now < self.deadline(limit) {
            Verdict::Well
        } else if now >= self.pause_ends(limit) {
            Verdict::Pauses
        } else {
            Verdict::Drips
        }
    }

    fn pause_ends(&self, limit: u64) -> u64 {
        self.last.saturating_add(limit)
    }

    fn whole_ends(&self, limit: u64) -> u64 {
        let earned = self.moved.saturating_mul(SECOND / LEAST_RATE);
        self.begun.saturating_add(limit).saturating_add(earned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_and_a_drip_are_too_slow() {
        let mut pace = Pace::new(10 * SECOND);
        assert_eq!(pace.deadline(0), u64::MAX);
        assert_eq!(pace.deadline(5 * SECOND), 15 * SECOND);
        // Fast, then nothing: what was earned does not buy a pause.
        pace.moved(11 * SECOND, 1_000_000);
        assert_eq!(pace.deadline(5 * SECOND), 16 * SECOND);
        pace.moved(14 * SECOND, 1_000_000);
        assert_eq!(pace.deadline(5 * SECOND), 16 * SECOND);
        // A byte a second: 5 seconds, and 2 ms for each byte.
        let mut pace = Pace::new(0);
        for second in 1..=5 {
            pace.moved(second * SECOND, second);
        }
        assert_eq!(pace.deadline(5 * SECOND), 5 * SECOND + 10_000_000);
        assert_eq!(pace.verdict(5 * SECOND, 5 * SECOND), Verdict::Well);
        assert_eq!(pace.verdict(6 * SECOND, 5 * SECOND), Verdict::Drips);
        assert_eq!(pace.verdict(10 * SECOND, 5 * SECOND), Verdict::Pauses);
        // The least rate is enough.
        let mut pace = Pace::new(0);
        for second in 1..=100 {
            pace.moved(second * SECOND, second * LEAST_RATE);
            assert!(pace.deadline(5 * SECOND) > (second + 1) * SECOND);
        }
    }
}
