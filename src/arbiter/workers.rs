//! What happens to workers: forked, ready, failed to boot, ended; and what their ends mean.

use rcorn_types::Monotonic;

use super::event::{
    Action, Ask, BootFailure, BootFailureKind, Exit, Generation, Outcome, Pid, WorkerId,
};
use super::note::{Note, UpgradeNote, WorkerNote};
use super::pool::{Worker, WorkerStage};
use super::stop::QUICK_STOP_TIME;
use super::throttle::EARLY_DEATH_AGE;
use super::{Arbiter, Phase, Upgrade};

/// `SIGQUIT`.
const QUIT: Exit = Exit::Signal(3);
/// `SIGKILL`.
const KILL: Exit = Exit::Signal(9);
/// `SIGTERM`.
const TERM: Exit = Exit::Signal(15);

impl Arbiter {
    /// The template has forked this worker.
    pub(super) fn forked(
        &mut self,
        now: Monotonic,
        id: WorkerId,
        pid: Pid,
        actions: &mut Vec<Action>,
    ) {
        let Some(worker) = self.pool.workers.get_mut(&id) else {
            self.kill_unknown_worker(pid, actions);
            return;
        };
        if let WorkerStage::Forking { since } = worker.stage {
            worker.stage = WorkerStage::Booting { pid, since };
            self.tell_if_stopping(now, id, actions);
        }
    }

    /// This worker accepts requests. The template may not have reported its fork yet.
    pub(super) fn ready(
        &mut self,
        now: Monotonic,
        id: WorkerId,
        pid: Pid,
        actions: &mut Vec<Action>,
    ) {
        let Some(worker) = self.pool.workers.get_mut(&id) else {
            self.kill_unknown_worker(pid, actions);
            return;
        };
        match worker.stage {
            WorkerStage::Forking { .. } | WorkerStage::Booting { .. } => {}
            WorkerStage::Serving { .. }
            | WorkerStage::Leaving { .. }
            | WorkerStage::Dumping { .. }
            | WorkerStage::Killed { .. } => return,
        }
        worker.stage = WorkerStage::Serving {
            pid,
            since: now,
            // It may have been stopped just after it reported itself.
            busy: self.heartbeats.is_stopped(id).then_some(now),
        };
        let generation = worker.generation;
        self.ever_ready = true;
        if self.phase == Phase::Running {
            self.candidate_is_ready(now, generation, actions);
        } else {
            self.tell_if_stopping(now, id, actions);
        }
    }

    /// A worker reported itself that was given up before.
    fn kill_unknown_worker(&mut self, pid: Pid, actions: &mut Vec<Action>) {
        if self.unknown_workers.insert(pid) {
            actions.push(Action::Ask(pid, Ask::Kill));
        }
    }

    /// A child was reaped.
    pub(super) fn exited(
        &mut self,
        now: Monotonic,
        pid: Pid,
        exit: Exit,
        actions: &mut Vec<Action>,
    ) {
        if self.unknown_workers.remove(&pid) {
            return;
        }
        if let Some(id) = self.pool.by_pid(pid) {
            if let Some(worker) = self.remove_worker(id, actions) {
                self.worker_exited(now, &worker, exit, actions);
            }
        } else if let Some(generation) = self.pool.template_by_pid(pid) {
            self.template_exited(now, generation, pid, exit, actions);
        } else if self.upgrade == Upgrade::Beside(pid) {
            self.upgrade = Upgrade::None;
            actions.push(UpgradeNote::Ended(exit).say());
        }
    }

    /// Forgets a worker that is gone, or will never be there.
    pub(super) fn remove_worker(
        &mut self,
        id: WorkerId,
        actions: &mut Vec<Action>,
    ) -> Option<Worker> {
        let worker = self.pool.workers.remove(&id)?;
        actions.push(Action::FreeSlot(worker.slot));
        self.retirement.forget(id);
        self.heartbeats.forget(id);
        Some(worker)
    }

    fn worker_exited(
        &mut self,
        now: Monotonic,
        worker: &Worker,
        exit: Exit,
        actions: &mut Vec<Action>,
    ) {
        match worker.stage {
            WorkerStage::Killed { pid, why, .. } | WorkerStage::Dumping { pid, why, .. } => {
                actions.push(WorkerNote::Killed(why).say(pid));
            }
            WorkerStage::Leaving { pid, quick, .. } => {
                if !is_expected(exit, quick) {
                    actions.push(WorkerNote::Ended(exit).say(pid));
                }
            }
            WorkerStage::Serving { pid, since, .. } => {
                actions.push(WorkerNote::Ended(exit).say(pid));
                // A kill from outside is no sign of a bad app. Leaving or crashing at once is.
                let from_outside = exit == KILL || exit == TERM;
                if now.since(since) >= EARLY_DEATH_AGE {
                    self.throttle.forgive();
                } else if !from_outside {
                    self.strike(now, actions);
                }
                self.died_on_probation(now, worker.generation, actions);
            }
            WorkerStage::Booting { pid, .. } => {
                actions.push(WorkerNote::Ended(exit).say(pid));
                let kind = match exit {
                    Exit::Code(4) => BootFailureKind::App,
                    Exit::Code(_) | Exit::Signal(_) => BootFailureKind::Boot,
                };
                let summary = "a worker ended before it was ready".to_owned();
                let failure = BootFailure { kind, summary };
                self.boot_failure(now, worker.generation, &failure, actions);
            }
            // It has no pid that could have ended.
            WorkerStage::Forking { .. } => {}
        }
    }

    /// Counts an early death; the next forks may have to wait.
    pub(super) fn strike(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        if let Some(wait) = self.throttle.strike(now) {
            actions.push(Action::Say(Note::Throttled(wait)));
        }
    }

    /// A worker could not be forked.
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
        // It has reported itself all the same.
        if !matches!(worker.stage, WorkerStage::Forking { .. }) {
            return;
        }
        let generation = worker.generation;
        self.remove_worker(id, actions);
        if self.phase == Phase::Running {
            actions.push(Action::Say(Note::ForkFailed(reason.to_owned())));
            self.strike(now, actions);
            self.candidate_failed(now, generation, reason, actions);
        }
    }

    /// A worker reported why it cannot boot; its exit follows.
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
        let WorkerStage::Booting { pid, .. } = worker.stage else {
            return;
        };
        worker.stage = WorkerStage::Leaving {
            pid,
            until: now.after(QUICK_STOP_TIME),
            quick: true,
        };
        let generation = worker.generation;
        self.boot_failure(now, generation, failure, actions);
    }

    /// A worker or template could not boot. Before anything was ever ready this ends the server,
    /// unless the policy tolerates it. Later it is waited out.
    pub(super) fn boot_failure(
        &mut self,
        now: Monotonic,
        generation: Generation,
        failure: &BootFailure,
        actions: &mut Vec<Action>,
    ) {
        if self.phase != Phase::Running
            || self.candidate_failed(now, generation, &failure.summary, actions)
            // A reload that was given up, or an old worker: nobody waits for it.
            || generation != self.generation
        {
            return;
        }
        let outcome = match failure.kind {
            BootFailureKind::Boot => Outcome::BootFailed,
            BootFailureKind::App => Outcome::AppNotLoaded,
            BootFailureKind::Host => Outcome::HostRefused,
        };
        // What the system refuses, no reload will fix.
        let is_tolerated =
            self.policy.tolerate_boot_failure && failure.kind != BootFailureKind::Host;
        if self.ever_ready || is_tolerated {
            self.strike(now, actions);
            self.died_on_probation(now, generation, actions);
        } else {
            self.stop(now, outcome, true, actions);
        }
    }
}

/// Whether a worker that was asked to leave may end like this. One that was still booting had no
/// handlers, and the signal ended it. One that could not boot has logged why.
fn is_expected(exit: Exit, quick: bool) -> bool {
    match exit {
        Exit::Code(0) | TERM => true,
        QUIT | Exit::Code(1 | 3 | 4) => quick,
        Exit::Code(_) | Exit::Signal(_) => false,
    }
}
