//! The worker's desk: everything it works with between requests, and the loop of its life. One epoll set;
//! a connection holds the worker only while the app runs, all waiting is parked (`turn.rs`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::epoll::{EpollEvent, EpollTimeout};
use pyo3::prelude::*;

use rcorn_app::hooks::WorkerHooks;
use rcorn_connection::Coalescing;
use rcorn_connection::channel::Patience;
use rcorn_http::{Head, Limits, Packet};
use rcorn_link::Start;
use rcorn_log as log;
use rcorn_scoreboard::{Cell, Scoreboard};
use rcorn_settings::{Protocol, Settings};
use rcorn_sys::clock;
use rcorn_wsgi::environ::EnvironBuilder;
use rcorn_wsgi::exchange::WsgiApp;
use rcorn_wsgi::slot::ExchangeSlot;

use super::access::Access;
use super::deputy::Deputy;
use super::orders::Orders;
use super::retire::Retirement;
use super::room::Room;

/// Bytes read at once.
pub(super) const PIECE: usize = 64 * 1024;
/// Where connections begin among the epoll tokens.
pub(super) const FIRST_CONNECTION: u64 = 1 << 16;
pub(super) const WAKE: u64 = FIRST_CONNECTION - 1;
pub(super) const LOT: u64 = FIRST_CONNECTION - 2;

/// How long an idle connection is kept for a last request when the server stops. A client that is just
/// sending would meet a closed connection otherwise.
pub(super) const LAST_CALL: Duration = Duration::from_secs(1);
/// How long the accept queue is watched at least when the server stops: handshakes that were under way
/// when the door was shut end up in it.
pub(super) const LAST_LOOK: Duration = Duration::from_millis(100);
/// New connections, and such of the lot, that are served in one turn at least, if so many wait.
const RUN: usize = 16;

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
    pub(super) watches_lot: bool,
    /// 1 while a parked connection is being served, whose place is taken all the same.
    pub(super) in_hand: u32,
    pub(super) room: Room,
    pub(super) next_sweep: u64,
    pub(super) leaving: Option<Leaving>,
    pub(super) limits: Limits,
    pub(super) limiting: Limiting,
    pub(super) patience: Patience,
    pub(super) head: Head,
    pub(super) packet: Packet,
    pub(super) scratch: Vec<u8>,
    pub(super) environ: EnvironBuilder,
    pub(super) exchange: ExchangeSlot,
    pub(super) app: WsgiApp,
    pub(super) hooks: Option<&'a WorkerHooks>,
    pub(super) access: Option<Access>,
    /// Room for the path in its line.
    pub(super) path: Vec<u8>,
    pub(super) standing_second: i64,
    pub(super) retirement: Retirement,
}

impl Desk<'_> {
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
            self.watch_lot()?;
        }
        self.retire_if_due();
        Ok(true)
    }

    /// How long to wait at most: for ever, when nothing is due.
    fn timeout(&self) -> EpollTimeout {
        if self.sits_out() {
            let left = self.sit_out_until.saturating_sub(clock::monotonic());
            let milliseconds = left.div_ceil(1_000_000);
            return EpollTimeout::from(u8::try_from(milliseconds).unwrap_or(u8::MAX));
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
            if !self.has_room_for_one() {
                break;
            }
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

    /// `Server` and `Date`, once a second.
    pub(super) fn refresh_standing(&mut self) {
        let second = clock::unix_seconds();
        if second == self.standing_second {
            return;
        }
        self.standing_second = second;
        let since = Duration::from_secs(u64::try_from(second).unwrap_or(0));
        let date = httpdate::fmt_http_date(
            std::time::UNIX_EPOCH
                .checked_add(since)
                .unwrap_or(std::time::UNIX_EPOCH),
        );
        self.exchange
            .set_common_headers(b"Server: rcorn\r\n", format!("Date: {date}\r\n").as_bytes());
    }
}
