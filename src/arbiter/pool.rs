//! Which workers and templates there are, and where each of them is. Bookkeeping only: what follows from it
//! is decided in `settle.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use rcorn_types::Monotonic;

use super::event::{Generation, Pid, Slot, WorkerId};
use super::note::Killed;

/// A serving worker that is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Since when it has served.
    pub serving: Monotonic,
    /// Since when it is silent.
    pub busy: Monotonic,
}

/// Where a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Ordered; no pid yet.
    Forking {
        /// Since when.
        since: Monotonic,
    },
    /// Forked; not ready yet.
    Booting {
        /// Its pid.
        pid: Pid,
        /// Since when.
        since: Monotonic,
    },
    /// Accepting requests.
    Serving {
        /// Its pid.
        pid: Pid,
        /// Since when.
        since: Monotonic,
        /// When its request in hand began, as far as we know.
        busy: Option<Monotonic>,
    },
    /// Told to leave.
    Leaving {
        /// Its pid.
        pid: Pid,
        /// Until when it may take.
        until: Monotonic,
        /// It must leave at once.
        quick: bool,
    },
    /// It takes too long: it is writing down where it is.
    Testifying {
        /// Its pid.
        pid: Pid,
        /// Why it will be killed.
        why: Killed,
        /// What it was silent about: with which it is compared. `None` for one that was not ready in time.
        before: Option<Silence>,
        /// Until when it may.
        until: Monotonic,
    },
    /// We ended it; not reaped yet.
    Killed {
        /// Its pid.
        pid: Pid,
        /// Why.
        why: Killed,
        /// When to send KILL, if what was sent was only ABRT.
        again: Option<Monotonic>,
    },
}

impl Stage {
    /// Its pid, once it has one.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Self::Forking { .. } => None,
            Self::Booting { pid, .. }
            | Self::Serving { pid, .. }
            | Self::Leaving { pid, .. }
            | Self::Testifying { pid, .. }
            | Self::Killed { pid, .. } => Some(*pid),
        }
    }

    /// Whether it serves, or is on its way to.
    #[must_use]
    pub fn is_coming_or_serving(&self) -> bool {
        match self {
            Self::Forking { .. } | Self::Booting { .. } | Self::Serving { .. } => true,
            Self::Leaving { .. } | Self::Testifying { .. } | Self::Killed { .. } => false,
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Forking { .. } => "forking",
            Self::Booting { .. } => "booting",
            Self::Serving { .. } => "serving",
            Self::Leaving { .. } => "leaving",
            Self::Testifying { .. } => "hung",
            Self::Killed { .. } => "killed",
        }
    }

    /// Whether it serves.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        matches!(self, Self::Serving { .. })
    }
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// What it was born with.
    pub generation: Generation,
    /// Its place on the scoreboard.
    pub slot: Slot,
    /// Where it is.
    pub stage: Stage,
}

/// Where a template is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TemplateStage {
    /// Ordered; no pid yet.
    Ordered,
    /// Importing the app.
    Starting {
        /// Its pid.
        pid: Pid,
        /// Since when.
        since: Monotonic,
    },
    /// Forks on order.
    Ready {
        /// Its pid.
        pid: Pid,
    },
    /// Not needed any more, or failed; not reaped yet.
    Leaving {
        /// Its pid.
        pid: Pid,
        /// When to kill it; `None` when that was done.
        until: Option<Monotonic>,
        /// It listens, and should leave by itself: that it had to be killed is news.
        listens: bool,
    },
}

impl TemplateStage {
    /// Its name for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Starting { .. } => "starting",
            Self::Ready { .. } => "ready",
            Self::Leaving { .. } => "leaving",
        }
    }

    /// Its pid, once it has one.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Self::Ordered => None,
            Self::Starting { pid, .. } | Self::Ready { pid } | Self::Leaving { pid, .. } => {
                Some(*pid)
            }
        }
    }
}

/// All children.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Pool {
    /// Workers by id: the oldest first.
    pub workers: BTreeMap<WorkerId, Worker>,
    /// Templates by generation. One that leaves while its successor starts is in `leaving`.
    pub templates: BTreeMap<Generation, TemplateStage>,
    next: u64,
}

impl Pool {
    /// A new worker, in the lowest free slot.
    pub fn add(&mut self, generation: Generation, now: Monotonic) -> (WorkerId, Slot) {
        self.next = self.next.saturating_add(1);
        let id = WorkerId(self.next);
        let taken = |slot: u16| {
            self.workers
                .values()
                .any(|worker| worker.slot == Slot(slot))
        };
        let slot = Slot((0..u16::MAX).find(|slot| !taken(*slot)).unwrap_or(u16::MAX));
        self.workers.insert(
            id,
            Worker {
                generation,
                slot,
                stage: Stage::Forking { since: now },
            },
        );
        (id, slot)
    }

    /// The worker of this pid.
    #[must_use]
    pub fn by_pid(&self, pid: Pid) -> Option<WorkerId> {
        let mut found = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.stage.pid() == Some(pid));
        found.next().map(|(id, _)| *id)
    }

    /// The template of this pid.
    #[must_use]
    pub fn template_by_pid(&self, pid: Pid) -> Option<Generation> {
        let mut found = self
            .templates
            .iter()
            .filter(|(_, stage)| stage.pid() == Some(pid));
        found.next().map(|(generation, _)| *generation)
    }

    /// How many workers are like this.
    pub fn count(&self, like: impl Fn(&Worker) -> bool) -> u32 {
        u32::try_from(self.workers.values().filter(|worker| like(worker)).count())
            .unwrap_or(u32::MAX)
    }
}
