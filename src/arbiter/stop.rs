//! The end: workers are asked to leave, then templates; when all of them are gone, the arbiter
//! leaves. A stop always ends, because everything that was asked to leave has a time after which it
//! is killed.

use core::time::Duration;

use rcorn_types::Monotonic;

use super::event::{Action, Ask, Generation, Outcome, WorkerId};
use super::note::StopNote;
use super::pool::{TemplateStage, WorkerStage};
use super::reload::Rollout;
use super::{Arbiter, Phase};

/// How long a process that was asked to leave at once may take.
pub(super) const QUICK_STOP_TIME: Duration = Duration::from_secs(2);

impl Arbiter {
    /// TERM: stops at once, or after `drain_delay`. A second TERM does not wait.
    pub(super) fn order_stop(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let delay = self.policy.drain_delay;
        if self.phase == Phase::Running && self.stop_at.is_none() && !delay.is_zero() {
            self.stop_at = Some(now.after(delay));
            self.reload_again = false;
            actions.push(StopNote::Delayed(delay).say());
        } else {
            self.stop(now, Outcome::Stopped, false, actions);
        }
    }

    /// Ends everything. A second call makes it quick.
    pub(super) fn stop(
        &mut self,
        now: Monotonic,
        outcome: Outcome,
        quick: bool,
        actions: &mut Vec<Action>,
    ) {
        let (outcome, quick) = match self.phase {
            Phase::New | Phase::Running => {
                self.stop_at = None;
                actions.push(Action::CloseListeners);
                (outcome, quick)
            }
            Phase::Stopping {
                outcome,
                quick: false,
            } => {
                actions.push(StopNote::Quick.say());
                (outcome, true)
            }
            Phase::Stopping { quick: true, .. } | Phase::Gone => return,
        };
        self.phase = Phase::Stopping { outcome, quick };
        let workers: Vec<WorkerId> = self.pool.ids(|_, _| true).collect();
        for id in workers {
            self.ask_to_leave(now, id, quick, actions);
        }
        // Templates that are ready stay to the end: the app's hooks run in them.
        let unready: Vec<Generation> = self
            .pool
            .templates
            .iter()
            .filter(|(_, stage)| !matches!(stage, TemplateStage::Ready { .. }))
            .map(|(generation, _)| *generation)
            .collect();
        for generation in unready {
            self.end_template(now, generation, actions);
        }
        match self.rollout {
            Rollout::Loading | Rollout::Candidate(_) => self.rollout = Rollout::None,
            Rollout::None | Rollout::Probation(_) => {}
        }
    }

    /// Asks a worker to leave, unless it was asked before. A quick stop also hurries one that was
    /// asked before, but never gives it more time than it had.
    pub(super) fn ask_to_leave(
        &mut self,
        now: Monotonic,
        id: WorkerId,
        quick: bool,
        actions: &mut Vec<Action>,
    ) {
        let Some(worker) = self.pool.workers.get_mut(&id) else {
            return;
        };
        let limit = if quick {
            QUICK_STOP_TIME
        } else {
            self.policy.graceful_timeout
        };
        let until = now.after(limit);
        let (pid, until) = match worker.stage {
            // One that boots may serve already: its report may be on its way.
            WorkerStage::Booting { pid, .. } | WorkerStage::Serving { pid, .. } => (pid, until),
            WorkerStage::Leaving {
                pid,
                quick: false,
                until: before,
            } if quick => (pid, until.min(before)),
            // One that is being forked is asked when it reports itself. The others are on their way
            // out.
            WorkerStage::Forking { .. }
            | WorkerStage::Killed { .. }
            | WorkerStage::Dumping { .. }
            | WorkerStage::Leaving { .. } => return,
        };
        worker.stage = WorkerStage::Leaving { pid, until, quick };
        actions.push(Action::Ask(pid, if quick { Ask::Quit } else { Ask::Drain }));
    }

    /// Asks a worker to leave that was not there when all others were asked.
    pub(super) fn tell_if_stopping(
        &mut self,
        now: Monotonic,
        id: WorkerId,
        actions: &mut Vec<Action>,
    ) {
        if let Phase::Stopping { quick, .. } = self.phase {
            self.ask_to_leave(now, id, quick, actions);
        }
    }

    /// Lets the templates go, once no worker is left.
    pub(super) fn end_templates(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        if self.pool.workers.is_empty() {
            let generations: Vec<Generation> = self.pool.templates.keys().copied().collect();
            for generation in generations {
                self.end_template(now, generation, actions);
            }
        }
    }

    /// Leaves, once nobody is left.
    pub(super) fn finish(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        if !self.pool.workers.is_empty()
            || !self.pool.templates.is_empty()
            || !self.unknown_workers.is_empty()
        {
            return;
        }
        self.phase = Phase::Gone;
        match outcome {
            Outcome::Stopped => actions.push(StopNote::ShuttingDown.say()),
            Outcome::HostRefused | Outcome::BootFailed | Outcome::AppNotLoaded => {
                actions.push(StopNote::ShuttingDownAfterFailure.say());
                actions.push(StopNote::Reason(outcome).say());
            }
        }
        actions.push(Action::Exit(outcome));
    }
}
