//! The templates: which there are, and how they are let go.

use core::time::Duration;
use std::collections::BTreeMap;

use rcorn_types::Monotonic;
use serde::{Deserialize, Serialize};

use super::event::{Action, Ask};
use super::heartbeats::STACK_DUMP_TIME;
use super::note::TemplateNote;
use super::step::Step;
use super::values::{BootFailure, BootFailureKind, Exit, Generation, Pid};

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

/// How long templates may take to leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaveLimits {
    /// One that reads orders.
    pub(super) ready: Duration,
    /// One that imports the app.
    pub(super) importing: Duration,
}

impl LeaveLimits {
    fn of(self, listens: bool) -> Duration {
        if listens { self.ready } else { self.importing }
    }
}

/// What the end of a template means.
#[derive(Debug)]
pub(super) enum TemplateEnd {
    /// It was not needed any more.
    Wanted,
    /// It was ready, and is missing now.
    Lost,
    /// It could not load the app.
    Failed(BootFailure),
}

/// All templates that have not been reaped.
#[derive(Clone, Debug, Default)]
pub struct Templates {
    pub(super) by_generation: BTreeMap<Generation, TemplateStage>,
}

impl Templates {
    /// The templates by generation.
    pub fn iter(&self) -> impl Iterator<Item = (Generation, TemplateStage)> {
        self.by_generation
            .iter()
            .map(|(generation, stage)| (*generation, *stage))
    }

    /// The generations of those in certain stages.
    pub(super) fn generations(
        &self,
        condition: impl Fn(&TemplateStage) -> bool,
    ) -> Vec<Generation> {
        self.iter()
            .filter(|(_, stage)| condition(stage))
            .map(|(generation, _)| generation)
            .collect()
    }

    /// Whether there is none.
    pub(super) fn are_gone(&self) -> bool {
        self.by_generation.is_empty()
    }

    /// Whether this generation has one, in whatever stage.
    pub(super) fn contains(&self, generation: Generation) -> bool {
        self.by_generation.contains_key(&generation)
    }

    /// The template with this pid.
    pub(super) fn by_pid(&self, pid: Pid) -> Option<Generation> {
        self.iter()
            .find_map(|(generation, stage)| (stage.pid() == Some(pid)).then_some(generation))
    }

    /// Whether the template of this generation can fork.
    pub(super) fn can_fork(&self, generation: Generation) -> bool {
        matches!(
            self.by_generation.get(&generation),
            Some(TemplateStage::Ready { .. })
        )
    }

    /// Orders a template for this generation.
    pub(super) fn order(&mut self, generation: Generation, step: &mut Step<'_>) {
        self.by_generation
            .insert(generation, TemplateStage::Ordered);
        step.act(Action::StartTemplate(generation));
    }

    /// The template runs as this process.
    pub(super) fn started(&mut self, generation: Generation, pid: Pid, now: Monotonic) {
        if let Some(stage) = self.by_generation.get_mut(&generation) {
            *stage = TemplateStage::Starting { pid, since: now };
        }
    }

    /// The template could not even be started.
    pub(super) fn not_started(&mut self, generation: Generation) {
        self.by_generation.remove(&generation);
    }

    /// The template can fork.
    pub(super) fn ready(&mut self, generation: Generation) {
        if let Some(stage) = self.by_generation.get_mut(&generation)
            && let TemplateStage::Starting { pid, .. } = *stage
        {
            *stage = TemplateStage::Ready { pid };
        }
    }

    /// A template was reaped: tells what that means.
    pub(super) fn reaped(
        &mut self,
        generation: Generation,
        pid: Pid,
        exit: Exit,
        step: &mut Step<'_>,
    ) -> TemplateEnd {
        match self.by_generation.remove(&generation) {
            None | Some(TemplateStage::Ordered | TemplateStage::Leaving { .. }) => {
                TemplateEnd::Wanted
            }
            Some(TemplateStage::Ready { .. }) => TemplateEnd::Lost,
            Some(TemplateStage::Starting { .. }) => {
                step.say(TemplateNote::Ended(exit).of(pid));
                let kind = match exit {
                    Exit::Code(4) => BootFailureKind::App,
                    // Python itself could not be used; it has logged why.
                    Exit::Code(1 | 78) => BootFailureKind::Host,
                    Exit::Code(_) | Exit::Signal(_) => BootFailureKind::Boot,
                };
                let summary = "the template ended before it was ready".to_owned();
                TemplateEnd::Failed(BootFailure { kind, summary })
            }
        }
    }

    /// Tells a template to leave; or shortens the time of one that was told before, if there is
    /// less time now.
    pub(super) fn end(&mut self, generation: Generation, limits: LeaveLimits, step: &mut Step<'_>) {
        let Some(stage) = self.by_generation.get_mut(&generation) else {
            return;
        };
        let leaving = |pid, listens| TemplateStage::Leaving {
            pid,
            until: Some(step.after(limits.of(listens))),
            listens,
        };
        *stage = match *stage {
            // Told when it is started; or killed already.
            TemplateStage::Ordered | TemplateStage::Leaving { until: None, .. } => return,
            TemplateStage::Starting { pid, .. } => leaving(pid, false),
            TemplateStage::Ready { pid } => leaving(pid, true),
            TemplateStage::Leaving {
                pid,
                until: Some(before),
                listens,
            } => {
                let until = Some(before.min(step.after(limits.of(listens))));
                *stage = TemplateStage::Leaving {
                    pid,
                    until,
                    listens,
                };
                return;
            }
        };
        step.act(Action::EndTemplate(generation));
    }

    /// When a template has been in its stage for too long.
    fn due(stage: &TemplateStage, boot_timeout: Option<Duration>) -> Option<Monotonic> {
        match stage {
            TemplateStage::Starting { since, .. } => boot_timeout.map(|limit| since.after(limit)),
            TemplateStage::Leaving { until, .. } => *until,
            TemplateStage::Ordered | TemplateStage::Ready { .. } => None,
        }
    }

    /// When the next of them is due.
    pub(super) fn deadline(&self, boot_timeout: Option<Duration>) -> Option<Monotonic> {
        self.by_generation
            .values()
            .filter_map(|stage| Self::due(stage, boot_timeout))
            .min()
    }

    /// Those that take too long to start or to leave.
    pub(super) fn overdue(
        &self,
        boot_timeout: Option<Duration>,
        now: Monotonic,
    ) -> Vec<Generation> {
        self.generations(|stage| Self::due(stage, boot_timeout).is_some_and(|due| due <= now))
    }

    /// Ends a template that took too long to start or to leave. Returns why it failed, if it was
    /// starting.
    pub(super) fn end_overdue(
        &mut self,
        generation: Generation,
        step: &mut Step<'_>,
    ) -> Option<BootFailure> {
        match self.by_generation.get_mut(&generation) {
            None | Some(TemplateStage::Ordered | TemplateStage::Ready { .. }) => None,
            Some(stage @ TemplateStage::Starting { .. }) => {
                dump_and_end(stage, TemplateNote::BootTimeout, step);
                let summary = "the app's import was not done within boot_timeout";
                Some(BootFailure::timeout(summary))
            }
            Some(TemplateStage::Leaving {
                pid,
                listens,
                until,
            }) => {
                if *listens {
                    step.say(TemplateNote::DoesNotLeave.of(*pid));
                }
                step.act(Action::KillTemplate(generation, *pid));
                *until = None;
                None
            }
        }
    }

    /// A template that was ready does not answer any more (a hook hangs in it, or somebody stopped
    /// it). Nothing can be forked from it, so another takes its place. Returns whether it was
    /// ready.
    pub(super) fn end_silent(&mut self, generation: Generation, step: &mut Step<'_>) -> bool {
        match self.by_generation.get_mut(&generation) {
            Some(stage @ TemplateStage::Ready { .. }) => {
                dump_and_end(stage, TemplateNote::DoesNotFork, step);
                true
            }
            Some(
                TemplateStage::Ordered
                | TemplateStage::Starting { .. }
                | TemplateStage::Leaving { .. },
            )
            | None => false,
        }
    }
}

/// Asks a template that takes too long where it is; then it is killed.
fn dump_and_end(stage: &mut TemplateStage, note: TemplateNote, step: &mut Step<'_>) {
    let Some(pid) = stage.pid() else {
        return;
    };
    step.say(note.of(pid));
    step.ask(pid, Ask::DumpStacks);
    *stage = TemplateStage::Leaving {
        pid,
        until: Some(step.after(STACK_DUMP_TIME)),
        listens: false,
    };
}
