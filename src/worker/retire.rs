//! When a worker asks to be replaced: it has served `max_requests`, or grown beyond `max_worker_memory`. It
//! serves on until its replacement is ready.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rcorn_link::Report;
use rcorn_link::report;
use rcorn_log as log;
use rcorn_python::fork::pid;
use rcorn_settings::Settings;
use rcorn_sys::clock;
use rcorn_sys::process::resident_kib;

use super::desk::Desk;

/// How often the memory is looked at.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// What a worker knows about its own end.
#[derive(Debug)]
pub(super) struct Retirement {
    /// After so many requests; 0: never.
    requests: u64,
    /// Beyond so much memory, in KiB; 0: never.
    memory: u64,
    next_look: u64,
    asked: bool,
}

impl Retirement {
    pub(super) fn new(settings: &Settings, id: u64) -> Self {
        Self {
            requests: retire_at(settings, id),
            memory: settings.max_worker_memory.bytes().div_ceil(1024),
            next_look: 0,
            asked: false,
        }
    }

    fn has_grown(&mut self) -> Option<u64> {
        if self.memory == 0 || clock::coarse() < self.next_look {
            return None;
        }
        self.next_look = clock::coarse().saturating_add(clock::nanoseconds(BETWEEN_LOOKS));
        resident_kib(pid()).filter(|resident| *resident > self.memory)
    }
}

/// `max_requests` plus this worker's share of the jitter.
fn retire_at(settings: &Settings, id: u64) -> u64 {
    if settings.max_requests == 0 {
        return 0;
    }
    // splitmix64 of time, pid and id: workers forked in the same instant must differ.
    let mut z = clock::monotonic() ^ (u64::from(pid().cast_unsigned()) << 32) ^ id;
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let jitter = z
        .checked_rem(settings.max_requests_jitter.saturating_add(1))
        .unwrap_or(0);
    settings.max_requests.saturating_add(jitter)
}

impl Desk<'_> {
    /// Asks for the retire token, once.
    pub(super) fn retire_if_due(&mut self) {
        let retirement = &mut self.retirement;
        if retirement.asked {
            return;
        }
        let memory = retirement.has_grown();
        let served = self.cell.requests.load(Ordering::Relaxed);
        let worn = retirement.requests > 0 && served >= retirement.requests;
        if !worn && memory.is_none() {
            return;
        }
        retirement.asked = true;
        match memory {
            Some(kib) => log::info(format_args!(
                "Autorestarting worker after current request: it has {kib} KiB, max_worker_memory is {} KiB.",
                self.settings.max_worker_memory.bytes().div_ceil(1024)
            )),
            None => log::info(format_args!("Autorestarting worker after current request.")),
        }
        let wish = Report::WantsRetirement {
            id: self.id,
            memory,
        };
        if let Err(error) = report(self.reports, &wish) {
            log::error(format_args!(
                "cannot ask the arbiter for a replacement: {error}"
            ));
        }
    }
}
