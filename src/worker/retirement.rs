//! When a worker retires: after `max_requests`, above `max_worker_memory`, or if a hook says so.
//! And when it is warm enough to become the template: after `refork` requests.

use std::fmt;
use std::time::Duration;

use rcorn_app::hooks::hook_wants_to_leave;
use rcorn_python::fork::pid;
use rcorn_scoreboard::Cell;
use rcorn_settings::Settings;
use rcorn_sys::clock;
use rcorn_sys::process::resident_kib;
use rcorn_types::Monotonic;

/// How often the memory is checked.
const MEMORY_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The limits at which a worker retires, and whether it has asked to.
#[derive(Debug)]
pub(super) struct Retirement {
    /// The number of requests after which there is something to ask for; `None`: there is none.
    due: Option<u64>,
    /// It retires after this many requests; `None`: never.
    max_requests: Option<u64>,
    /// Beyond this much memory, in KiB; `None`: never.
    max_memory_kib: Option<u64>,
    cell: &'static Cell,
    /// The cells of its threads, if it has several.
    threads: &'static [&'static Cell],
    next_look: Monotonic,
    is_asked: bool,
}

/// What a worker asks the arbiter for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    /// To become the template.
    Refork,
    /// To be replaced.
    Retirement(RetirementReason),
}

/// Why a worker asks to be replaced.
#[derive(Clone, Copy, Debug)]
pub(super) enum RetirementReason {
    /// It has served enough requests.
    Requests,
    /// A hook has set `worker.alive` to False.
    Hook,
    /// It has grown: its memory and the limit, in KiB.
    Memory { resident_kib: u64, limit_kib: u64 },
}

impl RetirementReason {
    /// The memory that it has, if that is the reason.
    pub(super) fn memory_kib(self) -> Option<u64> {
        match self {
            Self::Requests | Self::Hook => None,
            Self::Memory { resident_kib, .. } => Some(resident_kib),
        }
    }
}

impl fmt::Display for RetirementReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests => f.write_str("Autorestarting worker after current request."),
            Self::Hook => f.write_str(
                "Autorestarting worker after current request: a hook has set worker.alive to False.",
            ),
            Self::Memory {
                resident_kib,
                limit_kib,
            } => write!(
                f,
                "Autorestarting worker after current request: it has {resident_kib} KiB, max_worker_memory is \
                 {limit_kib} KiB."
            ),
        }
    }
}

impl Retirement {
    pub(super) fn new(
        settings: &Settings,
        id: u64,
        cell: &'static Cell,
        threads: &'static [&'static Cell],
    ) -> Self {
        let memory = settings.max_worker_memory.bytes();
        let max_requests = max_requests(settings, id);
        let refork = (settings.refork > 0).then_some(settings.refork);
        Self {
            due: refork.into_iter().chain(max_requests).min(),
            max_requests,
            max_memory_kib: (memory > 0).then(|| memory.div_ceil(1024)),
            cell,
            threads,
            next_look: Monotonic::ZERO,
            is_asked: false,
        }
    }

    /// What to ask for; returned once.
    pub(super) fn take_wish(&mut self) -> Option<Wish> {
        if self.is_asked {
            return None;
        }
        let wish = self.wish()?;
        self.is_asked = matches!(wish, Wish::Retirement(_));
        Some(wish)
    }

    fn wish(&mut self) -> Option<Wish> {
        if hook_wants_to_leave() {
            return Some(Wish::Retirement(RetirementReason::Hook));
        }
        if let Some(limit_kib) = self.max_memory_kib
            && let Some(resident_kib) = self.resident_kib()
            && resident_kib > limit_kib
        {
            let reason = RetirementReason::Memory {
                resident_kib,
                limit_kib,
            };
            return Some(Wish::Retirement(reason));
        }
        let due = self.due?;
        let of_threads = self.threads.iter().map(|cell| cell.requests());
        let served = of_threads.fold(self.cell.requests(), u64::saturating_add);
        (served >= due).then(|| self.wish_after(served))
    }

    fn wish_after(&mut self, served: u64) -> Wish {
        if self.max_requests.is_some_and(|most| served >= most) {
            return Wish::Retirement(RetirementReason::Requests);
        }
        self.due = self.max_requests;
        Wish::Refork
    }

    /// The memory of this process, when it is time to look.
    fn resident_kib(&mut self) -> Option<u64> {
        let now = clock::coarse_now();
        if now < self.next_look {
            return None;
        }
        self.next_look = now.after(MEMORY_LOOK_INTERVAL);
        resident_kib(pid())
    }
}

/// `max_requests` plus this worker's share of the jitter.
fn max_requests(settings: &Settings, id: u64) -> Option<u64> {
    if settings.max_requests == 0 {
        return None;
    }
    // From time, pid and id: workers forked at the same moment must differ.
    let seed = clock::now().as_nanos() ^ (u64::from(pid().cast_unsigned()) << 32) ^ id;
    let jitter = fastrand::Rng::with_seed(seed).u64(0..=settings.max_requests_jitter);
    Some(settings.max_requests.saturating_add(jitter))
}
