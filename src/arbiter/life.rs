//! The life of the arbiter, and its end: workers are asked to leave, then templates; when all of
//! them are gone, the arbiter leaves. A stop always ends, because everything that was asked to
//! leave has a time after which it is killed.

use core::time::Duration;

use rcorn_types::Monotonic;
use serde::{Deserialize, Serialize};

use super::event::Action;
use super::note::StopNote;
use super::step::Step;
use super::templates::LeaveLimits;
use super::values::{Outcome, Policy};

/// How long a process that was asked to leave at once may take.
pub(super) const QUICK_STOP_TIME: Duration = Duration::from_secs(2);

/// Where the arbiter is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing has begun.
    New,
    /// Keeping the workers alive.
    Running,
    /// Ending everything.
    Stopping {
        /// Why.
        outcome: Outcome,
        /// At once, not gracefully.
        quick: bool,
    },
    /// Nothing follows.
    Gone,
}

/// The phase, and the stop that is to come.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) phase: Phase,
    /// When the stop that was ordered begins; until then the server runs on.
    pub(super) stop_at: Option<Monotonic>,
}

impl Life {
    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether it runs, and no stop was ordered.
    pub(super) fn takes_orders(&self) -> bool {
        self.is_running() && self.stop_at.is_none()
    }

    /// Whether the time has come for the stop that was ordered.
    pub(super) fn is_stop_due(&self, now: Monotonic) -> bool {
        self.is_running() && self.stop_at.is_some_and(|stop| stop <= now)
    }

    /// Whether a stop is at once, if everything is being ended.
    pub(super) fn stop_is_quick(&self) -> Option<bool> {
        match self.phase {
            Phase::Stopping { quick, .. } => Some(quick),
            Phase::New | Phase::Running | Phase::Gone => None,
        }
    }

    /// TERM: puts the stop off by `drain_delay`. Returns `false` if it is to begin now; a second
    /// TERM does not wait.
    pub(super) fn delay_stop(&mut self, drain_delay: Duration, step: &mut Step<'_>) -> bool {
        let is_delayed = self.takes_orders() && !drain_delay.is_zero();
        if is_delayed {
            self.stop_at = Some(step.after(drain_delay));
            step.say(StopNote::Delayed(drain_delay));
        }
        is_delayed
    }

    /// Begins a stop, or makes one quick that is under way. Returns whether everybody is to be told
    /// now, and if so, whether to leave at once.
    pub(super) fn stop(
        &mut self,
        outcome: Outcome,
        quick: bool,
        step: &mut Step<'_>,
    ) -> Option<bool> {
        let (outcome, quick) = match self.phase {
            Phase::New | Phase::Running => {
                self.stop_at = None;
                step.act(Action::CloseListeners);
                (outcome, quick)
            }
            Phase::Stopping {
                outcome,
                quick: false,
            } => {
                step.say(StopNote::Quick);
                (outcome, true)
            }
            Phase::Stopping { quick: true, .. } | Phase::Gone => return None,
        };
        self.phase = Phase::Stopping { outcome, quick };
        Some(quick)
    }

    /// How long templates may take to leave. One that is ready may still run a hook of the app, and
    /// has time for that unless there is a hurry. One that still imports reads no orders; but if it
    /// may be about to leave with a reason of its own, it has a moment for that.
    pub(super) fn template_limits(&self, graceful_timeout: Duration) -> LeaveLimits {
        let ready = if self.stop_is_quick() == Some(true) {
            QUICK_STOP_TIME
        } else {
            QUICK_STOP_TIME.max(graceful_timeout)
        };
        let is_stopped = matches!(
            self.phase,
            Phase::Stopping {
                outcome: Outcome::Stopped,
                ..
            }
        );
        let importing = if is_stopped {
            Duration::ZERO
        } else {
            QUICK_STOP_TIME
        };
        LeaveLimits { ready, importing }
    }

    /// How long a worker may take to unwind a request that takes too long: no longer than a worker
    /// may take to leave, if everything is being ended. `is_stopped`: it does not run (SIGSTOP).
    pub(super) fn unwind_limit(&self, policy: &Policy, is_stopped: bool) -> Duration {
        let leave_limit = self
            .stop_is_quick()
            .map(|quick| worker_limit(quick, policy.graceful_timeout));
        let unwind_limit = policy.unwind_limit(is_stopped);
        leave_limit.map_or(unwind_limit, |limit| limit.min(unwind_limit))
    }

    /// Leaves: nobody is left.
    pub(super) fn finish(&mut self, outcome: Outcome, step: &mut Step<'_>) {
        self.phase = Phase::Gone;
        match outcome {
            Outcome::Stopped => step.say(StopNote::ShuttingDown),
            Outcome::HostRefused | Outcome::BootFailed | Outcome::AppNotLoaded => {
                step.say(StopNote::ShuttingDownAfterFailure);
                step.say(StopNote::Reason(outcome));
            }
        }
        step.act(Action::Exit(outcome));
    }
}

/// How long a worker may take to leave.
pub(super) fn worker_limit(quick: bool, graceful_timeout: Duration) -> Duration {
    if quick {
        QUICK_STOP_TIME
    } else {
        graceful_timeout
    }
}
