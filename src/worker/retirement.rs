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
use rcorn_sys::shared_block;
use rcorn_types::Monotonic;

use super::request_quota::RequestQuota;

/// How often the memory is checked.
const MEMORY_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is decided in the life of a worker when it asks for its replacement.
const LOOKS_PER_LIFE: u64 = 16;

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
    /// When it was decided last, and how many requests were served then.
    decided: (Monotonic, u64),
    /// The old worker leaves as soon as it has asked.
    comes_later: bool,
}

impl Replacement {
    /// After how many of `most` requests to ask, if `served` are served by now. All `workers` may
    /// ask at the same time, and are replaced one by one; the last one must wait for the others,
    /// and for one that has begun just now.
    fn due(&mut self, most: u64, served: u64, workers: u32, now: Monotonic) -> u64 {
        if self.comes_later {
            return most;
        }
        let boots = self.boot.as_nanos();
        let boots = boots.saturating_mul(u128::from(workers).saturating_add(1));
        let expected = |count: u64, time: Duration| {
            u128::from(count)
                .saturating_mul(boots)
                .checked_div(time.as_nanos().max(1))
        };
        let all = expected(served, now.since(self.serves_since));
        // Before that it may have been quiet.
        let (then, before) = std::mem::replace(&mut self.decided, (now, served));
        let lately = expected(served.saturating_sub(before), now.since(then));
        let meanwhile = all.max(lately).unwrap_or(0);
        most.saturating_sub(u64::try_from(meanwhile).unwrap_or(u64::MAX))
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
    /// It has served enough requests, or soon will have.
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
        // A spare worker has waited, and takes no time.
        let boot = Stat::of_self()
            .and_then(|stat| stat.age())
            .filter(|_| settings.spare_workers == 0);
        let (boot, now) = (boot.unwrap_or_default(), clock::now());
        Self {
            due: refork.into_iter().chain(half).min().unwrap_or(u64::MAX),
            refork,
            quota,
            replacement: Replacement {
                boot,
                serves_since: now,
                decided: (now, 0),
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
        // It is of use only if it comes first.
        let most = self.quota.most().unwrap_or(u64::MAX);
        let refork = self.refork.filter(|requests| *requests < most);
        if refork.is_some_and(|requests| served >= requests) {
            (self.refork, self.due) = (None, served);
            return Some(Wish::Refork);
        }
        if most == u64::MAX {
            self.due = refork.unwrap_or(u64::MAX);
            return None;
        }
        let half = most.div_ceil(2);
        let workers = self.quota.workers();
        let retires_at = self.replacement.due(most, served, workers, clock::now());
        let retires_at = retires_at.max(half).max(refork.unwrap_or(0));
        if served >= retires_at {
            return Some(Wish::Retirement(RetirementReason::Requests));
        }
        // The rate may change.
        let step = most.div_ceil(LOOKS_PER_LIFE);
        let look = served.saturating_add(step).max(half).min(retires_at);
        self.due = refork.map_or(look, |requests| look.min(requests));
        None
    }

    /// The wish may have been forgotten: it is repeated.
    pub(super) fn ask_again(&mut self) {
        self.is_asked = false;
    }

    /// The memory of this process, when it is time to look. Bodies that fronts have still to send
    /// are gone soon, and no reason to leave.
    fn resident_kib(&mut self) -> Option<u64> {
        let now = clock::coarse_now();
        if now < self.next_look {
            return None;
        }
        self.next_look = now.after(MEMORY_LOOK_INTERVAL);
        let of_bodies = u64::try_from(shared_block::resident_bytes()).unwrap_or(u64::MAX);
        resident_kib(pid()).map(|kib| kib.saturating_sub(of_bodies / 1024))
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
            decided: (Monotonic::ZERO, 0),
            comes_later,
        };
        let at = |seconds| Monotonic::ZERO.after(seconds * second);
        // 50 requests a second, and two seconds for two replacements.
        assert_eq!(replacement(second, false).due(1000, 500, 1, at(10)), 900);
        // Four workers are replaced, and one that was begun.
        assert_eq!(replacement(second, false).due(1000, 500, 4, at(10)), 750);
        // It leaves at once, so it is not early.
        assert_eq!(replacement(second, true).due(1000, 500, 1, at(10)), 1000);
        // None comes in that time.
        assert_eq!(replacement(second / 1000, false).due(10, 5, 1, at(10)), 10);
        // More than all.
        assert_eq!(replacement(60 * second, false).due(10, 5, 1, at(10)), 0);
        assert_eq!(replacement(second, false).due(10, 5, 1, at(0)), 0);
        // It was quiet for long.
        let mut quiet = replacement(second, false);
        assert_eq!(quiet.due(1000, 500, 1, at(5000)), 1000);
        assert_eq!(quiet.due(1000, 600, 1, at(5001)), 800);
    }
}
