//! The settings on which the arbiter's decisions depend.

use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

use rcorn_arbiter::{Import, OldFirst, Policy};
use rcorn_settings::{DrainMode, Preload, RetireOldFirst, Settings};

/// `drain_mode: delay` without a number.
const DEFAULT_DRAIN_DELAY: Duration = Duration::from_secs(5);

/// The policy of these settings.
pub(super) fn policy(settings: &Settings) -> Policy {
    Policy {
        workers: settings.workers.resolve(cpus),
        timeout: settings.timeout.limit(),
        boot_timeout: settings.boot_timeout.limit(),
        abort_timeout: settings.abort_timeout.duration(),
        unwind_grace: match settings.threads {
            0 | 1 => Duration::ZERO,
            _ => settings
                .graceful_timeout
                .duration()
                .saturating_sub(settings.abort_timeout.duration()),
        },
        graceful_timeout: settings.graceful_timeout.duration(),
        // A developer wants the newest code to answer, even if it fails.
        reload_watch: if settings.reload {
            Duration::ZERO
        } else {
            settings.reload_watch.duration()
        },
        max_age: settings.max_worker_age.limit(),
        old_first: match settings.retire_old_first {
            RetireOldFirst::Auto => OldFirst::Auto,
            RetireOldFirst::Fallback => OldFirst::AfterFailures,
            RetireOldFirst::Always => OldFirst::Always,
            RetireOldFirst::Never => OldFirst::Never,
        },
        drain_delay: match settings.drain_mode {
            DrainMode::Delay if settings.drain_delay.duration().is_zero() => DEFAULT_DRAIN_DELAY,
            DrainMode::Queue | DrainMode::Immediate | DrainMode::Delay => {
                settings.drain_delay.duration()
            }
        },
        tolerate_boot_failure: settings.reload,
        import: match settings.preload_app {
            Preload::On => Import::Template,
            Preload::Off => Import::Workers,
            Preload::Auto => Import::FirstWorker,
        },
        spares: settings.spare_workers,
    }
}

/// The longest time from the start of a template to a worker that is ready; `None`: no limit.
pub(super) fn boot_limit(settings: &Settings) -> Option<Duration> {
    // For a template, a worker that imports the app, and one that is forked from it.
    let limit = settings.boot_timeout.limit()?;
    Some(limit.saturating_mul(3))
}

/// The longest time that a stop may take.
pub(super) fn stop_limit(settings: &Settings) -> Duration {
    let policy = policy(settings);
    policy.graceful_timeout.saturating_add(policy.drain_delay)
}

/// How many CPUs this process may use, by the quotas of its control groups and its affinity.
fn cpus() -> u32 {
    let count = available_parallelism().map_or(1, NonZero::get);
    u32::try_from(count).unwrap_or(u32::MAX)
}
