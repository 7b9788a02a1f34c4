//! What is recorded of a request when its response is complete, as in gunicorn before the `close()`
//! of the app's iterable and before the hook `post_request`: its line in the access log, and its
//! duration for statsd. So neither counts code that no client waits for, nor is lost with a worker
//! that does not survive it.

use std::time::Duration;

use rcorn_scoreboard::Place;
use rcorn_types::Monotonic;

use super::access_log::AccessLog;

/// Records the requests of one request slot.
#[derive(Debug)]
pub(super) struct Recorder {
    /// The access log, if there is one.
    access: Option<AccessLog>,
    /// Where requests are noted for statsd, if they are.
    sample: Option<&'static Place>,
    /// When the request in hand began; `None` if nothing is to be recorded of it any more.
    begun: Option<Monotonic>,
}

impl Recorder {
    pub(super) fn new(access: Option<AccessLog>, sample: Option<&'static Place>) -> Self {
        Self {
            access,
            sample,
            begun: None,
        }
    }

    /// Notes that a request begins. Returns whether lines of others are held.
    pub(super) fn begin(&mut self, now: Monotonic) -> bool {
        match &mut self.access {
            None if self.sample.is_none() => false,
            None => {
                self.begun = Some(now);
                false
            }
            Some(access) => {
                self.begun = Some(now);
                access.holds_at(now)
            }
        }
    }

    /// Whether something is to be recorded of the request in hand.
    pub(super) fn is_due(&self) -> bool {
        self.begun.is_some()
    }

    /// Records the request in hand, but for its line: returns the access log to which that is to be
    /// written, and the duration. `None` if there is none, or the request was recorded before.
    pub(super) fn record(
        &mut self,
        now: Monotonic,
        status: u16,
    ) -> Option<(&mut AccessLog, Duration)> {
        let duration = now.since(self.begun.take()?);
        if let Some(sample) = self.sample {
            sample.note(status, duration);
        }
        Some((self.access.as_mut()?, duration))
    }

    /// Writes the lines of the access log that are held.
    pub(super) fn write_held_lines(&self) {
        if let Some(access) = &self.access {
            access.write_held();
        }
    }
}
