//! Reloads, step by step.

use super::*;

#[test]
fn a_reload_goes_one_by_one_and_keeps_capacity() {
    let mut scenario = Scenario::serving(2);
    assert!(
        scenario
            .step(Event::Ordered(Order::Reload))
            .contains(&Action::Load)
    );
    assert!(
        scenario
            .step(Event::Loaded(policy(2)))
            .contains(&Action::StartTemplate(Generation(2)))
    );
    scenario.step(Event::TemplateStarted(Generation(2), Pid(2)));
    let actions = scenario.step(Event::TemplateReady(Generation(2)));
    assert_eq!(forks(&actions), 1, "one goes first");
    let actions = scenario.newcomer(3);
    assert!(asked(&actions, pid(1), Ask::Drain) && !asked(&actions, pid(2), Ask::Drain));
    assert_eq!(forks(&actions), 1);
    let actions = scenario.newcomer(4);
    assert!(asked(&actions, pid(2), Ask::Drain));
    scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    scenario.step(Event::Exited(pid(2), Exit::Code(0)));
    assert!(
        !scenario
            .after(4_999)
            .contains(&Action::Commit(Generation(2)))
    );
    let actions = scenario.after(1);
    assert!(
        actions.contains(&Action::Commit(Generation(2)))
            && actions.contains(&Action::EndTemplate(Generation(1)))
    );
}

#[test]
fn a_template_leaves_after_the_last_worker_that_was_forked_from_it() {
    let mut scenario = Scenario::serving(2);
    scenario.step(Event::Ordered(Order::Reload));
    scenario.step(Event::Loaded(policy(2)));
    scenario.step(Event::TemplateStarted(Generation(2), Pid(2)));
    scenario.step(Event::TemplateReady(Generation(2)));
    scenario.newcomer(3);
    scenario.newcomer(4);
    scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    // The other one still serves its last request.
    let actions = scenario.after(5_000);
    let end = Action::EndTemplate(Generation(1));
    assert!(actions.contains(&Action::Commit(Generation(2))) && !actions.contains(&end));
    let actions = scenario.step(Event::Exited(pid(2), Exit::Code(0)));
    assert!(actions.contains(&end));
}

#[test]
fn a_reload_that_cannot_load_changes_nothing() {
    let mut scenario = Scenario::serving(2);
    scenario.step(Event::Ordered(Order::Reload));
    let actions = scenario.step(Event::NotLoaded("rcorn: no".into()));
    assert_eq!(
        said(&actions),
        ["Reload refused, nothing has changed: rcorn: no"]
    );
    scenario.step(Event::Ordered(Order::Reload));
    scenario.step(Event::Loaded(policy(2)));
    scenario.step(Event::TemplateStarted(Generation(2), Pid(2)));
    let failure = BootFailure {
        kind: BootFailureKind::Boot,
        summary: "ImportError: x".into(),
    };
    let actions = scenario.step(Event::TemplateFailed(Generation(2), failure));
    assert_eq!(
        said(&actions),
        ["Reload failed, generation 1 keeps serving: ImportError: x"]
    );
    assert!(actions.contains(&Action::Discard(Generation(2))));
    // Crashes are still mended from the old template.
    let actions = scenario.step(Event::Exited(pid(1), Exit::Signal(11)));
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Fork(_, _, Generation(1))))
    );
}

#[test]
fn a_reload_whose_workers_die_is_taken_back() {
    let mut scenario = Scenario::serving(1);
    scenario.step(Event::Ordered(Order::Reload));
    scenario.step(Event::Loaded(policy(1)));
    scenario.step(Event::TemplateStarted(Generation(2), Pid(2)));
    scenario.step(Event::TemplateReady(Generation(2)));
    scenario.newcomer(2);
    scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    scenario.step(Event::Exited(pid(2), Exit::Code(1)));
    scenario.newcomer(3);
    let actions = scenario.step(Event::Exited(pid(3), Exit::Code(1)));
    assert!(
        said(&actions)
            .iter()
            .any(|text| text.starts_with("Reload rolled back")),
        "{actions:?}"
    );
    assert!(actions.contains(&Action::Discard(Generation(2))));
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Fork(_, _, Generation(1))))
    );
}

#[test]
fn a_template_that_is_not_ready_in_time_is_not_said_to_have_imported_the_app() {
    for import in [Import::FirstWorker, Import::Template] {
        let mut scenario = Scenario::serving(1);
        scenario.step(Event::Ordered(Order::Reload));
        scenario.step(Event::Loaded(Policy {
            import,
            ..policy(1)
        }));
        scenario.step(Event::TemplateStarted(Generation(2), Pid(2)));
        let said = said(&scenario.after(60_000));
        let expected = "Reload failed, generation 1 keeps serving: \
                        the template was not ready within boot_timeout";
        assert!(said.iter().any(|line| line == expected), "{said:?}");
    }
}

#[test]
fn a_second_reload_waits_for_the_first() {
    let mut scenario = Scenario::serving(1);
    scenario.step(Event::Ordered(Order::Reload));
    let actions = scenario.step(Event::Ordered(Order::Reload));
    assert!(!actions.contains(&Action::Load));
    assert!(
        scenario
            .step(Event::NotLoaded("bad".into()))
            .contains(&Action::Load)
    );
}

#[test]
fn a_template_that_still_starts_does_not_outlive_its_reload() {
    let mut scenario = Scenario::serving(1);
    scenario.step(Event::Ordered(Order::Reload));
    scenario.step(Event::Loaded(policy(1)));
    scenario.step(Event::TemplateStarted(Generation(2), Pid(2)));
    // The old one dies, and is on its way again when the new code serves and shows itself to be
    // bad.
    scenario.step(Event::Exited(Pid(1), Exit::Signal(9)));
    scenario.step(Event::TemplateStarted(Generation(1), Pid(3)));
    scenario.step(Event::TemplateReady(Generation(2)));
    scenario.newcomer(2);
    scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    scenario.step(Event::Exited(pid(2), Exit::Code(1)));
    scenario.newcomer(3);
    let actions = scenario.step(Event::Exited(pid(3), Exit::Code(1)));
    assert!(
        actions.contains(&Action::Commit(Generation(2))),
        "{actions:?}"
    );
    assert!(
        actions.contains(&Action::EndTemplate(Generation(1))),
        "{actions:?}"
    );
}

/// Two forks fail while a reload is rolled out: the throttle closes. There is no timeout, so
/// nothing else ticks.
#[test]
fn a_rollout_goes_on_when_the_throttle_opens() {
    let untimed = Policy {
        timeout: None,
        boot_timeout: None,
        ..policy(1)
    };
    let mut scenario = serving_with(untimed.clone());
    scenario.step(Event::WantsRetirement(WorkerId(1), RetireReason::Memory));
    scenario.step(Event::ForkFailed(WorkerId(2), "no memory".into()));
    let actions = scenario.step(Event::ForkFailed(WorkerId(3), "no memory".into()));
    assert_eq!(forks(&actions), 0);
    let due = scenario.brain.deadline().expect("the throttle opens then");
    scenario.now += 200;
    assert!(due <= at(scenario.now));
    assert_eq!(forks(&scenario.after(0)), 1);
}

#[test]
fn a_retire_wish_outlives_a_reload_that_is_rolled_back() {
    let mut scenario = Scenario::serving(2);
    scenario.step(Event::Ordered(Order::Reload));
    scenario.step(Event::Loaded(policy(2)));
    scenario.step(Event::TemplateStarted(Generation(2), Pid(2)));
    scenario.step(Event::WantsRetirement(
        WorkerId(2),
        RetireReason::MaxRequests,
    ));
    scenario.step(Event::TemplateReady(Generation(2)));
    // The first two workers of the new generation end at once; worker 1 was drained meanwhile.
    scenario.newcomer(3);
    scenario.step(Event::Exited(pid(3), Exit::Code(1)));
    scenario.newcomer(4);
    let actions = scenario.step(Event::Exited(pid(4), Exit::Code(1)));
    assert!(
        said(&actions)
            .iter()
            .any(|text| text.starts_with("Reload rolled back"))
    );
    assert!(scenario.brain.workers.retirement.includes(WorkerId(2)));
}
