//! What a simulation draws: policies, and steps that happen to a server.

use core::time::Duration;

use proptest::prelude::*;

use super::super::*;

/// What happens next. Numbers choose among what is there, modulo its count.
#[derive(Clone, Debug)]
pub(super) enum SimStep {
    /// An operator gives an order.
    Order(SimOrder),
    /// Something pending succeeds.
    Succeed(u8),
    /// Something pending fails, as this kind of failure.
    Fail(u8, SimFailure),
    /// A process dies.
    Die(u8, Exit),
    /// A process that was asked to leave does so.
    Leave(u8),
    /// A serving worker begins a request or ends it.
    Request(u8, bool),
    /// A worker that was asked to unwind its request has done so, and serves on.
    Recover(u8),
    /// A serving worker asks to be replaced.
    WantRetirement(u8, RetireReason),
    /// A serving worker has served enough requests to become the template.
    WantRefork(u8),
    /// A process is stopped by SIGSTOP.
    Stop(u8),
    /// All stopped processes are continued.
    Continue,
    /// An orphan of the app is reaped.
    Orphan,
    /// Time passes. What becomes due is looked at in time.
    Pass(Duration),
    /// Time passes in which the arbiter does not run.
    Jump(Duration),
    /// The arbiter is saved, and goes on from what was saved.
    Save,
    /// From now on imports may be shared, or not.
    Verdict(bool),
}

/// [`Order`], with workers by number.
#[derive(Clone, Copy, Debug)]
pub(super) enum SimOrder {
    Plain(Order),
    Retire(u8),
    Refork(u8),
}

/// How something fails.
#[derive(Clone, Copy, Debug)]
pub(super) enum SimFailure {
    /// The process reports a failure of this kind and exits.
    Reported(BootFailureKind),
    /// The process ends without a word.
    Silent(Exit),
}

fn milliseconds(range: core::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn limit(range: core::ops::Range<u64>) -> impl Strategy<Value = Option<Duration>> {
    prop_oneof![Just(None), milliseconds(range).prop_map(Some)]
}

fn sometimes(range: core::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    prop_oneof![2 => Just(Duration::ZERO), 1 => milliseconds(range)]
}

pub(super) fn policy() -> impl Strategy<Value = Policy> {
    let times = (
        limit(1_000..40_000),
        limit(1_000..60_000),
        milliseconds(0..30_000),
        sometimes(1..10_000),
        prop_oneof![2 => Just(None), 1 => milliseconds(3_000..60_000).prop_map(Some)],
        sometimes(1..8_000),
        sometimes(1..10_000),
        sometimes(1..20_000),
    );
    let rules = [
        OldFirst::Never,
        OldFirst::Auto,
        OldFirst::AfterFailures,
        OldFirst::Always,
    ];
    let import = prop_oneof![
        3 => Just(Import::FirstWorker),
        1 => Just(Import::Template),
        1 => Just(Import::Workers),
    ];
    let spares = prop_oneof![2 => Just(0), 1 => 1_u32..3];
    let flags = (rules.prop_map_choice(), any::<bool>(), spares);
    (1_u32..5, times, flags, import).prop_map(|(workers, times, flags, import)| {
        let (old_first, tolerate_boot_failure, spares) = flags;
        let (
            timeout,
            boot_timeout,
            graceful_timeout,
            reload_watch,
            max_age,
            drain_delay,
            abort_timeout,
            unwind_grace,
        ) = times;
        Policy {
            workers,
            timeout,
            boot_timeout,
            abort_timeout,
            unwind_grace,
            graceful_timeout,
            reload_watch,
            max_age,
            old_first,
            drain_delay,
            tolerate_boot_failure,
            import,
            spares,
        }
    })
}

fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![
        [0, 1, 3, 4, 78].map(Exit::Code).prop_map_choice(),
        [3, 6, 9, 11, 15].map(Exit::Signal).prop_map_choice(),
    ]
}

fn order() -> impl Strategy<Value = SimOrder> {
    let plain = prop_oneof![
        1 => Just(Order::Stop),
        1 => Just(Order::Quit),
        6 => Just(Order::Reload),
        2 => Just(Order::More),
        2 => Just(Order::Fewer),
        1 => (0_u32..5).prop_map(Order::Scale),
        1 => Just(Order::Reopen),
        2 => Just(Order::Upgrade),
        1 => Just(Order::Dismiss),
    ];
    prop_oneof![
        9 => plain.prop_map(SimOrder::Plain),
        2 => any::<u8>().prop_map(SimOrder::Retire),
        3 => any::<u8>().prop_map(SimOrder::Refork),
    ]
}

fn failure() -> impl Strategy<Value = SimFailure> {
    prop_oneof![
        [
            BootFailureKind::Boot,
            BootFailureKind::App,
            BootFailureKind::Host
        ]
        .map(SimFailure::Reported)
        .prop_map_choice(),
        exit().prop_map(SimFailure::Silent),
    ]
}

fn reason() -> impl Strategy<Value = RetireReason> {
    [RetireReason::MaxRequests, RetireReason::Memory].prop_map_choice()
}

fn step() -> impl Strategy<Value = SimStep> {
    prop_oneof![
        4 => order().prop_map(SimStep::Order),
        28 => any::<u8>().prop_map(SimStep::Succeed),
        3 => (any::<u8>(), failure()).prop_map(|(which, how)| SimStep::Fail(which, how)),
        3 => (any::<u8>(), exit()).prop_map(|(which, how)| SimStep::Die(which, how)),
        4 => any::<u8>().prop_map(SimStep::Leave),
        8 => (any::<u8>(), any::<bool>()).prop_map(|(which, busy)| SimStep::Request(which, busy)),
        2 => any::<u8>().prop_map(SimStep::Recover),
        2 => (any::<u8>(), reason()).prop_map(|(which, why)| SimStep::WantRetirement(which, why)),
        1 => any::<u8>().prop_map(SimStep::WantRefork),
        1 => any::<u8>().prop_map(SimStep::Stop),
        1 => Just(SimStep::Continue),
        1 => Just(SimStep::Orphan),
        5 => milliseconds(1..40_000).prop_map(SimStep::Pass),
        4 => milliseconds(1..400).prop_map(SimStep::Pass),
        1 => milliseconds(1_000..300_000).prop_map(SimStep::Jump),
        1 => Just(SimStep::Save),
        1 => any::<bool>().prop_map(SimStep::Verdict),
    ]
}

/// The policies of the start and of each reload, in turn; and what happens.
pub(super) fn simulation() -> impl Strategy<Value = (Vec<Policy>, Vec<SimStep>)> {
    (
        prop::collection::vec(policy(), 1..4),
        prop::collection::vec(step(), 1..150),
    )
}

/// One of an array.
trait Choice<T> {
    fn prop_map_choice(self) -> prop::sample::Select<T>
    where
        T: Clone + core::fmt::Debug + 'static;
}

impl<T, const N: usize> Choice<T> for [T; N] {
    fn prop_map_choice(self) -> prop::sample::Select<T>
    where
        T: Clone + core::fmt::Debug + 'static,
    {
        prop::sample::select(Vec::from(self))
    }
}
