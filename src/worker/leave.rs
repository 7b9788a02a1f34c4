//! How a worker leaves without losing anybody: what it holds is finished; what waits goes to a sibling or gets
//! a last answer; when the whole server stops, the accept queue is emptied first.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use pyo3::prelude::*;

use rcorn_log as log;
use rcorn_python::fork::pid;
use rcorn_scoreboard::QUEUE_FIRST;
use rcorn_sys::clock;

use super::connection::Waiting;
use super::desk::{Desk, LAST_CALL, LAST_LOOK, Leaving};

impl Desk<'_> {
    /// TERM: no new connections, unless the server stops and its queue must be emptied; keep-alive clients go
    /// to a sibling, or get a last answer.
    pub(super) fn begin_to_leave(&mut self, now: u64) -> io::Result<()> {
        // The parent's death sends TERM too; then nobody drains the queue for a successor.
        let orphan = nix::unistd::getppid().as_raw() != self.start.arbiter;
        if orphan {
            log::info(format_args!(
                "Parent changed, shutting down: <Worker {}>",
                pid()
            ));
        }
        let stopping = self.scoreboard.shared().stopping.load(Ordering::Acquire) == QUEUE_FIRST;
        if stopping && !orphan {
            self.leaving = Some(Leaving::Stopping(now));
            self.open_doors()?;
            return Ok(());
        }
        self.close_doors()?;
        self.leave_lot()?;
        self.leaving = Some(if orphan {
            Leaving::Orphaned
        } else {
            Leaving::Retired
        });
        if !orphan {
            // Also those whose requests have just come: a sibling answers them, and need not end their connections.
            self.hand_all_on();
        }
        Ok(())
    }

    /// In each turn of a leaving worker: some connections came with the very events that brought the order.
    pub(super) fn go_on_leaving(&mut self, now: u64) {
        match self.leaving {
            None => {}
            Some(Leaving::Orphaned) => self.shorten_waits(now),
            Some(Leaving::Stopping(_)) => {
                self.shorten_waits(now.saturating_add(clock::nanoseconds(LAST_CALL)));
            }
            Some(Leaving::Retired) => {
                self.hand_all_on();
                self.shorten_waits(now.saturating_add(clock::nanoseconds(LAST_CALL)));
            }
        }
    }

    /// Gives every parked connection to the siblings; those that nobody takes get a last answer.
    fn hand_all_on(&mut self) {
        let mut handed = Vec::new();
        for (index, connection) in self.deputy.parking.places().parked() {
            if connection.hand_on(self.lot.0.as_fd()) {
                // Closing does not end it: the connection lives on in the lot, and would stay in our epoll set.
                let socket = connection.channel.socket();
                if connection.watched.is_some()
                    && let Err(errno) = self.deputy.epoll.delete(socket)
                {
                    log::debug(format_args!(
                        "a connection handed on stays watched: {errno}"
                    ));
                }
                handed.push(index);
            }
        }
        for index in handed {
            self.forget(index);
        }
    }

    /// Whether a leaving worker has nothing left to do.
    pub(super) fn is_done(&mut self, py: Python<'_>) -> io::Result<bool> {
        if let Some(Leaving::Stopping(since)) = self.leaving {
            while self.has_room_for_one()
                && let Some(handed) = super::lot::take(self.lot.1.as_fd())?
            {
                self.welcome(py, handed);
            }
            while self.accept_any(py) {}
            if clock::coarse() < since.saturating_add(clock::nanoseconds(LAST_LOOK)) {
                return Ok(false);
            }
        }
        Ok(self.held() == 0)
    }

    /// Nobody waits longer than until then for a request to begin.
    fn shorten_waits(&mut self, until: u64) {
        for (_, connection) in self.deputy.parking.places().parked() {
            if matches!(
                connection.waiting,
                Waiting::FirstByte | Waiting::NextRequest
            ) {
                connection.deadline = connection.deadline.min(until);
            }
            self.next_sweep = self.next_sweep.min(connection.deadline);
        }
    }
}
