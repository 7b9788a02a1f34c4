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
    /// Not ready yet. With [`Import::Template`](super::Import::Template) it imports the app.
    Starting {
        /// Its pid.
        pid: Pid,
        /// When it was started.
        since: Monotonic,
    },
    /// Ready, but without the app: one worker is forked, which imports it, and tells whether its
    /// import may be shared.
    Bare {
        /// Its pid.
        pid: Pid,
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
            Self::Bare { .. } => "bare",
            Self::Ready { .. } => "ready",
            Self::Leaving { .. } => "leaving",
        }
    }

    /// Its pid, once it has one.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Self::Ordered => None,
            Self::Starting { pid, .. }
            | Self::Bare { pid }
            | Self::Ready { pid }
            | Self::Leaving { pid, .. } => Some(*pid),
        }
    }

    /// Whether it reads orders.
    pub(super) fn listens(&self) -> bool {
        matches!(self, Self::Bare { .. } | Self::Ready { .. })
    }
}

/// A template whose place a worker has taken. It was told to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Replaced {
    generation: Generation,
    /// When it is killed; `None` once it was.
    until: Option<Monotonic>,
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
    pub(super) replaced: BTreeMap<Pid, Replaced>,
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
        self.by_generation.is_empty() && self.replaced.is_empty()
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

    /// Whether this process is one, or was one until another took its place.
    pub(super) fn has(&self, pid: Pid) -> bool {
        self.by_pid(pid).is_some() || self.replaced.contains_key(&pid)
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

    /// The template can fork. `is_bare`: at first only a worker that may take its place.
    pub(super) fn ready(&mut self, generation: Generation, is_bare: bool) {
        if let Some(stage) = self.by_generation.get_mut(&generation)
            && let TemplateStage::Starting { pid, .. } = *stage
        {
            *stage = if is_bare {
                TemplateStage::Bare { pid }
            } else {
                TemplateStage::Ready { pid }
            };
        }
    }

    /// The generations whose template waits for a worker to take its place.
    pub(super) fn bare(&self) -> Vec<Generation> {
        self.generations(|stage| matches!(stage, TemplateStage::Bare { .. }))
    }

    /// No worker takes its place: it forks workers as it is.
    pub(super) fn stays(&mut self, generation: Generation) {
        if let Some(stage) = self.by_generation.get_mut(&generation)
            && let TemplateStage::Bare { pid } = *stage
        {
            *stage = TemplateStage::Ready { pid };
        }
    }

    /// This process takes the place of the template, which is told to leave.
    pub(super) fn replace(&mut self, generation: Generation, pid: Pid, until: Monotonic) {
        let before = self
            .by_generation
            .insert(generation, TemplateStage::Ready { pid });
        let Some(before) = before else {
            return;
        };
        let until = match before {
            TemplateStage::Leaving { until, .. } => until,
            TemplateStage::Ordered
            | TemplateStage::Starting { .. }
            | TemplateStage::Bare { .. }
            | TemplateStage::Ready { .. } => Some(until),
        };
        let replaced = Replaced { generation, until };
        self.replaced
            .extend(before.pid().map(|before| (before, replaced)));
    }

    /// A child was reaped. Returns whether it was a template whose place another had taken.
    pub(super) fn reap_replaced(&mut self, pid: Pid) -> bool {
        self.replaced.remove(&pid).is_some()
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
            Some(TemplateStage::Bare { .. } | TemplateStage::Ready { .. }) => TemplateEnd::Lost,
            Some(TemplateStage::Starting { .. }) => {
                let kind = match exit {
                    Exit::Code(4) => BootFailureKind::App,
                    // Python itself could not be used.
                    Exit::Code(1 | 78) => BootFailureKind::Host,
                    Exit::Code(_) | Exit::Signal(_) => BootFailureKind::Boot,
                };
                let note = match kind {
                    BootFailureKind::Host => TemplateNote::NoPython(exit),
                    BootFailureKind::App | BootFailureKind::Boot => TemplateNote::Ended(exit),
                };
                step.say(note.of(pid));
                let summary = "the template ended before it was ready".to_owned();
                TemplateEnd::Failed(BootFailure { kind, summary })
            }
        }
    }

    /// No worker will be forked from this template. It leaves after the last one that was, because
    /// its functions for the exit end what all of them have; or now, if none was.
    pub(super) fn let_go(
        &mut self,
        generation: Generation,
        limits: LeaveLimits,
        step: &mut Step<'_>,
    ) {
        if !self.can_fork(generation) {
            self.end(generation, limits, step);
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
            TemplateStage::Bare { pid } | TemplateStage::Ready { pid } => leaving(pid, true),
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
            TemplateStage::Ordered | TemplateStage::Bare { .. } | TemplateStage::Ready { .. } => {
                None
            }
        }
    }

    /// When the next of them is due.
    pub(super) fn deadline(&self, boot_timeout: Option<Duration>) -> Option<Monotonic> {
        self.by_generation
            .values()
            .filter_map(|stage| Self::due(stage, boot_timeout))
            .chain(self.replaced.values().filter_map(|one| one.until))
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

    /// Shortens the time of those whose place another took, if there is less time now.
    pub(super) fn hurry_replaced(&mut self, limits: LeaveLimits, now: Monotonic) {
        let limit = now.after(limits.ready);
        for replaced in self.replaced.values_mut() {
            replaced.until = replaced.until.map(|until| until.min(limit));
        }
    }

    /// Kills those that take too long to leave after another took their place.
    pub(super) fn end_overdue_replaced(&mut self, step: &mut Step<'_>) {
        for (pid, replaced) in &mut self.replaced {
            if replaced.until.is_some_and(|until| until <= step.now) {
                step.say(TemplateNote::DoesNotLeave.of(*pid));
                step.act(Action::KillTemplate(replaced.generation, *pid));
                replaced.until = None;
            }
        }
    }

    /// Ends a template that took too long to start or to leave. Returns why it failed, if it was
    /// starting.
    pub(super) fn end_overdue(
        &mut self,
        generation: Generation,
        step: &mut Step<'_>,
    ) -> Option<BootFailure> {
        match self.by_generation.get_mut(&generation) {
            None
            | Some(
                TemplateStage::Ordered | TemplateStage::Bare { .. } | TemplateStage::Ready { .. },
            ) => None,
            Some(stage @ TemplateStage::Starting { .. }) => {
                dump_and_end(stage, TemplateNote::BootTimeout, step);
                let summary = "the template was not ready within boot_timeout";
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
            Some(stage @ (TemplateStage::Bare { .. } | TemplateStage::Ready { .. })) => {
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
