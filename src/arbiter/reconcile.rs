//! The rules that close the gap between what is wanted and what is. They run after every event, in
//! the order of `Arbiter::reconcile` and `Arbiter::keep_running`; that which ends hung workers runs
//! at a tick only. And [`Arbiter::deadline`]: when one of them has something to do next although
//! nothing happens.

use rcorn_types::Monotonic;

use super::arbiter::Arbiter;
use super::life::Phase;
use super::note::ReforkNote;
use super::step::Step;
use super::upgrade::Upgrade;
use super::values::{Generation, OldFirst, Outcome, WorkerId};
use super::worker::{Overdue, Worker, WorkerStage};

impl Arbiter {
    pub(super) fn reconcile(&mut self, step: &mut Step<'_>) {
        if self.life.is_stop_due(step.now) {
            self.stop(Outcome::Stopped, false, step);
        }
        if self.life.is_running() {
            self.end_overdue(step);
        }
        // An overdue boot may have ended everything.
        match self.life.phase {
            Phase::New | Phase::Gone => {}
            Phase::Running => self.keep_running(step),
            Phase::Stopping { outcome, .. } => {
                self.end_templates(step);
                self.end_overdue(step);
                if self.workers.are_gone() && self.templates.are_gone() {
                    self.life.finish(outcome, step);
                }
            }
        }
    }

    fn keep_running(&mut self, step: &mut Step<'_>) {
        let max_age = self.generations.policy.max_age;
        self.workers.retire_aged(max_age, step);
        self.start_template(step);
        self.fork_to_promote(step);
        self.fork_canary(step);
        self.refork(step);
        self.grant_retire_token();
        self.drain_surplus(step);
        self.drain_abandoned(step);
        self.let_old_leave_first(step);
        self.fork_missing(step);
        self.close_reload(step);
        if self.upgrade == Upgrade::Waiting && !self.is_reloading() {
            self.start_upgrade(step);
        }
    }

    /// Lets the templates go, once no worker is left.
    fn end_templates(&mut self, step: &mut Step<'_>) {
        if self.workers.iter().next().is_none() {
            for generation in self.templates.generations(|_| true) {
                self.end_template(generation, step);
            }
            let limits = self.template_limits();
            self.templates.hurry_replaced(limits, step.now);
        }
    }

    /// Ends what has been in its stage for too long, but for workers that serve: see `end_hung`.
    fn end_overdue(&mut self, step: &mut Step<'_>) {
        self.end_overdue_workers(|stage| !stage.is_serving(), step);
        let boot_timeout = self.generations.policy.boot_timeout;
        for generation in self.templates.overdue(boot_timeout, step.now) {
            if let Some(failure) = self.templates.end_overdue(generation, step) {
                self.template_failure(generation, &failure, step);
            }
        }
        self.templates.end_overdue_replaced(step);
    }

    /// Ends serving workers whose request takes too long. A beat says nothing about the time after
    /// it: a worker may have ended that request long ago. So they are judged only at a tick, when
    /// all beats are new.
    pub(super) fn end_hung(&mut self, step: &mut Step<'_>) {
        self.end_overdue_workers(WorkerStage::is_serving, step);
    }

    fn end_overdue_workers(
        &mut self,
        is_judged: impl Fn(&WorkerStage) -> bool,
        step: &mut Step<'_>,
    ) {
        let policy = &self.generations.policy;
        let overdue = self.workers.overdue(policy, is_judged, step.now);
        let abort_timeout = self.life.abort_limit(policy);
        for id in overdue {
            match self.workers.end_overdue(id, abort_timeout, step) {
                None | Some((_, Overdue::Ended)) => {}
                Some((generation, Overdue::NotForked)) => {
                    let reason = "the template did not answer within boot_timeout";
                    self.fork_failed(id, reason, step);
                    if self.templates.end_silent(generation, step) {
                        self.workers.forget_pending_forks(generation, step);
                    }
                }
                Some((generation, Overdue::NotReady(failure))) => {
                    self.boot_failure(generation, &failure, step);
                }
            }
        }
    }

    /// The generation in force needs its template, unless the throttle says not yet.
    fn start_template(&mut self, step: &mut Step<'_>) {
        if self.lacks_template() && self.throttle.closed_until(step.now).is_none() {
            let reason = "the template ended, and the app is imported again";
            self.workers.give_refork_up(reason, step);
            self.templates.order(self.generations.current, step);
        }
    }

    /// Whether the generation in force has no template, nor a worker that may become one.
    fn lacks_template(&self) -> bool {
        let generation = self.generations.current;
        !self.templates.contains(generation)
            && !self.workers.has_one_to_promote(generation)
            && !self.candidate_looks_at_itself()
    }

    /// Whether the worker that is to become the template has been asked to leave for that.
    fn candidate_looks_at_itself(&self) -> bool {
        let candidate = self.workers.refork.candidate();
        candidate
            .and_then(|id| self.workers.get(id))
            .is_some_and(|worker| !worker.stage.is_serving())
    }

    /// Begins a refork that requests have led to, when it can; lets the workers be replaced that
    /// were forked from the template before.
    fn refork(&mut self, step: &mut Step<'_>) {
        let willing = self.workers.refork.willing();
        let willing = { willing }.find(|id| self.can_be_candidate(*id));
        if let Some(id) = willing
            && self.refork_obstacle().is_none()
        {
            self.workers.begin_refork(id, step);
        }
        let generation = self.generations.current;
        let is_begun = self.workers.refork.candidate().is_none() && self.is_reforking();
        if is_begun && !self.workers.retire_outdated(generation, step) {
            self.workers.refork.finish();
            step.say(ReforkNote::Done);
        }
    }

    /// Forks the workers that take the place of templates which do not have the app. Of the
    /// generation in force also when no worker is missing: the next one is not to wait for an
    /// import.
    fn fork_to_promote(&mut self, step: &mut Step<'_>) {
        let is_throttled = self.throttle.closed_until(step.now).is_some();
        for generation in self.to_promote() {
            if !is_throttled || self.generations.is_candidate(generation) {
                self.workers.fork_to_promote(generation, step);
            }
        }
    }

    /// The generations whose template needs a worker that takes its place, but for the throttle.
    fn to_promote(&self) -> Vec<Generation> {
        let mut bare = self.templates.bare();
        bare.retain(|generation| {
            let is_wanted = self.generations.is_candidate(*generation)
                || *generation == self.generations.current && self.wanted > 0;
            is_wanted && !self.workers.has_one_to_promote(*generation)
        });
        bare
    }

    /// Forks the first workers of a reload.
    fn fork_canary(&mut self, step: &mut Step<'_>) {
        let Some(generation) = self.generations.rollout.candidate() else {
            return;
        };
        let has_canary = self.workers.count(|worker| worker.generation == generation) > 0;
        if has_canary || !self.templates.can_fork(generation) {
            return;
        }
        let (count, to_promote) = self.generations.canaries(generation);
        if to_promote {
            self.workers.fork_to_promote(generation, step);
        }
        for _ in u32::from(to_promote)..count {
            self.workers.fork(generation, step);
        }
    }

    /// Lets the next worker be replaced. A reload replaces all workers anyway.
    fn grant_retire_token(&mut self) {
        if !self.generations.rollout.is_in_preparation() && self.outdated() == 0 {
            self.workers.retirement.grant_next();
        }
    }

    /// Whether this worker is neither of the generation in force nor of the candidate.
    fn is_outdated(&self, worker: &Worker) -> bool {
        !self.generations.wants(worker.generation)
    }

    fn is_canary(&self, worker: &Worker) -> bool {
        self.generations.is_candidate(worker.generation)
    }

    /// How many outdated workers serve, or are on their way to.
    pub(super) fn outdated(&self) -> u32 {
        self.workers
            .count(|worker| worker.stage.is_active() && self.is_outdated(worker))
    }

    /// How many workers to fork as soon as template and throttle allow it: up to the wanted number,
    /// and one more while an outdated or retiring worker waits for its replacement. One that leaves
    /// first counts until it is gone.
    fn missing(&self) -> u32 {
        let token = self.workers.retirement.holder();
        let leaves_first = self.workers.retirement.leaves_first();
        let is_replaced_first = token.is_some()
            && !leaves_first
            && self.generations.policy.old_first != OldFirst::Always;
        let surge = u32::from(is_replaced_first || self.outdated() > 0);
        let active = |worker: &Worker| worker.stage.is_active() && !self.is_canary(worker);
        let all = self
            .workers
            .count(active)
            .saturating_add(u32::from(leaves_first));
        let current = self.generations.current;
        let lasting = self
            .workers
            .ids(|id, worker| active(worker) && worker.generation == current && Some(id) != token);
        let lasting = u32::try_from(lasting.count()).unwrap_or(u32::MAX);
        let room = self.wanted.saturating_add(surge).saturating_sub(all);
        self.wanted.saturating_sub(lasting).min(room)
    }

    fn fork_missing(&mut self, step: &mut Step<'_>) {
        let generation = self.generations.current;
        if !self.templates.can_fork(generation) || self.throttle.closed_until(step.now).is_some() {
            return;
        }
        for _ in 0..self.missing() {
            if !self.workers.fork(generation, step) {
                return;
            }
        }
    }

    /// Drains what is too much, but never below the wanted number of workers that serve: outdated
    /// ones first, then the one with the retire token, then the oldest.
    fn drain_surplus(&mut self, step: &mut Step<'_>) {
        let token = self.workers.retirement.holder();
        let mut serving: Vec<(bool, bool, WorkerId)> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.stage.is_serving() && !self.is_canary(worker))
            .map(|(id, worker)| (!self.is_outdated(worker), Some(id) != token, id))
            .collect();
        serving.sort_unstable();
        let wanted = usize::try_from(self.wanted).unwrap_or(usize::MAX);
        let surplus = serving.len().saturating_sub(wanted);
        for (_, _, id) in serving.into_iter().take(surplus) {
            self.ask_to_leave(id, false, step);
        }
    }

    /// Workers of a generation that was given up before they served need not finish booting.
    fn drain_abandoned(&mut self, step: &mut Step<'_>) {
        let abandoned: Vec<WorkerId> = self
            .workers
            .ids(|_, worker| {
                self.is_outdated(worker) && matches!(worker.stage, WorkerStage::Booting { .. })
            })
            .collect();
        for id in abandoned {
            self.ask_to_leave(id, false, step);
        }
    }

    /// A worker whose replacement cannot start may be in its way: lets it leave first, if the
    /// settings allow it. Only while nobody else is missing, and nobody on the way: so code that
    /// cannot boot costs one worker at most. A reload replaces all workers anyway.
    fn let_old_leave_first(&mut self, step: &mut Step<'_>) {
        let policy = &self.generations.policy;
        let retirement = &self.workers.retirement;
        let Some((id, failures)) = retirement.may_leave_first(policy.old_first, self.wanted) else {
            return;
        };
        let is_serving = |worker: &Worker| worker.stage.is_serving();
        let is_coming = |worker: &Worker| worker.stage.is_active() && !is_serving(worker);
        let is_complete = self.workers.count(is_serving) >= self.wanted;
        if self.generations.rollout.is_in_preparation()
            || self.outdated() > 0
            || !is_complete
            || self.workers.count(is_coming) > 0
            || !self.workers.get(id).is_some_and(is_serving)
        {
            return;
        }
        self.workers.leave_first(id, failures, step);
        self.ask_to_leave(id, false, step);
    }

    /// Commits the reload when its probation is over, and begins the one that waits.
    fn close_reload(&mut self, step: &mut Step<'_>) {
        if self.outdated() > 0 {
            return;
        }
        let probation_end = self.generations.probation_end();
        if probation_end.is_some_and(|until| until <= step.now) {
            self.commit_reload(step);
        }
        if self.generations.take_next_reload() {
            self.order_reload(step);
        }
    }

    /// When to send [`Event::Tick`](super::Event::Tick), if nothing happens before. `None`: never.
    #[must_use]
    pub fn deadline(&self) -> Option<Monotonic> {
        let running = match self.life.phase {
            Phase::New | Phase::Gone => return None,
            Phase::Stopping { .. } => None,
            Phase::Running => self.running_deadline(),
        };
        let policy = &self.generations.policy;
        let workers = self.workers.deadline(policy);
        let templates = self.templates.deadline(policy.boot_timeout);
        [workers, templates, running].into_iter().flatten().min()
    }

    /// What is due only while the server runs.
    fn running_deadline(&self) -> Option<Monotonic> {
        let generations = &self.generations;
        let probation = generations.probation_end().filter(|_| self.outdated() == 0);
        let throttle = self
            .throttle
            .closed_until(self.workers.heartbeats.last_tick())
            .filter(|_| self.is_throttled());
        let aged = self.workers.next_aged(generations.policy.max_age);
        [aged, self.life.stop_at, probation, throttle]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether something is missing that the throttle holds back.
    fn is_throttled(&self) -> bool {
        self.lacks_template()
            || !self.to_promote().is_empty()
            || self.templates.can_fork(self.generations.current) && self.missing() > 0
    }
}
