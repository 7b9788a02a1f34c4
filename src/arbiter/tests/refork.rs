//! A worker that has served becomes the template.

use super::*;

const FIRST: Generation = Generation(1);

/// Two workers, of which the first was asked to become the template; worker 3 is its replacement.
fn asked_to_become() -> Scenario {
    let mut scenario = Scenario::serving(2);
    let actions = scenario.step(Event::Ordered(Order::Refork(WorkerId(1))));
    assert_eq!(
        said(&actions),
        ["Worker (pid:11) is to become the template."]
    );
    assert_eq!(forks(&actions), 1, "its replacement first");
    assert!(asked(&scenario.newcomer(3), pid(1), Ask::BecomeTemplate));
    scenario
}

fn refused(actions: &[Action], reason: &str) -> bool {
    said(actions) == [format!("Not reforking: {reason}")]
}

#[test]
fn the_others_are_replaced_one_by_one_by_forks_of_it() {
    let mut scenario = asked_to_become();
    let actions = scenario.step(Event::Promoted(WorkerId(1), pid(1)));
    assert!(actions.contains(&Action::Promote(WorkerId(1), FIRST, pid(1))));
    assert!(actions.contains(&Action::FreeCell(CellIndex(0))));
    assert_eq!(forks(&actions), 1);
    assert!(asked(&scenario.newcomer(4), pid(2), Ask::Drain));
    let actions = scenario.step(Event::Exited(pid(2), Exit::Code(0)));
    assert_eq!(forks(&actions), 1);
    let actions = scenario.newcomer(5);
    assert!(asked(&actions, pid(3), Ask::Drain), "its replacement, too");
    let actions = scenario.step(Event::Exited(pid(3), Exit::Code(0)));
    assert_eq!(
        said(&actions),
        ["Reforked: all workers are forks of the new template."]
    );
    assert!(!scenario.brain.is_reforking());
    scenario.step(Event::Exited(Pid(1), Exit::Code(0)));
    let template = scenario.brain.templates().iter().next();
    assert_eq!(
        template,
        Some((FIRST, TemplateStage::Ready { pid: pid(1) }))
    );
}

#[test]
fn one_that_must_not_be_shared_leaves_and_the_template_stays() {
    let mut scenario = asked_to_become();
    let found = "serving left a thread";
    let actions = scenario.step(Event::NotReforked(WorkerId(1), found.to_owned()));
    assert!(refused(&actions, found));
    let actions = scenario.step(Event::Exited(pid(1), Exit::Code(0)));
    assert!(actions == [Action::FreeCell(CellIndex(0))], "{actions:?}");
    // Requests do not lead to another attempt; an order does.
    assert_eq!(scenario.step(Event::WantsRefork(WorkerId(2))), []);
    let actions = scenario.step(Event::Ordered(Order::Refork(WorkerId(2))));
    assert_eq!(forks(&actions), 1);
}

#[test]
fn requests_lead_to_one_refork_and_another_worker_takes_the_place_of_one_that_dies() {
    let mut scenario = Scenario::serving(2);
    let actions = scenario.step(Event::WantsRefork(WorkerId(2)));
    assert_eq!(
        said(&actions),
        ["Worker (pid:12) is to become the template."]
    );
    assert_eq!(scenario.step(Event::WantsRefork(WorkerId(1))), []);
    let actions = scenario.step(Event::Exited(pid(2), Exit::Signal(9)));
    let texts = said(&actions);
    let reason = "Not reforking: the worker ended before it was the template";
    assert!(texts.iter().any(|text| text == reason), "{texts:?}");
    let begun = "Worker (pid:11) is to become the template.";
    assert!(texts.iter().any(|text| text == begun), "{texts:?}");
}

#[test]
fn a_reload_takes_its_place() {
    let mut scenario = Scenario::serving(1);
    scenario.step(Event::Ordered(Order::Refork(WorkerId(1))));
    scenario.newcomer(2);
    scenario.step(Event::Ordered(Order::Reload));
    scenario.step(Event::Loaded(policy(1)));
    scenario.step(Event::TemplateStarted(Generation(2), Pid(2)));
    scenario.step(Event::TemplateReady(Generation(2)));
    let actions = scenario.newcomer(3);
    let reason = "Not reforking: a reload replaces all workers";
    assert!(said(&actions).iter().any(|text| text == reason));
    // It could be the template, and leaves.
    assert_eq!(scenario.step(Event::Promoted(WorkerId(1), pid(1))), []);
}

#[test]
fn a_stop_ends_it() {
    let mut scenario = asked_to_become();
    scenario.step(Event::Ordered(Order::Stop));
    assert_eq!(scenario.step(Event::Promoted(WorkerId(1), pid(1))), []);
    for id in 1..=3 {
        scenario.step(Event::Exited(pid(id), Exit::Code(0)));
    }
    let actions = scenario.step(Event::Exited(Pid(1), Exit::Code(0)));
    assert_eq!(actions.last(), Some(&Action::Exit(Outcome::Stopped)));
}

#[test]
fn the_template_may_die_meanwhile() {
    let mut scenario = asked_to_become();
    let actions = scenario.step(Event::Exited(Pid(1), Exit::Signal(9)));
    assert!(!actions.contains(&Action::StartTemplate(FIRST)), "it waits");
    let actions = scenario.step(Event::Promoted(WorkerId(1), pid(1)));
    assert!(actions.contains(&Action::Promote(WorkerId(1), FIRST, pid(1))));

    let mut scenario = asked_to_become();
    scenario.step(Event::Exited(Pid(1), Exit::Signal(9)));
    let actions = scenario.step(Event::NotReforked(WorkerId(1), "a thread".to_owned()));
    assert!(actions.contains(&Action::StartTemplate(FIRST)));

    // Before its turn has come: the app is imported again, and the worker serves on.
    let mut scenario = Scenario::serving(1);
    scenario.step(Event::Ordered(Order::Refork(WorkerId(1))));
    let actions = scenario.step(Event::Exited(Pid(1), Exit::Signal(9)));
    let texts = said(&actions);
    let reason = "Not reforking: the template ended, and the app is imported again";
    assert!(texts.iter().any(|text| text == reason), "{texts:?}");
    assert_eq!(scenario.brain.workers.retirement.holder(), None);
}

#[test]
fn it_is_refused_with_the_reason() {
    let mut scenario = Scenario::begin(1);
    let order = |id| Event::Ordered(Order::Refork(WorkerId(id)));
    let actions = scenario.step(order(1));
    assert!(refused(&actions, "there is no template yet"));
    let mut scenario = Scenario::serving(2);
    let actions = scenario.step(order(7));
    assert!(refused(&actions, "the worker does not serve"));
    scenario.step(order(1));
    let actions = scenario.step(order(2));
    assert!(refused(&actions, "another refork is under way"));
    let mut scenario = Scenario::serving(1);
    scenario.step(Event::Ordered(Order::Reload));
    let actions = scenario.step(order(1));
    assert!(refused(&actions, "a reload is under way"));
    for (import, reason) in [
        (Import::Workers, "preload_app is off"),
        (Import::FirstWorker, "the app's import is not shared"),
    ] {
        let mut scenario = serving_with(Policy {
            import,
            ..policy(1)
        });
        scenario.brain.generations.judge_import(Generation(1), true);
        let actions = scenario.step(order(1));
        assert!(refused(&actions, reason), "{actions:?}");
    }
}
