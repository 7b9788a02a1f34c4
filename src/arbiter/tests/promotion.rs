//! A worker that imports the app becomes the template, or stays what it is.

use super::*;

const FIRST: Generation = Generation(1);

fn looking(workers: u32) -> Policy {
    Policy {
        import: Import::FirstWorker,
        ..policy(workers)
    }
}

/// Worker 1, which looks at its import, boots as pid 11; the template is pid 1.
fn importing(workers: u32) -> Scenario {
    let mut scenario = Scenario {
        brain: Arbiter::new(1),
        now: 100_000,
    };
    scenario.step(Event::Started(looking(workers)));
    scenario.step(Event::TemplateStarted(FIRST, Pid(1)));
    let actions = scenario.step(Event::TemplateReady(FIRST));
    assert_eq!(
        actions,
        [Action::ForkToPromote(WorkerId(1), CellIndex(0), FIRST)],
        "the others wait"
    );
    assert_eq!(scenario.step(Event::Forked(WorkerId(1), pid(1))), []);
    scenario
}

/// Three workers, which were forked from worker 1.
fn promoted() -> Scenario {
    let mut scenario = importing(3);
    let actions = scenario.step(Event::Promoted(WorkerId(1), pid(1)));
    assert_eq!(forks(&actions), 3);
    for id in 2..=4 {
        scenario.newcomer(id);
    }
    scenario
}

#[test]
fn a_worker_takes_the_place_of_the_template_and_its_cell_is_free() {
    let mut scenario = importing(2);
    let actions = scenario.step(Event::Promoted(WorkerId(1), pid(1)));
    assert_eq!(
        actions,
        [
            Action::FreeCell(CellIndex(0)),
            Action::Promote(WorkerId(1), FIRST, pid(1)),
            Action::Fork(WorkerId(2), CellIndex(0), FIRST),
            Action::Fork(WorkerId(3), CellIndex(1), FIRST),
        ]
    );
    assert_eq!(scenario.step(Event::Exited(Pid(1), Exit::Code(0))), []);
    let template = scenario.brain.templates().iter().next();
    assert_eq!(
        template,
        Some((FIRST, TemplateStage::Ready { pid: pid(1) }))
    );
}

#[test]
fn a_report_of_its_fork_that_comes_late_makes_no_stranger_of_a_template() {
    let mut scenario = promoted();
    assert_eq!(scenario.step(Event::Forked(WorkerId(1), pid(1))), []);
    scenario.step(Event::Exited(Pid(1), Exit::Code(0)));
    scenario.step(Event::Ordered(Order::Quit));
    for id in 2..=4 {
        scenario.step(Event::Exited(pid(id), Exit::Code(0)));
    }
    let actions = scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    assert!(actions.contains(&Action::Exit(Outcome::Stopped)));
}

#[test]
fn a_quick_stop_hurries_a_template_that_does_not_leave_its_place() {
    let mut scenario = promoted();
    scenario.step(Event::Ordered(Order::Quit));
    for id in 2..=4 {
        scenario.step(Event::Exited(pid(id), Exit::Code(0)));
    }
    scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    let actions = scenario.after(2_000);
    assert!(actions.contains(&Action::KillTemplate(FIRST, Pid(1))));
}

#[test]
fn a_template_that_does_not_leave_its_place_is_killed() {
    let mut scenario = promoted();
    assert!(scenario.after(19_999).is_empty());
    let actions = scenario.after(1);
    assert!(actions.contains(&Action::KillTemplate(FIRST, Pid(1))));
    assert!(scenario.after(100).is_empty(), "once");
    scenario.step(Event::Ordered(Order::Quit));
    for id in 2..=4 {
        scenario.step(Event::Exited(pid(id), Exit::Code(0)));
    }
    let actions = scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    assert!(!actions.contains(&Action::Exit(Outcome::Stopped)));
    let actions = scenario.step(Event::Exited(Pid(1), Exit::Signal(9)));
    assert!(actions.contains(&Action::Exit(Outcome::Stopped)));
}

#[test]
fn a_worker_that_serves_is_no_template_though_it_did_not_say_so() {
    let mut scenario = importing(3);
    let actions = scenario.step(Event::Ready(WorkerId(1), pid(1)));
    assert_eq!(forks(&actions), 2);
}

#[test]
fn a_worker_that_must_not_be_shared_serves_and_the_others_import_beside_it() {
    let mut scenario = importing(3);
    let actions = scenario.step(Event::NotPromoted(WorkerId(1)));
    assert_eq!(forks(&actions), 2);
    for id in 1..=3 {
        assert_eq!(forks(&scenario.newcomer(id)), 0);
    }
    let actions = scenario.step(Event::Exited(pid(2), Exit::Signal(9)));
    assert_eq!(forks(&actions), 1, "nobody looks again");
}

#[test]
fn after_an_import_that_must_not_be_shared_a_reload_begins_with_all_workers() {
    let mut scenario = importing(3);
    scenario.step(Event::NotPromoted(WorkerId(1)));
    for id in 1..=3 {
        scenario.newcomer(id);
    }
    let actions = reload(&mut scenario, 3);
    assert!(actions.contains(&Action::ForkToPromote(
        WorkerId(4),
        CellIndex(3),
        Generation(2)
    )));
    assert_eq!(forks(&actions), 2, "one looks, and two more");
    // The verdict is another one this time.
    scenario.step(Event::Forked(WorkerId(4), pid(4)));
    let actions = scenario.step(Event::Promoted(WorkerId(4), pid(4)));
    assert!(actions.contains(&Action::Promote(WorkerId(4), Generation(2), pid(4))));
    scenario.newcomer(5);
    assert_eq!(scenario.brain.generation(), Generation(2));
    scenario.newcomer(6);
    let last = scenario.brain.workers().get(WorkerId(7));
    assert!(last.is_some(), "forked from what was promoted");
}

/// Until the template of the next generation is ready.
fn reload(scenario: &mut Scenario, workers: u32) -> Vec<Action> {
    scenario.step(Event::Ordered(Order::Reload));
    scenario.step(Event::Loaded(looking(workers)));
    scenario.step(Event::TemplateStarted(Generation(2), Pid(2)));
    scenario.step(Event::TemplateReady(Generation(2)))
}

#[test]
fn a_reload_imports_once_more_and_forks_its_canary_from_what_was_imported() {
    let mut scenario = promoted();
    let actions = reload(&mut scenario, 3);
    let second = Generation(2);
    assert_eq!(
        actions,
        [Action::ForkToPromote(WorkerId(5), CellIndex(3), second)]
    );
    scenario.step(Event::Forked(WorkerId(5), pid(5)));
    let actions = scenario.step(Event::Promoted(WorkerId(5), pid(5)));
    assert!(actions.contains(&Action::Fork(WorkerId(6), CellIndex(3), second)));
    assert_eq!(forks(&actions), 1);
    assert_eq!(scenario.brain.generation(), FIRST);
    scenario.newcomer(6);
    assert_eq!(scenario.brain.generation(), second);
}

#[test]
fn a_reload_whose_import_fails_leaves_the_old_template() {
    let mut scenario = promoted();
    reload(&mut scenario, 3);
    scenario.step(Event::Forked(WorkerId(5), pid(5)));
    let failure = BootFailure {
        kind: BootFailureKind::Boot,
        summary: "broken".to_owned(),
    };
    let actions = scenario.step(Event::BootFailed(WorkerId(5), failure));
    let note = Action::Say(ReloadNote::Failed("broken".to_owned(), FIRST).into());
    assert!(actions.contains(&note));
    let actions = scenario.step(Event::Exited(pid(2), Exit::Signal(9)));
    assert_eq!(forks(&actions), 1);
}

#[test]
fn a_template_that_dies_is_replaced_before_a_worker_is_missing() {
    let mut scenario = promoted();
    let actions = scenario.step(Event::Exited(pid(1), Exit::Signal(9)));
    assert!(actions.contains(&Action::StartTemplate(FIRST)));
    scenario.step(Event::TemplateStarted(FIRST, Pid(2)));
    let actions = scenario.step(Event::TemplateReady(FIRST));
    assert_eq!(
        actions,
        [Action::ForkToPromote(WorkerId(5), CellIndex(3), FIRST)]
    );
    scenario.step(Event::Forked(WorkerId(5), pid(5)));
    // The bare one dies, too: the import goes on, and is enough.
    let actions = scenario.step(Event::Exited(Pid(2), Exit::Signal(9)));
    assert!(!actions.contains(&Action::StartTemplate(FIRST)));
    let actions = scenario.step(Event::Promoted(WorkerId(5), pid(5)));
    assert!(actions.contains(&Action::Promote(WorkerId(5), FIRST, pid(5))));
}

#[test]
fn a_worker_that_was_asked_to_leave_is_not_promoted() {
    let mut scenario = importing(2);
    let actions = scenario.step(Event::Ordered(Order::Stop));
    assert!(asked(&actions, pid(1), Ask::Drain));
    assert_eq!(scenario.step(Event::Promoted(WorkerId(1), pid(1))), []);
    scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    let actions = scenario.step(Event::Exited(Pid(1), Exit::Code(0)));
    assert!(actions.contains(&Action::Exit(Outcome::Stopped)));
}

#[test]
fn a_first_import_that_fails_ends_the_server() {
    for (kind, outcome) in [
        (BootFailureKind::Boot, Outcome::BootFailed),
        (BootFailureKind::App, Outcome::AppNotLoaded),
    ] {
        let mut scenario = importing(2);
        let summary = "broken".to_owned();
        scenario.step(Event::BootFailed(
            WorkerId(1),
            BootFailure { kind, summary },
        ));
        scenario.step(Event::Exited(pid(1), Exit::Code(3)));
        let actions = scenario.step(Event::Exited(Pid(1), Exit::Code(0)));
        assert!(actions.contains(&Action::Exit(outcome)));
    }
}

#[test]
fn a_log_that_is_reopened_during_the_import_is_reopened_by_the_template() {
    let mut scenario = importing(2);
    let actions = scenario.step(Event::Ordered(Order::Reopen));
    assert!(asked(&actions, pid(1), Ask::Reopen));
}

#[test]
fn a_server_whose_workers_were_dismissed_imports_nothing() {
    let mut scenario = promoted();
    scenario.step(Event::Ordered(Order::Dismiss));
    scenario.step(Event::Exited(pid(1), Exit::Signal(9)));
    scenario.step(Event::TemplateStarted(FIRST, Pid(2)));
    assert_eq!(scenario.step(Event::TemplateReady(FIRST)), []);
    let actions = scenario.step(Event::Ordered(Order::Scale(2)));
    let to_promote = Action::ForkToPromote(WorkerId(5), CellIndex(3), FIRST);
    assert!(actions.contains(&to_promote), "{actions:?}");
}

#[test]
fn a_reload_that_fails_says_nothing_of_the_import_in_force() {
    let mut scenario = importing(1);
    scenario.step(Event::NotPromoted(WorkerId(1)));
    scenario.step(Event::Ready(WorkerId(1), pid(1)));
    scenario.step(Event::Ordered(Order::Reload));
    scenario.step(Event::Loaded(looking(1)));
    scenario.step(Event::TemplateStarted(Generation(2), Pid(2)));
    scenario.step(Event::TemplateReady(Generation(2)));
    scenario.step(Event::Forked(WorkerId(2), pid(2)));
    scenario.step(Event::Promoted(WorkerId(2), pid(2)));
    let next = scenario.step(Event::Forked(WorkerId(3), pid(3)));
    assert!(next.is_empty(), "{next:?}");
    scenario.step(Event::Exited(pid(3), Exit::Code(3)));
    assert!(!scenario.brain.is_reloading());
    assert_eq!(scenario.brain.generation(), FIRST);
    let obstacle = scenario.brain.refork_obstacle();
    assert_eq!(obstacle, Some("the app's import is not shared"));
}
