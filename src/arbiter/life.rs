//! What becomes of workers: born, ready, silent, dead; and what their deaths mean.

use rcorn_types::Monotonic;

use super::event::{
    Action, Ask, BootFailure, BootFailureKind, Exit, Generation, Outcome, Pid, WorkerId,
};
use super::note::Note;
use super::pool::Stage;
use super::throttle::YOUNG;
use super::{Arbiter, Phase, QUICK};

impl Arbiter {
    pub(super) fn forked(
        &mut self,
        now: Monotonic,
        id: WorkerId,
        pid: Pid,
        actions: &mut Vec<Action>,
    ) {
        match self.pool.workers.get_mut(&id) {
            None => self.send_away(pid, actions),
            Some(worker) => {
                if let Stage::Forking { since } = worker.stage {
                    worker.stage = Stage::Booting { pid, since };
                    if let Phase::Stopping { quick, .. } = self.phase {
                        self.dismiss(now, id, quick, actions);
                    }
                }
            }
        }
    }

    pub(super) fn ready(
        &mut self,
        now: Monotonic,
        id: WorkerId,
        pid: Pid,
        actions: &mut Vec<Action>,
    ) {
        let Some(worker) = self.pool.workers.get_mut(&id) else {
            self.send_away(pid, actions);
            return;
        };
        match worker.stage {
            Stage::Forking { .. } | Stage::Booting { .. } => {
                worker.stage = Stage::Serving {
                    pid,
                    since: now,
                    // It may have been stopped just after it said so.
                    busy: self.frozen.contains(&id).then_some(now),
                };
                let generation = worker.generation;
                self.ever_ready = true;
                if let Phase::Stopping { quick, .. } = self.phase {
                    self.dismiss(now, id, quick, actions);
                } else {
                    self.canary_is_ready(now, generation, actions);
                }
            }
            Stage::Serving { .. }
            | Stage::Leaving { .. }
            | Stage::Testifying { .. }
            | Stage::Killed { .. } => {}
        }
    }

    pub(super) fn send_away(&mut self, pid: Pid, actions: &mut Vec<Action>) {
        if self.strangers.insert(pid) {
            actions.push(Action::Ask(pid, Ask::Kill));
        }
    }

    pub(super) fn beat(
        &mut self,
        now: Monotonic,
        id: WorkerId,
        since: Option<Monotonic>,
        actions: &mut Vec<Action>,
    ) {
        if self.frozen.contains(&id) {
            return;
        }
        let Some(worker) = self.pool.workers.get_mut(&id) else {
            return;
        };
        match &mut worker.stage {
            Stage::Serving { busy, .. } => *busy = since,
            // It got on after all (the question itself may have woken it up), and may hold another request by now.
            Stage::Testifying {
                pid,
                before: Some(before),
                ..
            } if since != Some(before.busy) => {
                actions.push(Action::Say(Note::GotOn(*pid)));
                worker.stage = Stage::Serving {
                    pid: *pid,
                    since: before.serving,
                    busy: since,
                };
                // It was not told when everyone else was.
                if let Phase::Stopping { quick, .. } = self.phase {
                    self.dismiss(now, id, quick, actions);
                }
            }
            Stage::Forking { .. }
            | Stage::Booting { .. }
            | Stage::Leaving { .. }
            | Stage::Testifying { .. }
            | Stage::Killed { .. } => {}
        }
    }

    /// A stopped worker (SIGSTOP) answers nobody: it is busy from now on. Continued, the scoreboard tells.
    pub(super) fn stopped(&mut self, now: Monotonic, pid: Pid, stopped: bool) {
        let Some(id) = self.pool.by_pid(pid) else {
            return;
        };
        if stopped {
            self.frozen.insert(id);
        } else {
            self.frozen.remove(&id);
        }
        if let Some(worker) = self.pool.workers.get_mut(&id)
            && let Stage::Serving { busy, .. } = &mut worker.stage
        {
            *busy = if stopped { busy.or(Some(now)) } else { None };
        }
    }

    /// A look that comes much later than planned (a machine or an arbiter that was stopped) blames no worker
    /// for a silence that was everyone's. Not twice in a row: a loop that is always late must still end hangs.
    pub(super) fn look(&mut self, now: Monotonic) {
        if let Some(timeout) = self.policy.timeout {
            let late = now.since(self.looked) > timeout.saturating_mul(2);
            let rare = now.since(self.mercy) > timeout.saturating_mul(4);
            if late && rare {
                self.mercy = now;
            }
        }
        self.looked = now;
    }

    pub(super) fn exited(
        &mut self,
        now: Monotonic,
        pid: Pid,
        exit: Exit,
        actions: &mut Vec<Action>,
    ) {
        if self.strangers.remove(&pid) {
            return;
        }
        if let Some(id) = self.pool.by_pid(pid) {
            self.worker_exited(now, id, exit, actions);
        } else if let Some(generation) = self.pool.template_by_pid(pid) {
            self.template_exited(now, generation, pid, exit, actions);
        } else if self.upgrade == Some(pid) {
            self.upgrade = None;
            actions.push(Action::Say(Note::UpgradeEnded(exit)));
        }
    }

    pub(super) fn worker_exited(
        &mut self,
        now: Monotonic,
        id: WorkerId,
        exit: Exit,
        actions: &mut Vec<Action>,
    ) {
        let Some(worker) = self.pool.workers.remove(&id) else {
            return;
        };
        actions.push(Action::FreeSlot(worker.slot));
        self.retiring.retain(|other| *other != id);
        self.frozen.remove(&id);
        if self.token == Some(id) {
            self.token = None;
        }
        match worker.stage {
            Stage::Killed { pid, why, .. } | Stage::Testifying { pid, why, .. } => {
                actions.push(Action::Say(Note::WeKilled(pid, why)));
            }
            Stage::Leaving { pid, quick, .. } => {
                // One that was still booting had no handlers yet: the signal was its end. One that could not boot has
                // said why.
                let asked = exit == Exit::Signal(15)
                    || quick && matches!(exit, Exit::Signal(3) | Exit::Code(1 | 3 | 4));
                if exit != Exit::Code(0) && !asked {
                    actions.push(Action::Say(Note::Ended(pid, exit)));
                }
            }
            Stage::Serving { pid, since, .. } => {
                actions.push(Action::Say(Note::Ended(pid, exit)));
                // Killed from outside is no sign of a bad app; leaving or crashing at once is.
                let outside = matches!(exit, Exit::Signal(9 | 15));
                let young = now.since(since) < YOUNG;
                if young && !outside {
                    self.strike(now, actions);
                } else if !young {
                    self.throttle.forgive();
                }
                self.new_worker_died(now, worker.generation, actions);
            }
            Stage::Booting { pid, .. } => {
                actions.push(Action::Say(Note::Ended(pid, exit)));
                let kind = match exit {
                    Exit::Code(4) => BootFailureKind::App,
                    Exit::Code(_) | Exit::Signal(_) => BootFailureKind::Boot,
                };
                let summary = "a worker ended before it was ready".to_owned();
                self.no_boot(
                    now,
                    worker.generation,
                    &BootFailure { kind, summary },
                    actions,
                );
            }
            Stage::Forking { .. } => {}
        }
    }

    pub(super) fn strike(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        if let Some(wait) = self.throttle.strike(now) {
            actions.push(Action::Say(Note::Throttled(wait.as_millis())));
        }
    }

    pub(super) fn fork_failed(
        &mut self,
        now: Monotonic,
        id: WorkerId,
        reason: &str,
        actions: &mut Vec<Action>,
    ) {
        let Some(worker) = self.pool.workers.get(&id) else {
            return;
        };
        // Too late: it has shown itself, or is gone.
        if !matches!(worker.stage, Stage::Forking { .. }) {
            return;
        }
        let (slot, generation) = (worker.slot, worker.generation);
        self.pool.workers.remove(&id);
        actions.push(Action::FreeSlot(slot));
        if self.phase == Phase::Running {
            actions.push(Action::Say(Note::ForkFailed(reason.to_owned())));
            self.strike(now, actions);
            self.canary_failed(now, generation, reason, actions);
        }
    }

    /// The worker said itself why; its exit follows.
    pub(super) fn boot_failed(
        &mut self,
        now: Monotonic,
        id: WorkerId,
        failure: &BootFailure,
        actions: &mut Vec<Action>,
    ) {
        let Some(worker) = self.pool.workers.get_mut(&id) else {
            return;
        };
        let Stage::Booting { pid, .. } = worker.stage else {
            return;
        };
        worker.stage = Stage::Leaving {
            pid,
            until: now.after(QUICK),
            quick: true,
        };
        let generation = worker.generation;
        self.no_boot(now, generation, failure, actions);
    }

    /// A worker or template could not boot. Before anything was ever ready this is the end (unless the policy is
    /// patient with apps); later it is something to wait out.
    pub(super) fn no_boot(
        &mut self,
        now: Monotonic,
        generation: Generation,
        failure: &BootFailure,
        actions: &mut Vec<Action>,
    ) {
        if self.phase != Phase::Running {
            return;
        }
        if self.canary_failed(now, generation, &failure.summary, actions) {
            return;
        }
        // A reload that was replaced, or an old worker: nobody waits for it.
        if generation != self.generation {
            return;
        }
        let mended = self.policy.patient && failure.kind != BootFailureKind::Host;
        if self.ever_ready || mended {
            self.strike(now, actions);
            self.new_worker_died(now, generation, actions);
            return;
        }
        let outcome = match failure.kind {
            BootFailureKind::Boot => Outcome::NoBoot,
            BootFailureKind::App => Outcome::NoApp,
            BootFailureKind::Host => Outcome::Refused,
        };
        self.stop(now, outcome, true, actions);
    }
}
