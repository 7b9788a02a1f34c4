//! The worker's desk: everything it works with between requests, and the loop of its life. One epoll set;
//! a connection holds the worker only while the app runs, all waiting is parked (`turn.rs`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::epoll::{EpollEvent, EpollFlags, EpollTimeout};
use pyo3::prelude::*;

use crate::http::{Coalescing, Head, Limits, Packet};
use crate::link::Start;
use crate::log;
use crate::settings::{Protocol, Settings};
use crate::sys::clock;
use crate::sys::scoreboard::{AT_ONCE, Cell, Scoreboard};
use crate::template::hooks::WorkerHooks;
use crate::wsgi::channel::Patience;
use crate::wsgi::environ::Environ;
use crate::wsgi::exchange::Guest;

use super::access::Access;
use super::deputy::Deputy;
use super::orders::Orders;
use super::retire::Retirement;

/// Bytes read at once.
pub(super) const PIECE: usize = 64 * 1024;
/// Where connections begin among the epoll tokens.
pub(super) const FIRST_CONNECTION: u64 = 1 << 16;
pub(super) const WAKE: u64 = FIRST_CONNECTION - 1;
const LOT: u64 = FIRST_CONNECTION - 2;

/// How long an idle connection is kept for a last request when the server stops. A client that is just
/// sending would meet a closed connection otherwise.
pub(super) const LAST_CALL: Duration = Duration::from_secs(1);
/// How long the accept queue is watched at least when the server stops: handshakes that were under way
/// when the door was shut end up in it.
pub(super) const LAST_LOOK: Duration = Duration::from_millis(100);
/// New connections, and such of the lot, that are served in one turn at least, if so many wait.
const RUN: usize = 16;
/// How long a worker with more than its share of connections leaves the listeners to others. They may have done the same.
const SIT_OUT: Duration = Duration::from_millis(1);
/// Whose request takes longer takes no connections now (by the coarse clock, which may be 4 ms late).
const ENGAGED: Duration = Duration::from_millis(8);

/// How often the log tells that there are too many connections.
pub(super) const BETWEEN_COMPLAINTS: Duration = Duration::from_mins(1);

/// Time limits of waiting connections, in ns; 0 means none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limiting {
    pub(super) head: u64,
    pub(super) body: u64,
    pub(super) idle: u64,
    pub(super) write: u64,
    pub(super) close: u64,
}

/// Why the worker leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It is replaced: siblings serve on, connections go to them.
    Retired,
    /// The arbiter is gone, and so are the siblings.
    Orphaned,
    /// The server stops, since then.
    Stopping(u64),
}

/// One listening socket.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) socket: OwnedFd,
    pub(super) protocol: Protocol,
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    pub(super) start: &'a Start,
    pub(super) settings: &'a Settings,
    pub(super) scoreboard: &'a Scoreboard,
    pub(super) cell: &'a Cell,
    pub(super) reports: BorrowedFd<'a>,
    pub(super) id: u64,
    pub(super) orders: Orders,
    /// Has the epoll set and the parked connections.
    pub(super) deputy: Arc<Deputy>,
    pub(super) coalescing: Coalescing,
    pub(super) doors: Vec<Door>,
    pub(super) doors_open: bool,
    /// Monotonic ns.
    pub(super) sit_out_until: u64,
    pub(super) lot: (OwnedFd, OwnedFd),
    /// 1 while a parked connection is being served, whose place is taken all the same.
    pub(super) in_hand: u32,
    /// Connections closed because there were too many, since the last complaint; and when the next may come.
    pub(super) crowded: u64,
    pub(super) crowded_again: u64,
    pub(super) next_sweep: u64,
    pub(super) leaving: Option<Leaving>,
    pub(super) limits: Limits,
    pub(super) limiting: Limiting,
    pub(super) patience: Patience,
    pub(super) head: Head,
    pub(super) packet: Packet,
    pub(super) scratch: Vec<u8>,
    pub(super) environ: Environ,
    pub(super) guest: Guest,
    pub(super) hooks: Option<&'a WorkerHooks>,
    pub(super) access: Option<Access>,
    /// Room for the path in its line.
    pub(super) path: Vec<u8>,
    pub(super) standing_second: i64,
    pub(super) retirement: Retirement,
}

impl Desk<'_> {
    pub(super) fn watch_lot(&self) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
        Ok(self
            .deputy
            .epoll
            .add(&self.lot.1, EpollEvent::new(flags, LOT))?)
    }

    /// Listens again. One worker is woken for one connection (`EPOLLEXCLUSIVE`).
    pub(super) fn open_doors(&mut self) -> io::Result<()> {
        if !self.doors_open {
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
            for (token, door) in (0_u64..).zip(&self.doors) {
                self.deputy
                    .epoll
                    .add(&door.socket, EpollEvent::new(flags, token))?;
            }
            self.doors_open = true;
        }
        Ok(())
    }

    pub(super) fn close_doors(&mut self) -> io::Result<()> {
        if self.doors_open {
            for door in &self.doors {
                match self.deputy.epoll.delete(&door.socket) {
                    // An orphan's doors were closed by its signal handler.
                    Ok(()) | Err(nix::Error::EPERM | nix::Error::ENOENT) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            self.doors_open = false;
        }
        Ok(())
    }

    /// Works until told to leave.
    pub(super) fn work(&mut self, py: Python<'_>) {
        let mut events = vec![EpollEvent::empty(); 256];
        loop {
            match self.turn(py, &mut events) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    log::error(format_args!("the worker cannot go on: {error}"));
                    break;
                }
            }
        }
        self.cell.connections.store(0, Ordering::Relaxed);
    }

    /// One turn of the loop; `false` when it is time to leave.
    fn turn(&mut self, py: Python<'_>, events: &mut [EpollEvent]) -> io::Result<bool> {
        if self.orders.quit() {
            return Ok(false);
        }
        if self.leaving.is_some() && self.is_done(py)? {
            return Ok(false);
        }
        let timeout = self.timeout();
        // Releasing the GIL costs 45 ns when nobody wants it.
        let (epoll, cell) = (&self.deputy.epoll, self.cell);
        let ready = py.detach(|| {
            cell.awake_since.store(0, Ordering::Release);
            let ready = epoll.wait(events, timeout);
            // Before the GIL is back: a thread of the app that never lets go of it is a hang too.
            cell.awake_since.store(clock::coarse(), Ordering::Release);
            ready
        });
        let count = match ready {
            Ok(count) => count,
            Err(nix::Error::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let now = clock::coarse();
        self.refresh_standing();
        let events = events.get(..count).unwrap_or(&[]);
        // Who is in the lot has waited for longest. Then our own; then as many new ones: whoever is let in would be served again
        // and again before those who are not.
        let own = || {
            events
                .iter()
                .filter(|event| event.data() >= FIRST_CONNECTION)
        };
        let ready = own().count();
        let most = ready.max(RUN);
        if events.iter().any(|event| event.data() == LOT) && !self.is_to_leave() {
            self.take_from_lot(py, most)?;
        }
        let mut all = own().peekable();
        while let Some(event) = all.next() {
            if self.is_to_leave() {
                // The rest is for the siblings.
                break;
            }
            self.coalescing.others_follow(all.peek().is_some());
            let index = usize::try_from(event.data().saturating_sub(FIRST_CONNECTION))
                .unwrap_or(usize::MAX);
            self.parked_is_ready(py, index);
            if self.orders.quit() {
                return Ok(false);
            }
        }
        if self.coalescing.turn_ends() {
            self.deputy.flush();
        }
        if self.is_to_leave() {
            self.begin_to_leave(now)?;
        }
        for event in events {
            match event.data() {
                WAKE => self.heed_orders(),
                token if token < LOT => {
                    let door = usize::try_from(token).unwrap_or(usize::MAX);
                    // One alone is the rule for whom nobody makes wait: to look for a second costs a system call.
                    let alone = ready == 0 && self.held() > 0;
                    self.door_is_ready(py, door, if alone { 1 } else { most })?;
                }
                _parked => {}
            }
        }
        self.go_on_leaving(now);
        if now >= self.next_sweep {
            self.sweep(now);
        }
        if self.sits_out() && clock::monotonic() >= self.sit_out_until {
            self.open_doors()?;
        }
        self.retire_if_due();
        Ok(true)
    }

    /// How long to wait at most: for ever, when nothing is due.
    fn timeout(&self) -> EpollTimeout {
        if self.sits_out() {
            let left = self.sit_out_until.saturating_sub(clock::monotonic());
            // In whole milliseconds.
            return EpollTimeout::from(u8::from(left > 0));
        }
        let mut due = self.next_sweep;
        if let Some(Leaving::Stopping(_)) = self.leaving {
            due = due.min(clock::coarse().saturating_add(clock::nanoseconds(LAST_LOOK) / 4));
        }
        if due == u64::MAX {
            return EpollTimeout::NONE;
        }
        // Rounded up, so that it is due when we wake.
        let wait = Duration::from_nanos(
            due.saturating_sub(clock::coarse())
                .saturating_add(4_999_999),
        );
        EpollTimeout::try_from(wait).unwrap_or(EpollTimeout::MAX)
    }

    /// Whether the order to leave is still to be followed.
    pub(super) fn is_to_leave(&self) -> bool {
        self.leaving.is_none() && self.orders.drain()
    }

    fn heed_orders(&mut self) {
        self.orders.awake();
        if self.orders.take_reopen() {
            log::reopen();
            if let Some(access) = &self.access {
                access.reopen();
            }
        }
    }

    /// Serves so many of the connections in the lot.
    fn take_from_lot(&mut self, py: Python<'_>, most: usize) -> io::Result<()> {
        for taken in 0..most {
            match super::lot::take(self.lot.1.as_fd())? {
                Some(handed) => self.welcome(py, handed),
                // Somebody was quicker, or the arbiter wants us to look at the doors: a worker that was woken for a
                // connection is gone.
                None if taken == 0 && self.may_accept() => {
                    self.accept_any(py);
                    break;
                }
                None => break,
            }
            if self.orders.quit() || self.is_to_leave() {
                break;
            }
        }
        Ok(())
    }

    /// Whether to take a connection that waits. The order to leave, or to sit out, may have come with the very event that
    /// told of it, and nobody else was woken: a worker that leaves hands it on. Not when the queue is not to be served.
    pub(super) fn may_accept(&self) -> bool {
        let at_once = || self.scoreboard.shared().stopping.load(Ordering::Acquire) == AT_ONCE;
        self.doors_open || (self.leaving != Some(Leaving::Orphaned) && !at_once())
    }

    /// Whether answers still promise another request on the same connection.
    pub(super) fn keeps_alive(&self) -> bool {
        self.leaving.is_none() && self.limiting.idle > 0
    }

    /// Notes that something is due then.
    pub(super) fn due(&mut self, deadline: u64) {
        self.next_sweep = self.next_sweep.min(deadline);
    }

    /// Ends the waits that are over.
    fn sweep(&mut self, now: u64) {
        self.next_sweep = u64::MAX;
        let mut over = Vec::new();
        for (index, connection) in self.deputy.parking.places().parked() {
            if connection.deadline <= now {
                over.push(index);
            } else {
                self.next_sweep = self.next_sweep.min(connection.deadline);
            }
        }
        for index in over {
            self.wait_is_over(index);
        }
    }

    /// How many connections are ours.
    pub(super) fn held(&self) -> usize {
        self.deputy.parking.held()
    }

    /// A request begins: the deputy sees to the others, if there are any.
    pub(super) fn attend(&self) {
        if self.cell.connections.load(Ordering::Relaxed) > self.in_hand {
            self.deputy.attend();
        }
    }

    /// Whether this worker has more than a fair share of the connections. The kernel wakes the same worker for each new
    /// connection, as long as it sleeps; kept ones would all come to be its own.
    pub(super) fn has_more_than_its_share(&self) -> bool {
        let wanted = self.scoreboard.shared().wanted.load(Ordering::Relaxed);
        if wanted <= 1 || self.held() <= 1 || self.leaving.is_some() {
            return false;
        }
        let cells = u16::try_from(wanted.saturating_mul(2))
            .unwrap_or(u16::MAX)
            .min(self.scoreboard.cells());
        let now = clock::coarse();
        let (mut workers, mut total) = (0_usize, 0_usize);
        for cell in (0..cells).filter_map(|index| self.scoreboard.cell(index)) {
            let busy = cell.busy_since.load(Ordering::Relaxed);
            let engaged = busy > 0 && now.saturating_sub(busy) > clock::nanoseconds(ENGAGED);
            if cell.worker.load(Ordering::Relaxed) != 0 && !engaged {
                workers = workers.saturating_add(1);
                let held = cell.connections.load(Ordering::Relaxed);
                total = total.saturating_add(usize::try_from(held).unwrap_or(0));
            }
        }
        // A ceiling: with 5 connections and 4 workers, two are a fair share.
        workers > 1 && self.held() > total.div_ceil(workers)
    }

    /// Leaves new connections to idle siblings for a while.
    pub(super) fn sit_out(&mut self) -> io::Result<()> {
        self.close_doors()?;
        self.sit_out_until = clock::monotonic().saturating_add(clock::nanoseconds(SIT_OUT));
        Ok(())
    }

    fn sits_out(&self) -> bool {
        !self.doors_open && self.leaving.is_none()
    }

    /// `Server` and `Date`, once a second.
    pub(super) fn refresh_standing(&mut self) {
        let second = clock::unix_seconds();
        if second == self.standing_second {
            return;
        }
        self.standing_second = second;
        let mut standing = self.guest.exchange().standing();
        if standing.server.is_empty() {
            standing.server.extend_from_slice(b"Server: rcorn\r\n");
        }
        let since = Duration::from_secs(u64::try_from(second).unwrap_or(0));
        let date = httpdate::fmt_http_date(
            std::time::UNIX_EPOCH
                .checked_add(since)
                .unwrap_or(std::time::UNIX_EPOCH),
        );
        standing.date.clear();
        standing.date.extend_from_slice(b"Date: ");
        standing.date.extend_from_slice(date.as_bytes());
        standing.date.extend_from_slice(b"\r\n");
    }
}
