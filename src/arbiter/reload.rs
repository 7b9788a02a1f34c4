//! A reload is a transaction: settings are loaded, a new template loads the app, its first worker
//! (the canary) becomes ready; only then is anything old asked to leave. Until the probation is
//! over the old template lives, and everything can be taken back without a look at the disk.

use rcorn_types::Monotonic;
use serde::{Deserialize, Serialize};

use super::event::{Action, Generation, Policy};
use super::note::ReloadNote;
use super::pool::TemplateStage;
use super::{Arbiter, Phase};

/// This many deaths of new workers during the probation take a reload back.
const ROLLBACK_DEATHS: u32 = 2;

/// How far the reload under way has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SavedRollout", into = "SavedRollout")]
pub(super) enum Rollout {
    /// There is none.
    None,
    /// The driver reads the settings.
    Loading,
    /// A new template starts, or its first worker boots.
    Candidate(Candidate),
    /// The new generation is in force. It may be taken back.
    Probation(Probation),
}

/// A generation that has not served yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) generation: Generation,
    /// In force once it serves.
    policy: Policy,
}

/// What is needed to take a reload back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Probation {
    /// The generation to go back to.
    previous: Generation,
    /// Its policy.
    policy: Policy,
    /// When the probation ends, if all old workers have left by then.
    pub(super) until: Monotonic,
    /// How many new workers have died.
    deaths: u32,
}

/// [`Rollout`] as it is saved: in two fields, of which at most one is set.
#[derive(Serialize, Deserialize)]
struct SavedRollout {
    reload: Option<SavedReload>,
    watch: Option<Probation>,
}

/// [`Candidate`] as it is saved; both fields are missing while the settings are loaded.
#[derive(Serialize, Deserialize)]
struct SavedReload {
    generation: Option<Generation>,
    policy: Option<Policy>,
}

impl From<Rollout> for SavedRollout {
    fn from(rollout: Rollout) -> Self {
        let (reload, watch) = match rollout {
            Rollout::None => (None, None),
            Rollout::Loading => (Some((None, None)), None),
            Rollout::Candidate(Candidate { generation, policy }) => {
                (Some((Some(generation), Some(policy))), None)
            }
            Rollout::Probation(probation) => (None, Some(probation)),
        };
        let reload = reload.map(|(generation, policy)| SavedReload { generation, policy });
        Self { reload, watch }
    }
}

impl From<SavedRollout> for Rollout {
    fn from(saved: SavedRollout) -> Self {
        match (saved.reload, saved.watch) {
            (None, None) => Self::None,
            (None, Some(probation)) => Self::Probation(probation),
            (
                Some(SavedReload {
                    generation: Some(generation),
                    policy: Some(policy),
                }),
                _,
            ) => Self::Candidate(Candidate { generation, policy }),
            (Some(_), _) => Self::Loading,
        }
    }
}

impl Rollout {
    /// The generation that has not served yet.
    pub(super) fn candidate(&self) -> Option<Generation> {
        match self {
            Self::Candidate(candidate) => Some(candidate.generation),
            Self::None | Self::Loading | Self::Probation(_) => None,
        }
    }

    /// The reload that may still be taken back.
    pub(super) fn probation(&self) -> Option<&Probation> {
        match self {
            Self::Probation(probation) => Some(probation),
            Self::None | Self::Loading | Self::Candidate(_) => None,
        }
    }

    /// Whether nothing of the reload serves yet.
    pub(super) fn is_in_preparation(&self) -> bool {
        match self {
            Self::Loading | Self::Candidate(_) => true,
            Self::None | Self::Probation(_) => false,
        }
    }
}

impl Arbiter {
    /// HUP.
    pub(super) fn order_reload(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        match &self.rollout {
            // Nothing of it serves yet: what is on the disk now is what is wanted.
            Rollout::Candidate(candidate) => {
                let generation = candidate.generation;
                actions.push(ReloadNote::Replaced.say());
                self.abandon(now, generation, actions);
            }
            Rollout::Loading => return self.order_reload_later(actions),
            Rollout::None | Rollout::Probation(_) if self.outdated() > 0 => {
                return self.order_reload_later(actions);
            }
            Rollout::None | Rollout::Probation(_) => {}
        }
        self.commit_reload(now, actions);
        actions.push(ReloadNote::Begun.say());
        actions.push(Action::Load);
        self.rollout = Rollout::Loading;
    }

    /// One reload after the other; several orders are one.
    fn order_reload_later(&mut self, actions: &mut Vec<Action>) {
        if !self.reload_again {
            self.reload_again = true;
            actions.push(ReloadNote::Queued.say());
        }
    }

    /// The settings are valid: a template of the next generation is started with them.
    pub(super) fn loaded(&mut self, policy: Policy, actions: &mut Vec<Action>) {
        if self.phase != Phase::Running || self.rollout != Rollout::Loading {
            actions.push(Action::Discard(self.newest));
            return;
        }
        self.newest = Generation(self.newest.0.saturating_add(1));
        let generation = self.newest;
        self.rollout = Rollout::Candidate(Candidate { generation, policy });
        self.order_template(generation, actions);
    }

    /// The settings cannot be used: nothing changes.
    pub(super) fn not_loaded(&mut self, reason: String, actions: &mut Vec<Action>) {
        if self.rollout == Rollout::Loading {
            self.rollout = Rollout::None;
        }
        actions.push(ReloadNote::NotLoaded(reason).say());
    }

    /// Orders a template for this generation.
    pub(super) fn order_template(&mut self, generation: Generation, actions: &mut Vec<Action>) {
        self.pool
            .templates
            .insert(generation, TemplateStage::Ordered);
        actions.push(Action::StartTemplate(generation));
    }

    /// A worker of this generation serves. If it is the candidate's first, the candidate is in
    /// force.
    pub(super) fn candidate_is_ready(
        &mut self,
        now: Monotonic,
        generation: Generation,
        actions: &mut Vec<Action>,
    ) {
        let Rollout::Candidate(candidate) = &self.rollout else {
            return;
        };
        if candidate.generation != generation {
            return;
        }
        let policy = core::mem::replace(&mut self.policy, candidate.policy.clone());
        self.rollout = Rollout::Probation(Probation {
            previous: self.generation,
            policy,
            until: now.after(self.policy.reload_watch),
            deaths: 0,
        });
        self.generation = generation;
        // HUP forgets TTIN and TTOU, as gunicorn's does.
        self.set_wanted(self.policy.workers, actions);
        self.throttle.forgive();
    }

    /// The template or the first worker of this generation failed. If it is the candidate, the
    /// reload is given up. Returns whether it was.
    pub(super) fn candidate_failed(
        &mut self,
        now: Monotonic,
        generation: Generation,
        reason: &str,
        actions: &mut Vec<Action>,
    ) -> bool {
        let is_candidate = self.rollout.candidate() == Some(generation);
        if is_candidate {
            self.rollout = Rollout::None;
            let note = ReloadNote::Failed(reason.to_owned(), self.generation);
            actions.push(note.say());
            self.abandon(now, generation, actions);
        }
        is_candidate
    }

    /// Nothing of this generation is wanted any more.
    fn abandon(&mut self, now: Monotonic, generation: Generation, actions: &mut Vec<Action>) {
        self.end_template(now, generation, actions);
        actions.push(Action::Discard(generation));
    }

    /// A worker of this generation died by itself. During a probation that may take the reload
    /// back.
    pub(super) fn died_on_probation(
        &mut self,
        now: Monotonic,
        generation: Generation,
        actions: &mut Vec<Action>,
    ) {
        let Rollout::Probation(probation) = &mut self.rollout else {
            return;
        };
        if generation != self.generation {
            return;
        }
        probation.deaths = probation.deaths.saturating_add(1);
        if probation.deaths < ROLLBACK_DEATHS {
            return;
        }
        let probation = probation.clone();
        self.rollout = Rollout::None;
        if self.pool.can_fork(probation.previous) {
            self.roll_back(now, probation, actions);
        } else {
            // Without its template the old generation could not come back. One that is still
            // starting is let go, because later nobody would.
            actions.push(Action::Commit(generation));
            self.end_template(now, probation.previous, actions);
        }
    }

    /// Puts the previous generation into force again.
    fn roll_back(&mut self, now: Monotonic, probation: Probation, actions: &mut Vec<Action>) {
        let failed = self.generation;
        actions.push(ReloadNote::RolledBack(failed, probation.previous).say());
        self.generation = probation.previous;
        self.policy = probation.policy;
        self.set_wanted(self.policy.workers, actions);
        self.throttle.forgive();
        self.abandon(now, failed, actions);
    }

    /// The reload has proved itself, or another begins: it cannot be taken back any more.
    pub(super) fn commit_reload(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        if let Rollout::Probation(probation) = &self.rollout {
            let previous = probation.previous;
            self.rollout = Rollout::None;
            actions.push(Action::Commit(self.generation));
            actions.push(ReloadNote::Done(self.generation).say());
            self.end_template(now, previous, actions);
        }
    }
}
