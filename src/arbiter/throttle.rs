//! How soon to fork again when workers die young: at once after the first, then after 0.1 s, doubling to
//! 30 s, with jitter so that several servers of one machine do not march in step.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use rcorn_types::Monotonic;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// This long without an early death, and all is forgotten.
const FORGET: Duration = Duration::from_mins(1);
/// A worker that ends by itself so soon after it was ready has died young.
pub(super) const YOUNG: Duration = Duration::from_secs(1);

/// See the file's head.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Throttle {
    strikes: u32,
    last: Monotonic,
    until: Option<Monotonic>,
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

    /// An early death. Gives the wait it leads to, if any.
    pub(super) fn strike(&mut self, now: Monotonic) -> Option<Duration> {
        if now.since(self.last) > FORGET {
            self.strikes = 0;
        }
        self.last = now;
        self.strikes = self.strikes.saturating_add(1);
        let doublings = self.strikes.checked_sub(2)?;
        let wait = FIRST
            .saturating_mul(1_u32.checked_shl(doublings.min(16)).unwrap_or(u32::MAX))
            .min(LONGEST);
        // Up to a quarter more.
        let jitter = wait.mul_f64(self.random() / 4.0);
        let wait = wait.saturating_add(jitter);
        // Deaths that were due together are one reason to wait, not several.
        let until = now.after(wait);
        self.until = Some(self.until.map_or(until, |before| before.max(until)));
        Some(wait)
    }

    /// A worker has served for a while: all is well.
    pub(super) fn forgive(&mut self) {
        self.strikes = 0;
        self.until = None;
    }

    /// When forking is allowed again; `None`: now.
    pub(super) fn closed_until(&self, now: Monotonic) -> Option<Monotonic> {
        self.until.filter(|until| *until > now)
    }

    /// splitmix64, as a number from 0 to 1.
    fn random(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        f64::from(u32::try_from(z >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }
}
