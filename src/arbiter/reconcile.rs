//! The rules that close the gap between what is wanted and what is. They run after every event, in
//! this order, and are the whole policy: overdue, too old, template missing, canary, retire token,
//! surplus, missing, reload over; or, in a stop: overdue, finished.

use rcorn_types::Monotonic;

use super::event::{Action, BootFailure, Generation, Outcome, RetireReason, WorkerId};
use super::note::{KillReason, WorkerNote};
use super::pool::{Hang, Worker, WorkerStage};
use super::{Arbiter, Phase};

impl Arbiter {
    pub(super) fn reconcile(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        if self.phase == Phase::Running {
            if self.stop_at.is_some_and(|stop| stop <= now) {
                self.stop(now, Outcome::Stopped, false, actions);
            }
            self.end_overdue(now, actions);
        }
        // An overdue boot may have ended everything.
        match self.phase {
            Phase::New | Phase::Gone => {}
            Phase::Running => self.keep_running(now, actions),
            Phase::Stopping { outcome, .. } => {
                self.end_templates(now, actions);
                self.end_overdue(now, actions);
                self.finish(outcome, actions);
            }
        }
    }

    fn keep_running(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        self.retire_aged(now, actions);
        self.start_template(now, actions);
        self.fork_canary(now, actions);
        self.grant_retire_token();
        self.drain_surplus(now, actions);
        self.drain_abandoned(now, actions);
        self.fork_missing(now, actions);
        self.close_reload(now, actions);
    }

    /// Ends what has been in its stage for too long, but for workers that serve: see `end_hung`.
    fn end_overdue(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        self.end_overdue_workers(now, |stage| !stage.is_serving(), actions);
        let templates: Vec<Generation> = self
            .pool
            .templates
            .iter()
            .filter(|(_, stage)| self.template_due(stage).is_some_and(|due| due <= now))
            .map(|(generation, _)| *generation)
            .collect();
        for generation in templates {
            self.end_overdue_template(now, generation, actions);
        }
    }

    /// Ends serving workers whose request takes too long. A beat says nothing about the time after
    /// it: a worker may have ended that request long ago. So they are judged only at a tick, when
    /// all beats are new.
    pub(super) fn end_hung(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        self.end_overdue_workers(now, WorkerStage::is_serving, actions);
    }

    fn end_overdue_workers(
        &mut self,
        now: Monotonic,
        is_judged: impl Fn(&WorkerStage) -> bool,
        actions: &mut Vec<Action>,
    ) {
        let is_overdue = |stage: &WorkerStage| self.worker_due(stage).is_some_and(|due| due <= now);
        let overdue: Vec<WorkerId> = self
            .pool
            .ids(|_, worker| is_judged(&worker.stage) && is_overdue(&worker.stage))
            .collect();
        for id in overdue {
            self.end_overdue_worker(now, id, actions);
        }
    }

    fn end_overdue_worker(&mut self, now: Monotonic, id: WorkerId, actions: &mut Vec<Action>) {
        let Some(worker) = self.pool.workers.get_mut(&id) else {
            return;
        };
        let generation = worker.generation;
        match worker.stage {
            WorkerStage::Forking { .. } => {
                let reason = "the template did not answer within boot_timeout";
                self.fork_failed(now, id, reason, actions);
                self.end_silent_template(now, generation, actions);
            }
            WorkerStage::Booting { pid, .. } => {
                actions.push(WorkerNote::BootTimeout.say(pid));
                worker.dump_stacks(now, pid, KillReason::BootTimeout, None, actions);
                let failure = BootFailure::timeout("a worker was not ready within boot_timeout");
                self.boot_failure(now, generation, &failure, actions);
            }
            WorkerStage::Serving { pid, since, busy } => {
                actions.push(WorkerNote::Timeout.say(pid));
                let hang = busy.map(|busy| Hang {
                    serving: since,
                    busy,
                });
                worker.dump_stacks(now, pid, KillReason::Hung, hang, actions);
            }
            WorkerStage::Dumping { pid, why, .. } => {
                worker.end_after_dump(now, id, pid, why, actions);
            }
            WorkerStage::Leaving {
                pid, quick: true, ..
            } => worker.kill(pid, KillReason::QuickTimeout, actions),
            WorkerStage::Leaving {
                pid, quick: false, ..
            } => worker.kill(pid, KillReason::GracefulTimeout, actions),
            WorkerStage::Killed { pid, why, .. } => worker.kill(pid, why, actions),
        }
    }

    /// The generation in force needs its template, unless the throttle says not yet.
    fn start_template(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let generation = self.generation;
        if !self.pool.templates.contains_key(&generation)
            && self.throttle.closed_until(now).is_none()
        {
            self.order_template(generation, actions);
        }
    }

    /// Orders a fork. Returns `false` when no slot is free.
    fn fork(&mut self, now: Monotonic, generation: Generation, actions: &mut Vec<Action>) -> bool {
        let added = self.pool.add(generation, now);
        actions.extend(added.map(|(id, slot)| Action::Fork(id, slot, generation)));
        added.is_some()
    }

    /// Forks the first worker of a reload.
    fn fork_canary(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let Some(generation) = self.rollout.candidate() else {
            return;
        };
        let has_canary = self.pool.count(|worker| worker.generation == generation) > 0;
        if !has_canary && self.pool.can_fork(generation) {
            self.fork(now, generation, actions);
        }
    }

    fn retire_aged(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let aged: Vec<WorkerId> = self
            .pool
            .ids(|_, worker| self.aged_at(&worker.stage).is_some_and(|at| at <= now))
            .collect();
        for id in aged {
            self.retire(id, RetireReason::Age, actions);
        }
    }

    /// Lets the next worker be replaced. A reload replaces all workers anyway.
    fn grant_retire_token(&mut self) {
        if !self.rollout.is_in_preparation() && self.outdated() == 0 {
            self.retirement.grant_next();
        }
    }

    /// Whether this worker is neither of the generation in force nor of the candidate.
    fn is_outdated(&self, worker: &Worker) -> bool {
        worker.generation != self.generation && !self.is_canary(worker)
    }

    fn is_canary(&self, worker: &Worker) -> bool {
        Some(worker.generation) == self.rollout.candidate()
    }

    /// How many outdated workers serve, or are on their way to.
    pub(super) fn outdated(&self) -> u32 {
        self.pool
            .count(|worker| worker.stage.is_active() && self.is_outdated(worker))
    }

    /// How many workers to fork, as far as only the throttle is asked: up to the wanted number, and
    /// one more while an outdated or retiring worker waits for its replacement.
    pub(super) fn missing(&self) -> u32 {
        let token = self.retirement.holder();
        let surge = u32::from(token.is_some() || self.outdated() > 0);
        let active = |worker: &Worker| worker.stage.is_active() && !self.is_canary(worker);
        let all = self.pool.count(active);
        let lasting = self.pool.ids(|id, worker| {
            active(worker) && worker.generation == self.generation && Some(id) != token
        });
        let lasting = u32::try_from(lasting.count()).unwrap_or(u32::MAX);
        let room = self.wanted.saturating_add(surge).saturating_sub(all);
        self.wanted.saturating_sub(lasting).min(room)
    }

    fn fork_missing(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        if !self.pool.can_fork(self.generation) || self.throttle.closed_until(now).is_some() {
            return;
        }
        for _ in 0..self.missing() {
            if !self.fork(now, self.generation, actions) {
                return;
            }
        }
    }

    /// Drains what is too much, but never below the wanted number of workers that serve: outdated
    /// ones first, then the one with the retire token, then the oldest.
    fn drain_surplus(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let token = self.retirement.holder();
        let mut serving: Vec<(bool, bool, WorkerId)> = self
            .pool
            .workers
            .iter()
            .filter(|(_, worker)| worker.stage.is_serving() && !self.is_canary(worker))
            .map(|(id, worker)| (!self.is_outdated(worker), Some(*id) != token, *id))
            .collect();
        serving.sort_unstable();
        let wanted = usize::try_from(self.wanted).unwrap_or(usize::MAX);
        let surplus = serving.len().saturating_sub(wanted);
        for (_, _, id) in serving.into_iter().take(surplus) {
            self.ask_to_leave(now, id, false, actions);
        }
    }

    /// Workers of a generation that was given up before they served need not finish booting.
    fn drain_abandoned(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let abandoned: Vec<WorkerId> = self
            .pool
            .ids(|_, worker| {
                self.is_outdated(worker) && matches!(worker.stage, WorkerStage::Booting { .. })
            })
            .collect();
        for id in abandoned {
            self.ask_to_leave(now, id, false, actions);
        }
    }

    /// Commits the reload when its probation is over, and begins the one that waits.
    fn close_reload(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        if self.outdated() > 0 {
            return;
        }
        if self
            .rollout
            .probation()
            .is_some_and(|probation| probation.until <= now)
        {
            self.commit_reload(now, actions);
        }
        if self.reload_again && !self.rollout.is_in_preparation() {
            self.reload_again = false;
            self.order_reload(now, actions);
        }
    }
}
