//! One example for each behaviour, told step by step.

mod promotion;
mod refork;
mod reload;
mod retirement;
mod saved_states;
mod silence;
mod spares;

use core::time::Duration;

use rcorn_types::Monotonic;

use super::*;

struct Scenario {
    brain: Arbiter,
    now: u64,
}

fn policy(workers: u32) -> Policy {
    Policy {
        workers,
        timeout: Some(Duration::from_secs(30)),
        boot_timeout: Some(Duration::from_mins(1)),
        abort_timeout: Duration::from_secs(3),
        unwind_grace: Duration::ZERO,
        graceful_timeout: Duration::from_secs(20),
        reload_watch: Duration::from_secs(5),
        max_age: None,
        old_first: OldFirst::Auto,
        drain_delay: Duration::ZERO,
        tolerate_boot_failure: false,
        import: Import::Template,
        spares: 0,
    }
}

impl Scenario {
    fn begin(workers: u32) -> Self {
        let mut scenario = Self {
            brain: Arbiter::new(1),
            now: 100_000,
        };
        let actions = scenario.step(Event::Started(policy(workers)));
        assert!(actions.contains(&Action::StartTemplate(Generation(1))));
        scenario
    }

    /// A scenario in which workers 1, 2, … serve as pids 11, 12, …
    fn serving(workers: u32) -> Self {
        let mut scenario = Self::begin(workers);
        scenario.step(Event::TemplateStarted(Generation(1), Pid(1)));
        let actions = scenario.step(Event::TemplateReady(Generation(1)));
        assert_eq!(forks(&actions), u64::from(workers));
        for id in 1..=u64::from(workers) {
            scenario.step(Event::Forked(WorkerId(id), pid(id)));
            scenario.step(Event::Ready(WorkerId(id), pid(id)));
        }
        scenario.after(0);
        scenario
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.brain.step(at(self.now), event, &mut actions);
        actions
    }

    fn after(&mut self, milliseconds: u64) -> Vec<Action> {
        self.now += milliseconds;
        self.step(Event::Tick)
    }

    /// All workers that are forked become ready, and all that are drained leave.
    fn settle(&mut self, actions: Vec<Action>) {
        let mut todo = std::collections::VecDeque::from(actions);
        while let Some(action) = todo.pop_front() {
            if let Action::Fork(id, _, _) = action {
                todo.extend(self.newcomer(id.0));
            } else if let Action::Ask(pid, Ask::Drain) = action {
                todo.extend(self.step(Event::Exited(pid, Exit::Code(0))));
            }
        }
    }

    /// A reload to this generation, with 2 workers, succeeds.
    fn finish_reload(&mut self, generation: u32) {
        let template = Pid(i32::try_from(generation).unwrap());
        let generation = Generation(generation);
        self.step(Event::Loaded(policy(2)));
        self.step(Event::TemplateStarted(generation, template));
        let actions = self.step(Event::TemplateReady(generation));
        self.settle(actions);
    }

    /// The next worker that was ordered becomes ready.
    fn newcomer(&mut self, id: u64) -> Vec<Action> {
        self.step(Event::Ready(WorkerId(id), pid(id)))
    }
}

/// A point in time, in milliseconds.
fn at(milliseconds: u64) -> Monotonic {
    Monotonic::ZERO.after(Duration::from_millis(milliseconds))
}

fn pid(id: u64) -> Pid {
    Pid(i32::try_from(id + 10).unwrap())
}

fn forks(actions: &[Action]) -> u64 {
    u64::try_from(
        actions
            .iter()
            .filter(|action| matches!(action, Action::Fork(..)))
            .count(),
    )
    .unwrap()
}

fn said(actions: &[Action]) -> Vec<String> {
    actions
        .iter()
        .filter_map(|action| {
            if let Action::Say(note) = action {
                Some(note.to_string())
            } else {
                None
            }
        })
        .collect()
}

fn asked(actions: &[Action], pid: Pid, ask: Ask) -> bool {
    actions.contains(&Action::Ask(pid, ask))
}

#[test]
fn a_killed_worker_is_forked_again_at_once() {
    let mut scenario = Scenario::serving(4);
    for id in 1..=4 {
        let actions = scenario.step(Event::Exited(pid(id), Exit::Signal(9)));
        assert_eq!(forks(&actions), 1);
        assert_eq!(
            said(&actions),
            [format!("Worker (pid:{}) was sent SIGKILL!", pid(id))]
        );
    }
}

#[test]
fn workers_retire_one_at_a_time_after_their_replacement_is_ready() {
    let mut scenario = Scenario::serving(2);
    let actions = scenario.step(Event::WantsRetirement(
        WorkerId(1),
        RetireReason::MaxRequests,
    ));
    assert_eq!(forks(&actions), 1);
    assert_eq!(
        forks(&scenario.step(Event::WantsRetirement(
            WorkerId(2),
            RetireReason::MaxRequests
        ))),
        0
    );
    let actions = scenario.newcomer(3);
    assert!(asked(&actions, pid(1), Ask::Drain) && !asked(&actions, pid(2), Ask::Drain));
    let actions = scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    assert_eq!(forks(&actions), 1, "the next one's turn");
    assert!(asked(&scenario.newcomer(4), pid(2), Ask::Drain));
}

#[test]
fn boot_failures_end_a_server_that_was_never_ready_with_one_code() {
    let mut scenario = Scenario::begin(2);
    scenario.step(Event::TemplateStarted(Generation(1), Pid(1)));
    scenario.step(Event::TemplateReady(Generation(1)));
    for id in [1, 2] {
        scenario.step(Event::Forked(WorkerId(id), pid(id)));
    }
    let failure = BootFailure {
        kind: BootFailureKind::App,
        summary: "no attribute".into(),
    };
    scenario.step(Event::BootFailed(WorkerId(1), failure.clone()));
    scenario.step(Event::BootFailed(WorkerId(2), failure));
    scenario.step(Event::Exited(pid(1), Exit::Code(4)));
    scenario.step(Event::Exited(pid(2), Exit::Code(4)));
    let actions = scenario.step(Event::Exited(Pid(1), Exit::Code(0)));
    assert_eq!(
        said(&actions),
        ["Shutting down: Master", "Reason: App failed to load."]
    );
    assert_eq!(actions.last(), Some(&Action::Exit(Outcome::AppNotLoaded)));
}

#[test]
fn a_worker_that_leaves_while_it_boots_is_a_boot_failure() {
    let mut scenario = Scenario::begin(1);
    scenario.step(Event::TemplateStarted(Generation(1), Pid(1)));
    scenario.step(Event::TemplateReady(Generation(1)));
    scenario.step(Event::Forked(WorkerId(1), pid(1)));
    scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    let actions = scenario.step(Event::Exited(Pid(1), Exit::Code(0)));
    assert_eq!(actions.last(), Some(&Action::Exit(Outcome::BootFailed)));
}

#[test]
fn a_stop_is_graceful_and_a_second_one_quick() {
    let mut scenario = Scenario::serving(1);
    let actions = scenario.step(Event::Ordered(Order::Stop));
    assert!(actions.contains(&Action::CloseListeners) && asked(&actions, pid(1), Ask::Drain));
    let actions = scenario.step(Event::Ordered(Order::Stop));
    assert!(asked(&actions, pid(1), Ask::Quit));
    assert_eq!(said(&actions), ["Quick shutdown requested"]);
    assert!(asked(&scenario.after(2000), pid(1), Ask::Kill));
    scenario.step(Event::Exited(pid(1), Exit::Signal(9)));
    let actions = scenario.step(Event::Exited(Pid(1), Exit::Code(0)));
    assert_eq!(actions.last(), Some(&Action::Exit(Outcome::Stopped)));
    assert!(scenario.step(Event::Tick).is_empty());
}

#[test]
fn graceful_timeout_bounds_a_stop() {
    let mut scenario = Scenario::serving(1);
    scenario.step(Event::Ordered(Order::Stop));
    assert!(!asked(&scenario.after(19_999), pid(1), Ask::Kill));
    assert!(asked(&scenario.after(1), pid(1), Ask::Kill));
}

#[test]
fn a_template_has_as_long_for_its_hook_unless_there_is_a_hurry() {
    for hurry in [false, true] {
        let mut scenario = Scenario::serving(1);
        scenario.step(Event::Ordered(Order::Stop));
        let actions = scenario.step(Event::Exited(pid(1), Exit::Code(0)));
        assert!(actions.contains(&Action::EndTemplate(Generation(1))));
        if hurry {
            let actions = scenario.step(Event::Ordered(Order::Stop));
            assert!(!actions.contains(&Action::EndTemplate(Generation(1))));
        }
        let patience = if hurry { 2_000 } else { 20_000 };
        assert!(scenario.after(patience - 1).is_empty());
        let actions = scenario.after(1);
        assert!(actions.contains(&Action::KillTemplate(Generation(1), Pid(1))));
        assert_eq!(
            said(&actions),
            [
                "Template (pid:1) did not exit in time (a hook or a function for the exit may hang, or it is stopped): killing it."
            ]
        );
        let actions = scenario.step(Event::Exited(Pid(1), Exit::Signal(9)));
        assert_eq!(actions.last(), Some(&Action::Exit(Outcome::Stopped)));
    }
}

#[test]
fn who_still_imports_is_not_waited_for() {
    let mut scenario = Scenario::begin(1);
    scenario.step(Event::TemplateStarted(Generation(1), Pid(1)));
    let actions = scenario.step(Event::Ordered(Order::Stop));
    assert!(actions.contains(&Action::KillTemplate(Generation(1), Pid(1))));
    assert!(said(&actions).is_empty());
}

#[test]
fn a_hurry_does_not_make_a_stop_longer() {
    let mut scenario = Scenario::serving(1);
    scenario.step(Event::Ordered(Order::Stop));
    assert!(scenario.after(19_000).is_empty());
    scenario.step(Event::Ordered(Order::Quit));
    assert!(!asked(&scenario.after(999), pid(1), Ask::Kill));
    assert!(asked(&scenario.after(1), pid(1), Ask::Kill));
}

#[test]
fn who_is_born_during_a_stop_is_sent_away() {
    let mut scenario = Scenario::begin(1);
    scenario.step(Event::TemplateStarted(Generation(1), Pid(1)));
    scenario.step(Event::TemplateReady(Generation(1)));
    scenario.step(Event::Ordered(Order::Stop));
    // It may be ready, and hold a request, before its report is read: it is asked to finish, not to
    // drop it.
    let actions = scenario.step(Event::Forked(WorkerId(1), pid(1)));
    assert!(asked(&actions, pid(1), Ask::Drain) && !asked(&actions, pid(1), Ask::Quit));
}

#[test]
fn a_dead_template_is_started_again_while_workers_serve() {
    let mut scenario = Scenario::serving(2);
    let actions = scenario.step(Event::Exited(Pid(1), Exit::Signal(9)));
    assert!(actions.contains(&Action::StartTemplate(Generation(1))));
    assert_eq!(
        forks(&scenario.step(Event::Exited(pid(1), Exit::Signal(9)))),
        0,
        "there is nothing to fork from"
    );
    scenario.step(Event::TemplateStarted(Generation(1), Pid(2)));
    assert_eq!(
        forks(&scenario.step(Event::TemplateReady(Generation(1)))),
        1
    );
}

#[test]
fn templates_that_die_again_and_again_are_throttled() {
    let mut scenario = Scenario::serving(2);
    scenario.step(Event::Exited(pid(1), Exit::Signal(9)));
    let mut starts = 0;
    // A hook that runs at a fork ends the template each time: ten seconds of it.
    for _ in 0..1_000 {
        let (_, stage) = scenario
            .brain
            .templates()
            .iter()
            .next()
            .expect("there is one");
        let template = stage.pid().expect("it runs");
        let mut actions = scenario.step(Event::Exited(template, Exit::Code(9)));
        while !actions.contains(&Action::StartTemplate(Generation(1))) {
            actions = scenario.after(10);
            if scenario.now > 110_000 {
                assert!(starts < 10, "{starts} starts in ten seconds");
                return;
            }
        }
        starts += 1;
        scenario.step(Event::TemplateStarted(Generation(1), Pid(1)));
        assert_eq!(
            forks(&scenario.step(Event::TemplateReady(Generation(1)))),
            1
        );
    }
    panic!("{starts} templates were started without a wait");
}

#[test]
fn a_template_that_dies_before_a_worker_was_ready_ends_the_server() {
    let mut scenario = Scenario::begin(1);
    scenario.step(Event::TemplateStarted(Generation(1), Pid(1)));
    scenario.step(Event::TemplateReady(Generation(1)));
    let actions = scenario.step(Event::Exited(Pid(1), Exit::Code(9)));
    assert!(!actions.contains(&Action::StartTemplate(Generation(1))));
    assert_eq!(actions.last(), Some(&Action::Exit(Outcome::BootFailed)));
}

#[test]
fn a_template_that_does_not_fork_is_replaced() {
    let mut scenario = Scenario::serving(2);
    let actions = scenario.step(Event::Exited(pid(1), Exit::Signal(9)));
    assert_eq!(forks(&actions), 1);
    let actions = scenario.after(60_000);
    assert!(asked(&actions, Pid(1), Ask::DumpStacks), "{actions:?}");
    let actions = scenario.after(5_000);
    assert!(
        actions.contains(&Action::KillTemplate(Generation(1), Pid(1))),
        "{actions:?}"
    );
    let actions = scenario.step(Event::Exited(Pid(1), Exit::Signal(9)));
    assert!(
        actions.contains(&Action::StartTemplate(Generation(1))),
        "{actions:?}"
    );
    scenario.step(Event::TemplateStarted(Generation(1), Pid(2)));
    assert_eq!(
        forks(&scenario.step(Event::TemplateReady(Generation(1)))),
        1
    );
}

#[test]
fn more_and_fewer_and_dismiss() {
    let mut scenario = Scenario::serving(2);
    assert_eq!(forks(&scenario.step(Event::Ordered(Order::More))), 1);
    scenario.newcomer(3);
    let actions = scenario.step(Event::Ordered(Order::Fewer));
    assert!(asked(&actions, pid(1), Ask::Drain), "the oldest goes");
    scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    for _ in 0..3 {
        scenario.step(Event::Ordered(Order::Fewer));
    }
    assert_eq!(scenario.brain.wanted(), 1);
    scenario.step(Event::Ordered(Order::Dismiss));
    assert_eq!(scenario.brain.wanted(), 0);
    assert!(matches!(scenario.brain.phase(), Phase::Running));
}

#[test]
fn strangers_are_killed_or_ignored() {
    let mut scenario = Scenario::serving(1);
    assert!(asked(
        &scenario.step(Event::Ready(WorkerId(99), Pid(999))),
        Pid(999),
        Ask::Kill
    ));
    assert!(
        scenario
            .step(Event::Exited(Pid(998), Exit::Code(1)))
            .is_empty()
    );
}

#[test]
fn a_patient_arbiter_waits_for_a_reload_when_nothing_boots() {
    let failure = |kind| BootFailure {
        kind,
        summary: "no".to_owned(),
    };
    for kind in [BootFailureKind::Boot, BootFailureKind::App] {
        let mut scenario = Scenario {
            brain: Arbiter::new(1),
            now: 100_000,
        };
        let patient = Policy {
            tolerate_boot_failure: true,
            ..policy(1)
        };
        scenario.step(Event::Started(patient.clone()));
        scenario.step(Event::TemplateStarted(Generation(1), Pid(1)));
        scenario.step(Event::TemplateFailed(Generation(1), failure(kind)));
        scenario.step(Event::Exited(Pid(1), Exit::Code(3)));
        assert_eq!(scenario.brain.phase(), Phase::Running);
        let actions = scenario.step(Event::Ordered(Order::Reload));
        assert!(actions.contains(&Action::Load), "{actions:?}");
        let actions = scenario.step(Event::Loaded(patient));
        assert!(
            actions.contains(&Action::StartTemplate(Generation(2))),
            "{actions:?}"
        );
    }
    // What the host refuses, no save will mend.
    let mut scenario = Scenario {
        brain: Arbiter::new(1),
        now: 100_000,
    };
    scenario.step(Event::Started(Policy {
        tolerate_boot_failure: true,
        ..policy(1)
    }));
    scenario.step(Event::TemplateStarted(Generation(1), Pid(1)));
    scenario.step(Event::TemplateFailed(
        Generation(1),
        failure(BootFailureKind::Host),
    ));
    assert!(matches!(scenario.brain.phase(), Phase::Stopping { .. }));
}

/// A server with this policy whose workers 1, 2, … serve as pids 11, 12, …
fn serving_with(policy: Policy) -> Scenario {
    let mut scenario = Scenario {
        brain: Arbiter::new(1),
        now: 100_000,
    };
    let workers = policy.workers;
    scenario.step(Event::Started(policy));
    scenario.step(Event::TemplateStarted(Generation(1), Pid(1)));
    scenario.step(Event::TemplateReady(Generation(1)));
    for id in 1..=u64::from(workers) {
        scenario.newcomer(id);
    }
    scenario
}

#[test]
fn max_age_replaces_workers_one_by_one() {
    let mut scenario = serving_with(Policy {
        max_age: Some(Duration::from_secs(10)),
        timeout: None,
        ..policy(2)
    });
    assert_eq!(scenario.brain.deadline(), Some(at(110_000)));
    assert!(scenario.after(9_999).is_empty());
    let actions = scenario.after(1);
    assert_eq!(forks(&actions), 1, "{actions:?}");
    assert_eq!(
        said(&actions),
        [11, 12].map(|pid| format!(
            "Worker (pid:{pid}) will be replaced: it has reached max_worker_age."
        ))
    );
    assert_eq!(scenario.brain.deadline(), Some(at(170_000)), "the fork's");
    let actions = scenario.newcomer(3);
    assert!(asked(&actions, pid(1), Ask::Drain) && !asked(&actions, pid(2), Ask::Drain));
    assert_eq!(
        forks(&scenario.step(Event::Exited(pid(1), Exit::Code(0)))),
        1
    );
    assert!(asked(&scenario.newcomer(4), pid(2), Ask::Drain));
}

#[test]
fn drain_delay_puts_a_stop_off_and_a_second_one_does_not_wait() {
    let delayed = Policy {
        drain_delay: Duration::from_secs(3),
        timeout: None,
        ..policy(1)
    };
    for is_ordered_twice in [false, true] {
        let mut scenario = serving_with(delayed.clone());
        let actions = scenario.step(Event::Ordered(Order::Stop));
        assert_eq!(
            said(&actions),
            ["Stopping in 3 seconds (drain_delay); serving until then."]
        );
        assert!(scenario.brain.is_stop_delayed() && !scenario.brain.is_stopping());
        assert_eq!(scenario.brain.deadline(), Some(at(103_000)));
        // What dies is forked again, but nothing new begins.
        let actions = scenario.step(Event::Exited(pid(1), Exit::Signal(9)));
        assert_eq!(forks(&actions), 1);
        scenario.newcomer(2);
        let actions = scenario.step(Event::Ordered(Order::Reload));
        assert_eq!(said(&actions), ["Ignored while stopping: reload"]);
        assert!(scenario.after(2_999).is_empty());
        let actions = if is_ordered_twice {
            scenario.step(Event::Ordered(Order::Stop))
        } else {
            scenario.after(1)
        };
        assert!(actions.contains(&Action::CloseListeners));
        assert!(asked(&actions, pid(2), Ask::Drain), "{actions:?}");
    }
}

#[test]
fn a_delayed_stop_ends_a_server_without_children() {
    let mut scenario = serving_with(Policy {
        drain_delay: Duration::from_secs(3),
        ..policy(1)
    });
    scenario.step(Event::Ordered(Order::Stop));
    scenario.step(Event::Ordered(Order::Dismiss));
    scenario.step(Event::Exited(pid(1), Exit::Signal(9)));
    scenario.step(Event::ForkFailed(WorkerId(2), "no memory".into()));
    scenario.step(Event::ForkFailed(WorkerId(3), "no memory".into()));
    scenario.step(Event::Exited(Pid(1), Exit::Signal(9)));
    let actions = scenario.after(3_000);
    assert_eq!(actions.last(), Some(&Action::Exit(Outcome::Stopped)));
}

#[test]
fn an_upgrade_runs_beside_and_can_end() {
    let mut scenario = Scenario::serving(1);
    let actions = scenario.step(Event::Ordered(Order::Upgrade));
    assert_eq!(actions, [Action::Upgrade]);
    let exists = ["USR2 signal ignored. Child exists."];
    // Also before the driver has answered.
    assert_eq!(said(&scenario.step(Event::Ordered(Order::Upgrade))), exists);
    scenario.step(Event::UpgradeStarted(Pid(500)));
    assert_eq!(scenario.brain.upgrade(), Some(Pid(500)));
    assert_eq!(said(&scenario.step(Event::Ordered(Order::Upgrade))), exists);
    let actions = scenario.step(Event::Exited(Pid(500), Exit::Code(3)));
    assert_eq!(said(&actions), ["The new arbiter exited with code 3."]);
    assert_eq!(scenario.brain.upgrade(), None);
    let actions = scenario.step(Event::Ordered(Order::Upgrade));
    assert_eq!(actions, [Action::Upgrade]);
    let actions = scenario.step(Event::UpgradeNotStarted("no such file".into()));
    assert_eq!(said(&actions), ["Upgrade not started: no such file"]);
    let actions = scenario.step(Event::Ordered(Order::Upgrade));
    assert_eq!(actions, [Action::Upgrade]);
}

#[test]
fn an_upgrade_waits_for_the_reload_under_way_and_commits_it() {
    let mut scenario = Scenario::serving(1);
    scenario.step(Event::Ordered(Order::Reload));
    for _ in 0..2 {
        assert_eq!(
            said(&scenario.step(Event::Ordered(Order::Upgrade))),
            ["The upgrade begins after the reload under way."]
        );
    }
    scenario.step(Event::Loaded(policy(1)));
    scenario.step(Event::TemplateStarted(Generation(2), Pid(2)));
    scenario.step(Event::TemplateReady(Generation(2)));
    let actions = scenario.newcomer(2);
    assert!(actions.contains(&Action::Commit(Generation(2))));
    assert_eq!(actions.last(), Some(&Action::Upgrade));
}

#[test]
fn an_upgrade_begins_after_a_reload_that_fails_too() {
    let mut scenario = Scenario::serving(1);
    scenario.step(Event::Ordered(Order::Reload));
    scenario.step(Event::Ordered(Order::Upgrade));
    let actions = scenario.step(Event::NotLoaded("bad settings".into()));
    assert_eq!(actions.last(), Some(&Action::Upgrade));
}

#[test]
fn an_upgrade_that_meets_a_reload_is_put_off() {
    let mut scenario = Scenario::serving(1);
    scenario.step(Event::Ordered(Order::Upgrade));
    scenario.step(Event::Ordered(Order::Reload));
    assert_eq!(
        said(&scenario.step(Event::UpgradePutOff)),
        ["The upgrade begins after the reload under way."]
    );
    let actions = scenario.step(Event::NotLoaded("bad settings".into()));
    assert_eq!(actions.last(), Some(&Action::Upgrade));
}

#[test]
fn an_upgrade_that_waits_ends_with_the_server() {
    for delay in [Duration::ZERO, Duration::from_secs(5)] {
        let mut scenario = Scenario::serving(1);
        scenario.brain.generations.policy.drain_delay = delay;
        scenario.step(Event::Ordered(Order::Reload));
        scenario.step(Event::Ordered(Order::Upgrade));
        let said = said(&scenario.step(Event::Ordered(Order::Stop)));
        assert!(
            said.contains(&"Upgrade not started: rcorn is stopping".to_owned()),
            "{said:?}"
        );
    }
}

#[test]
fn orders_about_the_number_of_workers_outlive_the_reload_under_way() {
    for (before, during, wanted) in [
        (&[][..], &[Order::More][..], 3),
        (&[], &[Order::Fewer], 1),
        (&[], &[Order::Fewer, Order::Fewer, Order::Fewer], 1),
        (&[], &[Order::Scale(7)], 7),
        (&[], &[Order::Scale(7), Order::More], 8),
        (&[], &[Order::Dismiss], 0),
        (&[], &[Order::Dismiss, Order::Fewer], 0),
        // HUP forgets what came before it, as gunicorn's does.
        (&[Order::More, Order::More], &[], 2),
        (&[Order::More, Order::More], &[Order::Fewer], 1),
        (&[], &[Order::More, Order::Reload], 2),
        (&[], &[Order::Reload, Order::More], 3),
    ] {
        let mut scenario = Scenario::serving(1);
        let give = |scenario: &mut Scenario, orders: &[Order]| {
            for order in orders {
                let actions = scenario.step(Event::Ordered(*order));
                scenario.settle(actions);
            }
        };
        give(&mut scenario, before);
        give(&mut scenario, &[Order::Reload]);
        give(&mut scenario, during);
        for generation in 2.. {
            scenario.finish_reload(generation);
            if !scenario.brain.is_reloading() {
                break;
            }
        }
        assert_eq!(scenario.brain.wanted(), wanted, "{before:?} {during:?}");
    }
}

#[test]
fn an_operator_can_replace_one_worker() {
    let mut scenario = Scenario::serving(2);
    assert!(
        scenario
            .step(Event::Ordered(Order::Retire(WorkerId(7))))
            .is_empty()
    );
    let actions = scenario.step(Event::Ordered(Order::Retire(WorkerId(2))));
    assert_eq!(forks(&actions), 1);
    assert_eq!(
        said(&actions),
        ["Worker (pid:12) will be replaced: an operator ordered it."]
    );
    let again = scenario.step(Event::Ordered(Order::Retire(WorkerId(2))));
    assert!(again.is_empty(), "{again:?}");
    let actions = scenario.newcomer(3);
    assert!(asked(&actions, pid(2), Ask::Drain) && !asked(&actions, pid(1), Ask::Drain));
}

#[test]
fn fewer_never_means_more() {
    let mut scenario = Scenario::serving(1);
    scenario.step(Event::Ordered(Order::Dismiss));
    scenario.step(Event::Ordered(Order::Fewer));
    assert_eq!(scenario.brain.wanted(), 0);
}
