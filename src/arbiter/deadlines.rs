//! When something is due: the times at which `reconcile.rs` has something to do although nothing
//! happened.

use rcorn_types::Monotonic;

use super::pool::{TemplateStage, WorkerStage};
use super::{Arbiter, Phase};

impl Arbiter {
    /// When to send [`Event::Tick`](super::Event::Tick), if nothing happens before. `None`: never.
    #[must_use]
    pub fn deadline(&self) -> Option<Monotonic> {
        let running = match self.phase {
            Phase::New | Phase::Gone => return None,
            Phase::Stopping { .. } => None,
            Phase::Running => self.running_deadline(),
        };
        let workers = self
            .pool
            .workers
            .values()
            .filter_map(|worker| self.worker_due(&worker.stage));
        let templates = self
            .pool
            .templates
            .values()
            .filter_map(|stage| self.template_due(stage));
        workers
            .chain(templates)
            .chain(self.next_tick())
            .chain(running)
            .min()
    }

    /// What is due only while the server runs.
    fn running_deadline(&self) -> Option<Monotonic> {
        let probation = self
            .rollout
            .probation()
            .filter(|_| self.outdated() == 0)
            .map(|probation| probation.until);
        let throttle = self
            .throttle
            .closed_until(self.heartbeats.last_tick())
            .filter(|_| self.is_throttled());
        let aged = self
            .pool
            .workers
            .iter()
            .filter(|(id, _)| !self.retirement.includes(**id))
            .filter_map(|(_, worker)| self.aged_at(&worker.stage));
        aged.chain(self.stop_at)
            .chain(probation)
            .chain(throttle)
            .min()
    }

    /// The scoreboard is read once a `timeout` while nothing is known to be busy. So a hang is
    /// found exactly when it is due all the same: a request that began after the last tick is not
    /// due before the next.
    fn next_tick(&self) -> Option<Monotonic> {
        let is_serving = |worker: &super::Worker| worker.stage.is_serving();
        self.policy
            .timeout
            .filter(|_| self.pool.workers.values().any(is_serving))
            .map(|timeout| self.heartbeats.last_tick().after(timeout))
    }

    /// Whether something is missing that the throttle holds back.
    fn is_throttled(&self) -> bool {
        !self.pool.templates.contains_key(&self.generation) || self.missing() > 0
    }

    /// When a worker has been in its stage for too long.
    pub(super) fn worker_due(&self, stage: &WorkerStage) -> Option<Monotonic> {
        match stage {
            WorkerStage::Forking { since } | WorkerStage::Booting { since, .. } => {
                self.policy.boot_timeout.map(|limit| since.after(limit))
            }
            WorkerStage::Serving { busy, .. } => {
                let timeout = self.policy.timeout?;
                Some(self.heartbeats.hang_time((*busy)?, timeout))
            }
            WorkerStage::Leaving { until, .. } | WorkerStage::Dumping { until, .. } => Some(*until),
            WorkerStage::Killed { kill_at, .. } => *kill_at,
        }
    }

    /// When a template has been in its stage for too long.
    pub(super) fn template_due(&self, stage: &TemplateStage) -> Option<Monotonic> {
        match stage {
            TemplateStage::Starting { since, .. } => {
                self.policy.boot_timeout.map(|limit| since.after(limit))
            }
            TemplateStage::Leaving { until, .. } => *until,
            TemplateStage::Ordered | TemplateStage::Ready { .. } => None,
        }
    }

    /// When a serving worker reaches `max_worker_age`.
    pub(super) fn aged_at(&self, stage: &WorkerStage) -> Option<Monotonic> {
        match stage {
            WorkerStage::Serving { since, .. } => {
                self.policy.max_age.map(|limit| since.after(limit))
            }
            WorkerStage::Forking { .. }
            | WorkerStage::Booting { .. }
            | WorkerStage::Leaving { .. }
            | WorkerStage::Dumping { .. }
            | WorkerStage::Killed { .. } => None,
        }
    }
}
