//! What happens to templates: started, ready, failed, ended; and how they are let go.

use core::time::Duration;

use rcorn_types::Monotonic;

use super::event::{
    Action, Ask, BootFailure, BootFailureKind, Exit, Generation, Outcome, Pid, WorkerId,
};
use super::heartbeats::STACK_DUMP_TIME;
use super::note::{Note, TemplateNote};
use super::pool::{TemplateStage, WorkerStage};
use super::stop::QUICK_STOP_TIME;
use super::{Arbiter, Phase};

impl Arbiter {
    /// The template runs as this process.
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
        let is_wanted =
            generation == self.generation || self.rollout.candidate() == Some(generation);
        if self.phase != Phase::Running || !is_wanted {
            self.end_template(now, generation, actions);
        }
    }

    /// The template could not even be started.
    pub(super) fn template_not_started(
        &mut self,
        now: Monotonic,
        generation: Generation,
        reason: String,
        actions: &mut Vec<Action>,
    ) {
        self.pool.templates.remove(&generation);
        actions.push(Action::Say(Note::TemplateNotStarted(reason.clone())));
        let failure = BootFailure {
            kind: BootFailureKind::Host,
            summary: reason,
        };
        self.template_failure(now, generation, &failure, actions);
    }

    /// The template can fork.
    pub(super) fn template_ready(&mut self, generation: Generation) {
        if let Some(stage) = self.pool.templates.get_mut(&generation)
            && let TemplateStage::Starting { pid, .. } = *stage
        {
            *stage = TemplateStage::Ready { pid };
        }
    }

    /// The template reported why it cannot load the app; its exit follows.
    pub(super) fn template_failed(
        &mut self,
        now: Monotonic,
        generation: Generation,
        failure: &BootFailure,
        actions: &mut Vec<Action>,
    ) {
        self.end_template(now, generation, actions);
        self.template_failure(now, generation, failure, actions);
    }

    fn template_failure(
        &mut self,
        now: Monotonic,
        generation: Generation,
        failure: &BootFailure,
        actions: &mut Vec<Action>,
    ) {
        if generation == self.generation && self.ever_ready && self.phase == Phase::Running {
            // The workers serve on. Another template is tried after a while.
            self.strike(now, actions);
        } else {
            self.boot_failure(now, generation, failure, actions);
        }
    }

    /// A template was reaped.
    pub(super) fn template_exited(
        &mut self,
        now: Monotonic,
        generation: Generation,
        pid: Pid,
        exit: Exit,
        actions: &mut Vec<Action>,
    ) {
        match self.pool.templates.remove(&generation) {
            None | Some(TemplateStage::Ordered | TemplateStage::Leaving { .. }) => {}
            Some(TemplateStage::Ready { .. }) => {
                if self.phase == Phase::Running {
                    actions.push(TemplateNote::Ended(exit).say(pid));
                    self.forget_pending_forks(generation, actions);
                }
                self.candidate_failed(now, generation, "its template ended", actions);
            }
            Some(TemplateStage::Starting { .. }) => {
                actions.push(TemplateNote::Ended(exit).say(pid));
                let kind = match exit {
                    Exit::Code(4) => BootFailureKind::App,
                    // Python itself could not be used; it has logged why.
                    Exit::Code(1 | 78) => BootFailureKind::Host,
                    Exit::Code(_) | Exit::Signal(_) => BootFailureKind::Boot,
                };
                let summary = "the template ended before it was ready".to_owned();
                let failure = BootFailure { kind, summary };
                self.template_failure(now, generation, &failure, actions);
            }
        }
    }

    /// The forks that were ordered from this template will not come. A worker that was forked all
    /// the same reports itself later, and is killed as unknown.
    fn forget_pending_forks(&mut self, generation: Generation, actions: &mut Vec<Action>) {
        let pending: Vec<WorkerId> = self
            .pool
            .ids(|_, worker| {
                worker.generation == generation
                    && matches!(worker.stage, WorkerStage::Forking { .. })
            })
            .collect();
        for id in pending {
            self.remove_worker(id, actions);
        }
    }

    /// Tells a template to leave; or shortens the time of one that was told before, if there is
    /// less time now.
    pub(super) fn end_template(
        &mut self,
        now: Monotonic,
        generation: Generation,
        actions: &mut Vec<Action>,
    ) {
        let Some(stage) = self.pool.templates.get(&generation).copied() else {
            return;
        };
        let (stage, is_told) = match stage {
            // Told when it is started; or killed already.
            TemplateStage::Ordered | TemplateStage::Leaving { until: None, .. } => return,
            TemplateStage::Starting { pid, .. } => (self.leaving(now, pid, false), false),
            TemplateStage::Ready { pid } => (self.leaving(now, pid, true), false),
            TemplateStage::Leaving {
                pid,
                until: Some(before),
                listens,
            } => {
                let until = Some(before.min(now.after(self.template_leave_time(listens))));
                (
                    TemplateStage::Leaving {
                        pid,
                        until,
                        listens,
                    },
                    true,
                )
            }
        };
        if !is_told {
            actions.push(Action::EndTemplate(generation));
        }
        self.pool.templates.insert(generation, stage);
    }

    fn leaving(&self, now: Monotonic, pid: Pid, listens: bool) -> TemplateStage {
        TemplateStage::Leaving {
            pid,
            until: Some(now.after(self.template_leave_time(listens))),
            listens,
        }
    }

    /// How long a template may take to leave. In a graceful stop, one that is ready has time for
    /// the app's `on_exit`. One that still imports reads no orders; but if it may be about to leave
    /// with a reason of its own, it has a moment for that.
    fn template_leave_time(&self, listens: bool) -> Duration {
        match self.phase {
            Phase::Stopping { quick: false, .. } if listens => {
                QUICK_STOP_TIME.max(self.policy.graceful_timeout)
            }
            Phase::Stopping {
                outcome: Outcome::Stopped,
                ..
            } if !listens => Duration::ZERO,
            Phase::New | Phase::Running | Phase::Stopping { .. } | Phase::Gone => QUICK_STOP_TIME,
        }
    }

    /// A template took too long to start or to leave.
    pub(super) fn end_overdue_template(
        &mut self,
        now: Monotonic,
        generation: Generation,
        actions: &mut Vec<Action>,
    ) {
        match self.pool.templates.get(&generation).copied() {
            None | Some(TemplateStage::Ordered | TemplateStage::Ready { .. }) => {}
            Some(TemplateStage::Starting { pid, .. }) => {
                self.dump_and_end(now, generation, pid, TemplateNote::BootTimeout, actions);
                let failure =
                    BootFailure::timeout("the app's import was not done within boot_timeout");
                self.template_failure(now, generation, &failure, actions);
            }
            Some(TemplateStage::Leaving { pid, listens, .. }) => {
                if listens {
                    actions.push(TemplateNote::DoesNotLeave.say(pid));
                }
                actions.push(Action::KillTemplate(generation, pid));
                let killed = TemplateStage::Leaving {
                    pid,
                    until: None,
                    listens,
                };
                self.pool.templates.insert(generation, killed);
            }
        }
    }

    /// A template that was ready does not answer any more (a hook hangs in it, or somebody stopped
    /// it). Nothing can be forked from it, so another takes its place.
    pub(super) fn end_silent_template(
        &mut self,
        now: Monotonic,
        generation: Generation,
        actions: &mut Vec<Action>,
    ) {
        if let Some(TemplateStage::Ready { pid }) = self.pool.templates.get(&generation).copied() {
            self.dump_and_end(now, generation, pid, TemplateNote::DoesNotFork, actions);
            self.forget_pending_forks(generation, actions);
        }
    }

    /// Asks a template that takes too long where it is; then it is killed.
    fn dump_and_end(
        &mut self,
        now: Monotonic,
        generation: Generation,
        pid: Pid,
        note: TemplateNote,
        actions: &mut Vec<Action>,
    ) {
        actions.push(note.say(pid));
        actions.push(Action::Ask(pid, Ask::DumpStacks));
        let stage = TemplateStage::Leaving {
            pid,
            until: Some(now.after(STACK_DUMP_TIME)),
            listens: false,
        };
        self.pool.templates.insert(generation, stage);
    }
}

impl BootFailure {
    /// Something was not ready within `boot_timeout`.
    pub(super) fn timeout(summary: &str) -> Self {
        Self {
            kind: BootFailureKind::Boot,
            summary: summary.to_owned(),
        }
    }
}
