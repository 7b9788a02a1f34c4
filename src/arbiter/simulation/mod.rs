//! What holds whatever happens: simulations of servers to which everything happens that the arbiter
//! knows, at random. `kernel.rs` asserts after each event what must always hold; here is what must
//! follow from certain events.

mod coverage;
mod kernel;
mod orders;
mod processes;
mod steps;

use core::time::Duration;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::upgrade::Upgrade;
use super::*;
use coverage::{Coverage, diagram};
use kernel::{FakeKernel, Pending};
use steps::{SimOrder, SimStep, simulation};

fn run(policies: &[Policy], steps: &[SimStep]) -> FakeKernel {
    let mut kernel = FakeKernel::new(policies);
    for step in steps {
        kernel.apply(step);
    }
    kernel
}

fn policy(workers: u32) -> Policy {
    Policy {
        workers,
        timeout: Some(Duration::from_secs(30)),
        boot_timeout: Some(Duration::from_mins(1)),
        abort_timeout: Duration::from_secs(3),
        unwind_grace: Duration::ZERO,
        graceful_timeout: Duration::from_secs(30),
        reload_watch: Duration::from_secs(5),
        max_age: None,
        old_first: OldFirst::Auto,
        drain_delay: Duration::ZERO,
        tolerate_boot_failure: false,
        import: Import::FirstWorker,
        spares: 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 250,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// From any point a stop, time, and a kernel that honours KILL lead to the exit, although no
    /// process heeds anything else.
    #[test]
    fn a_stop_always_ends((policies, steps) in simulation()) {
        let mut kernel = run(&policies, &steps);
        for order in [Order::Stop, Order::Stop] {
            kernel.apply(&SimStep::Order(SimOrder::Plain(order)));
        }
        for _ in 0..100 {
            if kernel.outcome.is_some() {
                break;
            }
            let killed: Vec<Pid> = kernel.actions.iter().filter_map(killed).collect();
            for pid in killed {
                kernel.die(pid, Exit::Signal(9));
            }
            // A template that is stopped may owe a fork for ever, if there is no boot_timeout.
            kernel.continue_all();
            while !kernel.pending.is_empty() {
                kernel.succeed(0);
            }
            kernel.pass(Duration::from_secs(10));
        }
        prop_assert!(kernel.outcome.is_some(), "{:?}", kernel.arbiter);
    }

    /// From any point, when everything goes well again, exactly the wanted number of workers
    /// serves, all of the generation in force, and nothing is under way.
    #[test]
    fn a_calm_server_is_what_it_should_be((policies, steps) in simulation()) {
        let mut kernel = run(&policies, &steps);
        kernel.calm_down();
        let arbiter = &kernel.arbiter;
        if kernel.outcome.is_none() && arbiter.phase() == Phase::Running {
            prop_assert_eq!(kernel.serving_now(), arbiter.wanted(), "{:?}", arbiter);
            let generation = arbiter.generation();
            prop_assert!(arbiter.workers().iter().all(|(_, one)| one.generation == generation));
            prop_assert_eq!(arbiter.templates().iter().count(), 1, "{:?}", arbiter);
            prop_assert!(arbiter.templates().replaced.is_empty(), "{:?}", arbiter);
            let is_ready = arbiter.templates().can_fork(generation);
            prop_assert!(is_ready || arbiter.wanted() == 0, "{:?}", arbiter);
            prop_assert!(!arbiter.is_reloading() && !arbiter.is_on_probation(), "{:?}", arbiter);
            prop_assert_ne!(arbiter.upgrade, Upgrade::Waiting);
            prop_assert_eq!(arbiter.workers.retirement.holder(), None);
            prop_assert!(!arbiter.is_reforking(), "{:?}", arbiter);
            let spares = arbiter.workers().count(Worker::is_kept_ready);
            prop_assert_eq!(spares, arbiter.wanted_spares(), "{:?}", arbiter);
        } else {
            prop_assert!(kernel.outcome.is_some(), "a stop does not end: {:?}", arbiter);
        }
    }

    /// A reload in peace never lowers the number of workers that serve.
    #[test]
    fn a_reload_keeps_capacity(workers in 1_u32..6, choices in prop::collection::vec(any::<(u8, u8)>(), 300)) {
        let mut kernel = FakeKernel::new(&[policy(workers)]);
        kernel.calm_down();
        prop_assert_eq!(kernel.serving_now(), workers);
        kernel.apply(&SimStep::Order(SimOrder::Plain(Order::Reload)));
        for (what, which) in choices {
            match what % 3 {
                0 => kernel.leave(),
                1 if !kernel.pending.is_empty() => kernel.succeed(usize::from(which)),
                _ => kernel.pass(Duration::from_secs(1)),
            }
            let serving = kernel.serving_now();
            prop_assert!(serving >= workers, "{} of {}", serving, workers);
        }
        prop_assert_eq!(kernel.arbiter.generation(), Generation(2));
    }

    /// A refork in peace never lowers the number of workers that serve, and ends with workers that
    /// were all forked from the new template.
    #[test]
    fn a_refork_keeps_capacity(
        workers in 1_u32..6,
        which in any::<u8>(),
        choices in prop::collection::vec(any::<(u8, u8)>(), 300),
    ) {
        let mut kernel = FakeKernel::new(&[policy(workers)]);
        kernel.calm_down();
        let last = kernel.arbiter.workers.last_id;
        kernel.apply(&SimStep::Order(SimOrder::Refork(which)));
        prop_assert!(kernel.arbiter.is_reforking());
        for (what, which) in choices {
            match what % 3 {
                0 => kernel.leave_if_not_looking(),
                1 if !kernel.pending.is_empty() => kernel.succeed(usize::from(which)),
                _ => kernel.pass(Duration::from_secs(1)),
            }
            let serving = kernel.serving_now();
            prop_assert!(serving >= workers, "{} of {}", serving, workers);
        }
        prop_assert!(!kernel.arbiter.is_reforking(), "{:?}", kernel.arbiter);
        prop_assert_eq!(kernel.serving_now(), workers);
        prop_assert!(kernel.arbiter.workers().iter().all(|(id, _)| id.0 > last));
        prop_assert_eq!(kernel.arbiter.generation(), Generation(1));
    }

    /// An arbiter that is saved and read back at any time (an upgrade in place) does the same as
    /// one that was not.
    #[test]
    fn a_saved_arbiter_goes_on_as_if_nothing_had_happened(
        (policies, steps) in simulation(),
        saves in prop::collection::vec(0_usize..150, 1..5),
    ) {
        let mut plain = FakeKernel::new(&policies);
        let mut saved = FakeKernel::new(&policies);
        for (index, step) in steps.iter().enumerate() {
            if matches!(step, SimStep::Save) {
                continue;
            }
            if saves.contains(&index) {
                saved.save();
            }
            plain.apply(step);
            saved.apply(step);
            prop_assert_eq!(plain.take_actions(), saved.take_actions());
            prop_assert_eq!(plain.arbiter.deadline(), saved.arbiter.deadline());
        }
    }
}

fn killed(action: &Action) -> Option<Pid> {
    if let Action::Ask(pid, Ask::Kill) | Action::KillTemplate(_, pid) = action {
        Some(*pid)
    } else {
        None
    }
}

/// Workers that die while they boot are not forked in a storm.
#[test]
fn deaths_at_boot_are_throttled() {
    let mut kernel = FakeKernel::new(&[policy(2)]);
    kernel.calm_down();
    let before = kernel.forks;
    for pid in kernel.processes.serving.clone().into_values() {
        kernel.die(pid, Exit::Signal(9));
    }
    let end = kernel.now.after(Duration::from_mins(1));
    while kernel.now < end {
        while let Some(pending) = kernel.pending.first().copied() {
            if let Pending::Boot(_, pid) = pending {
                kernel.die(pid, Exit::Code(3));
            } else {
                kernel.succeed(0);
            }
        }
        kernel.pass(Duration::from_millis(50));
    }
    let forks = kernel.forks - before;
    assert!((4..40).contains(&forks), "{forks} forks in a minute");
}

/// A tick that comes far too late blames nobody; the next one does.
#[test]
fn a_late_tick_kills_no_one() {
    let mut kernel = FakeKernel::new(&[policy(2)]);
    kernel.calm_down();
    kernel.apply(&SimStep::Request(0, true));
    let before = kernel.actions.len();
    kernel.apply(&SimStep::Jump(Duration::from_mins(5)));
    let is_abort = |action: &Action| matches!(action, Action::Ask(_, Ask::Abort));
    let aborts = |kernel: &FakeKernel| kernel.actions.iter().skip(before).any(is_abort);
    assert!(!aborts(&kernel));
    kernel.pass(Duration::from_secs(31));
    assert!(aborts(&kernel), "a hang outlives the grace");
}

/// Many simulations, always the same ones.
fn coverage() -> Coverage {
    let mut runner = TestRunner::deterministic();
    let mut coverage = Coverage::default();
    for _ in 0..6000 {
        let (policies, steps) = simulation().new_tree(&mut runner).unwrap().current();
        let mut kernel = FakeKernel::observed(&policies, Some(coverage));
        for step in &steps {
            kernel.apply(step);
        }
        kernel.pass(Duration::from_mins(1));
        coverage = kernel.coverage.unwrap();
    }
    coverage
}

/// The names of all variants that a simulation must meet.
const VOCABULARY: &str = "
    Order: Stop Quit Reload More Fewer Scale Reopen Upgrade Dismiss Retire Refork
    Event: Started Ordered Loaded NotLoaded TemplateStarted TemplateNotStarted TemplateReady TemplateFailed
    Event: Promoted NotPromoted WantsRefork NotReforked Recovered SpareReady
    Event: Forked ForkFailed Ready BootFailed WantsRetirement Beat Stopped Continued Exited
    Event: UpgradeStarted UpgradeNotStarted UpgradePutOff Tick
    BootFailureKind: Boot App Host
    Action: Load StartTemplate EndTemplate KillTemplate Fork Ask PostMortem Commit Discard CloseListeners
    Action: ForkToPromote Promote ForkSpare Activate
    Action: ReopenLogs Upgrade Wanted FreeCell Say Exit
    Ask: Drain BecomeTemplate Quit Reopen DumpStacks Abort Kill
    Outcome: Stopped HostRefused BootFailed AppNotLoaded
    RetireReason: MaxRequests Memory Age Ordered Refork
    KillReason: Hung BootTimeout GracefulTimeout QuickTimeout
    Note: Workers Dismissed Throttled ForkFailed TemplateNotStarted
    WorkerNote: Timeout Recovered Unwound NotUnwound BootTimeout NotReplaced LeavesFirst Ended Killed
    TemplateNote: BootTimeout DoesNotFork DoesNotLeave Ended NoPython
    ReloadNote: Begun Replaced Queued NotLoaded Failed RolledBack Done
    ReforkNote: Begun Promoted Refused Done
    UpgradeNote: Exists Waits NotStarted Ended
    StopNote: Delayed Ignored Quick ShuttingDown ShuttingDownAfterFailure Reason
";

#[test]
fn simulations_meet_the_whole_vocabulary_and_every_transition_of_the_diagrams() {
    let coverage = coverage();
    let mut all = BTreeSet::new();
    for line in VOCABULARY.trim().lines() {
        let (kind, names) = line.trim().split_once(": ").unwrap();
        all.extend(names.split(' ').map(|name| format!("{kind}::{name}")));
    }
    assert_eq!(coverage.names, all);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/stages.md");
    let diagrams = |kind| diagram(kind, &coverage.transitions);
    let page = format!(
        include_str!("stages.md.in"),
        worker = diagrams("worker"),
        template = diagrams("template"),
        arbiter = diagrams("arbiter"),
    );
    if std::env::var_os("RCORN_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let blessed = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        page, blessed,
        "RCORN_BLESS=1 cargo test -p rcorn-arbiter renews stages.md"
    );
}
