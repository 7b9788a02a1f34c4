//! Signs of life. A worker marks on the scoreboard when its current request began; the driver
//! reports these marks before each tick. A worker hangs when a mark is older than `timeout`. It is
//! asked for its stacks; then the app is asked to unwind its request; then it is aborted, and
//! killed. One that makes progress before the app is asked serves on.

use core::time::Duration;
use std::collections::BTreeSet;

use rcorn_types::Monotonic;
use serde::{Deserialize, Serialize};

use super::values::WorkerId;

/// Time to write a stack dump. On a busy machine the worker may have to wait for a processor first.
pub(super) const STACK_DUMP_TIME: Duration = Duration::from_millis(300);
/// Time between the last ABRT and KILL.
pub(super) const ABORT_TIME: Duration = Duration::from_secs(1);
/// A tick that comes after this many timeouts is late: the machine or the arbiter was stopped.
const LATE_TICK_TIMEOUTS: u32 = 2;
/// The grace for a late tick is given at most once in this many timeouts.
const GRACE_INTERVAL_TIMEOUTS: u32 = 4;

/// When the scoreboard was read, and whose marks on it are not to be believed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Heartbeats {
    /// When all marks were read last.
    #[serde(rename = "looked")]
    last_tick: Monotonic,
    /// Requests count from here at the earliest, because a tick was late.
    #[serde(rename = "mercy")]
    late_tick_grace: Monotonic,
    /// Workers that are stopped by SIGSTOP and the like. Their marks are old.
    #[serde(rename = "frozen")]
    stopped: BTreeSet<WorkerId>,
}

impl Heartbeats {
    /// When all marks were read last.
    pub(super) fn last_tick(&self) -> Monotonic {
        self.last_tick
    }

    /// When a request that began at `busy` has taken longer than `timeout`.
    pub(super) fn hang_time(&self, busy: Monotonic, timeout: Duration) -> Monotonic {
        busy.max(self.late_tick_grace).after(timeout)
    }

    /// Notes that all marks have been read. A tick that comes much later than planned (the machine
    /// or the arbiter was stopped) blames no worker for a silence that was everyone's. Not twice in
    /// a row: a loop that is always late must still end hangs.
    pub(super) fn tick(&mut self, now: Monotonic, timeout: Option<Duration>) {
        if let Some(timeout) = timeout {
            let is_late = now.since(self.last_tick) > timeout.saturating_mul(LATE_TICK_TIMEOUTS);
            let grace_interval = timeout.saturating_mul(GRACE_INTERVAL_TIMEOUTS);
            let is_rare = now.since(self.late_tick_grace) > grace_interval;
            if is_late && is_rare {
                self.late_tick_grace = now;
            }
        }
        self.last_tick = now;
    }

    /// Whether this worker is stopped.
    pub(super) fn is_stopped(&self, id: WorkerId) -> bool {
        self.stopped.contains(&id)
    }

    /// This worker was stopped.
    pub(super) fn stop(&mut self, id: WorkerId) {
        self.stopped.insert(id);
    }

    /// The worker was continued, or is gone.
    pub(super) fn forget(&mut self, id: WorkerId) {
        self.stopped.remove(&id);
    }
}
