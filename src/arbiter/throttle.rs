//! How soon to fork again when workers die young: at once after the first death, then after 0.1 s,
//! doubling to 30 s. Each wait has some jitter, so that several servers on one machine do not retry
//! in step.

use core::time::Duration;

use rcorn_types::Monotonic;
use serde::{Deserialize, Serialize};

use super::note::Note;
use super::step::Step;

/// The first wait.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// The longest wait, before jitter.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// Doublings of [`MIN_BACKOFF`] that reach [`MAX_BACKOFF`].
const MAX_DOUBLINGS: u32 = 9;
/// Jitter adds up to this fraction of the wait.
const MAX_JITTER: f64 = 0.25;
/// After this long without an early death, the count starts again.
const FORGET_AFTER: Duration = Duration::from_mins(1);
/// A worker that ends by itself within this time of being ready has died young.
pub(super) const EARLY_DEATH_AGE: Duration = Duration::from_secs(1);

/// Counts early deaths, and says when forking is allowed again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Throttle {
    /// Early deaths in a row.
    strikes: u32,
    /// When the last one was.
    last: Monotonic,
    /// Nothing is forked before this.
    until: Option<Monotonic>,
    /// State of the random numbers for the jitter.
    seed: u64,
}

impl Throttle {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            strikes: 0,
            last: Monotonic::ZERO,
            until: None,
            seed,
        }
    }

    /// Counts an early death, and says how long the next forks have to wait, if they do.
    pub(super) fn count_early_death(&mut self, step: &mut Step<'_>) {
        if let Some(wait) = self.strike(step.now) {
            step.say(Note::Throttled(wait));
        }
    }

    /// Counts an early death. Returns the wait that follows from it, if any.
    fn strike(&mut self, now: Monotonic) -> Option<Duration> {
        if now.since(self.last) > FORGET_AFTER {
            self.strikes = 0;
        }
        self.last = now;
        self.strikes = self.strikes.saturating_add(1);
        let doublings = self.strikes.checked_sub(2)?.min(MAX_DOUBLINGS);
        let wait = MIN_BACKOFF
            .saturating_mul(1 << doublings)
            .min(MAX_BACKOFF)
            .mul_f64(1.0 + MAX_JITTER * self.random());
        // Deaths that come together are one reason to wait, not several.
        self.until = self.until.max(Some(now.after(wait)));
        Some(wait)
    }

    /// A worker has served for a while: forking is allowed at once.
    pub(super) fn forgive(&mut self) {
        self.strikes = 0;
        self.until = None;
    }

    /// When forking is allowed again; `None` when it is allowed now.
    pub(super) fn closed_until(&self, now: Monotonic) -> Option<Monotonic> {
        self.until.filter(|until| *until > now)
    }

    /// A number from 0 up to 1.
    fn random(&mut self) -> f64 {
        let mut generator = fastrand::Rng::with_seed(self.seed);
        let number = generator.f64();
        self.seed = generator.get_seed();
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_a_tenth_of_a_second_to_half_a_minute() {
        let mut throttle = Throttle::new(3);
        let mut now = Monotonic::ZERO;
        assert_eq!(throttle.strike(now), None, "the first death costs nothing");
        for seconds in [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0] {
            let wait = throttle.strike(now).unwrap();
            let shortest = Duration::from_secs_f64(seconds);
            assert!(
                (shortest..=shortest.mul_f64(1.25)).contains(&wait),
                "{wait:?} instead of {shortest:?}"
            );
            let until = throttle.closed_until(now).unwrap();
            assert_eq!(until, now.after(wait));
            now = until;
            assert_eq!(throttle.closed_until(now), None);
        }
        let later = now.after(FORGET_AFTER + Duration::from_nanos(1));
        assert_eq!(throttle.strike(later), None, "forgotten");
    }

    #[test]
    fn jitter_differs() {
        let wait = |seed| {
            let mut throttle = Throttle::new(seed);
            throttle.strike(Monotonic::ZERO);
            throttle.strike(Monotonic::ZERO)
        };
        assert_ne!(wait(1), wait(2));
    }
}
