//! The gap between how many workers and templates are wanted and what there is: who is missing, who
//! is too many. It decides nothing else and changes nothing; the arbiter closes it.

use super::generations::Generations;
use super::templates::Templates;
use super::values::{Generation, OldFirst, WorkerId};
use super::worker::{Worker, WorkerStage};
use super::workers::Workers;

/// A look at the owners.
#[derive(Debug)]
pub(super) struct Gap<'a> {
    pub(super) wanted: u32,
    pub(super) generations: &'a Generations,
    pub(super) workers: &'a Workers,
    pub(super) templates: &'a Templates,
}

impl Gap<'_> {
    /// Whether the generation in force has no template, nor a worker that may become one.
    pub(super) fn lacks_template(&self) -> bool {
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

    /// The generations whose template needs a worker that takes its place, but for the throttle.
    pub(super) fn to_promote(&self) -> Vec<Generation> {
        let mut bare = self.templates.bare();
        bare.retain(|generation| {
            let is_wanted = self.generations.is_candidate(*generation)
                || *generation == self.generations.current && self.wanted > 0;
            is_wanted && !self.workers.has_one_to_promote(*generation)
        });
        bare
    }

    /// Whose first workers are to be forked, as the canaries of a reload.
    pub(super) fn canary(&self) -> Option<Generation> {
        let generation = self.generations.rollout.candidate()?;
        let has_canary = self.workers.count(|worker| worker.generation == generation) > 0;
        (!has_canary && self.templates.can_fork(generation)).then_some(generation)
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
            .count(|worker| worker.is_active() && self.is_outdated(worker))
    }

    /// How many workers to fork as soon as template and throttle allow it: up to the wanted number,
    /// and one more while an outdated or retiring worker waits for its replacement. One that leaves
    /// first counts until it is gone.
    pub(super) fn missing(&self) -> u32 {
        let token = self.workers.retirement.holder();
        let leaves_first = self.workers.retirement.leaves_first();
        let is_replaced_first = token.is_some()
            && !leaves_first
            && self.generations.policy.old_first != OldFirst::Always;
        let surge = u32::from(is_replaced_first || self.outdated() > 0);
        let active = |worker: &Worker| worker.is_active() && !self.is_canary(worker);
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

    /// How many spare workers there are to be. Where workers are forked from a process that has the
    /// app, a fork is as quick.
    pub(super) fn wanted_spares(&self) -> u32 {
        if self.generations.shares_import() || self.wanted == 0 {
            0
        } else {
            self.generations.policy.spares
        }
    }

    /// How many spare workers to fork as soon as the throttles allow it. Their import takes time
    /// from others: so none while a worker is on the way, or a reload.
    pub(super) fn missing_spares(&self) -> u32 {
        let is_coming = |worker: &Worker| worker.is_active() && !worker.stage.is_serving();
        let generation = self.generations.current;
        if !self.templates.can_fork(generation)
            || self.generations.rollout.is_in_preparation()
            || self.outdated() > 0
            || self.missing() > 0
            || self.workers.count(is_coming) > 0
        {
            return 0;
        }
        let is_one = |worker: &Worker| worker.generation == generation && worker.is_kept_ready();
        let there = self.workers.count(is_one);
        self.wanted_spares().saturating_sub(there)
    }

    /// Spare workers that are too many, or whose generation is not in force any more.
    pub(super) fn surplus_spares(&self) -> Vec<WorkerId> {
        let generation = self.generations.current;
        let kept = usize::try_from(self.wanted_spares()).unwrap_or(usize::MAX);
        let of = |is_current: bool| {
            self.workers.ids(move |_, worker| {
                worker.is_kept_ready() && (worker.generation == generation) == is_current
            })
        };
        of(false).chain(of(true).skip(kept)).collect()
    }

    /// Whether there are more workers than wanted, those counted that do not serve yet.
    pub(super) fn has_extra(&self) -> bool {
        self.workers.count(Worker::is_active) > self.wanted
    }

    /// Who is too many, but never below the wanted number of workers that serve: outdated ones
    /// first, then the one with the retire token, then one that took the place of a worker that
    /// serves on, then the oldest.
    pub(super) fn surplus(&self) -> Vec<WorkerId> {
        let token = self.workers.retirement.holder();
        let mut serving: Vec<([bool; 3], WorkerId)> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.stage.is_serving() && !self.is_canary(worker))
            .map(|(id, worker)| {
                let is_outdated = self.is_outdated(worker);
                let stays = [!is_outdated, Some(id) != token, !worker.is_extra];
                (stays, id)
            })
            .collect();
        serving.sort_unstable();
        let wanted = usize::try_from(self.wanted).unwrap_or(usize::MAX);
        let surplus = serving.len().saturating_sub(wanted);
        let surplus = serving.into_iter().take(surplus);
        surplus.map(|(_, id)| id).collect()
    }

    /// Workers of a generation that was given up before they served: they need not finish booting.
    pub(super) fn abandoned(&self) -> Vec<WorkerId> {
        let is_abandoned = |worker: &Worker| {
            self.is_outdated(worker) && matches!(worker.stage, WorkerStage::Booting { .. })
        };
        self.workers.ids(|_, worker| is_abandoned(worker)).collect()
    }

    /// A worker whose replacement cannot start may be in its way: who may leave first, if the
    /// settings allow it, and after how many failures. Only while nobody else is missing, and
    /// nobody on the way: so code that cannot boot costs one worker at most. A reload replaces all
    /// workers anyway.
    pub(super) fn may_leave_first(&self) -> Option<(WorkerId, u32)> {
        let rule = self.generations.policy.old_first;
        let (id, failures) = self.workers.retirement.may_leave_first(rule, self.wanted)?;
        let is_serving = |worker: &Worker| worker.stage.is_serving();
        let is_coming = |worker: &Worker| worker.is_active() && !is_serving(worker);
        let is_complete = self.workers.count(is_serving) >= self.wanted;
        let may = !self.generations.rollout.is_in_preparation()
            && self.outdated() == 0
            && is_complete
            && self.workers.count(is_coming) == 0
            && self.workers.get(id).is_some_and(is_serving);
        may.then_some((id, failures))
    }

    /// Whether something is missing that the throttle can hold back.
    pub(super) fn is_throttled(&self) -> bool {
        self.lacks_template()
            || !self.to_promote().is_empty()
            || self.templates.can_fork(self.generations.current) && self.missing() > 0
    }
}
