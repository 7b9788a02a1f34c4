//! The brain of the arbiter: what happened goes in, what to do comes out. No I/O, no clock, no system call,
//! so that every story a server can live through is a test that takes a microsecond. Start, reload, scaling,
//! crash recovery and stop are not procedures here: each changes what is wanted, and `settle.rs` closes the
//! gap. Called by the driver alone.
#![forbid(unsafe_code)]

mod event;
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

pub use event::{
    Action, Ask, BootFailure, BootFailureKind, Event, Exit, Generation, Moment, Order, Outcome,
    Pid, Policy, RetireReason, Slot, WorkerId,
};
pub use note::{Killed, Level, Note};
pub use pool::{Pool, Stage, TemplateStage, Worker};

use reload::{Reload, Watch};
use throttle::{Throttle, YOUNG};

/// How long a process that must go at once may take.
const QUICK: Duration = Duration::from_secs(2);
/// From ABRT to KILL: time to write down where it was.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where the arbiter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// See the file's head.
#[derive(Debug)]
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
    /// The scoreboard was looked at then.
    looked: Moment,
    /// Times before this do not count against a worker: the arbiter itself was late.
    mercy: Moment,
    upgrade: Option<Pid>,
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
            looked: Moment::default(),
            mercy: Moment::default(),
            upgrade: None,
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

    /// Workers and templates.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Takes in what happened, and says what to do.
    pub fn step(&mut self, now: Moment, event: Event, actions: &mut Vec<Action>) {
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
            Event::Beat(id, since) => self.beat(now, id, since),
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

    fn start(&mut self, _now: Moment, policy: Policy, actions: &mut Vec<Action>) {
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

    fn ordered(&mut self, now: Moment, order: Order, actions: &mut Vec<Action>) {
        let running = self.phase == Phase::Running;
        match order {
            Order::Stop => self.stop(now, Outcome::Asked, false, actions),
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
            Order::Reload if running => self.reload_ordered(actions),
            Order::More if running => self.want(self.wanted.saturating_add(1), actions),
            Order::Fewer if running => self.want(self.wanted.saturating_sub(1).max(1), actions),
            Order::Scale(count) if running => self.want(count.max(1), actions),
            Order::Dismiss if running => {
                actions.push(Action::Say(Note::Dismissed));
                self.want(0, actions);
            }
            Order::Retire(id) if running => self.retire(id),
            Order::Upgrade if running => actions.push(match self.upgrade {
                Some(_) => Action::Say(Note::UpgradeExists),
                None => Action::Upgrade,
            }),
            Order::Reload
            | Order::More
            | Order::Fewer
            | Order::Scale(_)
            | Order::Dismiss
            | Order::Retire(_)
            | Order::Upgrade => actions.push(Action::Say(Note::IgnoredWhileStopping(order.name()))),
        }
    }

    /// Ends everything. A second order makes it quick.
    fn stop(&mut self, now: Moment, outcome: Outcome, quick: bool, actions: &mut Vec<Action>) {
        let again = match self.phase {
            Phase::New | Phase::Running => {
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
        let generations: Vec<Generation> = self.pool.templates.keys().copied().collect();
        for generation in generations {
            self.end_template(now, generation, actions);
        }
        self.reload = None;
    }

    /// Tells a worker to leave.
    fn dismiss(&mut self, now: Moment, id: WorkerId, quick: bool, actions: &mut Vec<Action>) {
        let graceful = self.policy.graceful_timeout;
        let Some(worker) = self.pool.workers.get_mut(&id) else {
            return;
        };
        let (pid, quick) = match worker.stage {
            // Holds nothing yet.
            Stage::Booting { pid, .. } => (pid, true),
            Stage::Serving { pid, .. } => (pid, quick),
            Stage::Leaving {
                pid, quick: false, ..
            } if quick => (pid, true),
            // A worker to be is told as soon as it shows itself; the others know.
            Stage::Forking { .. } | Stage::Killed { .. } | Stage::Leaving { .. } => return,
        };
        let until = Moment(now.0.saturating_add(if quick { QUICK } else { graceful }));
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

    fn forked(&mut self, now: Moment, id: WorkerId, pid: Pid, actions: &mut Vec<Action>) {
        match self.pool.workers.get_mut(&id) {
            None => self.send_away(pid, actions),
            Some(worker) => {
                if let Stage::Forking { since } = worker.stage {
                    worker.stage = Stage::Booting { pid, since };
                    if matches!(self.phase, Phase::Stopping { .. }) {
                        self.dismiss(now, id, true, actions);
                    }
                }
            }
        }
    }

    fn ready(&mut self, now: Moment, id: WorkerId, pid: Pid, actions: &mut Vec<Action>) {
        let Some(worker) = self.pool.workers.get_mut(&id) else {
            self.send_away(pid, actions);
            return;
        };
        match worker.stage {
            Stage::Forking { .. } | Stage::Booting { .. } => {
                worker.stage = Stage::Serving {
                    pid,
                    since: now,
                    busy: None,
                };
                let generation = worker.generation;
                self.ever_ready = true;
                if matches!(self.phase, Phase::Stopping { .. }) {
                    self.dismiss(now, id, true, actions);
                } else {
                    self.canary_is_ready(now, generation, actions);
                }
            }
            Stage::Serving { .. } | Stage::Leaving { .. } | Stage::Killed { .. } => {}
        }
    }

    fn send_away(&mut self, pid: Pid, actions: &mut Vec<Action>) {
        if self.strangers.insert(pid) {
            actions.push(Action::Ask(pid, Ask::Kill));
        }
    }

    fn beat(&mut self, now: Moment, id: WorkerId, since: Option<Moment>) {
        self.look(now);
        if let Some(worker) = self.pool.workers.get_mut(&id)
            && let Stage::Serving { busy, .. } = &mut worker.stage
        {
            *busy = since;
        }
    }

    /// A stopped worker (SIGSTOP) answers nobody: it is busy from now on. Continued, the scoreboard tells.
    fn stopped(&mut self, now: Moment, pid: Pid, stopped: bool) {
        let worker = self
            .pool
            .by_pid(pid)
            .and_then(|id| self.pool.workers.get_mut(&id));
        if let Some(worker) = worker
            && let Stage::Serving { busy, .. } = &mut worker.stage
        {
            *busy = if stopped { busy.or(Some(now)) } else { None };
        }
    }

    /// A look that comes much later than planned (a machine or an arbiter that was stopped) blames no worker
    /// for a silence that was everyone's. Not twice in a row: a loop that is always late must still end hangs.
    fn look(&mut self, now: Moment) {
        if let Some(timeout) = self.policy.timeout {
            let late = now.0.saturating_sub(self.looked.0) > timeout.saturating_mul(2);
            let rare = now.0.saturating_sub(self.mercy.0) > timeout.saturating_mul(4);
            if late && rare {
                self.mercy = now;
            }
        }
        self.looked = now;
    }

    fn exited(&mut self, now: Moment, pid: Pid, exit: Exit, actions: &mut Vec<Action>) {
        if self.strangers.remove(&pid) {
            return;
        }
        if let Some(id) = self.pool.by_pid(pid) {
            self.worker_exited(now, id, exit, actions);
        } else if let Some(generation) = self.pool.template_by_pid(pid) {
            self.template_exited(now, generation, pid, exit, actions);
        } else if self.upgrade == Some(pid) {
            self.upgrade = None;
            actions.push(Action::Say(Note::UpgradeEnded(exit)));
        }
    }

    fn worker_exited(&mut self, now: Moment, id: WorkerId, exit: Exit, actions: &mut Vec<Action>) {
        let Some(worker) = self.pool.workers.remove(&id) else {
            return;
        };
        actions.push(Action::FreeSlot(worker.slot));
        self.retiring.retain(|other| *other != id);
        if self.token == Some(id) {
            self.token = None;
        }
        match worker.stage {
            Stage::Killed { pid, why, .. } => actions.push(Action::Say(Note::WeKilled(pid, why))),
            Stage::Leaving { pid, quick, .. } => {
                // One that was still booting had no handlers yet: the signal was its end.
                let asked = quick && matches!(exit, Exit::Signal(3 | 15));
                if exit != Exit::Code(0) && !asked {
                    actions.push(Action::Say(Note::Ended(pid, exit)));
                }
            }
            Stage::Serving { pid, since, .. } => {
                actions.push(Action::Say(Note::Ended(pid, exit)));
                // Killed from outside is no sign of a bad app; leaving or crashing at once is.
                let outside = matches!(exit, Exit::Signal(9 | 15));
                let young = now.0.saturating_sub(since.0) < YOUNG;
                if young && !outside {
                    self.strike(now, actions);
                } else if !young {
                    self.throttle.forgive();
                }
                self.new_worker_died(now, worker.generation, actions);
            }
            Stage::Booting { pid, .. } => {
                actions.push(Action::Say(Note::Ended(pid, exit)));
                let kind = match exit {
                    Exit::Code(4) => BootFailureKind::App,
                    Exit::Code(_) | Exit::Signal(_) => BootFailureKind::Boot,
                };
                let summary = "a worker ended before it was ready".to_owned();
                self.no_boot(
                    now,
                    worker.generation,
                    &BootFailure { kind, summary },
                    actions,
                );
            }
            Stage::Forking { .. } => {}
        }
    }

    fn strike(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if let Some(wait) = self.throttle.strike(now) {
            actions.push(Action::Say(Note::Throttled(wait.as_millis())));
        }
    }

    fn fork_failed(&mut self, now: Moment, id: WorkerId, reason: &str, actions: &mut Vec<Action>) {
        let Some(worker) = self.pool.workers.get(&id) else {
            return;
        };
        // Too late: it has shown itself, or is gone.
        if !matches!(worker.stage, Stage::Forking { .. }) {
            return;
        }
        let (slot, generation) = (worker.slot, worker.generation);
        self.pool.workers.remove(&id);
        actions.push(Action::FreeSlot(slot));
        if self.phase == Phase::Running {
            actions.push(Action::Say(Note::ForkFailed(reason.to_owned())));
            self.strike(now, actions);
            self.canary_failed(now, generation, reason, actions);
        }
    }

    /// The worker said itself why; its exit follows.
    fn boot_failed(
        &mut self,
        now: Moment,
        id: WorkerId,
        failure: &BootFailure,
        actions: &mut Vec<Action>,
    ) {
        let Some(worker) = self.pool.workers.get_mut(&id) else {
            return;
        };
        let Stage::Booting { pid, .. } = worker.stage else {
            return;
        };
        worker.stage = Stage::Leaving {
            pid,
            until: Moment(now.0.saturating_add(QUICK)),
            quick: true,
        };
        let generation = worker.generation;
        self.no_boot(now, generation, failure, actions);
    }

    /// A worker or template could not boot. Before anything was ever ready this is the end; later it is
    /// something to wait out.
    fn no_boot(
        &mut self,
        now: Moment,
        generation: Generation,
        failure: &BootFailure,
        actions: &mut Vec<Action>,
    ) {
        if self.phase != Phase::Running {
            return;
        }
        if self.canary_failed(now, generation, &failure.summary, actions) {
            return;
        }
        if self.ever_ready {
            self.strike(now, actions);
            self.new_worker_died(now, generation, actions);
            return;
        }
        let outcome = match failure.kind {
            BootFailureKind::Boot => Outcome::NoBoot,
            BootFailureKind::App => Outcome::NoApp,
            BootFailureKind::Host => Outcome::Refused,
        };
        self.stop(now, outcome, true, actions);
    }
}
