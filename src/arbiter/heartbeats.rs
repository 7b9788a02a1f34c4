//! Signs of life. A worker marks on the scoreboard when its current request began; the driver
//! reports these marks before each tick. A worker hangs when a mark is older than `timeout`. It is
//! asked for its stacks, aborted, and killed, in this order; one that makes progress before the
//! abort serves on.

use core::time::Duration;
use std::collections::BTreeSet;

use rcorn_types::Monotonic;
use serde::{Deserialize, Serialize};

use super::Arbiter;
use super::event::{Action, Ask, Pid, WorkerId};
use super::note::{KillReason, WorkerNote};
use super::pool::{Hang, Worker, WorkerStage};

/// Time to write a stack dump. On a busy machine the worker may have to wait for a processor first.
pub(super) const STACK_DUMP_TIME: Duration = Duration::from_millis(300);
/// Time between ABRT and KILL.
pub(super) const ABORT_TIME: Duration = Duration::from_secs(1);
/// A tick that comes after this many timeouts is late: the machine or the arbiter was stopped.
const LATE_TICK_TIMEOUTS: u32 = 2;
/// The grace for a late tick is given at most once in this many timeouts.
const GRACE_INTERVAL_TIMEOUTS: u32 = 4;

/// When the scoreboard was read, and whose marks on it are not to be believed.
#[derive(Debug, Default, Serialize, Deserialize)]
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

    /// The worker is gone.
    pub(super) fn forget(&mut self, id: WorkerId) {
        self.stopped.remove(&id);
    }
}

impl Arbiter {
    /// The scoreboard shows that the worker's current request began at `since`, or that it has
    /// none.
    pub(super) fn beat(
        &mut self,
        now: Monotonic,
        id: WorkerId,
        since: Option<Monotonic>,
        actions: &mut Vec<Action>,
    ) {
        if self.heartbeats.is_stopped(id) {
            // Its mark is not new, but true: if it was stopped in a request, it is busy since that
            // began.
            if let (Some(busy), Some(since)) = (self.pool.busy_mut(id), since) {
                *busy = busy.map(|stopped| stopped.min(since));
            }
            return;
        }
        let Some(worker) = self.pool.workers.get_mut(&id) else {
            return;
        };
        match &mut worker.stage {
            WorkerStage::Serving { busy, .. } => *busy = since,
            // It made progress after all (the question itself may have interrupted a call), and may
            // hold another request by now.
            WorkerStage::Dumping {
                pid,
                hang: Some(hang),
                ..
            } if since != Some(hang.busy) => {
                actions.push(WorkerNote::Recovered.say(*pid));
                worker.stage = WorkerStage::Serving {
                    pid: *pid,
                    since: hang.serving,
                    busy: since,
                };
                // It was not told when everyone else was.
                self.tell_if_stopping(now, id, actions);
            }
            WorkerStage::Forking { .. }
            | WorkerStage::Booting { .. }
            | WorkerStage::Leaving { .. }
            | WorkerStage::Dumping { .. }
            | WorkerStage::Killed { .. } => {}
        }
    }

    /// A worker was stopped (SIGSTOP). It answers nobody: it is busy from now on, also if its mark
    /// says that it is idle. What the last beat said may be over.
    pub(super) fn worker_stopped(&mut self, now: Monotonic, pid: Pid) {
        let Some(id) = self.pool.by_pid(pid) else {
            return;
        };
        self.heartbeats.stopped.insert(id);
        if let Some(busy) = self.pool.busy_mut(id) {
            *busy = Some(now);
        }
    }

    /// A worker was continued (SIGCONT). The next beat tells what it does.
    pub(super) fn worker_continued(&mut self, pid: Pid) {
        let Some(id) = self.pool.by_pid(pid) else {
            return;
        };
        self.heartbeats.stopped.remove(&id);
        if let Some(busy) = self.pool.busy_mut(id) {
            *busy = None;
        }
    }
}

impl Worker {
    /// Asks a worker that takes too long where it is. `hang`: what it was doing, if it was serving.
    pub(super) fn dump_stacks(
        &mut self,
        now: Monotonic,
        pid: Pid,
        why: KillReason,
        hang: Option<Hang>,
        actions: &mut Vec<Action>,
    ) {
        actions.push(Action::Ask(pid, Ask::DumpStacks));
        self.stage = WorkerStage::Dumping {
            pid,
            why,
            hang,
            until: now.after(STACK_DUMP_TIME),
        };
    }

    /// The time for the stack dump is over: ends the worker. One that hung in a request gets ABRT
    /// first, as gunicorn's; one that never served has nothing of the app's to wind up.
    pub(super) fn end_after_dump(
        &mut self,
        now: Monotonic,
        id: WorkerId,
        pid: Pid,
        why: KillReason,
        actions: &mut Vec<Action>,
    ) {
        actions.push(Action::PostMortem(id, self.slot, pid));
        match why {
            KillReason::Hung => {
                actions.push(Action::Ask(pid, Ask::Abort));
                let kill_at = Some(now.after(ABORT_TIME));
                self.stage = WorkerStage::Killed { pid, why, kill_at };
            }
            KillReason::BootTimeout | KillReason::GracefulTimeout | KillReason::QuickTimeout => {
                self.kill(pid, why, actions);
            }
        }
    }

    /// Kills the worker; nothing is left but to reap it.
    pub(super) fn kill(&mut self, pid: Pid, why: KillReason, actions: &mut Vec<Action>) {
        actions.push(Action::Ask(pid, Ask::Kill));
        self.stage = WorkerStage::Killed {
            pid,
            why,
            kill_at: None,
        };
    }
}
