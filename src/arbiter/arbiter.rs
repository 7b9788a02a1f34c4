//! The arbiter: tells the owners what happened, and what that means for the others.

use rcorn_types::Monotonic;

use super::event::{Action, Event};
use super::gap::Gap;
use super::generations::Generations;
use super::life::{Life, Phase, worker_limit};
use super::note::{Note, ReforkNote, StopNote, TemplateNote};
use super::order::Order;
use super::resize::{Resize, one_fewer};
use super::step::Step;
use super::templates::{LeaveLimits, TemplateEnd, TemplateStage, Templates};
use super::throttle::{EARLY_DEATH_AGE, Throttle};
use super::upgrade::Upgrade;
use super::values::{
    BootFailure, BootFailureKind, Exit, Generation, Import, Outcome, Pid, Policy, RetireReason,
    WorkerId,
};
use super::worker::{Death, Overdue, Worker, WorkerStage};
use super::workers::{Reaped, Workers};

/// The state of the arbiter, and its decisions. It can be saved as JSON and read again: an arbiter
/// that execs a new build of itself continues where it was.
#[derive(Clone, Debug)]
pub struct Arbiter {
    pub(super) life: Life,
    /// How many workers there are to be: the policy's number, until TTIN, TTOU or WINCH.
    pub(super) wanted: u32,
    /// What was ordered about that since the last HUP.
    pub(super) resize: Resize,
    pub(super) generations: Generations,
    pub(super) workers: Workers,
    pub(super) templates: Templates,
    pub(super) throttle: Throttle,
    /// That of spare workers. What keeps them from booting may be the workers that serve.
    pub(super) spare_throttle: Throttle,
    /// A worker of any generation was ready once.
    pub(super) ever_ready: bool,
    pub(super) upgrade: Upgrade,
}

/// What others may know.
impl Arbiter {
    /// An arbiter that nothing has happened to. `seed`: for the jitter of waits.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            life: Life {
                phase: Phase::New,
                stop_at: None,
            },
            wanted: 0,
            resize: Resize::default(),
            generations: Generations::first(),
            workers: Workers::default(),
            templates: Templates::default(),
            throttle: Throttle::new(seed),
            spare_throttle: Throttle::new(seed),
            ever_ready: false,
            upgrade: Upgrade::None,
        }
    }

    /// Where the arbiter is in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.life.phase
    }

    /// How many workers there are to be.
    #[must_use]
    pub fn wanted(&self) -> u32 {
        self.wanted
    }

    /// How many spare workers there are to be.
    #[must_use]
    pub fn wanted_spares(&self) -> u32 {
        self.gap().wanted_spares()
    }

    /// Whether no worker is replaced that is to be, for now: because a replacement could not start,
    /// none can be forked, a reload is to replace them all, or an upgrade is being prepared.
    #[must_use]
    pub fn retirement_stalls(&self) -> bool {
        self.workers.retirement.is_failing()
            || !self.templates.can_fork(self.generations.current)
            || !self.grants_retire_token()
    }

    /// Not while a new build reads what is handed over: it would be another state again and again.
    fn grants_retire_token(&self) -> bool {
        !self.generations.rollout.is_in_preparation()
            && self.upgrade != Upgrade::Starting
            && self.gap().outdated() == 0
    }

    /// The generation in force.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generations.current
    }

    /// The new arbiter beside this one, if there is one.
    #[must_use]
    pub fn upgrade(&self) -> Option<Pid> {
        self.upgrade.into()
    }

    /// Whether a reload is in force that may still be taken back.
    #[must_use]
    pub fn is_on_probation(&self) -> bool {
        self.generations.rollout.probation().is_some()
    }

    /// Whether everything is being ended.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.life.stop_is_quick().is_some()
    }

    /// Whether a stop was ordered that has not begun.
    #[must_use]
    pub fn is_stop_delayed(&self) -> bool {
        self.life.stop_at.is_some()
    }

    /// Whether a reload is being prepared or rolled out.
    #[must_use]
    pub fn is_reloading(&self) -> bool {
        self.generations.rollout.is_in_preparation()
            || self.generations.reload_again
            || self.gap().outdated() > 0
    }

    /// The workers.
    #[must_use]
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// The templates.
    #[must_use]
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// When to send [`Event::Tick`], if nothing happens before. `None`: never.
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
        let probation = generations
            .probation_end()
            .filter(|_| self.gap().outdated() == 0);
        let last_tick = self.workers.heartbeats.last_tick();
        let throttle = self
            .throttle
            .closed_until(last_tick)
            .filter(|_| self.gap().is_throttled());
        let spares = self
            .spares_wait_until(last_tick)
            .filter(|_| self.gap().missing_spares() > 0);
        let aged = self.workers.next_aged(generations.policy.max_age);
        [aged, self.life.stop_at, probation, throttle, spares]
            .into_iter()
            .flatten()
            .min()
    }
}

/// What happens.
impl Arbiter {
    /// Takes in what happened, and appends what to do. `now` never goes back from one step to the
    /// next.
    pub fn step(&mut self, now: Monotonic, event: Event, actions: &mut Vec<Action>) {
        if self.life.phase == Phase::Gone {
            return;
        }
        let mut step = Step::new(now, actions);
        self.take_in(event, &mut step);
        self.reconcile(&mut step);
    }

    fn take_in(&mut self, event: Event, step: &mut Step<'_>) {
        match event {
            Event::Started(policy) => self.start(policy, step),
            Event::Ordered(order) => self.order(order, step),
            Event::Loaded(policy) => self.generations.loaded(policy, &mut self.templates, step),
            Event::NotLoaded(reason) => self.generations.not_loaded(reason, step),
            Event::TemplateStarted(generation, pid) => self.template_started(generation, pid, step),
            Event::TemplateNotStarted(generation, reason) => {
                self.template_not_started(generation, reason, step);
            }
            Event::TemplateReady(generation) => {
                let is_bare = self.generations.begins_bare(generation);
                self.templates.ready(generation, is_bare);
            }
            Event::TemplateFailed(generation, failure) => {
                let limits = self.template_limits();
                self.templates.end(generation, limits, step);
                self.template_failure(generation, &failure, step);
            }
            // It was promoted before the template that forked it reported that.
            Event::Forked(_, pid) if self.templates.has(pid) => {}
            Event::Forked(id, pid) => {
                if self.workers.forked(id, pid, step) {
                    self.tell_if_stopping(id, step);
                }
            }
            Event::Promoted(id, pid) => self.promoted(id, pid, step),
            Event::NotPromoted(id) => self.not_promoted(id),
            Event::ForkFailed(id, reason) => self.fork_failed(id, &reason, step),
            Event::SpareReady(id, pid) => self.spare_ready(id, pid, step),
            Event::Ready(id, pid) => self.ready(id, pid, step),
            Event::BootFailed(id, failure) => self.boot_failed(id, &failure, step),
            Event::WantsRetirement(id, why) => self.workers.retire(id, why, step),
            Event::WantsRefork(id) => self.wants_refork(id, step),
            Event::NotReforked(id, reason) => self.not_reforked(id, reason, step),
            Event::Recovered(id) => self.recovered(id, step),
            Event::Beat(id, since) => {
                if self.workers.beat(id, since, step) {
                    self.serves_on(id, step);
                }
            }
            Event::Stopped(pid) => self.workers.stopped(pid, step.now),
            Event::Continued(pid) => self.workers.continued(pid),
            Event::Exited(pid, exit) => self.exited(pid, exit, step),
            Event::UpgradePutOff => {
                self.upgrade = Upgrade::None;
                self.order(Order::Upgrade, step);
            }
            Event::UpgradeStarted(pid) => self.upgrade = Upgrade::Beside(pid),
            Event::UpgradeNotStarted(reason) => self.upgrade.not_started(reason, step),
            Event::Tick => {
                let timeout = self.generations.policy.timeout;
                self.workers.heartbeats.tick(step.now, timeout);
                self.end_hung(step);
            }
        }
    }

    fn recovered(&mut self, id: WorkerId, step: &mut Step<'_>) {
        if self.workers.recovered(id, step) {
            self.serves_on(id, step);
        }
    }

    /// A worker that was taken for hung serves on.
    fn serves_on(&mut self, id: WorkerId, step: &mut Step<'_>) {
        // It was not told when everyone else was.
        self.tell_if_stopping(id, step);
        if self.gap().has_extra() {
            self.workers.note_extra(id);
        }
    }

    fn start(&mut self, policy: Policy, step: &mut Step<'_>) {
        if self.life.phase == Phase::New {
            self.life.phase = Phase::Running;
            self.set_wanted(policy.workers, step);
            self.generations.policy = policy;
        }
    }

    fn order(&mut self, order: Order, step: &mut Step<'_>) {
        if !self.life.takes_orders() && !order.is_taken_while_stopping() {
            step.say(StopNote::Ignored(order.name()));
            return;
        }
        match order {
            Order::Stop => self.order_stop(step),
            Order::Quit => self.stop(Outcome::Stopped, true, step),
            Order::Reopen => {
                step.act(Action::ReopenLogs);
                self.workers.reopen_logs(step);
            }
            Order::Reload => {
                // It forgets TTIN and TTOU, as gunicorn's does; those that follow count.
                self.resize = Resize::default();
                self.order_reload(step);
            }
            Order::More => {
                self.resize.add_one();
                self.set_wanted(self.wanted.saturating_add(1), step);
            }
            Order::Fewer => {
                self.resize.take_one();
                self.set_wanted(one_fewer(self.wanted), step);
            }
            Order::Scale(count) => self.resize_to(count.max(1), step),
            Order::Dismiss => {
                step.say(Note::Dismissed);
                self.resize_to(0, step);
            }
            Order::Retire(id) => self.workers.retire(id, RetireReason::Ordered, step),
            Order::Refork(id) => match self.refork_obstacle() {
                Some(reason) => step.say(ReforkNote::Refused(reason.to_owned())),
                None if self.can_be_candidate(id) => self.workers.begin_refork(id, step),
                None => {
                    let reason = "the worker does not serve";
                    step.say(ReforkNote::Refused(reason.to_owned()));
                }
            },
            Order::Upgrade => self.order_upgrade(step),
        }
    }

    fn resize_to(&mut self, count: u32, step: &mut Step<'_>) {
        self.resize = Resize::To(count);
        self.set_wanted(count, step);
    }

    /// Changes how many workers there are to be; `reconcile` forks or drains.
    fn set_wanted(&mut self, count: u32, step: &mut Step<'_>) {
        if self.wanted != count {
            self.wanted = count;
            step.act(Action::Wanted(count));
            step.say(Note::Workers(count));
        }
    }

    fn order_reload(&mut self, step: &mut Step<'_>) {
        let is_rolling = self.gap().outdated() > 0;
        let limits = self.template_limits();
        self.generations
            .order_reload(is_rolling, &mut self.templates, limits, step);
    }

    fn order_upgrade(&mut self, step: &mut Step<'_>) {
        if self.upgrade.order(self.is_reloading(), step) {
            self.start_upgrade(step);
        }
    }

    /// An upgrade in place ends this process while it performs the action. So nothing may be under
    /// way that only the driver knows of: a reload on probation is committed first.
    fn start_upgrade(&mut self, step: &mut Step<'_>) {
        self.commit_reload(step);
        self.upgrade.start(step);
    }

    fn commit_reload(&mut self, step: &mut Step<'_>) {
        let limits = self.template_limits();
        self.generations.commit(&mut self.templates, limits, step);
    }

    /// TERM: stops at once, or after `drain_delay`.
    fn order_stop(&mut self, step: &mut Step<'_>) {
        if self
            .life
            .delay_stop(self.generations.policy.drain_delay, step)
        {
            self.generations.reload_again = false;
            self.upgrade.stop(step);
        } else {
            self.stop(Outcome::Stopped, false, step);
        }
    }

    /// Ends everything. A second call makes it quick.
    fn stop(&mut self, outcome: Outcome, quick: bool, step: &mut Step<'_>) {
        let Some(quick) = self.life.stop(outcome, quick, step) else {
            return;
        };
        let workers: Vec<WorkerId> = self.workers.ids(|_, _| true).collect();
        for id in workers {
            self.ask_to_leave(id, quick, step);
        }
        // Templates that are ready stay to the end: the app's hooks run in them.
        for generation in self.templates.generations(|stage| !stage.listens()) {
            self.end_template(generation, step);
        }
        self.generations.stop();
        self.upgrade.stop(step);
        self.workers.refork.begin_again();
    }

    fn ask_to_leave(&mut self, id: WorkerId, quick: bool, step: &mut Step<'_>) {
        let limit = worker_limit(quick, self.generations.policy.graceful_timeout);
        if self.life.is_running() && !quick && self.workers.refork.is_candidate(id) {
            if self.can_be_candidate(id) && !self.is_reloading() {
                return self.workers.ask_to_become_template(id, limit, step);
            }
            self.workers.refork.lost();
            let reason = "the worker has to leave".to_owned();
            step.say(ReforkNote::Refused(reason));
        }
        self.workers.ask_to_leave(id, quick, limit, step);
    }

    /// Why no worker can become the template now.
    #[must_use]
    pub fn refork_obstacle(&self) -> Option<&'static str> {
        let generations = &self.generations;
        match generations.policy.import {
            Import::Workers => return Some("preload_app is off"),
            Import::FirstWorker if generations.imports_apart(generations.current) => {
                return Some("the app's import is not shared");
            }
            Import::FirstWorker | Import::Template => {}
        }
        if self.is_reloading() || self.is_on_probation() {
            Some("a reload is under way")
        } else if self.workers.refork.is_under_way() {
            Some("another refork is under way")
        } else if !self.templates.can_fork(self.generation()) {
            Some("there is no template yet")
        } else {
            None
        }
    }

    /// The worker that is to become the template.
    #[must_use]
    pub fn refork_candidate(&self) -> Option<WorkerId> {
        self.workers.refork.candidate()
    }

    /// Whether a refork is under way: a worker is to become the template, or workers are being
    /// replaced because one has.
    #[must_use]
    pub fn is_reforking(&self) -> bool {
        self.workers.refork.is_under_way()
    }

    /// Whether this worker serves, in the generation in force, whose template it could replace.
    fn can_be_candidate(&self, id: WorkerId) -> bool {
        let generation = self.generation();
        let is_one = |worker: &Worker| worker.stage.is_serving() && worker.generation == generation;
        self.workers.get(id).is_some_and(is_one) && self.templates.can_fork(generation)
    }

    /// A worker has served enough requests. `reconcile` makes it the template when it can.
    fn wants_refork(&mut self, id: WorkerId, step: &mut Step<'_>) {
        let is_news = self.workers.get(id).is_some() && self.workers.refork.offer(id);
        if is_news && !self.generations.shares_import() {
            self.workers.refork.settle();
            let reason = "the app's import is not shared".to_owned();
            step.say(ReforkNote::Refused(reason));
        }
    }

    /// A worker found out that it must not be the template.
    fn not_reforked(&mut self, id: WorkerId, reason: String, step: &mut Step<'_>) {
        if self.workers.refork.is_candidate(id) {
            self.workers.refork.refused();
            step.say(ReforkNote::Refused(reason));
        }
    }

    /// Asks a worker to leave that was not there when all others were asked.
    fn tell_if_stopping(&mut self, id: WorkerId, step: &mut Step<'_>) {
        if let Some(quick) = self.life.stop_is_quick() {
            self.ask_to_leave(id, quick, step);
        }
    }

    fn end_template(&mut self, generation: Generation, step: &mut Step<'_>) {
        let limits = self.template_limits();
        self.templates.end(generation, limits, step);
    }

    fn template_limits(&self) -> LeaveLimits {
        self.life
            .template_limits(self.generations.policy.graceful_timeout)
    }

    fn template_started(&mut self, generation: Generation, pid: Pid, step: &mut Step<'_>) {
        self.templates.started(generation, pid, step.now);
        if !self.life.is_running() || !self.generations.wants(generation) {
            self.end_template(generation, step);
        }
    }

    fn template_not_started(
        &mut self,
        generation: Generation,
        reason: String,
        step: &mut Step<'_>,
    ) {
        self.templates.not_started(generation);
        step.say(Note::TemplateNotStarted(reason.clone()));
        let failure = BootFailure {
            kind: BootFailureKind::Host,
            summary: reason,
        };
        self.template_failure(generation, &failure, step);
    }

    fn template_failure(
        &mut self,
        generation: Generation,
        failure: &BootFailure,
        step: &mut Step<'_>,
    ) {
        if generation == self.generation() && self.ever_ready && self.life.is_running() {
            // The workers serve on. Another template is tried after a while.
            self.throttle.count_early_death(step);
        } else {
            self.boot_failure(generation, failure, step);
        }
    }

    /// A worker can be the template of its generation.
    fn promoted(&mut self, id: WorkerId, pid: Pid, step: &mut Step<'_>) {
        let is_refork = self.workers.refork.is_candidate(id);
        let generation = self.workers.get(id).map(|worker| worker.generation);
        if is_refork && (!self.life.is_running() || generation != Some(self.generation())) {
            return;
        }
        // Otherwise it leaves: its command socket is closed.
        if let Some(generation) = self.workers.promote(id, step) {
            if is_refork {
                step.say(ReforkNote::Promoted(pid));
            }
            let until = step.after(self.template_limits().ready);
            self.templates.replace(generation, pid, until);
            self.generations.judge_import(generation, false);
            step.act(Action::Promote(id, generation, pid));
        }
    }

    /// What a worker's import did must not be shared.
    fn not_promoted(&mut self, id: WorkerId) {
        if let Some(generation) = self.workers.stays(id) {
            self.templates.stays(generation);
            self.generations.judge_import(generation, true);
        }
    }

    fn ready(&mut self, id: WorkerId, pid: Pid, step: &mut Step<'_>) {
        if self.workers.get(id).is_some_and(|worker| worker.to_promote) {
            // It serves: whatever became of its report, it was not promoted.
            self.not_promoted(id);
        }
        let Some(generation) = self.workers.ready(id, pid, step) else {
            return;
        };
        self.ever_ready = true;
        if !self.life.is_running() {
            self.tell_if_stopping(id, step);
        } else if self.generations.promote(generation, step.now) {
            self.set_wanted(self.resize.of(self.generations.policy.workers), step);
            self.throttle.forgive();
            self.spare_throttle.forgive();
            self.workers
                .give_refork_up("a reload replaces all workers", step);
        }
    }

    /// A child was reaped.
    fn exited(&mut self, pid: Pid, exit: Exit, step: &mut Step<'_>) {
        let was_in_the_way = self.workers.retirement.leaves_first();
        match self.workers.reap(pid, exit, step) {
            Reaped::Unknown => {}
            Reaped::Worker(worker, death) => self.worker_ended(&worker, death, step),
            Reaped::Other if self.templates.reap_replaced(pid) => {}
            Reaped::Other => match self.templates.by_pid(pid) {
                Some(generation) => self.template_ended(generation, pid, exit, step),
                None => self.upgrade.reaped(pid, exit, step),
            },
        }
        // Now its replacement may be able to start.
        if was_in_the_way && !self.workers.retirement.leaves_first() {
            self.throttle.forgive();
        }
    }

    fn worker_ended(&mut self, worker: &Worker, death: Death, step: &mut Step<'_>) {
        match death {
            Death::Wanted => {}
            Death::Serving { age, from_outside } => {
                let throttle = self.throttle_of(worker.is_spare);
                if age >= EARLY_DEATH_AGE {
                    throttle.forgive();
                } else if !from_outside {
                    throttle.count_early_death(step);
                }
                // A KILL may be the out-of-memory killer's.
                if !worker.is_spare {
                    self.died_on_probation(worker.generation, step);
                }
            }
            Death::Booting(failure) => {
                self.worker_not_booted(worker.generation, worker.is_spare, &failure, step);
            }
        }
    }

    fn template_ended(
        &mut self,
        generation: Generation,
        pid: Pid,
        exit: Exit,
        step: &mut Step<'_>,
    ) {
        match self.templates.reaped(generation, pid, exit, step) {
            TemplateEnd::Wanted => {}
            TemplateEnd::Lost => {
                if self.life.is_running() {
                    step.say(TemplateNote::Ended(exit).of(pid));
                    // What is forgotten here fails later without being counted: this death is.
                    self.workers.forget_pending_forks(generation, step);
                    let failure = BootFailure {
                        kind: BootFailureKind::Boot,
                        summary: "its template ended".to_owned(),
                    };
                    self.template_failure(generation, &failure, step);
                }
            }
            TemplateEnd::Failed(failure) => self.template_failure(generation, &failure, step),
        }
    }

    fn spare_ready(&mut self, id: WorkerId, pid: Pid, step: &mut Step<'_>) {
        let is_running = self.life.is_running();
        self.workers.spare_ready(id, pid, is_running, step);
        self.tell_if_stopping(id, step);
    }

    fn boot_failed(&mut self, id: WorkerId, failure: &BootFailure, step: &mut Step<'_>) {
        let is_spare = self.workers.is_spare(id);
        if let Some(generation) = self.workers.boot_failed(id, step) {
            self.worker_not_booted(generation, is_spare, failure, step);
        }
    }

    /// A worker could not boot. Nobody misses a spare one: only the next of them waits.
    fn worker_not_booted(
        &mut self,
        generation: Generation,
        is_spare: bool,
        failure: &BootFailure,
        step: &mut Step<'_>,
    ) {
        if !is_spare {
            self.boot_failure(generation, failure, step);
        } else if self.life.is_running() {
            self.spare_throttle.count_early_death(step);
        }
    }

    fn fork_failed(&mut self, id: WorkerId, reason: &str, step: &mut Step<'_>) {
        let is_spare = self.workers.is_spare(id);
        let Some(generation) = self.workers.fork_failed(id, step) else {
            return;
        };
        if self.life.is_running() {
            step.say(Note::ForkFailed(reason.to_owned()));
            self.throttle_of(is_spare).count_early_death(step);
            if generation == self.generation() && !is_spare {
                self.workers.replacement_failed(step);
            }
            self.candidate_failed(generation, reason, step);
        }
    }

    /// A worker or template could not boot. Before anything was ever ready this ends the server,
    /// unless the policy tolerates it. Later it is waited out.
    fn boot_failure(&mut self, generation: Generation, failure: &BootFailure, step: &mut Step<'_>) {
        if !self.life.is_running()
            || self.candidate_failed(generation, &failure.summary, step)
            // A reload that was given up, or an old worker: nobody waits for it.
            || generation != self.generation()
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
            self.generations.policy.tolerate_boot_failure && failure.kind != BootFailureKind::Host;
        if self.ever_ready || is_tolerated {
            self.throttle.count_early_death(step);
            self.workers.replacement_failed(step);
            self.died_on_probation(generation, step);
        } else {
            self.stop(outcome, true, step);
        }
    }

    fn candidate_failed(
        &mut self,
        generation: Generation,
        reason: &str,
        step: &mut Step<'_>,
    ) -> bool {
        let limits = self.template_limits();
        self.generations
            .candidate_failed(generation, reason, &mut self.templates, limits, step)
    }

    /// A worker of this generation died. If that takes the reload back, what it had changed here is
    /// taken back, too.
    fn died_on_probation(&mut self, generation: Generation, step: &mut Step<'_>) {
        let limits = self.template_limits();
        if self
            .generations
            .count_death(generation, &mut self.templates, limits, step)
        {
            self.set_wanted(self.resize.of(self.generations.policy.workers), step);
            self.throttle.forgive();
            self.spare_throttle.forgive();
            self.workers
                .give_refork_up("a reload was rolled back", step);
        }
    }
}

/// What follows from it.
impl Arbiter {
    fn gap(&self) -> Gap<'_> {
        Gap {
            wanted: self.wanted,
            generations: &self.generations,
            workers: &self.workers,
            templates: &self.templates,
        }
    }

    /// Closes the gap between what is wanted and what is: after every event, in this order.
    fn reconcile(&mut self, step: &mut Step<'_>) {
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
        self.drain_spares(step);
        self.fork_spares(step);
        self.close_reload(step);
        self.end_templates_without_workers(step);
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

    /// Ends the templates that were let go, once their last worker is gone.
    fn end_templates_without_workers(&mut self, step: &mut Step<'_>) {
        let ready = self
            .templates
            .generations(|stage| matches!(stage, TemplateStage::Ready { .. }));
        for generation in ready {
            let lives = |worker: &Worker| {
                worker.generation == generation
                    && !matches!(worker.stage, WorkerStage::Forking { .. })
            };
            if !self.generations.needs_template(generation) && self.workers.count(lives) == 0 {
                self.end_template(generation, step);
            }
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
    fn end_hung(&mut self, step: &mut Step<'_>) {
        self.end_overdue_workers(WorkerStage::is_serving, step);
    }

    fn end_overdue_workers(
        &mut self,
        is_judged: impl Fn(&WorkerStage) -> bool,
        step: &mut Step<'_>,
    ) {
        let policy = &self.generations.policy;
        let overdue = self.workers.overdue(policy, is_judged, step.now);
        for id in overdue {
            let is_spare = self.workers.is_spare(id);
            let is_stopped = self.workers.heartbeats.is_stopped(id);
            let policy = &self.generations.policy;
            let unwind_limit = self.life.unwind_limit(policy, is_stopped);
            match self.workers.end_overdue(id, unwind_limit, step) {
                None | Some((_, Overdue::Ended)) => {}
                Some((generation, Overdue::NotForked)) => {
                    let reason = "the template did not answer within boot_timeout";
                    self.fork_failed(id, reason, step);
                    if self.templates.end_silent(generation, step) {
                        self.workers.forget_pending_forks(generation, step);
                    }
                }
                Some((generation, Overdue::NotReady(failure))) => {
                    self.worker_not_booted(generation, is_spare, &failure, step);
                }
            }
        }
    }

    /// The generation in force needs its template, unless the throttle says not yet.
    fn start_template(&mut self, step: &mut Step<'_>) {
        if self.gap().lacks_template() && self.throttle.closed_until(step.now).is_none() {
            let reason = "the template ended, and the app is imported again";
            self.workers.give_refork_up(reason, step);
            self.templates.order(self.generations.current, step);
        }
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
        for generation in self.gap().to_promote() {
            if !is_throttled || self.generations.is_candidate(generation) {
                self.workers.fork_to_promote(generation, step);
            }
        }
    }

    /// Forks the first workers of a reload.
    fn fork_canary(&mut self, step: &mut Step<'_>) {
        let Some(generation) = self.gap().canary() else {
            return;
        };
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
        if self.grants_retire_token() {
            self.workers.retirement.grant_next();
        }
    }

    fn drain_surplus(&mut self, step: &mut Step<'_>) {
        for id in self.gap().surplus() {
            self.ask_to_leave(id, false, step);
        }
    }

    fn drain_abandoned(&mut self, step: &mut Step<'_>) {
        for id in self.gap().abandoned() {
            self.ask_to_leave(id, false, step);
        }
    }

    fn let_old_leave_first(&mut self, step: &mut Step<'_>) {
        if let Some((id, failures)) = self.gap().may_leave_first() {
            self.workers.leave_first(id, failures, step);
            self.ask_to_leave(id, false, step);
        }
    }

    /// Lets spare workers serve in the place of missing ones; forks those for whom there is none.
    fn fork_missing(&mut self, step: &mut Step<'_>) {
        let generation = self.generations.current;
        while self.gap().missing() > 0 && self.workers.take_spare(generation, step) {}
        if !self.templates.can_fork(generation) || self.throttle.closed_until(step.now).is_some() {
            return;
        }
        for _ in 0..self.gap().missing() {
            if !self.workers.fork(generation, step) {
                return;
            }
        }
    }

    fn throttle_of(&mut self, is_spare: bool) -> &mut Throttle {
        if is_spare {
            &mut self.spare_throttle
        } else {
            &mut self.throttle
        }
    }

    /// Until when no spare worker is forked; `None`: not longer. Workers that die young would use
    /// them up.
    fn spares_wait_until(&self, now: Monotonic) -> Option<Monotonic> {
        let throttles = [&self.throttle, &self.spare_throttle].into_iter();
        throttles.filter_map(|one| one.closed_until(now)).max()
    }

    fn drain_spares(&mut self, step: &mut Step<'_>) {
        for id in self.gap().surplus_spares() {
            self.ask_to_leave(id, false, step);
        }
    }

    fn fork_spares(&mut self, step: &mut Step<'_>) {
        let generation = self.generations.current;
        if self.spares_wait_until(step.now).is_none() {
            for _ in 0..self.gap().missing_spares() {
                self.workers.fork_spare(generation, step);
            }
        }
    }

    /// Commits the reload when its probation is over, and begins the one that waits.
    fn close_reload(&mut self, step: &mut Step<'_>) {
        if self.gap().outdated() > 0 {
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
}
