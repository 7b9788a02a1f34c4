//! A pretend kernel and driver: performs the arbiter's actions, misbehaves on order, and asserts
//! after each event what must hold whatever happens.

use core::time::Duration;
use std::collections::BTreeSet;

use rcorn_types::Monotonic;

use super::super::upgrade::Upgrade;
use super::super::*;
use super::coverage::{self, Coverage};
use super::orders::Orders;
use super::processes::{Process, Processes};
use super::steps::{SimFailure, SimOrder, SimStep};

/// Something that has not happened yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    /// The settings are read.
    Load,
    /// The new arbiter is started.
    Upgrade,
    /// A template is started.
    TemplateStart(Generation),
    /// A template imports the app.
    Import(Generation, Pid),
    /// The template with this pid forks a worker.
    Fork(WorkerId, Pid),
    /// The template with the first pid reports a fork.
    ForkReport(WorkerId, Pid, Pid),
    /// A worker that is to be promoted looks at its import.
    Look(WorkerId, Pid),
    /// A worker that is to become the template looks at what it has served.
    LookBack(WorkerId, Pid),
    /// A worker boots.
    Boot(WorkerId, Pid),
    /// A spare worker imports the app.
    BootSpare(WorkerId, Pid),
    /// A spare worker begins to serve.
    Activation(WorkerId, Pid),
}

/// The world of one arbiter.
#[derive(Debug)]
pub(super) struct FakeKernel {
    pub(super) arbiter: Arbiter,
    pub(super) now: Monotonic,
    pub(super) pending: Vec<Pending>,
    pub(super) processes: Processes,
    orders: Orders,
    /// Workers that are to become templates.
    to_promote: BTreeSet<WorkerId>,
    /// Workers that are to wait.
    spares: BTreeSet<WorkerId>,
    /// What the next import does may be shared.
    is_safe: bool,
    has_been_ready: bool,
    policies: Vec<Policy>,
    loads: usize,
    pub(super) forks: u32,
    pub(super) outcome: Option<Outcome>,
    pub(super) actions: Vec<Action>,
    /// What was seen, if somebody wants to know.
    pub(super) coverage: Option<Coverage>,
}

impl FakeKernel {
    pub(super) fn new(policies: &[Policy]) -> Self {
        Self::observed(policies, None)
    }

    /// With a note of what happens.
    pub(super) fn observed(policies: &[Policy], coverage: Option<Coverage>) -> Self {
        let mut kernel = Self {
            arbiter: Arbiter::new(7),
            now: Monotonic::ZERO.after(Duration::from_secs(1000)),
            pending: Vec::new(),
            processes: Processes::default(),
            orders: Orders::default(),
            to_promote: BTreeSet::new(),
            spares: BTreeSet::new(),
            is_safe: true,
            has_been_ready: false,
            policies: policies.to_vec(),
            loads: 0,
            forks: 0,
            outcome: None,
            actions: Vec::new(),
            coverage,
        };
        let policy = kernel.next_policy();
        kernel.send(Event::Started(policy));
        kernel
    }

    fn next_policy(&mut self) -> Policy {
        let index = self.loads % self.policies.len();
        self.loads += 1;
        self.policies.get(index).unwrap().clone()
    }

    pub(super) fn take_actions(&mut self) -> Vec<Action> {
        core::mem::take(&mut self.actions)
    }

    /// Sends one event, performs the actions, and checks what must always hold.
    pub(super) fn send(&mut self, event: Event) {
        if self.outcome.is_some() {
            return;
        }
        let before = self.coverage.as_mut().map(|coverage| {
            coverage.event(&event);
            coverage::stages(&self.arbiter)
        });
        let mut actions = Vec::new();
        self.arbiter.step(self.now, event, &mut actions);
        if let (Some(coverage), Some(before)) = (&mut self.coverage, before) {
            coverage.transitions(&before, &self.arbiter);
            for action in &actions {
                coverage.action(action);
            }
        }
        for action in actions {
            assert!(self.outcome.is_none(), "{action:?} follows the exit");
            self.perform(&action);
            self.actions.push(action);
        }
        self.check();
    }

    fn check(&self) {
        if self.outcome.is_some() {
            return;
        }
        self.orders.check(&self.arbiter);
        assert!(
            self.processes.retired.len() <= 1,
            "two workers retire at the same time"
        );
        if self.arbiter.is_stopping() {
            self.check_everyone_is_told();
        }
    }

    /// Once the server stops, every worker has been asked to leave. One that writes a stack dump is
    /// about to be killed; if it makes progress, it is asked then.
    fn check_everyone_is_told(&self) {
        for (id, worker) in self.arbiter.workers().iter() {
            let is_exempt = matches!(
                worker.stage,
                WorkerStage::Dumping { .. } | WorkerStage::Forking { .. }
            );
            let pid = worker.stage.pid();
            assert!(
                is_exempt
                    || pid == self.processes.reported_late
                    || pid.is_some_and(|pid| self.processes.told.contains(&pid)),
                "worker {id:?} was not told of the stop: {worker:?}"
            );
        }
    }

    fn perform(&mut self, action: &Action) {
        match action {
            Action::Load => {
                assert!(
                    !self.orders.has_loaded_settings,
                    "loaded settings are forgotten"
                );
                self.pending.push(Pending::Load);
            }
            Action::Upgrade => {
                let exists = self.pending.contains(&Pending::Upgrade)
                    || self.processes.pid_of(Process::NewArbiter).is_some();
                assert!(!exists, "two upgrades at a time");
                assert!(!self.orders.has_loaded_settings && !self.arbiter.is_reloading());
                self.pending.push(Pending::Upgrade);
            }
            Action::StartTemplate(generation) => self.start_template(*generation),
            Action::EndTemplate(generation) => {
                let pid = self.processes.pid_of(Process::Template(*generation));
                self.processes
                    .told
                    .insert(pid.expect("a template is told to leave that is not there"));
            }
            Action::KillTemplate(generation, pid) => {
                let process = self.processes.living.get(pid).copied();
                assert!(
                    process == Some(Process::Template(*generation))
                        || process == Some(Process::Replaced(*generation))
                );
                self.processes.told.insert(*pid);
            }
            Action::Fork(id, cell, generation) => self.order_fork(*id, *cell, *generation),
            Action::ForkToPromote(id, cell, generation) => {
                self.to_promote.insert(*id);
                self.order_fork(*id, *cell, *generation);
            }
            Action::ForkSpare(id, cell, generation) => {
                self.spares.insert(*id);
                self.order_fork(*id, *cell, *generation);
            }
            Action::Activate(id) => self.activate(*id),
            Action::Promote(id, generation, pid) => self.promote(*id, *generation, *pid),
            Action::Ask(pid, ask) => self.ask(*pid, *ask),
            Action::PostMortem(id, _, pid) => {
                assert_eq!(self.processes.living.get(pid), Some(&Process::Worker(*id)));
            }
            Action::Commit(generation) => {
                assert_eq!(*generation, self.arbiter.generation());
                self.orders.take_loaded_settings();
            }
            Action::Discard(_) => self.orders.take_loaded_settings(),
            Action::CloseListeners => self.orders.close_listeners(),
            Action::Wanted(count) => self.orders.wanted = *count,
            Action::FreeCell(cell) => self.orders.free(*cell),
            Action::Exit(outcome) => self.exit(*outcome),
            Action::ReopenLogs | Action::Say(_) => {}
        }
    }

    fn start_template(&mut self, generation: Generation) {
        assert!(
            !self.orders.is_closed,
            "a template is started while stopping"
        );
        assert!(
            self.processes
                .pid_of(Process::Template(generation))
                .is_none()
                && !self.pending.contains(&Pending::TemplateStart(generation)),
            "two templates of one generation"
        );
        self.pending.push(Pending::TemplateStart(generation));
    }

    fn order_fork(&mut self, id: WorkerId, cell: CellIndex, generation: Generation) {
        assert!(!self.orders.is_closed, "a worker is forked while stopping");
        let template = self.processes.pid_of(Process::Template(generation));
        assert!(
            template.is_some_and(|pid| !self.processes.told.contains(&pid)),
            "a fork is ordered from a template that is not there"
        );
        self.orders.take(cell, id);
        self.forks += 1;
        self.pending
            .extend(template.map(|pid| Pending::Fork(id, pid)));
    }

    /// One that is heard of only after its end is told by nobody.
    fn activate(&mut self, id: WorkerId) {
        assert!(
            !self.orders.is_closed,
            "a worker begins to serve while stopping"
        );
        let waited = self.spares.remove(&id);
        assert!(waited, "a worker is told to serve that does not wait");
        let pid = self.processes.pid_of(Process::Worker(id));
        self.pending
            .extend(pid.map(|pid| Pending::Activation(id, pid)));
    }

    fn promote(&mut self, id: WorkerId, generation: Generation, pid: Pid) {
        assert!(
            !self.orders.is_closed,
            "a worker is promoted while stopping"
        );
        self.processes.promote(id, generation, pid);
        // The driver knows that this is no worker any more.
        let is_late =
            |pending: &Pending| matches!(pending, Pending::ForkReport(_, _, late) if *late == pid);
        self.pending.retain(|pending| !is_late(pending));
    }

    fn ask(&mut self, pid: Pid, ask: Ask) {
        // A worker that is heard of only after its end: the driver knows that, and sends nothing.
        if self.processes.reported_late == Some(pid) {
            return;
        }
        let process = self.processes.living.get(&pid).copied();
        let process = process.expect("a signal goes to a pid that was reaped");
        match ask {
            Ask::Drain => {
                if let Process::Worker(id) = process {
                    self.drained(id, pid);
                }
                self.processes.told.insert(pid);
            }
            Ask::BecomeTemplate => {
                let Process::Worker(id) = process else {
                    panic!("only a worker becomes the template");
                };
                assert!(!self.arbiter.is_stopping() && self.processes.serving.contains_key(&id));
                self.drained(id, pid);
                self.processes.told.insert(pid);
                self.pending.push(Pending::LookBack(id, pid));
            }
            Ask::Abort => {
                self.processes.told.insert(pid);
                // The second one ends it.
                if !self.processes.unwinding.insert(pid) {
                    self.processes.unwinding.remove(&pid);
                }
            }
            Ask::Quit | Ask::Kill => {
                self.processes.told.insert(pid);
            }
            Ask::Reopen => assert!(
                !self.processes.told.contains(&pid),
                "who leaves reopens no logs"
            ),
            Ask::DumpStacks => {
                if let Process::Worker(id) = process
                    && self.processes.serving.contains_key(&id)
                {
                    let timeout = self.arbiter.generations.policy.timeout;
                    let timeout = timeout.expect("without a timeout nothing hangs");
                    let hangs = self.processes.has_hung(id, pid, self.now, timeout);
                    assert!(hangs, "a worker that works is taken for hung");
                }
            }
        }
    }

    /// A drain must leave the wanted number of serving workers; but for a stop, and for workers
    /// that are not ready.
    fn drained(&mut self, id: WorkerId, pid: Pid) {
        if !self.arbiter.is_stopping() && self.processes.serving.contains_key(&id) {
            let (mut serving, wanted) = (self.serving_now(), self.arbiter.wanted());
            let retirement = &self.arbiter.workers.retirement;
            // Perhaps in this very step, after this one.
            if retirement.leaves_first() {
                serving += 1;
            }
            if retirement.leaves_first() && retirement.holder() == Some(id) {
                let rule = self.arbiter.generations.policy.old_first;
                assert!(rule != OldFirst::Never && (rule != OldFirst::Auto || wanted <= 1));
            }
            assert!(serving >= wanted, "{serving} of {wanted} are left");
        }
        if self.arbiter.workers.retirement.holder() == Some(id) {
            self.processes.retired.insert(pid);
        }
    }

    fn exit(&mut self, outcome: Outcome) {
        let left = self.processes.count_known();
        assert_eq!(left, 0, "the arbiter leaves children behind");
        let is_making =
            |pending: &Pending| matches!(pending, Pending::Fork(..) | Pending::TemplateStart(_));
        assert!(
            !self.pending.iter().any(is_making),
            "the arbiter leaves while something is being made"
        );
        match outcome {
            Outcome::Stopped => {}
            Outcome::HostRefused | Outcome::BootFailed | Outcome::AppNotLoaded => {
                assert!(!self.has_been_ready, "what has served once stays up");
            }
        }
        self.outcome = Some(outcome);
    }

    /// Whose doing this is. A process that is stopped does nothing.
    fn actor(pending: Pending) -> Option<Pid> {
        match pending {
            Pending::Load | Pending::Upgrade | Pending::TemplateStart(_) => None,
            Pending::Import(_, pid)
            | Pending::Boot(_, pid)
            | Pending::BootSpare(_, pid)
            | Pending::Activation(_, pid)
            | Pending::Look(_, pid)
            | Pending::LookBack(_, pid)
            | Pending::Fork(_, pid)
            | Pending::ForkReport(_, pid, _) => Some(pid),
        }
    }

    fn take_pending(&mut self, which: usize) -> Option<Pending> {
        let able: Vec<usize> = (0..self.pending.len())
            .filter(|index| {
                let actor = self.pending.get(*index).and_then(|one| Self::actor(*one));
                actor.is_none_or(|pid| !self.processes.stopped.contains_key(&pid))
            })
            .collect();
        let index = able.get(which % able.len().max(1))?;
        Some(self.pending.remove(*index))
    }

    /// Something pending succeeds.
    pub(super) fn succeed(&mut self, which: usize) {
        let Some(pending) = self.take_pending(which) else {
            return;
        };
        match pending {
            Pending::Load => {
                let policy = self.next_policy();
                self.orders.has_loaded_settings = true;
                self.send(Event::Loaded(policy));
            }
            Pending::Upgrade => {
                let pid = self.processes.spawn(Process::NewArbiter);
                self.send(Event::UpgradeStarted(pid));
            }
            Pending::TemplateStart(generation) => {
                let pid = self.processes.spawn(Process::Template(generation));
                self.pending.push(Pending::Import(generation, pid));
                self.send(Event::TemplateStarted(generation, pid));
            }
            Pending::Import(generation, _) => self.send(Event::TemplateReady(generation)),
            Pending::Fork(id, template) => {
                let pid = self.processes.spawn(Process::Worker(id));
                self.processes.unreported.insert(pid, None);
                self.pending.push(Pending::ForkReport(id, template, pid));
                self.pending.push(if self.to_promote.contains(&id) {
                    Pending::Look(id, pid)
                } else if self.spares.contains(&id) {
                    Pending::BootSpare(id, pid)
                } else {
                    Pending::Boot(id, pid)
                });
            }
            Pending::Look(id, pid) => self.look(id, pid),
            Pending::LookBack(id, pid) if self.is_safe => self.send(Event::Promoted(id, pid)),
            Pending::LookBack(id, _) => self.not_reforked(id),
            Pending::ForkReport(id, _, pid) => self.report(pid, Event::Forked(id, pid)),
            Pending::BootSpare(id, pid) => self.report(pid, Event::SpareReady(id, pid)),
            Pending::Boot(id, pid) | Pending::Activation(id, pid) => {
                let worker = self.arbiter.workers().get(id);
                self.has_been_ready |=
                    !self.orders.is_closed && worker.is_some_and(|worker| worker.stage.is_active());
                self.processes.serving.insert(id, pid);
                self.report(pid, Event::Ready(id, pid));
            }
        }
    }

    /// A worker has imported the app, and says whether it can be the template.
    fn look(&mut self, id: WorkerId, pid: Pid) {
        // The driver says that it was forked, in case its template has not.
        self.report(pid, Event::Forked(id, pid));
        if self.is_safe {
            // It leaves, unless it is promoted.
            self.processes.told.insert(pid);
            self.send(Event::Promoted(id, pid));
            // The template that forked it is late. The driver knows those that were promoted.
            if pid.0 % 2 == 0
                && matches!(self.processes.living.get(&pid), Some(Process::Template(_)))
            {
                self.send(Event::Forked(id, pid));
            }
        } else {
            self.pending.push(Pending::Boot(id, pid));
            self.send(Event::NotPromoted(id));
        }
    }

    /// What a worker has served must not be shared: it leaves.
    fn not_reforked(&mut self, id: WorkerId) {
        self.send(Event::NotReforked(id, "serving left a thread".to_owned()));
    }

    /// The arbiter hears of a worker's pid. If the worker has ended since, that follows.
    fn report(&mut self, pid: Pid, event: Event) {
        if !self.processes.living.contains_key(&pid)
            && !self.processes.unreported.contains_key(&pid)
        {
            // It reported itself, ended and was reaped: the driver drops the late report.
            return;
        }
        let ended = self.processes.unreported.remove(&pid).flatten();
        self.processes.reported_late = ended.map(|_exit| pid);
        self.send(event);
        if let Some(exit) = ended {
            self.send(Event::Exited(pid, exit));
        }
        self.processes.reported_late = None;
    }

    /// Something pending fails.
    pub(super) fn fail(&mut self, which: usize, how: SimFailure) {
        let Some(pending) = self.take_pending(which) else {
            return;
        };
        match pending {
            Pending::Load => self.send(Event::NotLoaded("bad settings".into())),
            Pending::Upgrade if self.arbiter.is_reloading() => self.send(Event::UpgradePutOff),
            Pending::Upgrade => self.send(Event::UpgradeNotStarted("no such file".into())),
            Pending::TemplateStart(generation) => {
                self.send(Event::TemplateNotStarted(generation, "no python".into()));
            }
            Pending::Fork(id, _) => self.send(Event::ForkFailed(id, "no memory".into())),
            Pending::LookBack(id, _) => self.not_reforked(id),
            // It cannot fail.
            Pending::ForkReport(id, _, pid) => self.report(pid, Event::Forked(id, pid)),
            Pending::Import(generation, pid) => {
                let (failure, exit) = failure(how);
                if let Some(failure) = failure {
                    self.send(Event::TemplateFailed(generation, failure));
                }
                self.die(pid, exit);
            }
            Pending::Boot(id, pid)
            | Pending::BootSpare(id, pid)
            | Pending::Activation(id, pid)
            | Pending::Look(id, pid) => {
                let (failure, exit) = failure(how);
                if let Some(failure) = failure {
                    // It leaves by itself.
                    self.processes.told.insert(pid);
                    // The driver says that it was forked, in case its template has not.
                    self.report(pid, Event::Forked(id, pid));
                    self.send(Event::BootFailed(id, failure));
                }
                self.die(pid, exit);
            }
        }
    }

    /// A process ends, and is reaped.
    pub(super) fn die(&mut self, pid: Pid, exit: Exit) {
        let Some(process) = self.processes.end(pid) else {
            return;
        };
        // What it would have done does not come; what it was ordered has failed.
        let mut lost = Vec::new();
        self.pending.retain(|pending| match *pending {
            Pending::Import(_, actor)
            | Pending::Boot(_, actor)
            | Pending::BootSpare(_, actor)
            | Pending::Activation(_, actor)
            | Pending::Look(_, actor)
            | Pending::LookBack(_, actor) => actor != pid,
            Pending::Fork(id, template) | Pending::ForkReport(id, template, _) => {
                let is_its = template == pid;
                lost.extend(is_its.then_some(id));
                !is_its
            }
            Pending::Load | Pending::Upgrade | Pending::TemplateStart(_) => true,
        });
        // The driver keeps the end of a process that nobody reported yet.
        if let Some(ended) = self.processes.unreported.get_mut(&pid) {
            *ended = Some(exit);
            return;
        }
        self.send(Event::Exited(pid, exit));
        if let Process::Worker(id) = process {
            assert!(
                !self.arbiter.workers.heartbeats.is_stopped(id),
                "something is kept of a worker that is gone"
            );
        }
        for id in lost {
            self.send(Event::ForkFailed(id, "its template ended".into()));
        }
    }

    /// Time passes; what becomes due is looked at in time.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now.after(time);
        while self.outcome.is_none() {
            let due = self.arbiter.deadline().map(|due| due.max(self.now));
            let Some(due) = due.filter(|due| *due <= until) else {
                break;
            };
            self.now = due;
            self.tick();
        }
        self.now = until;
    }

    /// The driver reads the scoreboard and says that time has passed.
    pub(super) fn tick(&mut self) {
        for id in self.processes.serving.keys().copied().collect::<Vec<_>>() {
            let since = self.processes.busy.get(&id).copied();
            self.send(Event::Beat(id, since));
        }
        self.send(Event::Tick);
        if self.outcome.is_none() {
            let next = self.arbiter.deadline();
            assert!(
                next.is_none_or(|next| next > self.now),
                "a deadline stays due: {next:?} at {:?}",
                self.now
            );
        }
    }

    /// Those that were asked to leave do so, as far as they run.
    pub(super) fn leave(&mut self) {
        for pid in self.processes.told.clone() {
            if !self.processes.stopped.contains_key(&pid) {
                self.die(pid, Exit::Code(0));
            }
        }
    }

    /// The same, but for those that could be the template.
    pub(super) fn leave_if_not_looking(&mut self) {
        let looks = |pending: &Pending| match *pending {
            Pending::LookBack(_, pid) => Some(pid),
            Pending::Load
            | Pending::Upgrade
            | Pending::TemplateStart(_)
            | Pending::Import(..)
            | Pending::Fork(..)
            | Pending::ForkReport(..)
            | Pending::Look(..)
            | Pending::Boot(..)
            | Pending::BootSpare(..)
            | Pending::Activation(..) => None,
        };
        let looking: BTreeSet<Pid> = self.pending.iter().filter_map(looks).collect();
        for pid in self.processes.told.clone().difference(&looking) {
            self.die(*pid, Exit::Code(0));
        }
    }

    fn stop(&mut self, pid: Pid) {
        if !self.processes.stopped.contains_key(&pid) {
            self.processes.stopped.insert(pid, self.now);
            self.send(Event::Stopped(pid));
        }
    }

    pub(super) fn continue_all(&mut self) {
        for pid in core::mem::take(&mut self.processes.stopped).into_keys() {
            self.send(Event::Continued(pid));
        }
    }

    /// Saves the arbiter, and reads it back.
    pub(super) fn save(&mut self) {
        // While another is being started, an upgrade in place is the only one that could read it.
        if self.arbiter.upgrade != Upgrade::Starting {
            let text = serde_json::to_string(&self.arbiter).unwrap();
            self.arbiter = serde_json::from_str(&text).unwrap();
        }
    }

    pub(super) fn apply(&mut self, step: &SimStep) {
        if self.outcome.is_some() {
            return;
        }
        match step {
            SimStep::Order(order) => self.order(*order),
            SimStep::Succeed(which) => self.succeed(usize::from(*which)),
            SimStep::Fail(which, how) => self.fail(usize::from(*which), *how),
            SimStep::Die(which, exit) => {
                if let Some(pid) = nth(self.processes.living.keys(), *which) {
                    self.die(pid, *exit);
                }
            }
            SimStep::Leave(which) => {
                let able = self.processes.told.iter();
                let able = able.filter(|pid| !self.processes.stopped.contains_key(pid));
                if let Some(pid) = nth(able, *which) {
                    // Its request has not ended.
                    let is_hung = self.processes.unwinding.contains(&pid) && *which % 2 == 1;
                    self.die(pid, Exit::Code(i32::from(is_hung)));
                }
            }
            SimStep::Request(which, begins) => {
                let able = self.processes.serving.iter();
                let able = able.filter(|(_, pid)| !self.processes.stopped.contains_key(pid));
                match nth(able.map(|(id, _)| id), *which) {
                    Some(id) if *begins => {
                        self.processes.busy.insert(id, self.now);
                    }
                    Some(id) => {
                        self.processes.busy.remove(&id);
                    }
                    None => {}
                }
            }
            SimStep::Recover(which) => self.recover(*which),
            SimStep::WantRetirement(which, why) => {
                if let Some(id) = nth(self.processes.serving.keys(), *which) {
                    self.send(Event::WantsRetirement(id, *why));
                }
            }
            SimStep::WantRefork(which) => {
                if let Some(id) = nth(self.processes.serving.keys(), *which) {
                    self.send(Event::WantsRefork(id));
                }
            }
            SimStep::Stop(which) => {
                if let Some(pid) = nth(self.processes.living.keys(), *which) {
                    self.stop(pid);
                }
            }
            SimStep::Continue => self.continue_all(),
            SimStep::Orphan => self.send(Event::Exited(Pid(1_000_000), Exit::Code(0))),
            SimStep::Pass(time) => self.pass(*time),
            SimStep::Jump(time) => {
                self.now = self.now.after(*time);
                self.tick();
            }
            SimStep::Save => self.save(),
            SimStep::Verdict(is_safe) => self.is_safe = *is_safe,
        }
    }

    /// A worker ends the request that it was asked to unwind. The arbiter may be about to kill it.
    fn recover(&mut self, which: u8) {
        let able = self.processes.unwinding.iter();
        let able = able.filter(|pid| !self.processes.stopped.contains_key(pid));
        let Some(pid) = nth(able, which) else {
            return;
        };
        self.processes.unwinding.remove(&pid);
        if let Some(Process::Worker(id)) = self.processes.living.get(&pid).copied() {
            self.processes.busy.remove(&id);
            let worker = self.arbiter.workers().get(id);
            if worker.is_some_and(|one| matches!(one.stage, WorkerStage::Unwinding { .. })) {
                self.processes.told.remove(&pid);
            }
            self.send(Event::Recovered(id));
        }
    }

    fn order(&mut self, order: SimOrder) {
        let order = match order {
            SimOrder::Plain(order) => order,
            SimOrder::Retire(which) => Order::Retire(self.worker(which)),
            SimOrder::Refork(which) => Order::Refork(self.worker(which)),
        };
        if let Some(coverage) = &mut self.coverage {
            coverage.order(order);
        }
        self.send(Event::Ordered(order));
    }

    fn worker(&self, which: u8) -> WorkerId {
        nth(self.arbiter.workers().by_id.keys(), which).unwrap_or(WorkerId(0))
    }

    /// From now on everything goes well, and nobody gets too old.
    pub(super) fn calm_down(&mut self) {
        self.processes.busy.clear();
        self.continue_all();
        for _ in 0..400 {
            if self.outcome.is_some() {
                return;
            }
            self.arbiter.generations.policy.max_age = None;
            self.leave();
            if self.pending.is_empty() {
                self.pass(Duration::from_secs(2));
            } else {
                self.succeed(0);
            }
        }
    }

    /// How many workers serve, without a canary.
    pub(super) fn serving_now(&self) -> u32 {
        let candidate = self.arbiter.generations.rollout.candidate();
        self.arbiter
            .workers()
            .count(|worker| worker.stage.is_serving() && Some(worker.generation) != candidate)
    }
}

fn failure(how: SimFailure) -> (Option<BootFailure>, Exit) {
    match how {
        SimFailure::Silent(exit) => (None, exit),
        SimFailure::Reported(kind) => {
            let summary = "broken".to_owned();
            (Some(BootFailure { kind, summary }), Exit::Code(3))
        }
    }
}

fn nth<'a, T: Copy + 'a>(items: impl Iterator<Item = &'a T>, which: u8) -> Option<T> {
    let items: Vec<T> = items.copied().collect();
    items.get(usize::from(which) % items.len().max(1)).copied()
}
