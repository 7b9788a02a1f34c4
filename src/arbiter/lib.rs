//! The brain of the arbiter: what happened goes in, what to do comes out. No I/O, no clock, no system call,
//! so that every story a server can live through is a test that takes a microsecond. Start, reload, scaling,
//! crash recovery and stop are not procedures here: each changes what is wanted, and `settle.rs` closes the
//! gap. Called by the driver alone.
#![forbid(unsafe_code)]

mod due;
mod event;
mod life;
mod note;
mod pool;
mod reload;
mod settle;
mod throttle;

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, as it should"
)]
mod story;
#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, as it should"
)]
mod tests;

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use rcorn_types::Monotonic;

pub use event::{
    Action, Ask, BootFailure, BootFailureKind, Event, Exit, Generation, Order, Outcome, Pid,
    Policy, RetireReason, Slot, WorkerId,
};
pub use note::{Killed, Note};
pub use pool::{Pool, Stage, TemplateStage, Worker};

use reload::{Reload, Watch};
use throttle::Throttle;

/// How long a process that must go at once may take.
const QUICK: Duration = Duration::from_secs(2);
/// From ABRT to KILL.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Time for a hung worker to write down where it is; on a busy machine it may wait for a processor first.
const TESTIMONY: Duration = Duration::from_millis(300);

/// Where the arbiter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing has begun.
    New,
    /// Keeping the workers alive.
    Running,
    /// Ending everything, for this reason.
    Stopping {
        /// What the exit code will say.
        outcome: Outcome,
        /// At once, not gracefully.
        quick: bool,
    },
    /// Nothing follows.
    Gone,
}

/// See the file's head. It can be written down and read again: an arbiter that execs a new build of itself
/// goes on where it was.
#[derive(Debug, Serialize, Deserialize)]
pub struct Arbiter {
    phase: Phase,
    policy: Policy,
    /// How many workers there shall be: the policy's number, until TTIN, TTOU or WINCH.
    wanted: u32,
    /// The generation in force.
    generation: Generation,
    /// The highest generation ever made.
    newest: Generation,
    pool: Pool,
    reload: Option<Reload>,
    reload_again: bool,
    watch: Option<Watch>,
    throttle: Throttle,
    /// Workers that ask to be replaced, in order.
    retiring: VecDeque<WorkerId>,
    /// The one of them whose turn it is.
    token: Option<WorkerId>,
    /// A worker of any generation was ready once.
    ever_ready: bool,
    /// The scoreboard was looked at then, for all workers.
    looked: Monotonic,
    /// Times before this do not count against a worker: the arbiter itself was late.
    mercy: Monotonic,
    upgrade: Option<Pid>,
    /// The stop that was ordered begins then; until then all goes on.
    stop_at: Option<Monotonic>,
    /// Workers that were stopped (SIGSTOP) and not continued: what the scoreboard says of them is old.
    frozen: BTreeSet<WorkerId>,
    /// Workers that showed themselves after they were given up; killed, not reaped yet.
    strangers: BTreeSet<Pid>,
}

impl Arbiter {
    /// An arbiter that nothing has happened to. `seed`: for the jitter of waits.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let none = Policy {
            workers: 0,
            timeout: None,
            boot_timeout: None,
            graceful_timeout: Duration::ZERO,
            reload_watch: Duration::ZERO,
            max_age: None,
            drain_delay: Duration::ZERO,
            patient: false,
        };
        Self {
            phase: Phase::New,
            policy: none,
            wanted: 0,
            generation: Generation(1),
            newest: Generation(1),
            pool: Pool::default(),
            reload: None,
            reload_again: false,
            watch: None,
            throttle: Throttle::new(seed),
            retiring: VecDeque::new(),
            token: None,
            ever_ready: false,
            looked: Monotonic::ZERO,
            mercy: Monotonic::ZERO,
            upgrade: None,
            stop_at: None,
            frozen: BTreeSet::new(),
            strangers: BTreeSet::new(),
        }
    }

    /// Where the arbiter is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How many workers there shall be.
    pub fn wanted(&self) -> u32 {
        self.wanted
    }

    /// The generation in force.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The new arbiter beside this one, if there is one.
    pub fn upgrade(&self) -> Option<Pid> {
        self.upgrade
    }

    /// Whether a reload serves on probation.
    pub fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// Whether all is being ended.
    pub fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping { .. })
    }

    /// Whether a stop was ordered that has not begun.
    pub fn is_stop_delayed(&self) -> bool {
        self.stop_at.is_some()
    }

    /// Whether a reload is being prepared or rolled out.
    pub fn is_reloading(&self) -> bool {
        self.reload.is_some() || self.reload_again || self.outdated() > 0
    }

    /// Workers and templates.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Takes in what happened, and says what to do.
    pub fn step(&mut self, now: Monotonic, event: Event, actions: &mut Vec<Action>) {
        if self.phase == Phase::Gone {
            return;
        }
        match event {
            Event::Started(policy) => self.start(now, policy, actions),
            Event::Ordered(order) => self.ordered(now, order, actions),
            Event::Loaded(policy) => self.loaded(policy, actions),
            Event::NotLoaded(reason) => self.not_loaded(reason, actions),
            Event::TemplateStarted(generation, pid) => {
                self.template_started(now, generation, pid, actions);
            }
            Event::TemplateNotStarted(generation, reason) => {
                self.pool.templates.remove(&generation);
                actions.push(Action::Say(Note::TemplateNotStarted(reason.clone())));
                let failure = BootFailure {
                    kind: BootFailureKind::Host,
                    summary: reason,
                };
                self.template_failed(now, generation, &failure, actions);
            }
            Event::TemplateReady(generation) => {
                if let Some(stage) = self.pool.templates.get_mut(&generation)
                    && let TemplateStage::Starting { pid, .. } = *stage
                {
                    *stage = TemplateStage::Ready { pid };
                }
            }
            Event::TemplateFailed(generation, failure) => {
                self.end_template(now, generation, actions);
                self.template_failed(now, generation, &failure, actions);
            }
            Event::Forked(id, pid) => self.forked(now, id, pid, actions),
            Event::ForkFailed(id, reason) => self.fork_failed(now, id, &reason, actions),
            Event::Ready(id, pid) => self.ready(now, id, pid, actions),
            Event::BootFailed(id, failure) => self.boot_failed(now, id, &failure, actions),
            Event::WantsRetirement(id, _) => self.retire(id),
            Event::Beat(id, since) => self.beat(now, id, since, actions),
            Event::Stopped(pid, stopped) => self.stopped(now, pid, stopped),
            Event::Exited(pid, exit) => self.exited(now, pid, exit, actions),
            Event::UpgradeStarted(pid) => self.upgrade = Some(pid),
            Event::UpgradeNotStarted(reason) => {
                actions.push(Action::Say(Note::UpgradeNotStarted(reason)));
            }
            Event::Tick => self.look(now),
        }
        self.settle(now, actions);
    }

    fn start(&mut self, _now: Monotonic, policy: Policy, actions: &mut Vec<Action>) {
        if self.phase == Phase::New {
            self.phase = Phase::Running;
            self.want(policy.workers, actions);
            self.policy = policy;
        }
    }

    fn want(&mut self, count: u32, actions: &mut Vec<Action>) {
        if self.wanted != count {
            self.wanted = count;
            actions.push(Action::Wanted(count));
            actions.push(Action::Say(Note::Workers(count)));
        }
    }

    fn ordered(&mut self, now: Monotonic, order: Order, actions: &mut Vec<Action>) {
        let running = self.phase == Phase::Running && self.stop_at.is_none();
        match order {
            Order::Stop => self.stop_ordered(now, actions),
            Order::Quit => self.stop(now, Outcome::Asked, true, actions),
            Order::Reopen => {
                actions.push(Action::ReopenLogs);
                let pids = self
                    .pool
                    .workers
                    .values()
                    .filter(|worker| worker.stage.is_serving());
                actions.extend(
                    pids.filter_map(|worker| worker.stage.pid())
                        .map(|pid| Action::Ask(pid, Ask::Reopen)),
                );
            }
            Order::Reload if running => self.reload_ordered(now, actions),
            Order::More if running => self.want(self.wanted.saturating_add(1), actions),
            Order::Fewer if running => self.want(self.wanted.saturating_sub(1).max(1), actions),
            Order::Scale(count) if running => self.want(count.max(1), actions),
            Order::Dismiss if running => {
                actions.push(Action::Say(Note::Dismissed));
                self.want(0, actions);
            }
            Order::Retire(id) if running => self.retire(id),
            Order::Upgrade if running => self.upgrade_ordered(now, actions),
            Order::Reload
            | Order::More
            | Order::Fewer
            | Order::Scale(_)
            | Order::Dismiss
            | Order::Retire(_)
            | Order::Upgrade => actions.push(Action::Say(Note::IgnoredWhileStopping(order.name()))),
        }
    }

    /// TERM: at once, or after `drain_delay`; a second one does not wait.
    fn stop_ordered(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let delay = self.policy.drain_delay;
        if self.phase == Phase::Running && self.stop_at.is_none() && !delay.is_zero() {
            self.stop_at = Some(now.after(delay));
            self.reload_again = false;
            actions.push(Action::Say(Note::StopDelayed(delay.as_secs())));
        } else {
            self.stop(now, Outcome::Asked, false, actions);
        }
    }

    /// The driver may go away in the middle of performing this: nothing may be under way that it alone knows.
    fn upgrade_ordered(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        if self.upgrade.is_some() {
            actions.push(Action::Say(Note::UpgradeExists));
        } else if self.is_reloading() {
            actions.push(Action::Say(Note::UpgradeNotStarted(
                "a reload is under way".to_owned(),
            )));
        } else {
            self.end_watch(now, actions);
            actions.push(Action::Upgrade);
        }
    }

    /// Ends everything. A second order makes it quick.
    fn stop(&mut self, now: Monotonic, outcome: Outcome, quick: bool, actions: &mut Vec<Action>) {
        let again = match self.phase {
            Phase::New | Phase::Running => {
                self.stop_at = None;
                self.phase = Phase::Stopping { outcome, quick };
                actions.push(Action::CloseListeners);
                false
            }
            Phase::Stopping {
                outcome,
                quick: false,
            } => {
                actions.push(Action::Say(Note::QuickShutdown));
                self.phase = Phase::Stopping {
                    outcome,
                    quick: true,
                };
                true
            }
            Phase::Stopping { quick: true, .. } | Phase::Gone => return,
        };
        let quick = quick || again;
        let ids: Vec<WorkerId> = self.pool.workers.keys().copied().collect();
        for id in ids {
            self.dismiss(now, id, quick, actions);
        }
        // Templates that are ready stay to the end: their hooks hear of it.
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
        self.reload = None;
    }

    /// Tells a worker to leave.
    fn dismiss(&mut self, now: Monotonic, id: WorkerId, quick: bool, actions: &mut Vec<Action>) {
        let graceful = self.policy.graceful_timeout;
        let Some(worker) = self.pool.workers.get_mut(&id) else {
            return;
        };
        let until = now.after(if quick { QUICK } else { graceful });
        let (pid, until) = match worker.stage {
            // One that boots may serve already: its report may be on its way.
            Stage::Booting { pid, .. } | Stage::Serving { pid, .. } => (pid, until),
            // No later than it would have been without the hurry.
            Stage::Leaving {
                pid,
                quick: false,
                until: before,
            } if quick => (pid, until.min(before)),
            // A worker to be is told as soon as it shows itself; the others know.
            Stage::Forking { .. }
            | Stage::Killed { .. }
            | Stage::Testifying { .. }
            | Stage::Leaving { .. } => return,
        };
        worker.stage = Stage::Leaving { pid, until, quick };
        actions.push(Action::Ask(pid, if quick { Ask::Quit } else { Ask::Drain }));
    }

    fn retire(&mut self, id: WorkerId) {
        let serves = self
            .pool
            .workers
            .get(&id)
            .is_some_and(|worker| worker.stage.is_serving());
        if serves && self.token != Some(id) && !self.retiring.contains(&id) {
            self.retiring.push_back(id);
        }
    }
}
