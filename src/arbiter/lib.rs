//! The arbiter's decisions: what happened goes in, what to do comes out. No I/O, no clock, no
//! system call, so that everything that can happen to a server is a test that takes microseconds.
//! Start, reload, scaling, crash recovery and stop are not procedures: each changes what is wanted,
//! and `reconcile.rs` closes the gap to what is. Only the driver calls this.
//!
//! One step: [`Arbiter::step`] takes an [`Event`] and the time, and appends [`Action`]s. The driver
//! performs them, turns their results into events, and sends [`Event::Tick`] when
//! [`Arbiter::deadline`] has come.
#![forbid(unsafe_code)]

mod deadlines;
mod event;
mod heartbeats;
mod note;
mod order;
mod pool;
mod reconcile;
mod reload;
mod retirement;
mod stop;
mod templates;
mod throttle;
mod workers;

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, as it should"
)]
mod simulation;
#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, as it should"
)]
mod tests;

use core::time::Duration;
use std::collections::BTreeSet;

use rcorn_types::Monotonic;
use serde::{Deserialize, Serialize};

pub use event::{
    Action, Ask, BootFailure, BootFailureKind, Event, Exit, Generation, Outcome, Pid, Policy,
    RetireReason, Slot, WorkerId,
};
pub use note::{KillReason, Note, ReloadNote, StopNote, TemplateNote, UpgradeNote, WorkerNote};
pub use order::Order;
pub use pool::{Hang, Pool, TemplateStage, Worker, WorkerStage};

use heartbeats::Heartbeats;
use reload::Rollout;
use retirement::Retirement;
use throttle::Throttle;

/// Where the arbiter is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing has begun.
    New,
    /// Keeping the workers alive.
    Running,
    /// Ending everything.
    Stopping {
        /// Why.
        outcome: Outcome,
        /// At once, not gracefully.
        quick: bool,
    },
    /// Nothing follows.
    Gone,
}

/// The new arbiter that USR2 starts. While it is being started nothing is saved of it: the build
/// that an upgrade in place starts has no upgrade of its own yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<Pid>", into = "Option<Pid>")]
enum Upgrade {
    /// There is none.
    None,
    /// The driver was told to start it.
    Starting,
    /// It runs beside this one.
    Beside(Pid),
}

impl From<Option<Pid>> for Upgrade {
    fn from(pid: Option<Pid>) -> Self {
        pid.map_or(Self::None, Self::Beside)
    }
}

impl From<Upgrade> for Option<Pid> {
    fn from(upgrade: Upgrade) -> Self {
        match upgrade {
            Upgrade::None | Upgrade::Starting => None,
            Upgrade::Beside(pid) => Some(pid),
        }
    }
}

/// The state of the arbiter, and its decisions. It can be saved as JSON and read again: an arbiter
/// that execs a new build of itself continues where it was. Names on the wire stay as they were in
/// the first build (cb54ddf; `tests/saved_states.rs`).
#[derive(Debug, Serialize, Deserialize)]
pub struct Arbiter {
    phase: Phase,
    policy: Policy,
    /// How many workers there are to be: the policy's number, until TTIN, TTOU or WINCH.
    wanted: u32,
    /// The generation in force.
    generation: Generation,
    /// The highest generation ever made.
    newest: Generation,
    pool: Pool,
    #[serde(flatten)]
    rollout: Rollout,
    /// A reload was ordered that begins after the one under way.
    reload_again: bool,
    throttle: Throttle,
    #[serde(flatten)]
    retirement: Retirement,
    /// A worker of any generation was ready once.
    ever_ready: bool,
    #[serde(flatten)]
    heartbeats: Heartbeats,
    upgrade: Upgrade,
    /// When the stop that was ordered begins; until then the server runs on.
    stop_at: Option<Monotonic>,
    /// Workers that reported themselves after they were given up; killed, but not reaped yet.
    #[serde(rename = "strangers")]
    unknown_workers: BTreeSet<Pid>,
}

impl Arbiter {
    /// An arbiter that nothing has happened to. `seed`: for the jitter of waits.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            phase: Phase::New,
            policy: Policy::NONE,
            wanted: 0,
            generation: Generation(1),
            newest: Generation(1),
            pool: Pool::default(),
            rollout: Rollout::None,
            reload_again: false,
            throttle: Throttle::new(seed),
            retirement: Retirement::default(),
            ever_ready: false,
            heartbeats: Heartbeats::default(),
            upgrade: Upgrade::None,
            stop_at: None,
            unknown_workers: BTreeSet::new(),
        }
    }

    /// Where the arbiter is in its life.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How many workers there are to be.
    pub fn wanted(&self) -> u32 {
        self.wanted
    }

    /// The generation in force.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The new arbiter beside this one, if there is one.
    pub fn upgrade(&self) -> Option<Pid> {
        self.upgrade.into()
    }

    /// Whether a reload is in force that may still be taken back.
    pub fn is_on_probation(&self) -> bool {
        self.rollout.probation().is_some()
    }

    /// Whether everything is being ended.
    pub fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping { .. })
    }

    /// Whether a stop was ordered that has not begun.
    pub fn is_stop_delayed(&self) -> bool {
        self.stop_at.is_some()
    }

    /// Whether a reload is being prepared or rolled out.
    pub fn is_reloading(&self) -> bool {
        self.rollout.is_in_preparation() || self.reload_again || self.outdated() > 0
    }

    /// Workers and templates.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Takes in what happened, and appends what to do. `now` never goes back from one step to the
    /// next.
    pub fn step(&mut self, now: Monotonic, event: Event, actions: &mut Vec<Action>) {
        if self.phase == Phase::Gone {
            return;
        }
        self.take_in(now, event, actions);
        self.reconcile(now, actions);
    }

    fn take_in(&mut self, now: Monotonic, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Started(policy) => self.start(policy, actions),
            Event::Ordered(order) => self.order(now, order, actions),
            Event::Loaded(policy) => self.loaded(policy, actions),
            Event::NotLoaded(reason) => self.not_loaded(reason, actions),
            Event::TemplateStarted(generation, pid) => {
                self.template_started(now, generation, pid, actions);
            }
            Event::TemplateNotStarted(generation, reason) => {
                self.template_not_started(now, generation, reason, actions);
            }
            Event::TemplateReady(generation) => self.template_ready(generation),
            Event::TemplateFailed(generation, failure) => {
                self.template_failed(now, generation, &failure, actions);
            }
            Event::Forked(id, pid) => self.forked(now, id, pid, actions),
            Event::ForkFailed(id, reason) => self.fork_failed(now, id, &reason, actions),
            Event::Ready(id, pid) => self.ready(now, id, pid, actions),
            Event::BootFailed(id, failure) => self.boot_failed(now, id, &failure, actions),
            Event::WantsRetirement(id, why) => self.retire(id, why, actions),
            Event::Beat(id, since) => self.beat(now, id, since, actions),
            Event::Stopped(pid) => self.worker_stopped(now, pid),
            Event::Continued(pid) => self.worker_continued(pid),
            Event::Exited(pid, exit) => self.exited(now, pid, exit, actions),
            Event::UpgradeStarted(pid) => self.upgrade = Upgrade::Beside(pid),
            Event::UpgradeNotStarted(reason) => {
                self.upgrade = Upgrade::None;
                actions.push(UpgradeNote::NotStarted(reason).say());
            }
            Event::Tick => {
                self.heartbeats.tick(now, self.policy.timeout);
                self.end_hung(now, actions);
            }
        }
    }

    fn start(&mut self, policy: Policy, actions: &mut Vec<Action>) {
        if self.phase == Phase::New {
            self.phase = Phase::Running;
            self.set_wanted(policy.workers, actions);
            self.policy = policy;
        }
    }
}

impl Policy {
    /// No workers and no limits: before the settings are known.
    const NONE: Self = Self {
        workers: 0,
        timeout: None,
        boot_timeout: None,
        graceful_timeout: Duration::ZERO,
        reload_watch: Duration::ZERO,
        max_age: None,
        drain_delay: Duration::ZERO,
        tolerate_boot_failure: false,
    };
}
