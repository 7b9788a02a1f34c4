//! One worker: where it is in its life, and how it is brought to the end of it.

use core::time::Duration;

use rcorn_types::Monotonic;
use serde::{Deserialize, Serialize};

use super::event::{Action, Ask};
use super::heartbeats::{ABORT_TIME, Heartbeats, STACK_DUMP_TIME};
use super::note::{KillReason, WorkerNote};
use super::step::Step;
use super::values::{
    BootFailure, BootFailureKind, CellIndex, Exit, Generation, Pid, Policy, WorkerId,
};

/// `SIGQUIT`.
const QUIT: Exit = Exit::Signal(3);
/// `SIGKILL`.
const KILL: Exit = Exit::Signal(9);
/// `SIGTERM`.
const TERM: Exit = Exit::Signal(15);

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
    /// It has imported the app, and serves nobody until it is told to.
    Spare {
        /// Its pid.
        pid: Pid,
        /// When it became ready for that.
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
    /// Its request takes too long: `SystemExit` is raised in the app, which may end the request.
    /// The other threads of a worker with threads finish theirs.
    Unwinding {
        /// Its pid.
        pid: Pid,
        /// When it is aborted.
        until: Monotonic,
        /// Since when it had been serving: it may serve on.
        #[serde(default)]
        serving: Monotonic,
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
            | Self::Spare { pid, .. }
            | Self::Serving { pid, .. }
            | Self::Leaving { pid, .. }
            | Self::Dumping { pid, .. }
            | Self::Unwinding { pid, .. }
            | Self::Killed { pid, .. } => Some(*pid),
        }
    }

    /// Whether it serves, or will when it is ready or told to.
    #[must_use]
    pub fn is_active(&self) -> bool {
        match self {
            Self::Forking { .. }
            | Self::Booting { .. }
            | Self::Spare { .. }
            | Self::Serving { .. } => true,
            Self::Leaving { .. }
            | Self::Dumping { .. }
            | Self::Unwinding { .. }
            | Self::Killed { .. } => false,
        }
    }

    /// Whether it has not said yet that it is ready.
    pub(super) fn is_booting(&self) -> bool {
        match self {
            Self::Forking { .. } | Self::Booting { .. } => true,
            Self::Spare { .. }
            | Self::Serving { .. }
            | Self::Leaving { .. }
            | Self::Dumping { .. }
            | Self::Unwinding { .. }
            | Self::Killed { .. } => false,
        }
    }

    /// Its name in `rcorn ctl status`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Forking { .. } => "forking",
            Self::Booting { .. } => "booting",
            Self::Spare { .. } => "spare",
            Self::Serving { .. } => "serving",
            Self::Leaving { .. } => "leaving",
            Self::Dumping { .. } => "hung",
            Self::Unwinding { .. } => "unwinding",
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
    #[serde(rename = "slot")]
    pub cell: CellIndex,
    /// Where it is in its life.
    pub stage: WorkerStage,
    /// It becomes the template of its generation if its import may be shared; it has not told yet.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub to_promote: bool,
    /// It is not missing: it imports the app, and waits until a worker is.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub is_spare: bool,
    /// It was started in the place of one that was taken for hung and serves on: the first to leave
    /// if there are too many.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub is_extra: bool,
}

/// What the end of a worker means.
#[derive(Debug)]
pub(super) enum Death {
    /// Somebody ended it, or asked it to leave.
    Wanted,
    /// It served for this long.
    Serving {
        /// How long it had served.
        age: Duration,
        /// Somebody else than the arbiter ended it. That is no sign of a bad app, unless it is the
        /// out-of-memory killer; leaving or crashing at once is.
        from_outside: bool,
    },
    /// It was not ready yet.
    Booting(BootFailure),
}

/// What follows from the end of a stage that took too long.
#[derive(Debug)]
pub(super) enum Overdue {
    /// The worker is dealt with.
    Ended,
    /// Its template did not fork it.
    NotForked,
    /// It was not ready in time.
    NotReady(BootFailure),
}

impl Worker {
    /// Whether it serves, or is on its way to: it counts towards the wanted number.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.stage.is_active() && !self.is_spare
    }

    /// Whether it waits until a worker is missing, or is on its way to.
    #[must_use]
    pub fn is_kept_ready(&self) -> bool {
        self.stage.is_active() && self.is_spare
    }

    /// When it has been in its stage for too long.
    pub(super) fn due(&self, policy: &Policy, heartbeats: &Heartbeats) -> Option<Monotonic> {
        match &self.stage {
            WorkerStage::Forking { since } | WorkerStage::Booting { since, .. } => {
                policy.boot_timeout.map(|limit| since.after(limit))
            }
            WorkerStage::Serving { busy, .. } => {
                let timeout = policy.timeout?;
                Some(heartbeats.hang_time((*busy)?, timeout))
            }
            WorkerStage::Leaving { until, .. }
            | WorkerStage::Dumping { until, .. }
            | WorkerStage::Unwinding { until, .. } => Some(*until),
            WorkerStage::Killed { kill_at, .. } => *kill_at,
            // It may wait for ever.
            WorkerStage::Spare { .. } => None,
        }
    }

    /// When it reaches `max_worker_age`, if it serves.
    pub(super) fn aged_at(&self, max_age: Option<Duration>) -> Option<Monotonic> {
        match &self.stage {
            WorkerStage::Serving { since, .. } => max_age.map(|limit| since.after(limit)),
            WorkerStage::Forking { .. }
            | WorkerStage::Booting { .. }
            | WorkerStage::Spare { .. }
            | WorkerStage::Leaving { .. }
            | WorkerStage::Dumping { .. }
            | WorkerStage::Unwinding { .. }
            | WorkerStage::Killed { .. } => None,
        }
    }

    /// When its current request began, if it serves.
    pub(super) fn busy_mut(&mut self) -> Option<&mut Option<Monotonic>> {
        match &mut self.stage {
            WorkerStage::Serving { busy, .. } => Some(busy),
            WorkerStage::Forking { .. }
            | WorkerStage::Booting { .. }
            | WorkerStage::Spare { .. }
            | WorkerStage::Leaving { .. }
            | WorkerStage::Dumping { .. }
            | WorkerStage::Unwinding { .. }
            | WorkerStage::Killed { .. } => None,
        }
    }

    /// Asks it to leave within `limit`, unless it was asked before. A quick stop also hurries one
    /// that was asked before, but never gives it more time than it had.
    pub(super) fn ask_to_leave(&mut self, ask: Ask, limit: Duration, step: &mut Step<'_>) {
        let quick = ask == Ask::Quit;
        let until = step.after(limit);
        let (pid, until) = match self.stage {
            // One that boots may serve already: its report may be on its way.
            WorkerStage::Booting { pid, .. }
            | WorkerStage::Spare { pid, .. }
            | WorkerStage::Serving { pid, .. } => (pid, until),
            WorkerStage::Leaving {
                pid,
                quick: false,
                until: before,
            } if quick => (pid, until.min(before)),
            // It leaves as soon as the app lets it.
            WorkerStage::Unwinding {
                pid,
                until: before,
                serving,
            } => {
                self.stage = WorkerStage::Unwinding {
                    pid,
                    until: until.min(before),
                    serving,
                };
                return;
            }
            // One that is being forked is asked when it reports itself. The others are on their way
            // out.
            WorkerStage::Forking { .. }
            | WorkerStage::Killed { .. }
            | WorkerStage::Dumping { .. }
            | WorkerStage::Leaving { .. } => return,
        };
        self.stage = WorkerStage::Leaving { pid, until, quick };
        step.ask(pid, ask);
    }

    /// Brings a worker that has been in its stage for too long one step nearer to its end.
    /// `unwind_limit`: how long it may take to unwind a request.
    pub(super) fn end_overdue(
        &mut self,
        id: WorkerId,
        unwind_limit: Duration,
        step: &mut Step<'_>,
    ) -> Overdue {
        match self.stage {
            WorkerStage::Forking { .. } => return Overdue::NotForked,
            WorkerStage::Booting { pid, .. } => {
                step.say(WorkerNote::BootTimeout.of(pid));
                self.dump_stacks(pid, KillReason::BootTimeout, None, step);
                let summary = "a worker was not ready within boot_timeout";
                return Overdue::NotReady(BootFailure::timeout(summary));
            }
            WorkerStage::Serving { pid, since, busy } => {
                step.say(WorkerNote::Timeout.of(pid));
                let hang = busy.map(|busy| Hang {
                    serving: since,
                    busy,
                });
                self.dump_stacks(pid, KillReason::Hung, hang, step);
            }
            WorkerStage::Dumping { pid, why, hang, .. } => {
                step.act(Action::PostMortem(id, self.cell, pid));
                match why {
                    KillReason::Hung if unwind_limit.is_zero() => self.abort(pid, step),
                    KillReason::Hung => {
                        let serving = hang.map_or(step.now, |hang| hang.serving);
                        self.unwind(pid, serving, unwind_limit, step);
                    }
                    // One that never served has nothing of the app's to wind up.
                    KillReason::BootTimeout
                    | KillReason::GracefulTimeout
                    | KillReason::QuickTimeout => self.kill(pid, why, step),
                }
            }
            WorkerStage::Unwinding { pid, .. } => self.abort(pid, step),
            WorkerStage::Leaving {
                pid, quick: true, ..
            } => self.kill(pid, KillReason::QuickTimeout, step),
            WorkerStage::Leaving {
                pid, quick: false, ..
            } => self.kill(pid, KillReason::GracefulTimeout, step),
            WorkerStage::Killed { pid, why, .. } => self.kill(pid, why, step),
            // It is never due.
            WorkerStage::Spare { .. } => {}
        }
        Overdue::Ended
    }

    /// Asks a worker that takes too long where it is. `hang`: what it was doing, if it was serving.
    fn dump_stacks(&mut self, pid: Pid, why: KillReason, hang: Option<Hang>, step: &mut Step<'_>) {
        step.ask(pid, Ask::DumpStacks);
        self.stage = WorkerStage::Dumping {
            pid,
            why,
            hang,
            until: step.after(STACK_DUMP_TIME),
        };
    }

    /// Lets the app end a request that takes too long: as under gunicorn, the first ABRT raises
    /// `SystemExit` in it.
    fn unwind(&mut self, pid: Pid, serving: Monotonic, limit: Duration, step: &mut Step<'_>) {
        step.ask(pid, Ask::Abort);
        let until = step.after(limit);
        self.stage = WorkerStage::Unwinding {
            pid,
            until,
            serving,
        };
    }

    /// Ends a worker whose request takes too long. It has a moment to dump its core.
    fn abort(&mut self, pid: Pid, step: &mut Step<'_>) {
        step.ask(pid, Ask::Abort);
        self.stage = WorkerStage::Killed {
            pid,
            why: KillReason::Hung,
            kill_at: Some(step.after(ABORT_TIME)),
        };
    }

    /// Kills the worker; nothing is left but to reap it.
    fn kill(&mut self, pid: Pid, why: KillReason, step: &mut Step<'_>) {
        step.ask(pid, Ask::Kill);
        self.stage = WorkerStage::Killed {
            pid,
            why,
            kill_at: None,
        };
    }

    /// It was reaped: says so, if that is news, and tells what it means.
    pub(super) fn reaped(&self, exit: Exit, step: &mut Step<'_>) -> Death {
        match self.stage {
            WorkerStage::Killed { pid, why, .. } | WorkerStage::Dumping { pid, why, .. } => {
                step.say(WorkerNote::Killed(why).of(pid));
                Death::Wanted
            }
            WorkerStage::Unwinding { pid, .. } => {
                let note = match exit {
                    Exit::Code(0) => WorkerNote::Unwound,
                    Exit::Code(_) => WorkerNote::NotUnwound,
                    Exit::Signal(_) => WorkerNote::Killed(KillReason::Hung),
                };
                step.say(note.of(pid));
                Death::Wanted
            }
            WorkerStage::Leaving { pid, quick, .. } => {
                if !is_expected(exit, quick) {
                    step.say(WorkerNote::Ended(exit).of(pid));
                }
                Death::Wanted
            }
            WorkerStage::Serving { pid, since, .. } | WorkerStage::Spare { pid, since } => {
                step.say(WorkerNote::Ended(exit).of(pid));
                Death::Serving {
                    age: step.now.since(since),
                    from_outside: exit == KILL || exit == TERM,
                }
            }
            WorkerStage::Booting { pid, .. } => {
                step.say(WorkerNote::Ended(exit).of(pid));
                let kind = match exit {
                    Exit::Code(4) => BootFailureKind::App,
                    Exit::Code(_) | Exit::Signal(_) => BootFailureKind::Boot,
                };
                let summary = "a worker ended before it was ready".to_owned();
                Death::Booting(BootFailure { kind, summary })
            }
            // It has no pid that could have ended.
            WorkerStage::Forking { .. } => Death::Wanted,
        }
    }
}

/// Whether a worker that was asked to leave may end like this. One that was still booting had no
/// handlers, and the signal ended it. One that could not boot has logged why.
fn is_expected(exit: Exit, quick: bool) -> bool {
    match exit {
        Exit::Code(0) | TERM => true,
        QUIT | Exit::Code(1 | 3 | 4) => quick,
        Exit::Code(_) | Exit::Signal(_) => false,
    }
}
