//! Workers that do not get on, and those that only seem so.

use super::*;

#[test]
fn a_hang_is_aborted_at_its_deadline_and_then_killed() {
    let mut tale = Tale::serving(2);
    let begun = at(tale.now);
    tale.step(Event::Beat(WorkerId(1), Some(begun)));
    assert_eq!(
        tale.brain.deadline(),
        Some(begun.after(Duration::from_secs(30)))
    );
    assert!(!asked(&tale.after(29_999), pid(1), Ask::Testify));
    let actions = tale.after(1);
    assert!(asked(&actions, pid(1), Ask::Testify));
    assert_eq!(said(&actions), ["WORKER TIMEOUT (pid:11)"]);
    assert_eq!(
        forks(&actions),
        1,
        "its replacement need not wait for its end"
    );
    let actions = tale.after(300);
    assert!(asked(&actions, pid(1), Ask::Abort));
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::PostMortem(WorkerId(1), ..)))
    );
    assert!(asked(&tale.after(1000), pid(1), Ask::Kill));
    let actions = tale.step(Event::Exited(pid(1), Exit::Signal(9)));
    assert_eq!(
        said(&actions),
        ["Worker (pid:11) was killed because it did not get on within its timeout."]
    );
}

#[test]
fn an_idle_server_looks_once_a_timeout() {
    let mut tale = Tale::serving(2);
    tale.after(30_000);
    let due = tale.brain.deadline().unwrap();
    assert_eq!(due, at(tale.now + 30_000));
}

#[test]
fn a_worker_that_got_on_before_it_was_killed_stays() {
    let mut tale = Tale::serving(1);
    let begun = at(tale.now);
    tale.step(Event::Beat(WorkerId(1), Some(begun)));
    assert!(asked(&tale.after(30_000), pid(1), Ask::Testify));
    assert_eq!(
        said(&tale.step(Event::Beat(WorkerId(1), None))),
        ["Worker (pid:11) got on and stays."]
    );
    assert!(!asked(&tale.after(300), pid(1), Ask::Abort));
}

#[test]
fn who_was_busy_at_two_looks_with_two_requests_is_not_taken_for_hung() {
    let mut tale = Tale::serving(2);
    for look in 0..3 {
        if look > 0 {
            tale.now += 30_000;
            // Something else happens first, when the last look is too old to judge by.
            assert!(
                said(&tale.step(Event::WantsRetirement(
                    WorkerId(9),
                    RetireReason::MaxRequests
                )))
                .is_empty()
            );
        }
        for id in 1..=2 {
            let begun = at(tale.now - id);
            assert!(said(&tale.step(Event::Beat(WorkerId(id), Some(begun)))).is_empty());
        }
        assert!(said(&tale.after(0)).is_empty());
    }
}

#[test]
fn who_gets_on_during_a_stop_is_told_of_it() {
    let mut tale = Tale::serving(1);
    let begun = at(tale.now);
    tale.step(Event::Beat(WorkerId(1), Some(begun)));
    assert!(asked(&tale.after(30_000), pid(1), Ask::Testify));
    let actions = tale.step(Event::Ordered(Order::Stop));
    assert!(!asked(&actions, pid(1), Ask::Drain));
    let actions = tale.step(Event::Beat(WorkerId(1), None));
    assert!(asked(&actions, pid(1), Ask::Drain));
}

#[test]
fn a_stopped_worker_is_silent_from_then_on() {
    let mut tale = Tale::serving(1);
    tale.step(Event::Stopped(pid(1), true));
    // Its scoreboard cell still says that it sleeps.
    tale.step(Event::Beat(WorkerId(1), None));
    assert!(asked(&tale.after(30_000), pid(1), Ask::Testify));
    assert!(asked(&tale.after(300), pid(1), Ask::Abort));
}

#[test]
fn who_is_stopped_as_it_becomes_ready_is_silent_from_then_on() {
    let mut tale = Tale::begin(1);
    tale.step(Event::TemplateStarted(Generation(1), Pid(1)));
    tale.step(Event::TemplateReady(Generation(1)));
    tale.step(Event::Forked(WorkerId(1), pid(1)));
    tale.step(Event::Stopped(pid(1), true));
    tale.step(Event::Ready(WorkerId(1), pid(1)));
    tale.after(0);
    assert!(!asked(&tale.after(29_999), pid(1), Ask::Testify));
    assert!(asked(&tale.after(1), pid(1), Ask::Testify));
}
