//! When a worker retires: after `max_requests`, above `max_worker_memory`, or if a hook says so.
//! And when it is warm enough to become the template: after `refork` requests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rcorn_app::hooks::hook_wants_to_leave;
use rcorn_python::fork::pid;
use rcorn_settings::{RetireOldFirst, Settings};
use rcorn_sys::clock;
use rcorn_sys::process::resident_kib;
use rcorn_sys::procfs::Stat;
use rcorn_types::Monotonic;

use super::request_quota::RequestQuota;

/// How often the memory is checked.
const MEMORY_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The limits at which a worker retires, and whether it has asked to.
#[derive(Debug)]
pub(super) struct Retirement {
    /// How many requests are served when there is next something to decide; `u64::MAX`: never.
    due: u64,
    /// It becomes the template after this many requests; `None`: never, or it has asked for that.
    refork: Option<u64>,
    quota: Arc<RequestQuota>,
    replacement: Replacement,
    /// Beyond this much memory, in KiB; `None`: never.
    max_memory_kib: Option<u64>,
    next_look: Monotonic,
    is_asked: bool,
}

/// When to ask for the replacement of a worker that may serve only so many requests: so early that
/// it is ready when they are served.
#[derive(Clone, Copy, Debug)]
struct Replacement {
    /// How long this worker took from its fork to now, when it begins to serve: its replacement may
    /// take as long.
    boot: Duration,
    serves_since: Monotonic,
    /// The old worker leaves as soon as it has asked.
    comes_later: bool,
}

impl Replacement {
    /// After how many of `most` requests to ask, if `served` of them, half or more, are served by
    /// now. Twice as early as seems necessary, for others may be replaced first.
    fn due(self, most: u64, served: u64, now: Monotonic) -> u64 {
        if self.comes_later {
            return most;
        }
        let served_in = now.since(self.serves_since).as_nanos().max(1);
        let boots = self.boot.as_nanos().saturating_mul(2);
        let meanwhile = u128::from(served)
            .saturating_mul(boots)
            .checked_div(served_in);
        let meanwhile = meanwhile.map_or(Ok(0), u64::try_from).unwrap_or(u64::MAX);
        most.saturating_sub(meanwhile)
    }
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
    pub(super) fn new(settings: &Settings, quota: Arc<RequestQuota>) -> Self {
        let memory = settings.max_worker_memory.bytes();
        let refork = (settings.refork > 0).then_some(settings.refork);
        let half = quota.most().map(|most| most.div_ceil(2));
        Self {
            due: refork.into_iter().chain(half).min().unwrap_or(u64::MAX),
            refork,
            quota,
            replacement: Replacement {
                boot: Stat::of_self()
                    .and_then(|stat| stat.age())
                    .unwrap_or_default(),
                serves_since: clock::now(),
                comes_later: settings.retire_old_first == RetireOldFirst::Always,
            },
            max_memory_kib: (memory > 0).then(|| memory.div_ceil(1024)),
            next_look: Monotonic::ZERO,
            is_asked: false,
        }
    }

    /// How many requests the worker may serve.
    pub(super) fn quota(&self) -> &RequestQuota {
        &self.quota
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
        if self.due == u64::MAX {
            return None;
        }
        let served = self.quota.served();
        if served < self.due {
            return None;
        }
        self.wish_after(served)
    }

    /// What to ask for after so many requests; decides when to look again.
    fn wish_after(&mut self, served: u64) -> Option<Wish> {
        let retires_at = self.retires_at(served);
        if served >= retires_at {
            return Some(Wish::Retirement(RetirementReason::Requests));
        }
        let due = self.refork.take_if(|due| served >= *due);
        self.due = self.refork.map_or(retires_at, |due| due.min(retires_at));
        due.map(|_requests| Wish::Refork)
    }

    /// After how many requests to ask for a replacement, or else to look again.
    fn retires_at(&self, served: u64) -> u64 {
        let Some(most) = self.quota.most() else {
            return u64::MAX;
        };
        let half = most.div_ceil(2);
        if served < half {
            return half;
        }
        self.replacement.due(most, served, clock::now()).max(half)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_is_asked_for_so_early_that_it_is_ready_in_time() {
        let second = Duration::from_secs(1);
        let replacement = |boot, comes_later| Replacement {
            boot,
            serves_since: Monotonic::ZERO,
            comes_later,
        };
        let now = Monotonic::ZERO.after(10 * second);
        // 50 requests a second, and two seconds for two replacements.
        assert_eq!(replacement(second, false).due(1000, 500, now), 900);
        // It leaves at once, so it is not early.
        assert_eq!(replacement(second, true).due(1000, 500, now), 1000);
        // None comes in that time.
        assert_eq!(replacement(second / 1000, false).due(10, 5, now), 10);
        // More than all.
        assert_eq!(replacement(60 * second, false).due(10, 5, now), 0);
        let at_once = replacement(second, false).due(10, 5, Monotonic::ZERO);
        assert_eq!(at_once, 0);
    }
}
