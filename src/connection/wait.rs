//! Whether a client is too slow while the app waits for it.

use std::io;
use std::time::Duration;

use nix::poll::PollTimeout;

use rcorn_scoreboard::RequestEntry;
use rcorn_sys::clock;
use rcorn_types::Monotonic;

use super::lost::Lost;
use super::poller::Interest;
use super::progress::{RateCheck, TransferProgress};
use super::transport::Transport;
use super::unlocked::Unlocked;

/// poll(2) counts in milliseconds. The time left is rounded up, so that it is over when the call
/// returns.
const POLL_RESOLUTION: Duration = Duration::from_millis(1);

/// The progress of one transfer, by a clock that runs only while the app waits for the client.
#[derive(Debug, Default)]
pub struct WaitProgress {
    transfer: TransferProgress,
    clock: Monotonic,
    /// How many bytes the client had moved before.
    base: u64,
}

impl WaitProgress {
    /// For a client that has moved `base` bytes before.
    pub(crate) fn new(base: u64) -> Self {
        Self {
            base,
            ..Self::default()
        }
    }

    /// Notes that the client has moved `total` bytes by now, including those before.
    pub(crate) fn moved_to(&mut self, total: u64) {
        let moved = total.saturating_sub(self.base);
        self.transfer.moved(self.clock, moved);
    }

    /// Waits, without the GIL, until the transport is ready; `false` if the client's time is over
    /// before that.
    pub(crate) fn wait(
        &mut self,
        py: &impl Unlocked,
        transport: &Transport,
        interest: Interest,
        limit: Option<Duration>,
        request: Option<RequestEntry<'_>>,
    ) -> Result<bool, Lost> {
        let due = self.transfer.deadline(limit);
        let timeout = if due == Monotonic::NEVER {
            PollTimeout::NONE
        } else {
            let left = due.since(self.clock).saturating_add(POLL_RESOLUTION);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        };
        loop {
            let (ready, waited) = py.unlocked(|| {
                let begun = clock::now();
                if let Some(request) = request {
                    request.wait();
                }
                let ready = transport.wait(interest, timeout);
                let waited = clock::now().since(begun);
                if let Some(request) = request {
                    request.resume(waited);
                }
                (ready, waited)
            });
            self.clock = self.clock.after(waited);
            if py.must_leave() {
                return Err(Lost::Leaving);
            }
            match ready {
                Ok(ready) => return Ok(ready),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Lost::Gone(error)),
            }
        }
    }

    /// Fails if the client is too slow. `what` it did is for the error.
    pub(crate) fn check(&self, limit: Option<Duration>, what: &'static str) -> Result<(), Lost> {
        match self.transfer.check(self.clock, limit) {
            RateCheck::Ok => Ok(()),
            RateCheck::Stalled => Err(Lost::Stalled(what, limit.unwrap_or_default())),
            RateCheck::TooSlow => Err(Lost::TooSlow(what)),
        }
    }
}
