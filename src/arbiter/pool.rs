//! Which workers and templates there are, and where each of them is in its life. Bookkeeping only:
//! what follows from it is decided in `reconcile.rs`.

use std::collections::{BTreeMap, BTreeSet};

use rcorn_types::Monotonic;
use serde::{Deserialize, Serialize};

use super::event::{Generation, Pid, Slot, WorkerId};
use super::note::KillReason;

/// What a worker that is taken for hung was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hang {
    /// Since when it has been serving.
    pub serving: Monotonic,
    /// When the request began that does not end. A later beat is compared with it.
    pub busy: Monotonic,
}

/// Where a worker is in its life. `stages.md` beside this file has the diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerStage {
    /// Its template was ordered to fork it; it has no pid yet.
    Forking {
        /// When the order was given.
        since: Monotonic,
    },
    /// Forked, but not ready.
    Booting {
        /// Its pid.
        pid: Pid,
        /// When its fork was ordered.
        since: Monotonic,
    },
    /// Accepting requests.
    Serving {
        /// Its pid.
        pid: Pid,
        /// When it became ready.
        since: Monotonic,
        /// When its current request began, as of the last beat; `None` when it has none.
        busy: Option<Monotonic>,
    },
    /// Asked to leave.
    Leaving {
        /// Its pid.
        pid: Pid,
        /// When it is killed.
        until: Monotonic,
        /// It was asked to leave at once.
        quick: bool,
    },
    /// It takes too long, and is writing a stack dump.
    #[serde(rename = "Testifying")]
    Dumping {
        /// Its pid.
        pid: Pid,
        /// Why it will be killed.
        why: KillReason,
        /// What it was doing; `None` for one that was not ready in time.
        #[serde(rename = "before")]
        hang: Option<Hang>,
        /// When the dump is read, and the worker ended.
        until: Monotonic,
    },
    /// Ended by us; not reaped yet.
    Killed {
        /// Its pid.
        pid: Pid,
        /// Why it was ended.
        why: KillReason,
        /// When to send KILL, if it was sent only ABRT so far.
        #[serde(rename = "again")]
        kill_at: Option<Monotonic>,
    },
}

impl WorkerStage {
    /// Its pid, once it has one.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Self::Forking { .. } => None,
            Self::Booting { pid, .. }
            | Self::Serving { pid, .. }
            | Self::Leaving { pid, .. }
            | Self::Dumping { pid, .. }
            | Self::Killed { pid, .. } => Some(*pid),
        }
    }

    /// Whether it serves, or is on its way to: it counts towards the wanted number.
    #[must_use]
    pub fn is_active(&self) -> bool {
        match self {
            Self::Forking { .. } | Self::Booting { .. } | Self::Serving { .. } => true,
            Self::Leaving { .. } | Self::Dumping { .. } | Self::Killed { .. } => false,
        }
    }

    /// Its name in `rcorn ctl status`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Forking { .. } => "forking",
            Self::Booting { .. } => "booting",
            Self::Serving { .. } => "serving",
            Self::Leaving { .. } => "leaving",
            Self::Dumping { .. } => "hung",
            Self::Killed { .. } => "killed",
        }
    }

    /// Whether it accepts requests.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        matches!(self, Self::Serving { .. })
    }
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// The generation of its template.
    pub generation: Generation,
    /// Its place on the scoreboard.
    pub slot: Slot,
    /// Where it is in its life.
    pub stage: WorkerStage,
}

/// Where a template is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TemplateStage {
    /// The driver was told to start it; it has no pid yet.
    Ordered,
    /// Importing the app.
    Starting {
        /// Its pid.
        pid: Pid,
        /// When it was started.
        since: Monotonic,
    },
    /// Forks workers on order.
    Ready {
        /// Its pid.
        pid: Pid,
    },
    /// Not needed any more, or failed; not reaped yet.
    Leaving {
        /// Its pid.
        pid: Pid,
        /// When it is killed; `None` once it was.
        until: Option<Monotonic>,
        /// It reads orders, and should leave by itself: the log says so if it has to be killed.
        listens: bool,
    },
}

impl TemplateStage {
    /// Its name in `rcorn ctl status`.
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

/// All workers and templates that have not been reaped.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Pool {
    /// Workers by id: the oldest first.
    pub workers: BTreeMap<WorkerId, Worker>,
    /// Templates by generation.
    pub templates: BTreeMap<Generation, TemplateStage>,
    /// The id of the worker that was forked last.
    #[serde(rename = "next")]
    last_id: u64,
}

impl Pool {
    /// Adds a worker whose fork is ordered now, in the lowest free slot. `None`: no slot is free.
    pub fn add(&mut self, generation: Generation, now: Monotonic) -> Option<(WorkerId, Slot)> {
        let taken: BTreeSet<Slot> = self.workers.values().map(|worker| worker.slot).collect();
        let slot = (0..=u16::MAX)
            .map(Slot)
            .find(|slot| !taken.contains(slot))?;
        self.last_id = self.last_id.checked_add(1)?;
        let id = WorkerId(self.last_id);
        self.workers.insert(
            id,
            Worker {
                generation,
                slot,
                stage: WorkerStage::Forking { since: now },
            },
        );
        Some((id, slot))
    }

    /// The worker with this pid.
    #[must_use]
    pub fn by_pid(&self, pid: Pid) -> Option<WorkerId> {
        self.ids(|_, worker| worker.stage.pid() == Some(pid)).next()
    }

    /// The template with this pid.
    #[must_use]
    pub fn template_by_pid(&self, pid: Pid) -> Option<Generation> {
        self.templates
            .iter()
            .find_map(|(generation, stage)| (stage.pid() == Some(pid)).then_some(*generation))
    }

    /// The workers that meet a condition: the oldest first.
    pub(crate) fn ids(
        &self,
        condition: impl Fn(WorkerId, &Worker) -> bool,
    ) -> impl Iterator<Item = WorkerId> {
        self.workers
            .iter()
            .filter_map(move |(id, worker)| condition(*id, worker).then_some(*id))
    }

    /// How many workers meet a condition.
    pub fn count(&self, condition: impl Fn(&Worker) -> bool) -> u32 {
        let count = self.ids(|_, worker| condition(worker)).count();
        // There are no more workers than slots.
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// When the current request of a serving worker began.
    pub(crate) fn busy_mut(&mut self, id: WorkerId) -> Option<&mut Option<Monotonic>> {
        match &mut self.workers.get_mut(&id)?.stage {
            WorkerStage::Serving { busy, .. } => Some(busy),
            WorkerStage::Forking { .. }
            | WorkerStage::Booting { .. }
            | WorkerStage::Leaving { .. }
            | WorkerStage::Dumping { .. }
            | WorkerStage::Killed { .. } => None,
        }
    }

    /// Whether the template of this generation can fork.
    pub(crate) fn can_fork(&self, generation: Generation) -> bool {
        matches!(
            self.templates.get(&generation),
            Some(TemplateStage::Ready { .. })
        )
    }
}
