//! A pretend kernel that obeys the brain's actions and misbehaves at random.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::*;

/// What the world does next.
#[derive(Clone, Debug)]
pub(super) enum Turn {
    Order(u8),
    /// The n-th unanswered thing is answered well.
    Answer(u8),
    /// The n-th unanswered thing fails.
    Fail(u8),
    /// The n-th living process dies.
    Die(u8, u8),
    /// The n-th worker begins a request, also the next one, or ends it.
    Busy(u8, bool),
    /// Time passes, in milliseconds.
    Pass(u32),
}

pub(super) fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        2 => (0_u8..10).prop_map(Turn::Order),
        8 => any::<u8>().prop_map(Turn::Answer),
        1 => any::<u8>().prop_map(Turn::Fail),
        2 => (any::<u8>(), 0_u8..4).prop_map(|(n, how)| Turn::Die(n, how)),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(n, busy)| Turn::Busy(n, busy)),
        3 => (1_u32..40_000).prop_map(Turn::Pass),
    ];
    prop::collection::vec(turn, 1..120)
}

#[derive(Clone, Debug)]
pub(super) enum Owed {
    Load,
    TemplateStart(Generation),
    TemplateReady(Generation),
    Fork(WorkerId, Generation),
    Boot(WorkerId, Pid),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Worker(WorkerId),
    Template(Generation),
}

/// The world.
pub(super) struct World {
    pub(super) brain: Arbiter,
    pub(super) now: Monotonic,
    pub(super) owed: Vec<Owed>,
    pub(super) living: BTreeMap<Pid, Kind>,
    pub(super) gone: BTreeSet<Pid>,
    pub(super) told: BTreeSet<Pid>,
    pub(super) busy: BTreeMap<WorkerId, Monotonic>,
    pub(super) serving: BTreeSet<WorkerId>,
    pub(super) next_pid: i32,
    pub(super) over: Option<Outcome>,
    pub(super) log: Vec<Action>,
    pub(super) forks: u32,
    pub(super) exits: u32,
    pub(super) policy: Policy,
}

pub(super) fn policy(workers: u32) -> Policy {
    Policy {
        workers,
        timeout: Some(Duration::from_secs(30)),
        boot_timeout: Some(Duration::from_mins(1)),
        graceful_timeout: Duration::from_secs(30),
        reload_watch: Duration::from_secs(5),
        max_age: None,
        drain_delay: Duration::ZERO,
        patient: false,
    }
}

impl World {
    pub(super) fn new(workers: u32) -> Self {
        let policy = policy(workers);
        let mut world = Self {
            brain: Arbiter::new(7),
            now: Monotonic::ZERO.after(Duration::from_secs(1000)),
            owed: Vec::new(),
            living: BTreeMap::new(),
            gone: BTreeSet::new(),
            told: BTreeSet::new(),
            busy: BTreeMap::new(),
            serving: BTreeSet::new(),
            next_pid: 1,
            over: None,
            log: Vec::new(),
            forks: 0,
            exits: 0,
            policy: policy.clone(),
        };
        world.happen(Event::Started(policy));
        world
    }

    pub(super) fn happen(&mut self, event: Event) {
        let stopping = matches!(self.brain.phase(), Phase::Stopping { .. } | Phase::Gone);
        let mut actions = Vec::new();
        self.brain.step(self.now, event, &mut actions);
        for action in actions {
            assert!(self.over.is_none(), "{action:?} follows the exit");
            self.obey(&action, stopping);
            self.log.push(action);
        }
    }

    pub(super) fn obey(&mut self, action: &Action, stopping: bool) {
        match action {
            Action::Load => self.owed.push(Owed::Load),
            Action::StartTemplate(generation) => {
                assert!(!stopping, "a template is started while stopping");
                self.owed.push(Owed::TemplateStart(*generation));
            }
            Action::EndTemplate(generation) => {
                let pid = self
                    .living
                    .iter()
                    .find(|(_, kind)| **kind == Kind::Template(*generation));
                if let Some(pid) = pid.map(|(pid, _)| *pid) {
                    self.told.insert(pid);
                }
            }
            Action::KillTemplate(_, pid) => {
                assert!(
                    self.living.contains_key(pid),
                    "a template that is gone is killed"
                );
                self.told.insert(*pid);
            }
            Action::Fork(id, _, generation) => {
                assert!(!stopping, "a worker is forked while stopping");
                self.forks += 1;
                self.owed.push(Owed::Fork(*id, *generation));
            }
            Action::Ask(pid, ask) => {
                assert!(
                    !self.gone.contains(pid),
                    "{ask:?} goes to a pid that is gone"
                );
                if !matches!(ask, Ask::Reopen | Ask::Testify) {
                    self.told.insert(*pid);
                }
                if let (Ask::Testify, Some(Kind::Worker(id))) = (ask, self.living.get(pid))
                    && self.serving.contains(id)
                {
                    let limit = self.policy.timeout.unwrap_or_default();
                    let hangs = self
                        .busy
                        .get(id)
                        .is_some_and(|since| since.after(limit) <= self.now);
                    assert!(hangs, "a worker that gets on is taken for a hung one");
                }
            }
            Action::Exit(outcome) => {
                assert!(self.living.is_empty(), "the arbiter leaves children behind");
                let unborn = self
                    .owed
                    .iter()
                    .any(|owed| matches!(owed, Owed::Fork(..) | Owed::TemplateStart(_)));
                assert!(!unborn, "the arbiter leaves while something is being made");
                assert!(self.over.is_none(), "the exit is said twice");
                self.exits += 1;
                self.over = Some(*outcome);
            }
            Action::Commit(_)
            | Action::Discard(_)
            | Action::CloseListeners
            | Action::ReopenLogs
            | Action::Upgrade
            | Action::Wanted(_)
            | Action::PostMortem(..)
            | Action::FreeSlot(_)
            | Action::Say(_) => {}
        }
    }

    pub(super) fn pid(&mut self) -> Pid {
        self.next_pid += 1;
        Pid(self.next_pid)
    }

    pub(super) fn answer(&mut self, index: usize, well: bool) {
        if self.owed.is_empty() {
            return;
        }
        let owed = self.owed.remove(index % self.owed.len());
        match owed {
            Owed::Load if well => self.happen(Event::Loaded(self.policy.clone())),
            Owed::Load => self.happen(Event::NotLoaded("bad".into())),
            Owed::TemplateStart(generation) if well => {
                let pid = self.pid();
                self.living.insert(pid, Kind::Template(generation));
                self.owed.push(Owed::TemplateReady(generation));
                self.happen(Event::TemplateStarted(generation, pid));
            }
            Owed::TemplateStart(generation) => {
                self.happen(Event::TemplateNotStarted(generation, "no python".into()));
            }
            Owed::TemplateReady(generation) => {
                let pid = self
                    .living
                    .iter()
                    .find(|(_, kind)| **kind == Kind::Template(generation));
                let Some(pid) = pid.map(|(pid, _)| *pid) else {
                    return;
                };
                if well {
                    self.happen(Event::TemplateReady(generation));
                } else {
                    let failure = BootFailure {
                        kind: BootFailureKind::Boot,
                        summary: "broken".into(),
                    };
                    self.happen(Event::TemplateFailed(generation, failure));
                    self.die(pid, Exit::Code(3));
                }
            }
            Owed::Fork(id, generation) => {
                let alive = self
                    .living
                    .values()
                    .any(|kind| *kind == Kind::Template(generation));
                if well && alive {
                    let pid = self.pid();
                    self.living.insert(pid, Kind::Worker(id));
                    self.owed.push(Owed::Boot(id, pid));
                    self.happen(Event::Forked(id, pid));
                } else {
                    self.happen(Event::ForkFailed(id, "no memory".into()));
                }
            }
            Owed::Boot(id, pid) => {
                if !self.living.contains_key(&pid) {
                    return;
                }
                if well {
                    self.serving.insert(id);
                    self.happen(Event::Ready(id, pid));
                } else {
                    let failure = BootFailure {
                        kind: BootFailureKind::Boot,
                        summary: "broken".into(),
                    };
                    self.happen(Event::BootFailed(id, failure));
                    self.die(pid, Exit::Code(3));
                }
            }
        }
    }

    pub(super) fn die(&mut self, pid: Pid, exit: Exit) {
        let Some(kind) = self.living.remove(&pid) else {
            return;
        };
        self.gone.insert(pid);
        if let Kind::Worker(id) = kind {
            self.serving.remove(&id);
            self.busy.remove(&id);
        }
        // What a dead template owed will not come.
        let mut lost = Vec::new();
        self.owed.retain(|owed| match owed {
            Owed::Fork(id, of) if kind == Kind::Template(*of) => {
                lost.push(*id);
                false
            }
            Owed::Fork(..)
            | Owed::Load
            | Owed::TemplateStart(_)
            | Owed::TemplateReady(_)
            | Owed::Boot(..) => true,
        });
        self.happen(Event::Exited(pid, exit));
        for id in lost {
            if self.over.is_none() {
                self.happen(Event::ForkFailed(id, "its template ended".into()));
            }
        }
    }

    /// Time passes; what is due is looked at when it is due.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now.after(time);
        while self.over.is_none() {
            let due = self
                .brain
                .deadline()
                .map(|due| due.max(self.now))
                .filter(|due| *due <= until);
            let Some(due) = due else { break };
            self.now = due;
            self.tick();
            assert!(
                self.brain.deadline().is_none_or(|next| next > self.now),
                "a deadline stays due"
            );
        }
        self.now = until;
    }

    pub(super) fn tick(&mut self) {
        for id in self.serving.clone() {
            let since = self.busy.get(&id).copied();
            self.happen(Event::Beat(id, since));
        }
        self.happen(Event::Tick);
    }

    /// Those who were told to go, go.
    pub(super) fn told_go(&mut self) {
        for pid in self.told.clone() {
            self.told.remove(&pid);
            self.die(pid, Exit::Code(0));
        }
    }

    pub(super) fn play(&mut self, turn: &Turn) {
        if self.over.is_some() {
            return;
        }
        match turn {
            Turn::Order(number) => {
                let order = match number {
                    0 => Order::Stop,
                    1 => Order::Quit,
                    2..=4 => Order::Reload,
                    5 => Order::More,
                    6 => Order::Fewer,
                    7 => Order::Reopen,
                    8 => Order::Dismiss,
                    9 => Order::Scale(3),
                    _ => return,
                };
                self.happen(Event::Ordered(order));
            }
            Turn::Answer(index) => self.answer(usize::from(*index), true),
            Turn::Fail(index) => self.answer(usize::from(*index), false),
            Turn::Die(index, how) => {
                let pids: Vec<Pid> = self.living.keys().copied().collect();
                let Some(pid) = pids.get(usize::from(*index) % pids.len().max(1)) else {
                    return;
                };
                let exit = match how {
                    0 => Exit::Code(0),
                    1 => Exit::Code(1),
                    2 => Exit::Signal(9),
                    _ => Exit::Signal(11),
                };
                self.die(*pid, exit);
            }
            Turn::Busy(index, busy) => {
                let ids: Vec<WorkerId> = self.serving.iter().copied().collect();
                let Some(id) = ids.get(usize::from(*index) % ids.len().max(1)) else {
                    return;
                };
                if *busy {
                    self.busy.insert(*id, self.now);
                } else {
                    self.busy.remove(id);
                }
            }
            Turn::Pass(milliseconds) => self.pass(Duration::from_millis(u64::from(*milliseconds))),
        }
    }

    /// Everything goes well from here on.
    pub(super) fn peace(&mut self) {
        self.busy.clear();
        for _ in 0..400 {
            if self.over.is_some() {
                return;
            }
            self.told_go();
            if self.owed.is_empty() {
                self.pass(Duration::from_secs(2));
            } else {
                self.answer(0, true);
            }
        }
    }

    pub(super) fn serving_now(&self) -> u32 {
        self.brain.pool().count(|worker| worker.stage.is_serving())
    }
}
