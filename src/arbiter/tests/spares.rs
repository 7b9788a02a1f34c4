//! Workers that wait until one is missing.

use super::*;

const FIRST: Generation = Generation(1);

/// A server whose workers import the app themselves, with this many spare ones.
fn apart(workers: u32, spares: u32) -> Policy {
    Policy {
        import: Import::Workers,
        spares,
        ..policy(workers)
    }
}

/// Two workers, and worker 3, which waits.
fn with_spare() -> Scenario {
    let mut scenario = serving_with(apart(2, 1));
    assert_eq!(scenario.step(Event::Forked(WorkerId(3), pid(3))), []);
    assert_eq!(scenario.step(Event::SpareReady(WorkerId(3), pid(3))), []);
    scenario
}

fn spare(actions: &[Action], id: u64) -> bool {
    let is_one = |action: &Action| matches!(action, Action::ForkSpare(one, ..) if one.0 == id);
    actions.iter().any(is_one)
}

#[test]
fn a_spare_serves_when_a_worker_is_missing_and_another_is_imported_after_that() {
    let mut scenario = with_spare();
    let actions = scenario.step(Event::Exited(pid(1), Exit::Signal(9)));
    assert!(actions.contains(&Action::Activate(WorkerId(3))));
    assert_eq!(forks(&actions), 0);
    let actions = scenario.newcomer(3);
    assert!(spare(&actions, 4));
}

#[test]
fn a_spare_that_imports_is_the_next_worker() {
    let mut scenario = serving_with(apart(2, 1));
    let actions = scenario.step(Event::Exited(pid(1), Exit::Signal(9)));
    assert_eq!(forks(&actions), 0);
    let actions = scenario.step(Event::SpareReady(WorkerId(3), pid(3)));
    assert_eq!(actions, [Action::Activate(WorkerId(3))]);
}

#[test]
fn more_retired_and_fewer_workers() {
    let mut scenario = with_spare();
    let actions = scenario.step(Event::Ordered(Order::More));
    assert!(actions.contains(&Action::Activate(WorkerId(3))));
    assert!(spare(&scenario.newcomer(3), 4));
    scenario.step(Event::SpareReady(WorkerId(4), pid(4)));
    let actions = scenario.step(Event::Ordered(Order::Fewer));
    assert!(asked(&actions, pid(1), Ask::Drain));
    assert!(!asked(&actions, pid(4), Ask::Drain));
    scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    let actions = scenario.step(Event::WantsRetirement(
        WorkerId(2),
        RetireReason::MaxRequests,
    ));
    assert_eq!(actions.last(), Some(&Action::Activate(WorkerId(4))));
    assert!(asked(&scenario.newcomer(4), pid(2), Ask::Drain));
}

#[test]
fn those_of_the_old_generation_leave_and_new_ones_come_last() {
    let mut scenario = with_spare();
    scenario.step(Event::Ordered(Order::Reload));
    scenario.step(Event::Loaded(apart(2, 1)));
    scenario.step(Event::TemplateStarted(Generation(2), Pid(2)));
    let actions = scenario.step(Event::TemplateReady(Generation(2)));
    assert_eq!(forks(&actions), 2);
    let actions = scenario.newcomer(4);
    assert!(asked(&actions, pid(3), Ask::Drain) && !spare(&actions, 6));
    scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    assert!(spare(&scenario.newcomer(5), 6));
}

#[test]
fn spares_that_die_are_throttled_and_nobody_else_suffers() {
    let mut scenario = with_spare();
    let actions = scenario.step(Event::Exited(pid(3), Exit::Code(3)));
    assert!(spare(&actions, 4), "at once after the first");
    scenario.step(Event::Forked(WorkerId(4), pid(4)));
    let actions = scenario.step(Event::Exited(pid(4), Exit::Code(3)));
    assert!(!spare(&actions, 5), "{actions:?}");
    assert!(scenario.brain.deadline().is_some());
    assert!(spare(&scenario.after(1000), 5));
    assert!(scenario.brain.workers.retirement.holder().is_none());
    assert_eq!(scenario.brain.generation(), FIRST);
}

/// An app that takes a port or a lock at import can have no spare worker.
#[test]
fn a_worker_is_replaced_at_once_though_no_spare_can_boot() {
    let mut scenario = with_spare();
    scenario.step(Event::Exited(pid(3), Exit::Code(3)));
    for id in 4..8 {
        scenario.step(Event::Forked(WorkerId(id), pid(id)));
        scenario.step(Event::Exited(pid(id), Exit::Code(3)));
        scenario.after(5000);
    }
    scenario.step(Event::Forked(WorkerId(8), pid(8)));
    scenario.step(Event::Exited(pid(8), Exit::Code(3)));
    assert!(scenario.brain.deadline().is_some(), "the next spare waits");
    let actions = scenario.step(Event::Exited(pid(1), Exit::Signal(9)));
    assert_eq!(forks(&actions), 1);
}

#[test]
fn a_reload_is_not_taken_back_because_of_spares() {
    let policy = Policy {
        reload_watch: Duration::from_mins(1),
        ..apart(1, 1)
    };
    let mut scenario = serving_with(policy.clone());
    scenario.step(Event::Ordered(Order::Reload));
    scenario.step(Event::Loaded(policy));
    scenario.step(Event::TemplateStarted(Generation(2), Pid(2)));
    scenario.step(Event::TemplateReady(Generation(2)));
    assert!(spare(&scenario.newcomer(3), 4));
    for id in 4..7 {
        scenario.step(Event::Forked(WorkerId(id), pid(id)));
        scenario.step(Event::Exited(pid(id), Exit::Code(3)));
        scenario.after(1000);
    }
    assert!(scenario.brain.is_on_probation());
    assert_eq!(scenario.brain.generation(), Generation(2));
}

#[test]
fn a_stop_and_a_dismissal_end_them() {
    for order in [Order::Stop, Order::Dismiss] {
        let mut scenario = with_spare();
        let actions = scenario.step(Event::Ordered(order));
        assert!(asked(&actions, pid(3), Ask::Drain), "{order:?}");
    }
}

#[test]
fn where_the_import_is_shared_there_are_none() {
    let mut scenario = Scenario::begin(1);
    scenario.brain.generations.policy.spares = 2;
    scenario.step(Event::TemplateStarted(FIRST, Pid(1)));
    scenario.step(Event::TemplateReady(FIRST));
    let actions = scenario.newcomer(1);
    assert!(!spare(&actions, 2));
}
