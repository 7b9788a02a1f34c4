//! The event loop of a worker: it waits, finds out what is ready, and lets a request slot serve it.
//! A connection holds the slot only while the app runs; all waiting is parked ([`Connections`]).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;

use rcorn_connection::{
    Accepted, Acceptor, Connections, Events, Expired, IoThread, Next, Poller, Source,
    has_more_than_its_share,
};
use rcorn_log as log;
use rcorn_scoreboard::Cell;
use rcorn_sys::clock;
use rcorn_types::Monotonic;
use rcorn_wsgi::Endpoints;

use super::connection::Connection;
use super::lifecycle::{LAST_REQUEST_WAIT, Leaving, Lifecycle};
use super::receive::{receive, serve_ready};
use super::rules::Rules;
use super::slot::RequestSlot;

/// The most events that one wait returns.
const MAX_EVENTS: usize = 256;
/// The least number of new connections, and of connections from the hand-off queue, that one turn
/// serves if that many wait.
const MIN_NEW_PER_TURN: usize = 16;
/// How long a client may take to close its connection after the response to a request that ABRT has
/// ended: the arbiter kills the worker soon.
const MAX_WAIT_OF_ABORTED: Duration = Duration::from_millis(200);
/// How long a worker without siblings waits for idle connections: what was ready with the order to
/// leave is served in one more turn.
const LAST_TURN: Duration = Duration::from_millis(5);
/// How late the coarse clock may be.
const COARSE_CLOCK_LAG: Duration = Duration::from_millis(4);

/// A worker between two requests. Its parts accept connections, keep the waiting ones, decide when
/// to leave, and serve.
#[derive(Debug)]
pub(super) struct EventLoop<'a> {
    pub(super) poller: Arc<Poller>,
    pub(super) acceptor: Acceptor,
    pub(super) connections: Connections<Endpoints>,
    pub(super) io: IoThread<Endpoints>,
    pub(super) lifecycle: Lifecycle<'a>,
    pub(super) rules: Rules<'a>,
    pub(super) slot: RequestSlot,
    pub(super) cell: &'static Cell,
}

impl EventLoop<'_> {
    /// Works until told to leave.
    pub(super) fn run(&mut self, py: Python<'_>) {
        let mut events = Events::with_capacity(MAX_EVENTS);
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
        self.cell.set_connections(0);
    }

    /// Whether the worker has left to become the template, and has nothing in hand.
    pub(super) fn is_candidate(&self) -> bool {
        self.lifecycle.is_candidate() && self.connections.held() == 0
    }

    /// One turn of the loop; `false` when it is time to leave.
    fn turn(&mut self, py: Python<'_>, events: &mut Events) -> io::Result<bool> {
        let is_leaving = self.lifecycle.leaving().is_some();
        if self.lifecycle.quits() || is_leaving && self.has_nothing_left(py)? {
            return Ok(false);
        }
        self.wait(py, events)?;
        let now = clock::coarse_now();
        self.slot.handler.refresh_common_headers();
        // Discarded connections own Python objects, which only this thread may drop: it holds the
        // GIL.
        drop(self.io.take_discarded());
        // Connections of the hand-off queue have waited longest, so they come first. Then the
        // worker's own; then as many new ones, or else accepted clients would be served again and
        // again before those in the accept queue.
        let own = events.connections().count();
        let most = own.max(MIN_NEW_PER_TURN);
        if events.iter().any(|source| source == Source::Handoff)
            && !self.lifecycle.must_begin_to_leave()
        {
            self.take_handed_on(py, most)?;
        }
        if !self.serve_connections(py, events) {
            return Ok(false);
        }
        if self.lifecycle.must_begin_to_leave() {
            self.begin_to_leave(py, now)?;
        }
        for source in events.iter() {
            match source {
                Source::Wake => {
                    self.lifecycle.orders.follow(py);
                    // A signal handler of the app may have ordered it just now.
                    if self.lifecycle.must_begin_to_leave() {
                        self.begin_to_leave(py, now)?;
                    }
                }
                Source::Listener(index) => {
                    // A second new connection is rare if no other client waits, and looking for one
                    // costs a system call.
                    let alone = own == 0 && self.connections.held() > 0;
                    self.listener_is_ready(py, index, if alone { 1 } else { most })?;
                }
                Source::Handoff | Source::Connection(_) => {}
            }
        }
        self.go_on_leaving(now)?;
        self.end_waits(now);
        self.acceptor.resume_if_due()?;
        self.lifecycle.retire_if_due();
        Ok(true)
    }

    /// Waits until something is ready or due.
    fn wait(&self, py: Python<'_>, events: &mut Events) -> io::Result<()> {
        let timeout = self.timeout();
        let (poller, cell) = (&self.poller, self.cell);
        // Releasing the GIL costs 45 ns when nobody wants it.
        let ready = py.detach(|| {
            cell.sleep();
            let ready = poller.wait(events, timeout);
            // Before the GIL is taken again: a thread of the app that never releases it is a hang,
            // too.
            cell.wake(clock::coarse_now());
            ready
        });
        Ok(ready?)
    }

    /// How long to wait at most; `None`: for ever, because nothing is due.
    fn timeout(&self) -> Option<Duration> {
        if let Some(until) = self.acceptor.paused_until() {
            return Some(until.since(clock::now()));
        }
        let due = self.connections.next_deadline();
        let look = self.lifecycle.queue_look_interval();
        let wait = (due != Monotonic::NEVER).then(|| due.since(clock::coarse_now()));
        let wait = wait.into_iter().chain(look).min()?;
        // So that it is due at the wake-up.
        Some(wait.saturating_add(COARSE_CLOCK_LAG))
    }

    /// Serves the parked connections that are ready; `false` if the worker was told to leave at
    /// once.
    fn serve_connections(&mut self, py: Python<'_>, events: &Events) -> bool {
        let mut places = events.connections().peekable();
        while let Some(place) = places.next() {
            if self.lifecycle.must_begin_to_leave() {
                // The rest is for the siblings.
                break;
            }
            let coalescing = &mut self.slot.handler.coalescing;
            coalescing.others_follow(places.peek().is_some());
            if let Some(mut connection) = self.connections.take(place) {
                let next = serve_ready(py, &self.rules, &mut self.slot, &mut connection);
                self.connections.park_or_close(connection, next);
            }
            if self.lifecycle.quits() {
                return false;
            }
        }
        if self.slot.handler.coalescing.turn_ends() {
            self.io.flush();
        }
        true
    }

    /// Serves a connection that has no place yet. With `TCP_DEFER_ACCEPT` its request has already
    /// arrived, so the poller need not be asked.
    pub(super) fn serve_new(&mut self, py: Python<'_>, mut connection: Connection) {
        let next = receive(py, &self.rules, &mut self.slot, &mut connection);
        self.connections.park_or_close_new(connection, next);
    }

    /// Serves at most `most` of the connections in the hand-off queue.
    fn take_handed_on(&mut self, py: Python<'_>, most: usize) -> io::Result<()> {
        for taken in 0..most {
            if !self.has_room_for_one()? {
                break;
            }
            match self.acceptor.handoff().receive()? {
                Some(handed) => self.serve_new(py, self.acceptor.welcome(handed)),
                // A sibling was faster; or the arbiter asks us to look at the listeners, because a
                // worker that was woken for a connection has died.
                None if taken == 0 && self.may_accept() => {
                    self.accept_any(py)?;
                    break;
                }
                None => break,
            }
            if !self.lifecycle.goes_on() {
                break;
            }
        }
        Ok(())
    }

    fn may_accept(&self) -> bool {
        self.acceptor.is_open() || self.lifecycle.takes_late_connections()
    }

    /// Serves at most `most` of the connections that wait at a listener.
    fn listener_is_ready(&mut self, py: Python<'_>, index: usize, most: usize) -> io::Result<()> {
        if !self.may_accept() {
            return Ok(());
        }
        for _ in 0..most {
            if !self.accept(py, index)? || !self.lifecycle.goes_on() {
                break;
            }
            if self.acceptor.is_open() && self.has_more_than_its_share() {
                self.acceptor.pause_for_siblings(clock::now())?;
                break;
            }
        }
        Ok(())
    }

    fn has_more_than_its_share(&self) -> bool {
        let held = self.connections.held();
        self.lifecycle.leaving().is_none()
            && has_more_than_its_share(self.rules.scoreboard, held, clock::coarse_now())
    }

    /// Accepts and serves one connection; `false` when none waits, or none can be taken.
    fn accept(&mut self, py: Python<'_>, index: usize) -> io::Result<bool> {
        match self.acceptor.accept(index) {
            Accepted::Connection(connection) => {
                // If a sibling takes it, its first response need not close the connection.
                let is_retired = self.lifecycle.leaving() == Some(Leaving::Retired);
                if !(is_retired && connection.hand_on(self.acceptor.handoff())) {
                    self.serve_new(py, connection);
                }
                Ok(true)
            }
            Accepted::Left => Ok(true),
            Accepted::Nothing => Ok(false),
            Accepted::Failed(error) => {
                let has_room = self.connections.make_room(&error);
                if !has_room {
                    self.acceptor.pause_for_lack(clock::now())?;
                }
                Ok(has_room)
            }
        }
    }

    /// One connection from any listener; `false` when no queue has one.
    fn accept_any(&mut self, py: Python<'_>) -> io::Result<bool> {
        for index in 0..self.acceptor.listeners() {
            if self.accept(py, index)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a connection can be received from the hand-off queue; if not, a later turn tries
    /// again.
    fn has_room_for_one(&mut self) -> io::Result<bool> {
        let has_room = self.connections.has_room_for_one(self.acceptor.handoff());
        if !has_room {
            self.acceptor.pause_for_lack(clock::now())?;
        }
        Ok(has_room)
    }

    /// Ends the waits that are over.
    fn end_waits(&mut self, now: Monotonic) {
        for place in self.connections.expired(now) {
            match self.connections.end_wait(place) {
                Expired::Nothing => {}
                Expired::Request(connection) => {
                    self.slot.handler.refuse_late(&self.rules, &connection);
                    self.connections.park_or_close(connection, Next::Close);
                }
                Expired::Response(client) => log::info(format_args!(
                    "Client took its response too slowly: ip={client} (write_timeout)"
                )),
            }
        }
    }

    /// TERM: no new connections, unless the server stops and its queue must be emptied; keep-alive
    /// clients go to a sibling, or get a last answer.
    fn begin_to_leave(&mut self, py: Python<'_>, now: Monotonic) -> io::Result<()> {
        self.rules.keeps_alive = false;
        match self.lifecycle.begin_to_leave(now) {
            Leaving::Stopping(_) => self.acceptor.open()?,
            Leaving::Orphaned | Leaving::StoppingAtOnce => self.acceptor.close()?,
            Leaving::Retired => {
                self.acceptor.close()?;
                // Also those whose requests have just arrived: a sibling that answers them need not
                // close them.
                self.connections.hand_all_on(self.acceptor.handoff());
            }
            Leaving::Aborted => {
                self.acceptor.close()?;
                self.connections.hand_all_on(self.acceptor.handoff());
                let until = now.after(MAX_WAIT_OF_ABORTED);
                self.connections.shorten_waits_for_client(until);
                if let Some(hooks) = self.rules.hooks {
                    hooks.worker_abort(py);
                }
            }
        }
        Ok(())
    }

    /// Called in each turn of a leaving worker: some connections became ready in the same turn as
    /// the order to leave.
    fn go_on_leaving(&mut self, now: Monotonic) -> io::Result<()> {
        match self.lifecycle.leaving() {
            None => {}
            // What is ready now is served in the next turn.
            Some(Leaving::Orphaned | Leaving::StoppingAtOnce) => {
                self.connections.shorten_waits(now.after(LAST_TURN));
            }
            Some(Leaving::Aborted) => {
                self.connections.hand_all_on(self.acceptor.handoff());
                self.connections.shorten_waits(now);
            }
            Some(Leaving::Stopping(_)) => {
                self.connections.shorten_waits(now.after(LAST_REQUEST_WAIT));
            }
            Some(Leaving::Retired) => {
                if !self.lifecycle.is_overtaken_by_stop(now) {
                    self.connections.hand_all_on(self.acceptor.handoff());
                } else if self.lifecycle.watches_queue_until().is_some() {
                    self.acceptor.open()?;
                }
                self.connections.shorten_waits(now.after(LAST_REQUEST_WAIT));
            }
        }
        Ok(())
    }

    /// Whether a leaving worker has nothing left to do.
    fn has_nothing_left(&mut self, py: Python<'_>) -> io::Result<bool> {
        if self.lifecycle.empties_handoff_queue() {
            while self.has_room_for_one()?
                && let Some(handed) = self.acceptor.handoff().receive()?
            {
                self.serve_new(py, self.acceptor.welcome(handed));
            }
        }
        if let Some(until) = self.lifecycle.watches_queue_until() {
            while self.accept_any(py)? {}
            if clock::coarse_now() < until {
                return Ok(false);
            }
        }
        Ok(self.connections.held() == 0)
    }
}
