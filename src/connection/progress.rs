//! Whether a peer is too slow. It may pause only for a limited time, and on the whole it must move
//! a minimum of bytes per second. Without the second rule, single bytes at long intervals would
//! keep a connection busy for ever.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use rcorn_types::Monotonic;
use rcorn_types::as_nanoseconds;

/// The minimum rate, in bytes per second (like `MinRate` of Apache's `mod_reqtimeout`). A transfer
/// may take the time limit, and one second more for each this many bytes.
pub const MIN_BYTES_PER_SECOND: u64 = 500;

const NANOS_PER_BYTE: u64 = 1_000_000_000 / MIN_BYTES_PER_SECOND;

/// The result of checking a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateCheck {
    /// It is quick enough.
    Ok,
    /// No byte has moved for too long.
    Stalled,
    /// Bytes have moved, but too few.
    TooSlow,
}

/// The progress of one transfer. Its times are of a clock that runs only during the wait for the
/// peer.
///
/// It is sent with a connection that is handed to another worker, so the names of its fields are
/// fixed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferProgress {
    #[serde(with = "as_nanoseconds")]
    begun: Monotonic,
    /// When bytes moved last.
    #[serde(with = "as_nanoseconds")]
    last: Monotonic,
    /// Bytes.
    moved: u64,
}

impl TransferProgress {
    /// A transfer that begins now.
    #[must_use]
    pub const fn new(now: Monotonic) -> Self {
        Self {
            begun: now,
            last: now,
            moved: 0,
        }
    }

    /// When it began.
    #[must_use]
    pub const fn begun(&self) -> Monotonic {
        self.begun
    }

    /// Notes that `total` bytes have moved since it began.
    pub fn moved(&mut self, now: Monotonic, total: u64) {
        if total > self.moved {
            (self.last, self.moved) = (now, total);
        }
    }

    /// When the peer will be too slow, unless bytes move before; never without a limit.
    #[must_use]
    pub fn deadline(&self, limit: Option<Duration>) -> Monotonic {
        limit.map_or(Monotonic::NEVER, |limit| {
            self.pause_ends(limit).min(self.transfer_ends(limit))
        })
    }

    /// Whether the peer is too slow now.
    #[must_use]
    pub fn check(&self, now: Monotonic, limit: Option<Duration>) -> RateCheck {
        match limit {
            Some(limit) if now >= self.pause_ends(limit) => RateCheck::Stalled,
            Some(limit) if now >= self.transfer_ends(limit) => RateCheck::TooSlow,
            Some(_) | None => RateCheck::Ok,
        }
    }

    fn pause_ends(&self, limit: Duration) -> Monotonic {
        self.last.after(limit)
    }

    fn transfer_ends(&self, limit: Duration) -> Monotonic {
        let earned = Duration::from_nanos(self.moved.saturating_mul(NANOS_PER_BYTE));
        self.begun.after(limit).after(earned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Option<Duration> = Some(Duration::from_secs(5));

    fn at(seconds: u64) -> Monotonic {
        Monotonic::ZERO.after(Duration::from_secs(seconds))
    }

    #[test]
    fn without_a_limit_nobody_is_too_slow() {
        let progress = TransferProgress::new(at(10));
        assert_eq!(progress.deadline(None), Monotonic::NEVER);
        assert_eq!(progress.check(at(1_000_000), None), RateCheck::Ok);
    }

    #[test]
    fn what_was_quick_may_not_pause() {
        let mut progress = TransferProgress::new(at(10));
        assert_eq!(progress.deadline(LIMIT), at(15));
        progress.moved(at(11), 1_000_000);
        assert_eq!(progress.deadline(LIMIT), at(16));
        // Nothing new has moved.
        progress.moved(at(14), 1_000_000);
        assert_eq!(progress.deadline(LIMIT), at(16));
        assert_eq!(progress.check(at(15), LIMIT), RateCheck::Ok);
        assert_eq!(progress.check(at(16), LIMIT), RateCheck::Stalled);
    }

    #[test]
    fn a_byte_a_second_is_too_slow() {
        let mut progress = TransferProgress::new(Monotonic::ZERO);
        for second in 1..=5 {
            progress.moved(at(second), second);
        }
        // 5 seconds, and 2 ms for each byte.
        assert_eq!(
            progress.deadline(LIMIT),
            at(5).after(Duration::from_millis(10))
        );
        assert_eq!(progress.check(at(5), LIMIT), RateCheck::Ok);
        assert_eq!(progress.check(at(6), LIMIT), RateCheck::TooSlow);
        assert_eq!(progress.check(at(10), LIMIT), RateCheck::Stalled);
    }

    #[test]
    fn the_least_rate_is_enough() {
        let mut progress = TransferProgress::new(Monotonic::ZERO);
        for second in 1..=100_u64 {
            progress.moved(at(second), second.saturating_mul(MIN_BYTES_PER_SECOND));
            assert!(progress.deadline(LIMIT) > at(second.saturating_add(1)));
        }
    }
}
