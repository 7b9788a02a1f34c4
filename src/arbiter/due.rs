//! When things are due: the moments at which `settle.rs` has something to do although nothing happened.

use core::time::Duration;

use super::pool::{Stage, TemplateStage};
use super::{Arbiter, Phase};
use rcorn_types::Monotonic;

/// `since` plus `limit`, if there is one.
fn due(since: Monotonic, limit: Option<Duration>) -> Option<Monotonic> {
    limit.map(|limit| since.after(limit))
}

impl Arbiter {
    /// When a worker's stage is over.
    pub(super) fn worker_due(&self, stage: &Stage) -> Option<Monotonic> {
        match stage {
            Stage::Forking { since } | Stage::Booting { since, .. } => {
                due(*since, self.policy.boot_timeout)
            }
            Stage::Serving { busy, .. } => {
                busy.and_then(|since| due(since.max(self.mercy), self.policy.timeout))
            }
            Stage::Leaving { until, .. } | Stage::Testifying { until, .. } => Some(*until),
            Stage::Killed { again, .. } => *again,
        }
    }

    /// Whether a worker's stage has taken too long. What the scoreboard showed says nothing about the time after the
    /// look: a worker that serves may have ended that request long ago.
    pub(super) fn is_overdue(&self, now: Monotonic, stage: &Stage) -> bool {
        let now = if stage.is_serving() { self.looked } else { now };
        self.worker_due(stage).is_some_and(|due| due <= now)
    }

    pub(super) fn template_due(&self, stage: &TemplateStage) -> Option<Monotonic> {
        match stage {
            TemplateStage::Starting { since, .. } => due(*since, self.policy.boot_timeout),
            TemplateStage::Leaving { until, .. } => *until,
            TemplateStage::Ordered | TemplateStage::Ready { .. } => None,
        }
    }

    /// When a worker is too old.
    pub(super) fn aged_at(&self, stage: &Stage) -> Option<Monotonic> {
        if let Stage::Serving { since, .. } = stage {
            due(*since, self.policy.max_age)
        } else {
            None
        }
    }

    /// When to look again, if nothing happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Monotonic> {
        if matches!(self.phase, Phase::New | Phase::Gone) {
            return None;
        }
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
        // With nothing busy one look each `timeout` finds a hang exactly at its deadline all the same.
        let serving = self
            .pool
            .workers
            .values()
            .any(|worker| worker.stage.is_serving());
        let look = due(self.looked, self.policy.timeout).filter(|_| serving);
        let running = self.phase == Phase::Running;
        let watch = self
            .watch
            .as_ref()
            .filter(|_| running && self.outdated() == 0)
            .map(|watch| watch.until);
        let throttle = self
            .throttle
            .closed_until(self.looked)
            .filter(|_| running && self.is_short());
        let aging = self
            .pool
            .workers
            .iter()
            .filter(|(id, _)| running && self.token != Some(**id) && !self.retiring.contains(id))
            .filter_map(|(_, worker)| self.aged_at(&worker.stage));
        workers
            .chain(templates)
            .chain(aging)
            .chain(self.stop_at.filter(|_| running))
            .chain(look)
            .chain(watch)
            .chain(throttle)
            .min()
    }

    /// Whether something is missing that the throttle holds back.
    fn is_short(&self) -> bool {
        let current = self
            .pool
            .count(|worker| worker.stage.is_coming_or_serving());
        current < self.wanted || !self.pool.templates.contains_key(&self.generation)
    }
}
