//! The generations: which is in force, which is being prepared, which could come back. A reload is
//! a transaction: settings are loaded, a new template loads the app, its first worker (the canary)
//! becomes ready; only then is anything old asked to leave. Until the probation is over the old
//! template lives, and everything can be taken back without a look at the disk.

use std::collections::BTreeMap;

use rcorn_types::Monotonic;

use super::event::Action;
use super::note::ReloadNote;
use super::rollout::{Candidate, Probation, Rollout};
use super::step::Step;
use super::templates::{LeaveLimits, Templates};
use super::values::{Generation, Import, Policy};

/// This many deaths of new workers during the probation take a reload back.
const ROLLBACK_DEATHS: u32 = 2;

/// The generation in force, and the reload that changes it.
#[derive(Clone, Debug)]
pub(super) struct Generations {
    /// The generation in force.
    pub(super) current: Generation,
    /// Its policy.
    pub(super) policy: Policy,
    /// The highest generation ever made.
    pub(super) newest: Generation,
    pub(super) rollout: Rollout,
    /// A reload was ordered that begins after the one under way.
    pub(super) reload_again: bool,
    /// Whether each worker imports the app for itself, by generation, once the import was looked
    /// at.
    pub(super) verdicts: BTreeMap<Generation, bool>,
}

impl Generations {
    /// The first generation, before its settings are known.
    pub(super) fn first() -> Self {
        Self {
            current: Generation(1),
            policy: Policy::NONE,
            newest: Generation(1),
            rollout: Rollout::None,
            reload_again: false,
            verdicts: BTreeMap::new(),
        }
    }

    /// Whether this is the generation in force, or the one that is to follow.
    pub(super) fn wants(&self, generation: Generation) -> bool {
        generation == self.current || self.is_candidate(generation)
    }

    /// Whether workers may still be forked from the template of this generation.
    pub(super) fn needs_template(&self, generation: Generation) -> bool {
        let previous = self.rollout.probation().map(|probation| probation.previous);
        self.wants(generation) || previous == Some(generation)
    }

    /// Whether this generation has not served yet.
    pub(super) fn is_candidate(&self, generation: Generation) -> bool {
        self.rollout.candidate() == Some(generation)
    }

    /// The policy that this generation has, or will have.
    fn policy_of(&self, generation: Generation) -> &Policy {
        match &self.rollout {
            Rollout::Candidate(candidate) if candidate.generation == generation => {
                &candidate.policy
            }
            Rollout::None | Rollout::Loading | Rollout::Candidate(_) | Rollout::Probation(_) => {
                &self.policy
            }
        }
    }

    /// Notes whether each worker of this generation imports the app for itself.
    pub(super) fn judge_import(&mut self, generation: Generation, is_apart: bool) {
        self.verdicts.insert(generation, is_apart);
        let mut verdicts = core::mem::take(&mut self.verdicts);
        verdicts.retain(|generation, _| self.needs_template(*generation));
        self.verdicts = verdicts;
    }

    /// Whether each worker of this generation imports the app for itself; before its import was
    /// looked at, as in the generation in force.
    pub(super) fn imports_apart(&self, generation: Generation) -> bool {
        let verdict = self.verdicts.get(&generation);
        let verdict = verdict.or_else(|| self.verdicts.get(&self.current));
        verdict.is_some_and(|is_apart| *is_apart)
    }

    /// Whether the template of this generation waits for a worker to take its place. If the import
    /// was not to be shared the last time, nobody waits for what it does this time.
    pub(super) fn begins_bare(&self, generation: Generation) -> bool {
        self.policy_of(generation).import == Import::FirstWorker && !self.imports_apart(generation)
    }

    /// Whether the workers of the generation in force are forked from a process that has the app.
    pub(super) fn shares_import(&self) -> bool {
        match self.policy.import {
            Import::Template => true,
            Import::FirstWorker => !self.imports_apart(self.current),
            Import::Workers => false,
        }
    }

    /// How many workers of the candidate are forked at once, and whether one of them may become its
    /// template. If each imports the app, one after the other would take too long.
    pub(super) fn canaries(&self, candidate: Generation) -> (u32, bool) {
        let policy = self.policy_of(candidate);
        match policy.import {
            Import::Workers => (policy.workers, false),
            Import::FirstWorker if self.imports_apart(candidate) => (policy.workers, true),
            Import::Template | Import::FirstWorker => (1, false),
        }
    }

    /// HUP. `is_rolling`: workers of an older generation still serve.
    pub(super) fn order_reload(
        &mut self,
        is_rolling: bool,
        templates: &mut Templates,
        limits: LeaveLimits,
        step: &mut Step<'_>,
    ) {
        match &self.rollout {
            // Nothing of it serves yet: what is on the disk now is what is wanted.
            Rollout::Candidate(candidate) => {
                let generation = candidate.generation;
                step.say(ReloadNote::Replaced);
                abandon(generation, templates, limits, step);
            }
            Rollout::Loading => return self.order_reload_later(step),
            Rollout::None | Rollout::Probation(_) if is_rolling => {
                return self.order_reload_later(step);
            }
            Rollout::None | Rollout::Probation(_) => {}
        }
        self.commit(templates, limits, step);
        step.say(ReloadNote::Begun);
        step.act(Action::Load);
        self.rollout = Rollout::Loading;
    }

    /// One reload after the other; several orders are one.
    fn order_reload_later(&mut self, step: &mut Step<'_>) {
        if !self.reload_again {
            self.reload_again = true;
            step.say(ReloadNote::Queued);
        }
    }

    /// Takes the reload that waits for its turn, if that has come.
    pub(super) fn take_next_reload(&mut self) -> bool {
        let is_next = self.reload_again && !self.rollout.is_in_preparation();
        self.reload_again &= !is_next;
        is_next
    }

    /// The settings are valid: a template of the next generation is started with them.
    pub(super) fn loaded(
        &mut self,
        policy: Policy,
        templates: &mut Templates,
        step: &mut Step<'_>,
    ) {
        if self.rollout != Rollout::Loading {
            step.act(Action::Discard(self.newest));
            return;
        }
        self.newest = Generation(self.newest.0.saturating_add(1));
        let generation = self.newest;
        self.rollout = Rollout::Candidate(Candidate { generation, policy });
        templates.order(generation, step);
    }

    /// The settings cannot be used: nothing changes.
    pub(super) fn not_loaded(&mut self, reason: String, step: &mut Step<'_>) {
        if self.rollout == Rollout::Loading {
            self.rollout = Rollout::None;
        }
        step.say(ReloadNote::NotLoaded(reason));
    }

    /// A worker of this generation serves. If it is the candidate's first, the candidate is in
    /// force. Returns whether it is.
    pub(super) fn promote(&mut self, generation: Generation, now: Monotonic) -> bool {
        let Rollout::Candidate(candidate) = &self.rollout else {
            return false;
        };
        if candidate.generation != generation {
            return false;
        }
        let policy = core::mem::replace(&mut self.policy, candidate.policy.clone());
        self.rollout = Rollout::Probation(Probation {
            previous: self.current,
            policy,
            until: now.after(self.policy.reload_watch),
            deaths: 0,
        });
        self.current = generation;
        true
    }

    /// The template or the first worker of this generation failed. If it is the candidate, the
    /// reload is given up. Returns whether it was.
    pub(super) fn candidate_failed(
        &mut self,
        generation: Generation,
        reason: &str,
        templates: &mut Templates,
        limits: LeaveLimits,
        step: &mut Step<'_>,
    ) -> bool {
        let is_candidate = self.is_candidate(generation);
        if is_candidate {
            self.rollout = Rollout::None;
            step.say(ReloadNote::Failed(reason.to_owned(), self.current));
            abandon(generation, templates, limits, step);
        }
        is_candidate
    }

    /// A worker of this generation died by itself. During a probation that may take the reload
    /// back. Returns whether it did.
    pub(super) fn count_death(
        &mut self,
        generation: Generation,
        templates: &mut Templates,
        limits: LeaveLimits,
        step: &mut Step<'_>,
    ) -> bool {
        let Rollout::Probation(probation) = &mut self.rollout else {
            return false;
        };
        if generation != self.current {
            return false;
        }
        probation.deaths = probation.deaths.saturating_add(1);
        if probation.deaths < ROLLBACK_DEATHS {
            return false;
        }
        let probation = probation.clone();
        self.rollout = Rollout::None;
        let can_return = templates.can_fork(probation.previous);
        if can_return {
            self.roll_back(probation, templates, limits, step);
        } else {
            // Without its template the old generation could not come back. One that is still
            // starting is let go, because later nobody would.
            step.act(Action::Commit(generation));
            templates.let_go(probation.previous, limits, step);
        }
        can_return
    }

    /// Puts the previous generation into force again.
    fn roll_back(
        &mut self,
        probation: Probation,
        templates: &mut Templates,
        limits: LeaveLimits,
        step: &mut Step<'_>,
    ) {
        let failed = self.current;
        step.say(ReloadNote::RolledBack(failed, probation.previous));
        self.current = probation.previous;
        self.policy = probation.policy;
        abandon(failed, templates, limits, step);
    }

    /// When the probation ends, if there is one.
    pub(super) fn probation_end(&self) -> Option<Monotonic> {
        self.rollout.probation().map(|probation| probation.until)
    }

    /// The reload has proved itself, or another begins: it cannot be taken back any more.
    pub(super) fn commit(
        &mut self,
        templates: &mut Templates,
        limits: LeaveLimits,
        step: &mut Step<'_>,
    ) {
        if let Rollout::Probation(probation) = &self.rollout {
            let previous = probation.previous;
            self.rollout = Rollout::None;
            step.act(Action::Commit(self.current));
            step.say(ReloadNote::Done(self.current));
            templates.let_go(previous, limits, step);
        }
    }

    /// The server stops: what is being prepared is not needed.
    pub(super) fn stop(&mut self) {
        match self.rollout {
            Rollout::Loading | Rollout::Candidate(_) => self.rollout = Rollout::None,
            Rollout::None | Rollout::Probation(_) => {}
        }
    }
}

/// Nothing of this generation is wanted any more.
fn abandon(
    generation: Generation,
    templates: &mut Templates,
    limits: LeaveLimits,
    step: &mut Step<'_>,
) {
    templates.let_go(generation, limits, step);
    step.act(Action::Discard(generation));
}
