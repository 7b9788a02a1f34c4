//! When a front is started again that could not start, or has ended.

use std::time::Duration;

use rcorn_types::Monotonic;

/// The pause before the next attempt, after the first failure and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Attempts to start fronts.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// How many in a row have failed.
    failures: u32,
    /// When the next one is due.
    pub(super) due: Option<Monotonic>,
}

impl Attempts {
    /// A front has ended, or could not be started. Returns how long to wait before the next
    /// attempt.
    pub(super) fn ended(&mut self, has_served: bool, now: Monotonic) -> Duration {
        self.failures = if has_served {
            0
        } else {
            self.failures.saturating_add(1)
        };
        let pause = self.pause();
        self.due = Some(now.after(pause));
        pause
    }

    fn pause(&self) -> Duration {
        let Some(doublings) = self.failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings.min(16)).unwrap_or(u32::MAX);
        FIRST_PAUSE.saturating_mul(factor).min(MAX_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_after_failures_grow_and_end() {
        let pause = |failures| {
            let attempts = Attempts {
                failures,
                ..Attempts::default()
            };
            attempts.pause()
        };
        assert_eq!(pause(0), Duration::ZERO);
        assert_eq!(pause(1), FIRST_PAUSE);
        assert_eq!(pause(2), FIRST_PAUSE * 2);
        assert_eq!(pause(20), MAX_PAUSE);
        assert_eq!(pause(u32::MAX), MAX_PAUSE);
    }
}
