//! Workers that do not get on, and those that only seem so.

use super::*;

#[test]
fn a_hang_is_aborted_at_its_deadline_and_then_killed() {
    let mut scenario = Scenario::serving(2);
    let begun = at(scenario.now);
    scenario.step(Event::Beat(WorkerId(1), Some(begun)));
    assert_eq!(
        scenario.brain.deadline(),
        Some(begun.after(Duration::from_secs(30)))
    );
    assert!(!asked(&scenario.after(29_999), pid(1), Ask::DumpStacks));
    let actions = scenario.after(1);
    assert!(asked(&actions, pid(1), Ask::DumpStacks));
    assert_eq!(said(&actions), ["WORKER TIMEOUT (pid:11)"]);
    assert_eq!(
        forks(&actions),
        1,
        "its replacement need not wait for its end"
    );
    let actions = scenario.after(300);
    assert!(asked(&actions, pid(1), Ask::Abort), "the app may unwind");
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::PostMortem(WorkerId(1), ..)))
    );
    assert!(!asked(&scenario.after(2999), pid(1), Ask::Abort));
    assert!(asked(&scenario.after(1), pid(1), Ask::Abort));
    assert!(asked(&scenario.after(1000), pid(1), Ask::Kill));
    let actions = scenario.step(Event::Exited(pid(1), Exit::Signal(9)));
    assert_eq!(
        said(&actions),
        ["Worker (pid:11) was killed because its request took longer than timeout."]
    );
}

/// A server of one worker whose app was asked to unwind its request.
fn unwinding(policy: Policy) -> Scenario {
    let mut scenario = serving_with(policy);
    scenario.after(0);
    let begun = at(scenario.now);
    scenario.step(Event::Beat(WorkerId(1), Some(begun)));
    assert!(asked(&scenario.after(30_000), pid(1), Ask::DumpStacks));
    assert!(asked(&scenario.after(300), pid(1), Ask::Abort));
    scenario
}

#[test]
fn an_app_that_unwinds_its_request_ends_its_worker() {
    for (exit, said_of_it) in [
        (
            Exit::Code(0),
            "ended the request that timed out, and exited.",
        ),
        (
            Exit::Code(1),
            "exited, though the request that timed out has not ended.",
        ),
        (
            Exit::Signal(6),
            "was killed because its request took longer than timeout.",
        ),
    ] {
        let mut scenario = unwinding(policy(1));
        // It is on its way out, whatever its cell says.
        assert!(said(&scenario.step(Event::Beat(WorkerId(1), None))).is_empty());
        let actions = scenario.step(Event::Exited(pid(1), exit));
        assert_eq!(said(&actions), [format!("Worker (pid:11) {said_of_it}")]);
    }
}

/// Its other threads have requests, too.
#[test]
fn a_worker_with_threads_has_more_time_to_unwind() {
    let threaded = Policy {
        unwind_grace: Duration::from_secs(17),
        ..policy(1)
    };
    let mut scenario = unwinding(threaded.clone());
    assert!(!asked(&scenario.after(19_999), pid(1), Ask::Abort));
    assert!(asked(&scenario.after(1), pid(1), Ask::Abort));
    // But no time if there is none for the app.
    let hurried = Policy {
        abort_timeout: Duration::ZERO,
        ..threaded
    };
    let mut scenario = unwinding(hurried);
    assert!(asked(&scenario.after(1000), pid(1), Ask::Kill));
}

#[test]
fn a_worker_whose_thread_came_free_serves_on() {
    let mut scenario = unwinding(policy(1));
    scenario.step(Event::Forked(WorkerId(2), pid(2)));
    scenario.step(Event::Ready(WorkerId(2), pid(2)));
    let actions = scenario.step(Event::Recovered(WorkerId(1)));
    assert_eq!(
        said(&actions),
        ["Worker (pid:11) made progress and keeps running."]
    );
    // There is one too many now: the one that took its place.
    let drained = |id| asked(&actions, pid(id), Ask::Drain);
    assert!(!drained(1) && drained(2), "{actions:?}");
    assert!(!asked(&scenario.after(60_000), pid(1), Ask::Abort));

    // One that is not ready yet leaves when it is.
    let mut scenario = unwinding(policy(1));
    scenario.step(Event::Recovered(WorkerId(1)));
    scenario.step(Event::Forked(WorkerId(2), pid(2)));
    let actions = scenario.step(Event::Ready(WorkerId(2), pid(2)));
    assert!(asked(&actions, pid(2), Ask::Drain), "{actions:?}");
    assert!(!asked(&actions, pid(1), Ask::Drain), "{actions:?}");

    // While the server stops, it is told to leave.
    let mut scenario = unwinding(policy(1));
    scenario.step(Event::Ordered(Order::Stop));
    let actions = scenario.step(Event::Recovered(WorkerId(1)));
    assert!(asked(&actions, pid(1), Ask::Drain));

    // Too late: it is being killed.
    let mut scenario = unwinding(policy(1));
    assert!(asked(&scenario.after(3000), pid(1), Ask::Abort));
    assert!(said(&scenario.step(Event::Recovered(WorkerId(1)))).is_empty());
    assert!(asked(&scenario.after(1000), pid(1), Ask::Kill));
}

#[test]
fn without_time_to_unwind_a_hang_is_aborted_once() {
    let hurried = Policy {
        abort_timeout: Duration::ZERO,
        ..policy(1)
    };
    let mut scenario = unwinding(hurried);
    let actions = scenario.after(1000);
    assert!(asked(&actions, pid(1), Ask::Kill) && !asked(&actions, pid(1), Ask::Abort));
}

#[test]
fn a_stop_waits_no_longer_for_an_app_that_unwinds_than_for_others() {
    let patient = Policy {
        abort_timeout: Duration::from_mins(10),
        ..policy(1)
    };
    let mut scenario = unwinding(patient.clone());
    let actions = scenario.step(Event::Ordered(Order::Stop));
    assert!(!asked(&actions, pid(1), Ask::Drain), "it leaves anyway");
    assert!(!asked(&scenario.after(19_999), pid(1), Ask::Abort));
    assert!(asked(&scenario.after(1), pid(1), Ask::Abort));

    let mut scenario = unwinding(patient.clone());
    scenario.step(Event::Ordered(Order::Quit));
    assert!(asked(&scenario.after(2000), pid(1), Ask::Abort));

    // The stop may come while the stacks are dumped.
    let mut scenario = serving_with(patient);
    scenario.after(0);
    let begun = at(scenario.now);
    scenario.step(Event::Beat(WorkerId(1), Some(begun)));
    assert!(asked(&scenario.after(30_000), pid(1), Ask::DumpStacks));
    scenario.step(Event::Ordered(Order::Quit));
    assert!(asked(&scenario.after(300), pid(1), Ask::Abort));
    assert!(asked(&scenario.after(2000), pid(1), Ask::Abort));
}

#[test]
fn an_idle_server_looks_once_a_timeout() {
    let mut scenario = Scenario::serving(2);
    scenario.after(30_000);
    let due = scenario.brain.deadline().unwrap();
    assert_eq!(due, at(scenario.now + 30_000));
}

#[test]
fn a_worker_that_got_on_before_it_was_killed_stays() {
    let mut scenario = Scenario::serving(1);
    let begun = at(scenario.now);
    scenario.step(Event::Beat(WorkerId(1), Some(begun)));
    assert!(asked(&scenario.after(30_000), pid(1), Ask::DumpStacks));
    assert_eq!(
        said(&scenario.step(Event::Beat(WorkerId(1), None))),
        ["Worker (pid:11) made progress and keeps running."]
    );
    assert!(!asked(&scenario.after(300), pid(1), Ask::Abort));
}

#[test]
fn who_was_busy_at_two_looks_with_two_requests_is_not_taken_for_hung() {
    let mut scenario = Scenario::serving(2);
    for look in 0..3 {
        if look > 0 {
            scenario.now += 30_000;
            // Something else happens first, when the last look is too old to judge by.
            assert!(
                said(&scenario.step(Event::WantsRetirement(
                    WorkerId(9),
                    RetireReason::MaxRequests
                )))
                .is_empty()
            );
        }
        for id in 1..=2 {
            let begun = at(scenario.now - id);
            assert!(said(&scenario.step(Event::Beat(WorkerId(id), Some(begun)))).is_empty());
        }
        assert!(said(&scenario.after(0)).is_empty());
    }
}

#[test]
fn who_gets_on_during_a_stop_is_told_of_it() {
    let mut scenario = Scenario::serving(1);
    let begun = at(scenario.now);
    scenario.step(Event::Beat(WorkerId(1), Some(begun)));
    assert!(asked(&scenario.after(30_000), pid(1), Ask::DumpStacks));
    let actions = scenario.step(Event::Ordered(Order::Stop));
    assert!(!asked(&actions, pid(1), Ask::Drain));
    let actions = scenario.step(Event::Beat(WorkerId(1), None));
    assert!(asked(&actions, pid(1), Ask::Drain));
}

#[test]
fn a_stopped_worker_is_silent_from_then_on() {
    let mut scenario = Scenario::serving(1);
    scenario.step(Event::Stopped(pid(1)));
    // Its scoreboard cell still says that it sleeps.
    scenario.step(Event::Beat(WorkerId(1), None));
    assert!(asked(&scenario.after(30_000), pid(1), Ask::DumpStacks));
    assert!(asked(&scenario.after(300), pid(1), Ask::Abort));
}

#[test]
fn who_is_stopped_as_it_becomes_ready_is_silent_from_then_on() {
    let mut scenario = Scenario::begin(1);
    scenario.step(Event::TemplateStarted(Generation(1), Pid(1)));
    scenario.step(Event::TemplateReady(Generation(1)));
    scenario.step(Event::Forked(WorkerId(1), pid(1)));
    scenario.step(Event::Stopped(pid(1)));
    scenario.step(Event::Ready(WorkerId(1), pid(1)));
    scenario.after(0);
    assert!(!asked(&scenario.after(29_999), pid(1), Ask::DumpStacks));
    assert!(asked(&scenario.after(1), pid(1), Ask::DumpStacks));
}

#[test]
fn a_stop_counts_from_itself_unless_a_request_is_in_hand() {
    for (in_hand, due) in [(false, 40_000), (true, 30_000)] {
        let mut scenario = Scenario::serving(1);
        let begun = at(scenario.now);
        scenario.step(Event::Beat(WorkerId(1), Some(begun)));
        scenario.now += 10_000;
        // The scoreboard is read only now: the request that the last beat showed may be over.
        scenario.step(Event::Stopped(pid(1)));
        scenario.step(Event::Beat(WorkerId(1), in_hand.then_some(begun)));
        let rest = due - 10_000;
        assert!(!asked(&scenario.after(rest - 1), pid(1), Ask::DumpStacks));
        assert!(asked(&scenario.after(1), pid(1), Ask::DumpStacks));
    }
}
