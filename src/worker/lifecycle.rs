//! When a worker leaves, and why: by the arbiter's order, because the arbiter is gone, or because
//! it has asked to be replaced.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rcorn_link::{Report, report};
use rcorn_log as log;
use rcorn_python::fork::pid;
use rcorn_scoreboard::{Scoreboard, StopMode};
use rcorn_types::Monotonic;

use super::orders::Orders;
use super::retirement::Retirement;

/// How long an idle connection is kept for a last request when the server stops. A client that is
/// just sending would meet a closed connection otherwise.
pub(super) const LAST_REQUEST_WAIT: Duration = Duration::from_secs(1);
/// How long the accept queue is watched at least when the server stops: handshakes that were under
/// way when the listener was shut end up in it.
const MIN_QUEUE_WATCH: Duration = Duration::from_millis(100);
/// How often it is looked at meanwhile.
const QUEUE_LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// Why the worker leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It is replaced: siblings serve on, connections go to them.
    Retired,
    /// The arbiter is gone, and so are the siblings.
    Orphaned,
    /// The server stops, since then.
    Stopping(Monotonic),
    /// Its request was ended by ABRT: it serves nobody else.
    Aborted,
}

/// The orders, what has come of them, and the worker's own wish to leave.
#[derive(Debug)]
pub(super) struct Lifecycle<'a> {
    pub(super) orders: Orders,
    leaving: Option<Leaving>,
    retirement: Retirement,
    /// The arbiter's pid.
    arbiter: i32,
    scoreboard: &'static Scoreboard,
    /// The worker's id.
    id: u64,
    reports: BorrowedFd<'a>,
}

impl<'a> Lifecycle<'a> {
    pub(super) fn new(
        orders: Orders,
        retirement: Retirement,
        arbiter: i32,
        scoreboard: &'static Scoreboard,
        id: u64,
        reports: BorrowedFd<'a>,
    ) -> Self {
        Self {
            orders,
            leaving: None,
            retirement,
            arbiter,
            scoreboard,
            id,
            reports,
        }
    }

    /// Why the worker leaves, once it does.
    pub(super) fn leaving(&self) -> Option<Leaving> {
        self.leaving
    }

    /// Whether the order to leave at once has come.
    pub(super) fn quits(&self) -> bool {
        self.orders.quit()
    }

    /// Whether the order to leave is still to be followed.
    pub(super) fn must_begin_to_leave(&self) -> bool {
        match self.leaving {
            None => self.orders.drain() || self.orders.abort(),
            Some(Leaving::Aborted) => false,
            // That order came later, and counts more.
            Some(Leaving::Retired | Leaving::Orphaned | Leaving::Stopping(_)) => {
                self.orders.abort()
            }
        }
    }

    /// Whether to go on with what the last event brought.
    pub(super) fn goes_on(&self) -> bool {
        !self.quits() && !self.must_begin_to_leave()
    }

    /// Follows the order to leave: gives why.
    pub(super) fn begin_to_leave(&mut self, now: Monotonic) -> Leaving {
        // The parent's death sends TERM too; then there is no successor to drain the queue for.
        let leaving = if self.orders.abort() {
            Leaving::Aborted
        } else if nix::unistd::getppid().as_raw() != self.arbiter {
            log::info(format_args!(
                "Parent changed, shutting down: <Worker {}>",
                pid()
            ));
            Leaving::Orphaned
        } else if self.stop_mode() == Some(StopMode::QueueFirst) {
            Leaving::Stopping(now)
        } else {
            Leaving::Retired
        };
        self.leaving = Some(leaving);
        leaving
    }

    fn stop_mode(&self) -> Option<StopMode> {
        self.scoreboard.shared().stop_mode()
    }

    /// Whether a worker that does not watch the listeners takes a connection that waits there all
    /// the same. The order to leave, or to pause, may have come with the very event that told
    /// of it, and no other worker was woken: a worker that leaves hands it on. Not when the
    /// queue is not to be served.
    pub(super) fn takes_late_connections(&self) -> bool {
        !matches!(self.leaving, Some(Leaving::Orphaned | Leaving::Aborted))
            && self.stop_mode() != Some(StopMode::AtOnce)
    }

    /// Until when the accept queue of a server that stops is watched.
    pub(super) fn watches_queue_until(&self) -> Option<Monotonic> {
        match self.leaving {
            Some(Leaving::Stopping(since)) => Some(since.after(MIN_QUEUE_WATCH)),
            Some(Leaving::Retired | Leaving::Orphaned | Leaving::Aborted) | None => None,
        }
    }

    /// How often to look at that queue.
    pub(super) fn queue_look_interval(&self) -> Option<Duration> {
        self.watches_queue_until().map(|_until| QUEUE_LOOK_INTERVAL)
    }

    /// Asks the arbiter for a replacement when it is time for one, once. The worker serves on until
    /// that is ready.
    pub(super) fn retire_if_due(&mut self) {
        let Some(reason) = self.retirement.take_reason() else {
            return;
        };
        log::info(format_args!("{reason}"));
        let wish = Report::WantsRetirement {
            id: self.id,
            memory: reason.memory_kib(),
        };
        if let Err(error) = report(self.reports, &wish) {
            log::error(format_args!(
                "cannot ask the arbiter for a replacement: {error}"
            ));
        }
    }
}
