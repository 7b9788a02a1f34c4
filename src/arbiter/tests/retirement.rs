//! Replacements that cannot start.

use super::*;

/// A server in which worker 1 wants to be replaced, with this rule.
fn retiring(workers: u32, old_first: OldFirst) -> Scenario {
    let mut scenario = serving_with(Policy {
        old_first,
        ..policy(workers)
    });
    scenario.after(0);
    scenario.step(Event::WantsRetirement(
        WorkerId(1),
        RetireReason::MaxRequests,
    ));
    scenario
}

/// The next worker fails while it boots. Returns what follows, up to the next fork.
fn fail(scenario: &mut Scenario, id: u64) -> Vec<Action> {
    scenario.step(Event::Forked(WorkerId(id), pid(id)));
    let failure = BootFailure {
        kind: BootFailureKind::Boot,
        summary: "the port is in use".to_owned(),
    };
    let mut actions = scenario.step(Event::BootFailed(WorkerId(id), failure));
    actions.extend(scenario.step(Event::Exited(pid(id), Exit::Code(3))));
    actions
}

/// As much time passes as a fork may have to wait after three failures.
fn wait(scenario: &mut Scenario) -> Vec<Action> {
    scenario.after(1000)
}

#[test]
fn a_single_worker_whose_replacements_fail_leaves_first() {
    let mut scenario = retiring(1, OldFirst::Auto);
    for (id, count) in [(2, 1), (3, 2)] {
        let said_of_it = said(&fail(&mut scenario, id));
        let stays = format!(
            "Worker (pid:11) stays although it is to be replaced: its replacement could not start ({count} so far)."
        );
        assert!(said_of_it.contains(&stays), "{said_of_it:?}");
        assert!(!asked(&wait(&mut scenario), pid(1), Ask::Drain));
    }
    let actions = fail(&mut scenario, 4);
    assert!(asked(&actions, pid(1), Ask::Drain));
    let leaves = "Worker (pid:11) leaves before its replacement is ready: 3 could not start (retire_old_first).";
    assert!(said(&actions).iter().any(|text| text == leaves));
    // It may still hold what the replacement needs.
    assert_eq!(forks(&wait(&mut scenario)), 0);
    let actions = scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    assert_eq!(forks(&actions), 1, "at once");
    assert_eq!(forks(&scenario.newcomer(5)), 0);
    assert_eq!(scenario.brain.workers.retirement.holder(), None);
}

#[test]
fn with_several_workers_the_old_one_stays_unless_it_may_go() {
    let mut scenario = retiring(2, OldFirst::Auto);
    let mut forked = 0;
    for id in 3..9 {
        let mut actions = fail(&mut scenario, id);
        // The pauses grow; the attempts never end.
        actions.extend(scenario.after(10_000));
        assert!(!asked(&actions, pid(1), Ask::Drain));
        forked += forks(&actions);
    }
    assert_eq!(forked, 6);

    let mut scenario = retiring(2, OldFirst::AfterFailures);
    for id in 3..5 {
        fail(&mut scenario, id);
        wait(&mut scenario);
    }
    assert!(asked(&fail(&mut scenario, 5), pid(1), Ask::Drain));
}

#[test]
fn code_that_cannot_boot_costs_one_worker_at_most() {
    let mut scenario = retiring(2, OldFirst::AfterFailures);
    scenario.step(Event::WantsRetirement(
        WorkerId(2),
        RetireReason::MaxRequests,
    ));
    for id in 3..6 {
        fail(&mut scenario, id);
        wait(&mut scenario);
    }
    scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    for _ in 0..20 {
        let is_forking = |worker: &Worker| matches!(worker.stage, WorkerStage::Forking { .. });
        let workers = scenario.brain.workers();
        let forking: Vec<WorkerId> = workers.ids(|_, worker| is_forking(worker)).collect();
        assert!(!forking.is_empty(), "the attempts never end");
        for WorkerId(id) in forking {
            assert!(!asked(&fail(&mut scenario, id), pid(2), Ask::Drain));
        }
        assert!(!asked(&scenario.after(40_000), pid(2), Ask::Drain));
    }
}

#[test]
fn a_replacement_that_fails_only_sometimes_is_waited_for() {
    let mut scenario = retiring(1, OldFirst::Auto);
    for id in 2..4 {
        fail(&mut scenario, id);
        wait(&mut scenario);
    }
    let actions = scenario.newcomer(4);
    assert!(asked(&actions, pid(1), Ask::Drain));
    scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    // The count begins anew with the next one.
    scenario.step(Event::WantsRetirement(WorkerId(4), RetireReason::Memory));
    assert!(!asked(&fail(&mut scenario, 5), pid(4), Ask::Drain));
}

#[test]
fn gunicorns_order_is_old_first_one_by_one() {
    let mut scenario = retiring(2, OldFirst::Always);
    scenario.step(Event::WantsRetirement(WorkerId(2), RetireReason::Age));
    assert_eq!(
        scenario.brain.workers.retirement.holder(),
        Some(WorkerId(1))
    );
    let leaving = |scenario: &Scenario, id| {
        let worker = scenario.brain.workers().get(WorkerId(id)).unwrap();
        matches!(worker.stage, WorkerStage::Leaving { .. })
    };
    assert!(leaving(&scenario, 1) && !leaving(&scenario, 2));
    let actions = scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    assert_eq!(forks(&actions), 1);
    assert!(
        !leaving(&scenario, 2),
        "its predecessor is not replaced yet"
    );
    assert!(asked(&scenario.newcomer(3), pid(2), Ask::Drain));
}

#[test]
fn a_fork_that_fails_counts_too() {
    let mut scenario = retiring(1, OldFirst::Auto);
    for id in 2..4 {
        scenario.step(Event::ForkFailed(WorkerId(id), "no memory".into()));
        wait(&mut scenario);
    }
    let actions = scenario.step(Event::ForkFailed(WorkerId(4), "no memory".into()));
    assert!(asked(&actions, pid(1), Ask::Drain));
}

#[test]
fn a_reload_replaces_it_all_the_same() {
    let mut scenario = retiring(1, OldFirst::Auto);
    for id in 2..4 {
        fail(&mut scenario, id);
        wait(&mut scenario);
    }
    scenario.step(Event::Ordered(Order::Reload));
    assert!(!asked(&fail(&mut scenario, 4), pid(1), Ask::Drain));
    scenario.step(Event::Loaded(policy(1)));
    scenario.step(Event::TemplateStarted(Generation(2), Pid(2)));
    scenario.step(Event::TemplateReady(Generation(2)));
    assert!(asked(&scenario.newcomer(5), pid(1), Ask::Drain));
}
