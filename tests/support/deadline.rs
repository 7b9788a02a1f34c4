//! Deadlines, and the only place in the tests that polls.

use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};

/// The interval of `wait_until`, in milliseconds.
const PAUSE: u16 = 5;

/// A point in time that must not be passed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// This much time from now.
    pub(crate) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// The earlier of this one and `time` from now.
    pub(crate) fn or_after(self, time: Duration) -> Self {
        Self(self.0.min(Instant::now() + time))
    }

    /// How much time is left; zero when it is passed.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// The time left, for poll(2). Rounded up, so that poll does not spin in the last millisecond.
    pub(crate) fn poll_timeout(self) -> PollTimeout {
        let left = self.left();
        if left.is_zero() {
            return PollTimeout::ZERO;
        }
        PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    }
}

/// Polls until `condition` holds, for what the kernel has no event for. Panics with `description`
/// when the deadline passes first.
pub(crate) fn wait_until(deadline: Deadline, description: &str, condition: impl FnMut() -> bool) {
    assert!(
        holds_within(deadline, condition),
        "waited too long until {description}"
    );
}

/// Whether `condition` comes to hold before the deadline.
pub(crate) fn holds_within(deadline: Deadline, mut condition: impl FnMut() -> bool) -> bool {
    while !condition() {
        if deadline.left().is_zero() {
            return false;
        }
        pause();
    }
    true
}

/// Lets other processes run for a short time.
pub(super) fn pause() {
    // After EINTR the pause is shorter, which does no harm.
    poll(&mut [], PAUSE).ok();
}
