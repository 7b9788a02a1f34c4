//! How many requests a worker may serve (`max_requests`), whichever of its threads does.

use std::sync::atomic::{AtomicBool, Ordering};

use rcorn_python::fork::pid;
use rcorn_scoreboard::{Cell, Scoreboard};
use rcorn_settings::Settings;
use rcorn_sys::clock;

/// How many requests a worker may serve, and how many it has served.
#[derive(Debug)]
pub(super) struct RequestQuota {
    /// `u64::MAX`: any number.
    most: u64,
    /// That of the worker.
    cell: &'static Cell,
    /// Those of its threads, if it has several.
    threads: &'static [&'static Cell],
    scoreboard: &'static Scoreboard,
    /// Its replacement took too long.
    is_waived: AtomicBool,
}

impl RequestQuota {
    /// `max_requests`, and this worker's share of the jitter.
    pub(super) fn new(
        settings: &Settings,
        id: u64,
        scoreboard: &'static Scoreboard,
        cell: &'static Cell,
        threads: &'static [&'static Cell],
    ) -> Self {
        Self {
            most: most(settings, id),
            cell,
            threads,
            scoreboard,
            is_waived: AtomicBool::new(false),
        }
    }

    /// How many requests it may serve; `None`: any number.
    pub(super) fn most(&self) -> Option<u64> {
        (self.most != u64::MAX).then_some(self.most)
    }

    /// How many it has served.
    pub(super) fn served(&self) -> u64 {
        let of_threads = self.threads.iter().map(|cell| cell.requests());
        of_threads.fold(self.cell.requests(), u64::saturating_add)
    }

    /// How many workers there are to be.
    pub(super) fn workers(&self) -> u32 {
        self.scoreboard.shared().wanted()
    }

    /// Whether the next request is for its replacement. Not while nobody is replaced: then it
    /// serves on.
    pub(super) fn is_used_up(&self) -> bool {
        self.most != u64::MAX
            && self.served() >= self.most
            && !self.is_waived.load(Ordering::Relaxed)
            && !self.scoreboard.shared().retirement_stalls()
    }

    /// The worker serves on for good, whatever it has served.
    pub(super) fn waive(&self) {
        self.is_waived.store(true, Ordering::Relaxed);
    }
}

fn most(settings: &Settings, id: u64) -> u64 {
    if settings.max_requests == 0 {
        return u64::MAX;
    }
    // From time, pid and id: workers forked at the same moment must differ.
    let seed = clock::now().as_nanos() ^ (u64::from(pid().cast_unsigned()) << 32) ^ id;
    let jitter = fastrand::Rng::with_seed(seed).u64(0..=settings.max_requests_jitter);
    settings.max_requests.saturating_add(jitter)
}
