//! One example for each behaviour, told step by step.

mod reload;
mod saved_states;
mod silence;

use super::*;

struct Tale {
    brain: Arbiter,
    now: u64,
}

fn policy(workers: u32) -> Policy {
    Policy {
        workers,
        timeout: Some(Duration::from_secs(30)),
        boot_timeout: Some(Duration::from_mins(1)),
        graceful_timeout: Duration::from_secs(20),
        reload_watch: Duration::from_secs(5),
        max_age: None,
        drain_delay: Duration::ZERO,
        patient: false,
    }
}

impl Tale {
    fn begin(workers: u32) -> Self {
        let mut tale = Self {
            brain: Arbiter::new(1),
            now: 100_000,
        };
        let actions = tale.step(Event::Started(policy(workers)));
        assert!(actions.contains(&Action::StartTemplate(Generation(1))));
        tale
    }

    /// A tale in which workers 1, 2, … serve as pids 11, 12, …
    fn serving(workers: u32) -> Self {
        let mut tale = Self::begin(workers);
        tale.step(Event::TemplateStarted(Generation(1), Pid(1)));
        let actions = tale.step(Event::TemplateReady(Generation(1)));
        assert_eq!(forks(&actions), u64::from(workers));
        for id in 1..=u64::from(workers) {
            tale.step(Event::Forked(WorkerId(id), pid(id)));
            tale.step(Event::Ready(WorkerId(id), pid(id)));
        }
        tale.after(0);
        tale
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
    let mut tale = Tale::serving(4);
    for id in 1..=4 {
        let actions = tale.step(Event::Exited(pid(id), Exit::Signal(9)));
        assert_eq!(forks(&actions), 1);
        assert_eq!(
            said(&actions),
            [format!("Worker (pid:{}) was sent SIGKILL!", pid(id))]
        );
    }
}

#[test]
fn workers_retire_one_at_a_time_after_their_replacement_is_ready() {
    let mut tale = Tale::serving(2);
    let actions = tale.step(Event::WantsRetirement(
        WorkerId(1),
        RetireReason::MaxRequests,
    ));
    assert_eq!(forks(&actions), 1);
    assert_eq!(
        forks(&tale.step(Event::WantsRetirement(
            WorkerId(2),
            RetireReason::MaxRequests
        ))),
        0
    );
    let actions = tale.newcomer(3);
    assert!(asked(&actions, pid(1), Ask::Drain) && !asked(&actions, pid(2), Ask::Drain));
    let actions = tale.step(Event::Exited(pid(1), Exit::Code(0)));
    assert_eq!(forks(&actions), 1, "the next one's turn");
    assert!(asked(&tale.newcomer(4), pid(2), Ask::Drain));
}

#[test]
fn boot_failures_end_a_server_that_was_never_ready_with_one_code() {
    let mut tale = Tale::begin(2);
    tale.step(Event::TemplateStarted(Generation(1), Pid(1)));
    tale.step(Event::TemplateReady(Generation(1)));
    for id in [1, 2] {
        tale.step(Event::Forked(WorkerId(id), pid(id)));
    }
    let failure = BootFailure {
        kind: BootFailureKind::App,
        summary: "no attribute".into(),
    };
    tale.step(Event::BootFailed(WorkerId(1), failure.clone()));
    tale.step(Event::BootFailed(WorkerId(2), failure));
    tale.step(Event::Exited(pid(1), Exit::Code(4)));
    tale.step(Event::Exited(pid(2), Exit::Code(4)));
    let actions = tale.step(Event::Exited(Pid(1), Exit::Code(0)));
    assert_eq!(
        said(&actions),
        ["Shutting down: Master", "Reason: App failed to load."]
    );
    assert_eq!(actions.last(), Some(&Action::Exit(Outcome::NoApp)));
}

#[test]
fn a_worker_that_leaves_while_it_boots_is_a_boot_failure() {
    let mut tale = Tale::begin(1);
    tale.step(Event::TemplateStarted(Generation(1), Pid(1)));
    tale.step(Event::TemplateReady(Generation(1)));
    tale.step(Event::Forked(WorkerId(1), pid(1)));
    tale.step(Event::Exited(pid(1), Exit::Code(0)));
    let actions = tale.step(Event::Exited(Pid(1), Exit::Code(0)));
    assert_eq!(actions.last(), Some(&Action::Exit(Outcome::NoBoot)));
}

#[test]
fn a_stop_is_graceful_and_a_second_one_quick() {
    let mut tale = Tale::serving(1);
    let actions = tale.step(Event::Ordered(Order::Stop));
    assert!(actions.contains(&Action::CloseListeners) && asked(&actions, pid(1), Ask::Drain));
    let actions = tale.step(Event::Ordered(Order::Stop));
    assert!(asked(&actions, pid(1), Ask::Quit));
    assert_eq!(said(&actions), ["Quick shutdown requested"]);
    assert!(asked(&tale.after(2000), pid(1), Ask::Kill));
    tale.step(Event::Exited(pid(1), Exit::Signal(9)));
    let actions = tale.step(Event::Exited(Pid(1), Exit::Code(0)));
    assert_eq!(actions.last(), Some(&Action::Exit(Outcome::Asked)));
    assert!(tale.step(Event::Tick).is_empty());
}

#[test]
fn graceful_timeout_bounds_a_stop() {
    let mut tale = Tale::serving(1);
    tale.step(Event::Ordered(Order::Stop));
    assert!(!asked(&tale.after(19_999), pid(1), Ask::Kill));
    assert!(asked(&tale.after(1), pid(1), Ask::Kill));
}

#[test]
fn a_template_has_as_long_for_its_hook_unless_there_is_a_hurry() {
    for hurry in [false, true] {
        let mut tale = Tale::serving(1);
        tale.step(Event::Ordered(Order::Stop));
        let actions = tale.step(Event::Exited(pid(1), Exit::Code(0)));
        assert!(actions.contains(&Action::EndTemplate(Generation(1))));
        if hurry {
            let actions = tale.step(Event::Ordered(Order::Stop));
            assert!(!actions.contains(&Action::EndTemplate(Generation(1))));
        }
        let patience = if hurry { 2_000 } else { 20_000 };
        assert!(tale.after(patience - 1).is_empty());
        let actions = tale.after(1);
        assert!(actions.contains(&Action::KillTemplate(Generation(1), Pid(1))));
        assert_eq!(
            said(&actions),
            ["Template (pid:1) did not end in time (a hook?): killed."]
        );
        let actions = tale.step(Event::Exited(Pid(1), Exit::Signal(9)));
        assert_eq!(actions.last(), Some(&Action::Exit(Outcome::Asked)));
    }
}

#[test]
fn who_still_imports_is_not_waited_for() {
    let mut tale = Tale::begin(1);
    tale.step(Event::TemplateStarted(Generation(1), Pid(1)));
    let actions = tale.step(Event::Ordered(Order::Stop));
    assert!(actions.contains(&Action::KillTemplate(Generation(1), Pid(1))));
    assert!(said(&actions).is_empty());
}

#[test]
fn a_hurry_does_not_make_a_stop_longer() {
    let mut tale = Tale::serving(1);
    tale.step(Event::Ordered(Order::Stop));
    assert!(tale.after(19_000).is_empty());
    tale.step(Event::Ordered(Order::Quit));
    assert!(!asked(&tale.after(999), pid(1), Ask::Kill));
    assert!(asked(&tale.after(1), pid(1), Ask::Kill));
}

#[test]
fn who_is_born_during_a_stop_is_sent_away() {
    let mut tale = Tale::begin(1);
    tale.step(Event::TemplateStarted(Generation(1), Pid(1)));
    tale.step(Event::TemplateReady(Generation(1)));
    tale.step(Event::Ordered(Order::Stop));
    // It may be ready, and hold a request, before its report is read: it is asked to finish, not to drop it.
    let actions = tale.step(Event::Forked(WorkerId(1), pid(1)));
    assert!(asked(&actions, pid(1), Ask::Drain) && !asked(&actions, pid(1), Ask::Quit));
}

#[test]
fn a_dead_template_is_started_again_while_workers_serve() {
    let mut tale = Tale::serving(2);
    let actions = tale.step(Event::Exited(Pid(1), Exit::Signal(9)));
    assert!(actions.contains(&Action::StartTemplate(Generation(1))));
    assert_eq!(
        forks(&tale.step(Event::Exited(pid(1), Exit::Signal(9)))),
        0,
        "there is nothing to fork from"
    );
    tale.step(Event::TemplateStarted(Generation(1), Pid(2)));
    assert_eq!(forks(&tale.step(Event::TemplateReady(Generation(1)))), 1);
}

#[test]
fn a_template_that_does_not_fork_is_replaced() {
    let mut tale = Tale::serving(2);
    let actions = tale.step(Event::Exited(pid(1), Exit::Signal(9)));
    assert_eq!(forks(&actions), 1);
    let actions = tale.after(60_000);
    assert!(asked(&actions, Pid(1), Ask::Testify), "{actions:?}");
    let actions = tale.after(5_000);
    assert!(
        actions.contains(&Action::KillTemplate(Generation(1), Pid(1))),
        "{actions:?}"
    );
    let actions = tale.step(Event::Exited(Pid(1), Exit::Signal(9)));
    assert!(
        actions.contains(&Action::StartTemplate(Generation(1))),
        "{actions:?}"
    );
    tale.step(Event::TemplateStarted(Generation(1), Pid(2)));
    assert_eq!(forks(&tale.step(Event::TemplateReady(Generation(1)))), 1);
}

#[test]
fn more_and_fewer_and_dismiss() {
    let mut tale = Tale::serving(2);
    assert_eq!(forks(&tale.step(Event::Ordered(Order::More))), 1);
    tale.newcomer(3);
    let actions = tale.step(Event::Ordered(Order::Fewer));
    assert!(asked(&actions, pid(1), Ask::Drain), "the oldest goes");
    tale.step(Event::Exited(pid(1), Exit::Code(0)));
    for _ in 0..3 {
        tale.step(Event::Ordered(Order::Fewer));
    }
    assert_eq!(tale.brain.wanted(), 1);
    tale.step(Event::Ordered(Order::Dismiss));
    assert_eq!(tale.brain.wanted(), 0);
    assert!(matches!(tale.brain.phase(), Phase::Running));
}

#[test]
fn strangers_are_killed_or_ignored() {
    let mut tale = Tale::serving(1);
    assert!(asked(
        &tale.step(Event::Ready(WorkerId(99), Pid(999))),
        Pid(999),
        Ask::Kill
    ));
    assert!(tale.step(Event::Exited(Pid(998), Exit::Code(1))).is_empty());
}

#[test]
fn a_patient_arbiter_waits_for_a_reload_when_nothing_boots() {
    let failure = |kind| BootFailure {
        kind,
        summary: "no".to_owned(),
    };
    for kind in [BootFailureKind::Boot, BootFailureKind::App] {
        let mut tale = Tale {
            brain: Arbiter::new(1),
            now: 100_000,
        };
        let patient = Policy {
            patient: true,
            ..policy(1)
        };
        tale.step(Event::Started(patient.clone()));
        tale.step(Event::TemplateStarted(Generation(1), Pid(1)));
        tale.step(Event::TemplateFailed(Generation(1), failure(kind)));
        tale.step(Event::Exited(Pid(1), Exit::Code(3)));
        assert_eq!(tale.brain.phase(), Phase::Running);
        let actions = tale.step(Event::Ordered(Order::Reload));
        assert!(actions.contains(&Action::Load), "{actions:?}");
        let actions = tale.step(Event::Loaded(patient));
        assert!(
            actions.contains(&Action::StartTemplate(Generation(2))),
            "{actions:?}"
        );
    }
    // What the host refuses, no save will mend.
    let mut tale = Tale {
        brain: Arbiter::new(1),
        now: 100_000,
    };
    tale.step(Event::Started(Policy {
        patient: true,
        ..policy(1)
    }));
    tale.step(Event::TemplateStarted(Generation(1), Pid(1)));
    tale.step(Event::TemplateFailed(
        Generation(1),
        failure(BootFailureKind::Host),
    ));
    assert!(matches!(tale.brain.phase(), Phase::Stopping { .. }));
}
