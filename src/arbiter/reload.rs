//! A reload as a transaction, and the life of templates: new settings are read, a new template loads the
//! app, one new worker proves itself; only then is anything old asked to leave. Until the watch is over the
//! old template lives, and everything can be taken back without a look at the disk.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use rcorn_types::Monotonic;

use super::event::{Action, BootFailure, Exit, Generation, Outcome, Pid, Policy};
use super::note::Note;
use super::pool::{Stage, TemplateStage};
use super::{Arbiter, Phase, QUICK};

/// Deaths of new workers during the watch that take a reload back.
const TOO_MANY: u32 = 2;

/// A reload that has not served yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reload {
    /// What it will be; `None` while the settings are read.
    pub(super) generation: Option<Generation>,
    /// Its policy, in force with it.
    pub(super) policy: Option<Policy>,
}

/// A reload that serves, on probation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Watch {
    /// The generation to go back to.
    pub(super) previous: Generation,
    /// Its policy.
    pub(super) policy: Policy,
    /// Until when.
    pub(super) until: Monotonic,
    /// New workers that died.
    pub(super) deaths: u32,
}

impl Arbiter {
    pub(super) fn reload_ordered(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let rolling = self.outdated() > 0;
        // Nothing serves of it yet: what is on the disk now is what is wanted.
        let trial = self.reload.as_ref().and_then(|reload| reload.generation);
        if let Some(generation) = trial {
            actions.push(Action::Say(Note::ReloadReplaced));
            self.reload = None;
            self.abandon(now, generation, actions);
        } else if self.reload.is_some() || rolling {
            // One after the other; several orders are one.
            if !self.reload_again {
                self.reload_again = true;
                actions.push(Action::Say(Note::ReloadLater));
            }
            return;
        }
        self.end_watch(now, actions);
        actions.push(Action::Say(Note::HangUp));
        actions.push(Action::Load);
        self.reload = Some(Reload {
            generation: None,
            policy: None,
        });
    }

    pub(super) fn loaded(&mut self, policy: Policy, actions: &mut Vec<Action>) {
        if self.phase != Phase::Running || self.reload.is_none() {
            actions.push(Action::Discard(self.newest));
            return;
        }
        self.newest = Generation(self.newest.0.saturating_add(1));
        let generation = self.newest;
        self.reload = Some(Reload {
            generation: Some(generation),
            policy: Some(policy),
        });
        self.pool
            .templates
            .insert(generation, TemplateStage::Ordered);
        actions.push(Action::StartTemplate(generation));
    }

    pub(super) fn not_loaded(&mut self, reason: String, actions: &mut Vec<Action>) {
        self.reload = None;
        actions.push(Action::Say(Note::NotLoaded(reason)));
    }

    /// The first worker of a new generation serves: its settings are in force.
    pub(super) fn canary_is_ready(
        &mut self,
        now: Monotonic,
        generation: Generation,
        actions: &mut Vec<Action>,
    ) {
        let Some(Reload {
            generation: Some(candidate),
            policy: Some(policy),
        }) = &self.reload
        else {
            return;
        };
        if *candidate != generation {
            return;
        }
        let (policy, previous) = (policy.clone(), self.generation);
        let until = now.after(policy.reload_watch);
        let before = core::mem::replace(&mut self.policy, policy);
        self.watch = Some(Watch {
            previous,
            policy: before,
            until,
            deaths: 0,
        });
        self.generation = generation;
        self.reload = None;
        // HUP forgets TTIN and TTOU, as gunicorn's does.
        self.want(self.policy.workers, actions);
        self.retiring.clear();
        self.token = None;
        self.throttle.forgive();
    }

    /// The reload's template or first worker failed: `true` if this was one.
    pub(super) fn canary_failed(
        &mut self,
        now: Monotonic,
        generation: Generation,
        reason: &str,
        actions: &mut Vec<Action>,
    ) -> bool {
        let candidate = self.reload.as_ref().and_then(|reload| reload.generation);
        if candidate != Some(generation) {
            return false;
        }
        self.reload = None;
        actions.push(Action::Say(Note::ReloadFailed(
            reason.to_owned(),
            self.generation,
        )));
        self.abandon(now, generation, actions);
        true
    }

    /// Nothing of this generation is wanted any more.
    fn abandon(&mut self, now: Monotonic, generation: Generation, actions: &mut Vec<Action>) {
        self.end_template(now, generation, actions);
        actions.push(Action::Discard(generation));
    }

    /// A worker that had been ready died by itself. During a watch that may take the reload back.
    pub(super) fn new_worker_died(
        &mut self,
        now: Monotonic,
        generation: Generation,
        actions: &mut Vec<Action>,
    ) {
        if generation != self.generation {
            return;
        }
        let Some(watch) = &mut self.watch else { return };
        watch.deaths = watch.deaths.saturating_add(1);
        if watch.deaths < TOO_MANY {
            return;
        }
        let Some(watch) = self.watch.take() else {
            return;
        };
        // Without its template the old generation could not come back either. One that still starts is let
        // go: nobody would, later.
        if !matches!(
            self.pool.templates.get(&watch.previous),
            Some(TemplateStage::Ready { .. })
        ) {
            actions.push(Action::Commit(generation));
            self.end_template(now, watch.previous, actions);
            return;
        }
        actions.push(Action::Say(Note::RolledBack(generation, watch.previous)));
        self.generation = watch.previous;
        self.policy = watch.policy;
        self.want(self.policy.workers, actions);
        self.throttle.forgive();
        self.abandon(now, generation, actions);
    }

    /// The reload has proved itself (or another begins): the old template may go.
    pub(super) fn end_watch(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        if let Some(watch) = self.watch.take() {
            actions.push(Action::Commit(self.generation));
            actions.push(Action::Say(Note::Reloaded(self.generation)));
            let old = watch.previous;
            self.end_template(now, old, actions);
        }
    }

    pub(super) fn template_started(
        &mut self,
        now: Monotonic,
        generation: Generation,
        pid: Pid,
        actions: &mut Vec<Action>,
    ) {
        let Some(stage) = self.pool.templates.get_mut(&generation) else {
            return;
        };
        *stage = TemplateStage::Starting { pid, since: now };
        let candidate = self.reload.as_ref().and_then(|reload| reload.generation);
        let wanted = generation == self.generation || candidate == Some(generation);
        if self.phase != Phase::Running || !wanted {
            self.end_template(now, generation, actions);
        }
    }

    /// Lets a template go, or makes it hurry if it may not take so long any more. In a graceful stop one that is ready
    /// has time for its `on_exit`. One that still imports does not listen; but if it may be about to leave by itself
    /// with its reason, it has a moment for that.
    pub(super) fn end_template(
        &mut self,
        now: Monotonic,
        generation: Generation,
        actions: &mut Vec<Action>,
    ) {
        let Some(stage) = self.pool.templates.get_mut(&generation) else {
            return;
        };
        let listens = match stage {
            TemplateStage::Ordered | TemplateStage::Starting { .. } => false,
            TemplateStage::Ready { .. } => true,
            TemplateStage::Leaving { listens, .. } => *listens,
        };
        let patience = match self.phase {
            Phase::Stopping { quick: false, .. } if listens => {
                QUICK.max(self.policy.graceful_timeout)
            }
            Phase::Stopping {
                outcome: Outcome::Asked,
                ..
            } if !listens => Duration::ZERO,
            Phase::New | Phase::Running | Phase::Stopping { .. } | Phase::Gone => QUICK,
        };
        let latest = now.after(patience);
        match *stage {
            TemplateStage::Starting { pid, .. } | TemplateStage::Ready { pid } => {
                actions.push(Action::EndTemplate(generation));
                *stage = TemplateStage::Leaving {
                    pid,
                    until: Some(latest),
                    listens,
                };
            }
            TemplateStage::Leaving {
                until: Some(ref mut until),
                ..
            } => *until = latest.min(*until),
            TemplateStage::Ordered | TemplateStage::Leaving { .. } => {}
        }
    }

    pub(super) fn template_failed(
        &mut self,
        now: Monotonic,
        generation: Generation,
        failure: &BootFailure,
        actions: &mut Vec<Action>,
    ) {
        if generation == self.generation && self.ever_ready && self.phase == Phase::Running {
            // The workers serve on; another template is tried after a while.
            self.strike(now, actions);
            return;
        }
        self.no_boot(now, generation, failure, actions);
    }

    pub(super) fn template_exited(
        &mut self,
        now: Monotonic,
        generation: Generation,
        pid: Pid,
        exit: Exit,
        actions: &mut Vec<Action>,
    ) {
        let Some(stage) = self.pool.templates.remove(&generation) else {
            return;
        };
        match stage {
            TemplateStage::Ordered | TemplateStage::Leaving { .. } => {}
            TemplateStage::Ready { .. } => {
                if self.phase == Phase::Running {
                    actions.push(Action::Say(Note::TemplateEnded(pid, exit)));
                    self.forget_unborn(generation, actions);
                }
                self.canary_failed(now, generation, "its template ended", actions);
            }
            TemplateStage::Starting { .. } => {
                actions.push(Action::Say(Note::TemplateEnded(pid, exit)));
                let kind = match exit {
                    Exit::Code(4) => super::BootFailureKind::App,
                    // Python itself could not be used; it said why.
                    Exit::Code(1 | 78) => super::BootFailureKind::Host,
                    Exit::Code(_) | Exit::Signal(_) => super::BootFailureKind::Boot,
                };
                let summary = "the template ended before it was ready".to_owned();
                self.template_failed(now, generation, &BootFailure { kind, summary }, actions);
            }
        }
    }

    /// Forks that this template owed will not come. One that was made all the same shows itself as ready,
    /// and is sent away as a stranger.
    pub(super) fn forget_unborn(&mut self, generation: Generation, actions: &mut Vec<Action>) {
        self.pool.workers.retain(|_, worker| {
            let unborn =
                worker.generation == generation && matches!(worker.stage, Stage::Forking { .. });
            if unborn {
                actions.push(Action::FreeSlot(worker.slot));
            }
            !unborn
        });
    }
}
