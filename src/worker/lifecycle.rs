//! When a worker leaves, and why: by the arbiter's order, because the arbiter is gone, or because
//! it has asked to be replaced.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rcorn_link::{Report, report};
use rcorn_log as log;
use rcorn_python::fork::pid;
use rcorn_scoreboard::{Scoreboard, StopMode};
use rcorn_types::Monotonic;

use super::orders::LeaveOrders;
use super::retirement::{Retirement, Wish};

/// How long an idle connection is kept for a last request when the server stops. Otherwise a client
/// that sends a request just then would find its connection closed.
pub(super) const LAST_REQUEST_WAIT: Duration = Duration::from_secs(1);
/// The least time for which the accept queue is watched when the server stops: handshakes that were
/// in progress when the listener was shut arrive in it.
const MIN_QUEUE_WATCH: Duration = Duration::from_millis(100);
/// How often the accept queue is checked in that time.
const QUEUE_LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// How often a worker that waits for its replacement looks whether it is to serve on.
const REPLACEMENT_LOOK_INTERVAL: Duration = Duration::from_millis(25);
/// How long it waits at most.
const MAX_REPLACEMENT_WAIT: Duration = Duration::from_secs(10);

/// What a worker does whose requests are counted (`max_requests`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// It serves.
    GoesOn,
    /// Its requests are served: the next ones are for its replacement.
    Pauses,
    /// It serves again, because the replacement cannot start, or takes too long.
    Resumes,
}

/// Why the worker leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It is replaced: its connections go to its siblings, which continue to serve.
    Retired,
    /// The arbiter is gone, and so are the siblings.
    Orphaned,
    /// The server has been stopping since then.
    Stopping(Monotonic),
    /// The server stops without its accept queue (`drain_mode: immediate`).
    StoppingAtOnce,
    /// ABRT has ended its request: it serves nobody else.
    Aborted,
}

/// The orders received, how far they were followed, and the worker's own request to be replaced.
#[derive(Debug)]
pub(super) struct Lifecycle {
    orders: LeaveOrders,
    leaving: Option<Leaving>,
    retirement: Retirement,
    /// Since when it has waited for its replacement, and served nobody.
    pauses_since: Option<Monotonic>,
    /// The log says that it is to be replaced.
    has_announced: bool,
    /// The arbiter's pid.
    arbiter: i32,
    scoreboard: &'static Scoreboard,
    /// The worker's id.
    id: u64,
    reports: BorrowedFd<'static>,
}

/// Tells the arbiter that the worker serves on after all (`survive_timeout`).
#[derive(Debug)]
pub(super) struct Survivor {
    /// The worker's id.
    id: u64,
    reports: BorrowedFd<'static>,
}

impl Survivor {
    /// The requests that took too long have ended.
    ///
    /// # Errors
    ///
    /// The arbiter is gone.
    pub(super) fn report(&self) -> io::Result<()> {
        report(self.reports, &Report::Recovered { id: self.id })
    }
}

impl Lifecycle {
    pub(super) fn new(
        orders: LeaveOrders,
        retirement: Retirement,
        arbiter: i32,
        scoreboard: &'static Scoreboard,
        id: u64,
        reports: BorrowedFd<'static>,
    ) -> Self {
        Self {
            orders,
            leaving: None,
            retirement,
            pauses_since: None,
            has_announced: false,
            arbiter,
            scoreboard,
            id,
            reports,
        }
    }

    /// What to tell the arbiter when the worker serves on after all.
    pub(super) fn survivor(&self) -> Survivor {
        Survivor {
            id: self.id,
            reports: self.reports,
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
            // That order came later, and overrides the other.
            Some(
                Leaving::Retired
                | Leaving::Orphaned
                | Leaving::Stopping(_)
                | Leaving::StoppingAtOnce,
            ) => self.orders.abort(),
        }
    }

    /// Whether to continue with the events of this turn.
    pub(super) fn goes_on(&self) -> bool {
        !self.quits() && !self.must_begin_to_leave()
    }

    /// Whether what comes now is for the replacement of this worker, which has served its requests.
    pub(super) fn awaits_replacement(&self) -> bool {
        self.leaving.is_none() && self.retirement.quota().is_used_up()
    }

    /// Whether to stop in the middle of a turn, because what follows is for the replacement.
    pub(super) fn must_pause(&self) -> bool {
        !self.pauses() && self.awaits_replacement()
    }

    /// Whether the worker waits for its replacement.
    pub(super) fn pauses(&self) -> bool {
        self.pauses_since.is_some()
    }

    /// Whether to hand on a new connection. It is for a sibling, if there is one.
    pub(super) fn hands_new_on(&self) -> bool {
        self.leaving == Some(Leaving::Retired) || self.awaits_replacement()
    }

    /// Whether the worker serves, at the end of a turn.
    pub(super) fn service(&mut self, now: Monotonic) -> Service {
        if !self.awaits_replacement() {
            return match self.pauses_since.take() {
                Some(_) if self.leaving.is_none() => Service::Resumes,
                Some(_) | None => Service::GoesOn,
            };
        }
        let since = *self.pauses_since.get_or_insert_with(|| {
            // The first wish may be forgotten by now: the worker hung, or was to become the
            // template.
            self.retirement.ask_again();
            now
        });
        if now < since.after(MAX_REPLACEMENT_WAIT) {
            return Service::Pauses;
        }
        log::warning(format_args!(
            "Worker (pid:{}) serves more than max_requests: its replacement is not ready after {} s",
            pid(),
            MAX_REPLACEMENT_WAIT.as_secs()
        ));
        self.retirement.quota().waive();
        self.retirement.ask_again();
        self.pauses_since = None;
        Service::Resumes
    }

    /// Follows the order to leave; returns the reason. Called again if an ABRT comes later.
    pub(super) fn begin_to_leave(&mut self, now: Monotonic) -> Leaving {
        // The parent's death sends TERM, too. Then the handler has closed the listening sockets:
        // there is no accept queue to serve, whatever the stop mode.
        let leaving = if self.orders.abort() {
            Leaving::Aborted
        } else if nix::unistd::getppid().as_raw() != self.arbiter {
            log::info(format_args!(
                "Parent changed, shutting down: <Worker {}>",
                pid()
            ));
            Leaving::Orphaned
        } else {
            self.stopping(now).unwrap_or(Leaving::Retired)
        };
        self.leaving = Some(leaving);
        leaving
    }

    /// How the worker leaves if the server stops.
    fn stopping(&self, now: Monotonic) -> Option<Leaving> {
        self.stop_mode().map(|mode| match mode {
            StopMode::QueueFirst => Leaving::Stopping(now),
            StopMode::AtOnce => Leaving::StoppingAtOnce,
        })
    }

    /// Whether the server has begun to stop since this worker was retired: nobody is left who
    /// would take its connections, and it leaves as the others do.
    pub(super) fn is_overtaken_by_stop(&mut self, now: Monotonic) -> bool {
        let stopping = self.stopping(now);
        self.leaving = stopping.or(self.leaving);
        stopping.is_some()
    }

    /// Whether connections that wait in the hand-off queue are this worker's to serve, although it
    /// leaves: nobody follows.
    pub(super) fn empties_handoff_queue(&self) -> bool {
        match self.leaving {
            Some(Leaving::Stopping(_) | Leaving::StoppingAtOnce | Leaving::Orphaned) => true,
            Some(Leaving::Retired | Leaving::Aborted) | None => false,
        }
    }

    fn stop_mode(&self) -> Option<StopMode> {
        self.scoreboard.shared().stop_mode()
    }

    /// Whether a worker that does not watch the listeners still takes a connection that waits
    /// there. The order to leave or to pause may have come in the same turn as the event, and no
    /// other worker was woken. A worker that leaves hands the connection on. `false` if the queue
    /// is not to be served.
    pub(super) fn takes_late_connections(&self) -> bool {
        !matches!(self.leaving, Some(Leaving::Orphaned | Leaving::Aborted))
            && self.stop_mode() != Some(StopMode::AtOnce)
    }

    /// Whether this worker leaves to become the template, and for no other reason.
    pub(super) fn is_candidate(&self) -> bool {
        self.leaving == Some(Leaving::Retired)
            && !self.quits()
            && self.scoreboard.shared().is_candidate(self.id)
    }

    /// Until when the accept queue is watched while the server stops.
    pub(super) fn watches_queue_until(&self) -> Option<Monotonic> {
        match self.leaving {
            Some(Leaving::Stopping(since)) => Some(since.after(MIN_QUEUE_WATCH)),
            Some(
                Leaving::Retired | Leaving::Orphaned | Leaving::StoppingAtOnce | Leaving::Aborted,
            )
            | None => None,
        }
    }

    /// How often to look at that queue, or whether to serve again.
    pub(super) fn look_interval(&self) -> Option<Duration> {
        let queue = self.watches_queue_until().map(|_until| QUEUE_LOOK_INTERVAL);
        let pause = self.pauses_since.filter(|_| self.leaving.is_none());
        queue.or_else(|| pause.map(|_since| REPLACEMENT_LOOK_INTERVAL))
    }

    /// Asks the arbiter for a replacement, or to become the template, when it is time for that;
    /// each once. The worker serves on until it is told to leave, or has served `max_requests`.
    pub(super) fn retire_if_due(&mut self) {
        let Some(reason) = self.retirement.take_wish() else {
            return;
        };
        let id = self.id;
        let wish = match reason {
            Wish::Refork => Report::WantsRefork { id },
            Wish::Retirement(reason) => {
                if !std::mem::replace(&mut self.has_announced, true) {
                    log::info(format_args!("{reason}"));
                }
                let memory = reason.memory_kib();
                Report::WantsRetirement { id, memory }
            }
        };
        if let Err(error) = report(self.reports, &wish) {
            log::error(format_args!(
                "cannot ask the arbiter for a replacement: {error}"
            ));
        }
    }
}
