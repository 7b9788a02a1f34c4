//! A pretend kernel that obeys the brain's actions and misbehaves at random, and the promises that hold in
//! every story it tells.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What the world does next.
#[derive(Clone, Debug)]
enum Turn {
    Order(u8),
    /// The n-th unanswered thing is answered well.
    Answer(u8),
    /// The n-th unanswered thing fails.
    Fail(u8),
    /// The n-th living process dies.
    Die(u8, u8),
    /// The n-th worker begins or ends a request.
    Busy(u8, bool),
    /// Time passes, in milliseconds.
    Pass(u32),
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
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
enum Owed {
    Load,
    TemplateStart(Generation),
    TemplateReady(Generation),
    Fork(WorkerId, Generation),
    Boot(WorkerId, Pid),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Worker(WorkerId),
    Template(Generation),
}

/// The world.
struct World {
    brain: Arbiter,
    now: Duration,
    owed: Vec<Owed>,
    living: BTreeMap<Pid, Kind>,
    gone: BTreeSet<Pid>,
    told: BTreeSet<Pid>,
    busy: BTreeMap<WorkerId, Moment>,
    serving: BTreeSet<WorkerId>,
    next_pid: i32,
    over: Option<Outcome>,
    log: Vec<Action>,
    forks: u32,
    exits: u32,
    policy: Policy,
}

fn policy(workers: u32) -> Policy {
    Policy {
        workers,
        timeout: Some(Duration::from_secs(30)),
        boot_timeout: Some(Duration::from_mins(1)),
        graceful_timeout: Duration::from_secs(30),
        reload_watch: Duration::from_secs(5),
        max_age: None,
        drain_delay: Duration::ZERO,
    }
}

impl World {
    fn new(workers: u32) -> Self {
        let policy = policy(workers);
        let mut world = Self {
            brain: Arbiter::new(7),
            now: Duration::from_secs(1000),
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

    fn happen(&mut self, event: Event) {
        let stopping = matches!(self.brain.phase(), Phase::Stopping { .. } | Phase::Gone);
        let mut actions = Vec::new();
        self.brain.step(Moment(self.now), event, &mut actions);
        for action in actions {
            assert!(self.over.is_none(), "{action:?} follows the exit");
            self.obey(&action, stopping);
            self.log.push(action);
        }
    }

    fn obey(&mut self, action: &Action, stopping: bool) {
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

    fn pid(&mut self) -> Pid {
        self.next_pid += 1;
        Pid(self.next_pid)
    }

    fn answer(&mut self, index: usize, well: bool) {
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

    fn die(&mut self, pid: Pid, exit: Exit) {
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
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.over.is_none() {
            let due = self
                .brain
                .deadline()
                .map(|due| due.0.max(self.now))
                .filter(|due| *due <= until);
            let Some(due) = due else { break };
            self.now = due;
            self.tick();
            assert!(
                self.brain.deadline().is_none_or(|next| next.0 > self.now),
                "a deadline stays due"
            );
        }
        self.now = until;
    }

    fn tick(&mut self) {
        for id in self.serving.clone() {
            let since = self.busy.get(&id).copied();
            self.happen(Event::Beat(id, since));
        }
        self.happen(Event::Tick);
    }

    /// Those who were told to go, go.
    fn told_go(&mut self) {
        for pid in self.told.clone() {
            self.told.remove(&pid);
            self.die(pid, Exit::Code(0));
        }
    }

    fn play(&mut self, turn: &Turn) {
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
                    self.busy.entry(*id).or_insert(Moment(self.now));
                } else {
                    self.busy.remove(id);
                }
            }
            Turn::Pass(milliseconds) => self.pass(Duration::from_millis(u64::from(*milliseconds))),
        }
    }

    /// Everything goes well from here on.
    fn peace(&mut self) {
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

    fn serving_now(&self) -> u32 {
        self.brain.pool().count(|worker| worker.stage.is_serving())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Invariants 1, 2 and 4 are asserted by the world at every action.
    #[test]
    fn no_action_meets_the_dead_and_nothing_follows_the_exit(story in turns(), workers in 1_u32..5) {
        let mut world = World::new(workers);
        for turn in &story {
            world.play(turn);
        }
        prop_assert!(world.exits <= 1);
    }

    /// 3: once stopping, every living worker has been told.
    #[test]
    fn a_stop_reaches_everyone(story in turns(), workers in 1_u32..5) {
        let mut world = World::new(workers);
        for turn in &story {
            world.play(turn);
        }
        world.play(&Turn::Order(0));
        for (pid, kind) in &world.living {
            if let Kind::Worker(id) = kind
                && world.brain.pool().workers.contains_key(id)
            {
                prop_assert!(world.told.contains(pid), "{pid:?} was not told");
            }
        }
    }

    /// 5: from any point a stop, time, and a kernel that honours KILL lead to the exit.
    #[test]
    fn a_stop_always_ends(story in turns(), workers in 1_u32..5) {
        let mut world = World::new(workers);
        for turn in &story {
            world.play(turn);
        }
        world.play(&Turn::Order(0));
        for _ in 0..200 {
            if world.over.is_some() {
                break;
            }
            // Nobody heeds anything but KILL.
            let kill = |action: &Action| {
                if let Action::Ask(pid, Ask::Kill) | Action::KillTemplate(_, pid) = action {
                    Some(*pid)
                } else {
                    None
                }
            };
            let killed: Vec<Pid> = world.log.iter().filter_map(kill).collect();
            for pid in killed {
                world.die(pid, Exit::Signal(9));
            }
            world.answer(0, true);
            world.pass(Duration::from_secs(10));
        }
        prop_assert!(world.over.is_some(), "{:?}", world.brain);
    }

    /// 6: left in peace, exactly the wanted number serves, all of the generation in force.
    #[test]
    fn in_peace_the_wanted_number_serves(story in turns(), workers in 1_u32..5) {
        let mut world = World::new(workers);
        for turn in &story {
            world.play(turn);
        }
        world.peace();
        if world.over.is_none() && matches!(world.brain.phase(), Phase::Running) {
            prop_assert_eq!(world.serving_now(), world.brain.wanted(), "{:?}", world.brain);
            let generation = world.brain.generation();
            prop_assert!(world.brain.pool().workers.values().all(|worker| worker.generation == generation));
            prop_assert_eq!(world.brain.pool().templates.len(), 1);
        }
    }

    /// 7: a reload in peace never lowers the number that serves.
    #[test]
    fn a_reload_keeps_capacity(workers in 1_u32..6, order in any::<u64>()) {
        let mut world = World::new(workers);
        world.peace();
        prop_assert_eq!(world.serving_now(), workers);
        world.play(&Turn::Order(2));
        let mut seed = order;
        for _ in 0..300 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if seed % 3 == 0 {
                world.told_go();
            } else if !world.owed.is_empty() {
                world.answer(usize::try_from(seed >> 40).unwrap_or(0), true);
            } else {
                world.pass(Duration::from_secs(1));
            }
            prop_assert!(world.serving_now() >= workers, "{} of {workers}", world.serving_now());
        }
        prop_assert_eq!(world.brain.generation(), Generation(2));
    }

    /// 10: same story, same actions.
    #[test]
    fn the_same_story_has_the_same_actions(story in turns(), workers in 1_u32..5) {
        let tell = || {
            let mut world = World::new(workers);
            for turn in &story {
                world.play(turn);
            }
            world.log
        };
        prop_assert_eq!(tell(), tell());
    }
}

/// 8: workers that die while they boot are not forked in a storm.
#[test]
fn deaths_at_boot_are_throttled() {
    let mut world = World::new(2);
    world.peace();
    let before = world.forks;
    let ids: Vec<Pid> = world
        .living
        .iter()
        .filter(|(_, kind)| matches!(kind, Kind::Worker(_)))
        .map(|(pid, _)| *pid)
        .collect();
    for pid in ids {
        world.die(pid, Exit::Signal(9));
    }
    let end = world.now + Duration::from_mins(1);
    while world.now < end {
        while let Some(index) = world
            .owed
            .iter()
            .position(|owed| matches!(owed, Owed::Fork(..)))
        {
            world.answer(index, true);
        }
        while let Some(index) = world
            .owed
            .iter()
            .position(|owed| matches!(owed, Owed::Boot(..)))
        {
            world.answer(index, false);
        }
        world.pass(Duration::from_millis(50));
    }
    let forks = world.forks - before;
    assert!((4..40).contains(&forks), "{forks} forks in a minute");
}

/// 9: a look that comes far too late blames nobody; the next one does.
#[test]
fn a_late_look_kills_no_one() {
    let mut world = World::new(2);
    world.peace();
    let id = *world.serving.iter().next().unwrap();
    world.busy.insert(id, Moment(world.now));
    let before = world.log.len();
    world.now += Duration::from_mins(5);
    world.tick();
    let killed = |world: &World, from: usize| {
        world
            .log
            .iter()
            .skip(from)
            .any(|action| matches!(action, Action::Ask(_, Ask::Abort)))
    };
    assert!(!killed(&world, before));
    world.pass(Duration::from_secs(31));
    assert!(killed(&world, before), "a hang outlives the mercy");
}
