//! Counts what the arbiter does and sees: starts and ends of workers by their reasons, reloads,
//! upgrades. It looks at the events and actions that pass, and changes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use rcorn_arbiter::{
    Arbiter, Exit, KillReason, Note, Pid, ReloadNote, RetireReason, UpgradeNote, WorkerId,
    WorkerStage,
};
use rcorn_control::{Count, History, Recent};
use rcorn_sys::clock;
use rcorn_types::Monotonic;

/// How many of the last things that have happened are kept.
const RECENT: usize = 40;
/// The longest text of one of them, in characters.
const RECENT_CHARACTERS: usize = 300;

/// Reasons for the end of a worker, so that each has a series from the beginning. That of a crash
/// is added with its signal.
const ENDS: [&str; 15] = [
    "max_requests",
    "memory",
    "age",
    "order",
    "refork",
    "reload",
    "scaling",
    "stop",
    "timeout",
    "boot_timeout",
    "graceful_timeout",
    "boot_failed",
    "exit",
    "out_of_memory",
    "promoted",
];
const RELOADS: [&str; 5] = ["done", "refused", "failed", "rolled_back", "replaced"];
const UPGRADES: [&str; 3] = ["in_place", "beside", "failed"];

/// The counts, and what is known of workers that are about to end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Tally {
    history: History,
    /// Why workers were asked to leave, or will be.
    leaving: BTreeMap<i32, String>,
    /// The kernel has killed the worker whose end is about to be counted, for want of memory.
    #[serde(skip)]
    is_by_kernel: bool,
}

/// The end of a worker, before it is known whether the kernel has killed it for want of memory.
#[derive(Debug)]
pub(super) struct End {
    id: WorkerId,
    pid: Pid,
    reason: String,
    signal: Option<String>,
}

impl Tally {
    /// Nothing has happened yet but the start of the server.
    pub(super) fn begin() -> Self {
        let zeros = |names: &[&str]| {
            let zero = |name: &&str| Count {
                what: (*name).to_owned(),
                signal: None,
                count: 0,
            };
            names.iter().map(zero).collect()
        };
        Self {
            history: History {
                started: clock::wall().0,
                worker_ends: zeros(&ENDS),
                reloads: zeros(&RELOADS),
                upgrades: zeros(&UPGRADES),
                ..History::default()
            },
            ..Self::default()
        }
    }

    /// That of the predecessor in our place; `None`: of a build that had none.
    pub(super) fn take_over(saved: Option<Self>) -> Self {
        let mut tally = saved.unwrap_or_else(Self::begin);
        Count::add(&mut tally.history.upgrades, "in_place", None);
        tally.remember("Upgraded in place.");
        tally
    }

    /// What has happened so far.
    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// A worker has reported itself, or its template has: the first of the two counts. `stage` is
    /// that of the worker so far.
    pub(super) fn forked(&mut self, stage: &WorkerStage) {
        if matches!(stage, WorkerStage::Forking { .. }) {
            self.history.worker_starts = self.history.worker_starts.saturating_add(1);
        }
    }

    /// A worker serves, which is `stage` of it so far.
    pub(super) fn ready(&mut self, stage: &WorkerStage, now: Monotonic) {
        match stage {
            WorkerStage::Forking { since } | WorkerStage::Booting { since, .. } => {
                self.history.boot.observe(now.since(*since));
            }
            WorkerStage::Spare { .. }
            | WorkerStage::Serving { .. }
            | WorkerStage::Leaving { .. }
            | WorkerStage::Dumping { .. }
            | WorkerStage::Unwinding { .. }
            | WorkerStage::Killed { .. } => {}
        }
    }

    /// A worker is asked to leave.
    pub(super) fn asked_to_leave(&mut self, pid: Pid, brain: &Arbiter) {
        let worker = brain.workers().by_pid(pid);
        let worker = worker.and_then(|id| brain.workers().get(id));
        let reason = if brain.is_stopping() {
            "stop"
        } else if worker.is_some_and(|worker| worker.generation != brain.generation()) {
            "reload"
        } else {
            "scaling"
        };
        // A stop hurries one that retires, which is no other reason.
        self.leaving
            .entry(pid.0)
            .or_insert_with(|| reason.to_owned());
    }

    /// A worker becomes the template, and is none any more.
    pub(super) fn promoted(&mut self, pid: Pid) {
        self.leaving.remove(&pid.0);
        Count::add(&mut self.history.worker_ends, "promoted", None);
    }

    /// A child has ended; `None`: it is no worker. [`Self::ended`] counts it, once it is known what
    /// the kernel has to do with it.
    pub(super) fn end_of(&mut self, pid: Pid, exit: Exit, brain: &Arbiter) -> Option<End> {
        let id = brain.workers().by_pid(pid)?;
        let worker = brain.workers().get(id)?;
        let asked = self.leaving.remove(&pid.0);
        let (reason, signal) = match (&worker.stage, exit) {
            (WorkerStage::Leaving { .. }, _) => (asked.unwrap_or_else(|| "stop".to_owned()), None),
            (WorkerStage::Dumping { why, .. } | WorkerStage::Killed { why, .. }, _) => {
                (killed(*why).to_owned(), None)
            }
            (WorkerStage::Unwinding { .. }, _) => ("timeout".to_owned(), None),
            (_, Exit::Signal(number)) => ("crash".to_owned(), Some(signal_name(number))),
            (WorkerStage::Forking { .. } | WorkerStage::Booting { .. }, Exit::Code(_)) => {
                ("boot_failed".to_owned(), None)
            }
            (WorkerStage::Serving { .. } | WorkerStage::Spare { .. }, Exit::Code(_)) => {
                ("exit".to_owned(), None)
            }
        };
        Some(End {
            id,
            pid,
            reason,
            signal,
        })
    }

    /// Whether the kernel has killed the worker that has just ended, for want of memory.
    pub(super) fn set_killed_by_kernel(&mut self, is_by_kernel: bool) {
        self.is_by_kernel = is_by_kernel;
    }

    /// Counts the end of a worker.
    pub(super) fn ended(&mut self, end: End) {
        let End {
            id,
            pid,
            reason,
            signal,
        } = end;
        let (reason, signal) = if std::mem::take(&mut self.is_by_kernel) {
            ("out_of_memory".to_owned(), None)
        } else {
            (reason, signal)
        };
        Count::add(&mut self.history.worker_ends, &reason, signal.as_deref());
        let signal = signal.map(|name| format!(" ({name})")).unwrap_or_default();
        self.remember(&format!(
            "Worker {} (pid:{pid}) ended: {reason}{signal}",
            id.0
        ));
    }

    /// Counts what the arbiter says.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most notes are for the log alone"
    )]
    pub(super) fn note(&mut self, note: &Note) {
        let history = &mut self.history;
        match note {
            Note::Retiring(pid, why) => {
                self.leaving.insert(pid.0, retired(*why).to_owned());
                return;
            }
            Note::Reload(reload) => {
                let Some(outcome) = outcome(reload) else {
                    return;
                };
                Count::add(&mut history.reloads, outcome, None);
            }
            Note::Upgrade(UpgradeNote::NotStarted(_)) => {
                Count::add(&mut history.upgrades, "failed", None);
            }
            Note::Template(..) | Note::Refork(_) | Note::Throttled(_) | Note::ForkFailed(_) => {}
            _ => return,
        }
        self.remember(&note.to_string());
    }

    /// A second arbiter was started beside this one.
    pub(super) fn upgrades_beside(&mut self) {
        Count::add(&mut self.history.upgrades, "beside", None);
    }

    fn remember(&mut self, text: &str) {
        let recent = &mut self.history.recent;
        while recent.len() >= RECENT {
            recent.pop_front();
        }
        let text = text.chars().take(RECENT_CHARACTERS).collect();
        let at = clock::wall().0;
        recent.push_back(Recent { at, text });
    }
}

fn killed(why: KillReason) -> &'static str {
    match why {
        KillReason::Hung => "timeout",
        KillReason::BootTimeout => "boot_timeout",
        KillReason::GracefulTimeout | KillReason::QuickTimeout => "graceful_timeout",
    }
}

fn retired(why: RetireReason) -> &'static str {
    match why {
        RetireReason::MaxRequests => "max_requests",
        RetireReason::Memory => "memory",
        RetireReason::Age => "age",
        RetireReason::Ordered => "order",
        RetireReason::Refork => "refork",
    }
}

/// How a reload has ended; `None`: it has not.
fn outcome(note: &ReloadNote) -> Option<&'static str> {
    match note {
        ReloadNote::Begun | ReloadNote::Queued => None,
        ReloadNote::Replaced => Some("replaced"),
        ReloadNote::NotLoaded(_) => Some("refused"),
        ReloadNote::Failed(..) => Some("failed"),
        ReloadNote::RolledBack(..) => Some("rolled_back"),
        ReloadNote::Done(_) => Some("done"),
    }
}

fn signal_name(number: i32) -> String {
    nix::sys::signal::Signal::try_from(number)
        .map_or_else(|_| number.to_string(), |signal| signal.as_str().to_owned())
}
