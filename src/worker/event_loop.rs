//! The event loop of a worker: it waits, finds out what is ready, and says what is to be served
//! next. A connection holds a request slot only while the app runs; all waiting is parked
//! ([`Connections`]).

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;

use rcorn_connection::{
    Accepted, Acceptor, Channel, Connections, Events, Expired, IoThread, Next, Poller, Source,
    TransferredConnection, has_more_than_its_share,
};
use rcorn_log as log;
use rcorn_scoreboard::{Cell, Counters, Metric};
use rcorn_sys::clock;
use rcorn_types::Monotonic;
use rcorn_wsgi::Endpoints;

use super::handler::RequestHandler;
use super::hung_threads::HungThreads;
use super::leadership::Leadership;
use super::lifecycle::{LAST_REQUEST_WAIT, Leaving, Lifecycle, Service};
use super::orders::Orders;
use super::receive::serve_ready;
use super::rules::Rules;
use super::slot::RequestSlot;
use super::turn::{Stage, Turn};
use super::wake_event::WakeEvent;
use super::work::Work;

/// The least number of new connections, and of connections from the hand-off queue, that one turn
/// serves if that many wait.
const MIN_NEW_PER_TURN: usize = 16;
/// How long a client may take to close its connection after the response to a request that ABRT has
/// ended: the arbiter kills the worker soon.
const MAX_WAIT_OF_ABORTED: Duration = Duration::from_millis(200);
/// How long a worker without siblings waits for idle connections: what was ready with the order to
/// leave is served in one more turn.
const LAST_TURN: Duration = Duration::from_millis(5);
/// How often to look at what other threads may have changed.
const OTHERS_LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How late the coarse clock may be.
const COARSE_CLOCK_LAG: Duration = Duration::from_millis(4);

/// A worker between two requests: who accepts, who keeps the waiting connections, and who decides
/// about leaving. It says what is to be served next; the thread that drives it serves.
#[derive(Debug)]
pub(super) struct EventLoop {
    pub(super) poller: Arc<Poller>,
    pub(super) acceptor: Acceptor,
    pub(super) connections: Connections<Endpoints>,
    pub(super) io: IoThread<Endpoints>,
    pub(super) lifecycle: Lifecycle,
    pub(super) rules: Arc<Rules>,
    pub(super) cell: &'static Cell,
    pub(super) driver: Driver,
    pub(super) turn: Turn,
}

/// Who drives a loop.
#[derive(Debug)]
pub(super) enum Driver {
    /// The main thread alone.
    Alone(Orders),
    /// Several threads in turn.
    Threads(ThreadPool),
}

/// Several threads that drive one loop in turn, as the loop knows them.
#[derive(Clone, Debug)]
pub(super) struct ThreadPool {
    /// Who leads.
    pub(super) leadership: Arc<Leadership<Box<EventLoop>, Channel>>,
    /// Wakes the leader.
    pub(super) wake: Arc<WakeEvent>,
    /// Wakes the main thread when the worker has nothing left to do.
    pub(super) finished: Arc<WakeEvent>,
    pub(super) counters: Counters<'static>,
    /// The cells of the threads.
    pub(super) cells: &'static [&'static Cell],
    /// The threads whose request takes too long.
    pub(super) hung: Arc<HungThreads>,
}

impl ThreadPool {
    /// The leader waits for the GIL from now on.
    fn wants_gil(&self) -> Monotonic {
        let now = clock::now();
        self.leadership.set_away(Some(now));
        now
    }

    /// The leader has the GIL that it has waited for since then.
    fn has_gil(&self, since: Monotonic) {
        self.leadership.set_away(None);
        self.count_gil_wait(since);
    }

    /// Counts the time for which a thread has waited for the GIL until now.
    pub(super) fn count_gil_wait(&self, since: Monotonic) {
        let waited = clock::now().since(since).as_micros();
        let waited = u64::try_from(waited).unwrap_or(u64::MAX);
        self.counters.add(Metric::GilWaitMicroseconds, waited);
    }
}

/// What came of a look at the listeners.
enum Arrival {
    /// A connection to serve.
    Connection(Work),
    /// One that is gone again, or was handed on.
    Gone,
    /// None waits, or none can be taken.
    Nothing,
}

/// The main thread of a worker with one thread: drives the loop and serves, until the worker
/// leaves.
pub(super) fn run_alone(py: Python<'_>, event_loop: &mut EventLoop, slots: &mut [RequestSlot]) {
    // There is one.
    let Some(slot) = slots.first_mut() else {
        return;
    };
    loop {
        match event_loop.step(py, slot) {
            Ok(Some(mut work)) => {
                let next = work.serve(py, &event_loop.rules, slot);
                work.finish(&event_loop.connections, next);
            }
            Ok(None) => break,
            Err(error) => {
                log::error(format_args!("the worker cannot go on: {error}"));
                break;
            }
        }
    }
    slot.handler.write_held_lines();
    event_loop.cell.set_connections(0);
}

/// Serves the parked connections that are ready, as long as no order to leave comes.
#[inline(never)]
fn serve_parked(
    py: Python<'_>,
    events: &Events,
    lifecycle: &Lifecycle,
    rules: &Rules,
    connections: &Connections<Endpoints>,
    slot: &mut RequestSlot,
) {
    let mut places = events.connections().peekable();
    while let Some(place) = places.next() {
        if lifecycle.must_begin_to_leave() || lifecycle.must_pause() {
            // The rest is for the siblings.
            break;
        }
        let coalescing = &mut slot.handler.coalescing;
        coalescing.others_follow(places.peek().is_some());
        if let Some(mut connection) = connections.take(place) {
            let next = serve_ready(py, rules, slot, &mut connection);
            connections.park_or_close(connection, next);
        }
        if lifecycle.quits() {
            break;
        }
    }
}

impl EventLoop {
    /// Whether the worker has left to become the template, and has nothing in hand.
    pub(super) fn is_candidate(&self) -> bool {
        self.lifecycle.is_candidate() && self.has_nothing_in_hand()
    }

    /// Finds out which connection is to be served next; waits if that is none. `None`: the worker
    /// leaves. `slot`: that of the thread which drives the loop. Where it is the only one, parked
    /// connections are served here.
    pub(super) fn step(
        &mut self,
        py: Python<'_>,
        slot: &mut RequestSlot,
    ) -> io::Result<Option<Work>> {
        slot.handler.waiting_since = self.turn.waiting_since;
        loop {
            let handler = &mut slot.handler;
            match self.turn.stage {
                Stage::Parked => {
                    if let Driver::Alone(_) = self.driver {
                        let Self {
                            turn,
                            lifecycle,
                            rules,
                            connections,
                            ..
                        } = &*self;
                        serve_parked(py, &turn.events, lifecycle, rules, connections, slot);
                    }
                    if let ControlFlow::Break(found) = self.next_parked(py, &mut slot.handler)? {
                        return Ok(found);
                    }
                }
                Stage::Waiting => {
                    if let ControlFlow::Break(found) = self.begin_turn(py, handler)? {
                        return Ok(found);
                    }
                    handler.waiting_since = self.turn.waiting_since;
                }
                Stage::HandedOn => match self.next_handed_on()? {
                    Some(work) => return Ok(Some(work)),
                    None => self.begin_parked(),
                },
                Stage::Others => match self.next_other(py)? {
                    Some(work) => return Ok(Some(work)),
                    None => self.end_turn(handler)?,
                },
            }
        }
    }

    /// Waits for the next events, unless it is time to leave.
    fn begin_turn(
        &mut self,
        py: Python<'_>,
        handler: &mut RequestHandler,
    ) -> io::Result<ControlFlow<Option<Work>>> {
        if self.lifecycle.quits() {
            return Ok(ControlFlow::Break(None));
        }
        if self.lifecycle.leaving().is_some() {
            if let Some(work) = self.last_of_queue()? {
                return Ok(ControlFlow::Break(Some(work)));
            }
            if self.has_nothing_left() {
                return Ok(ControlFlow::Break(None));
            }
        }
        let looked = self.turn.begun;
        let waits_from = match &self.driver {
            // It has just ended a request, or woken up.
            Driver::Alone(_) => self.cell.awake_since(),
            Driver::Threads(_) => Some(clock::coarse_now()),
        };
        self.wait(py, handler)?;
        self.turn.begun = clock::coarse_now();
        if let Some(waiting_since) = &mut self.turn.waiting_since {
            waiting_since.look(looked, waits_from, self.turn.begun);
        }
        handler.refresh_common_headers();
        // Discarded connections own Python objects, which only this thread may drop: it holds the
        // GIL.
        drop(self.io.take_discarded());
        if self.lifecycle.pauses() {
            // Those whose next request has just come. What stays is served.
            self.connections.hand_all_on(self.acceptor.handoff());
        }
        let events = &self.turn.events;
        self.turn.own = events.connections().count();
        self.turn.most = self.turn.own.max(MIN_NEW_PER_TURN);
        self.turn.has_others = self.turn.own < events.count();
        if self.turn.has_others
            && events.iter().any(|source| source == Source::Handoff)
            && !self.lifecycle.must_begin_to_leave()
        {
            self.turn.begin_stage(Stage::HandedOn);
        } else {
            self.begin_parked();
        }
        Ok(ControlFlow::Continue(()))
    }

    fn begin_parked(&mut self) {
        self.turn.begin_stage(Stage::Parked);
        if let Driver::Threads(_) = self.driver {
            self.turn.look_for_following();
        }
    }

    /// The next parked connection that is ready, for one of several threads; afterwards the end of
    /// this stage.
    fn next_parked(
        &mut self,
        py: Python<'_>,
        handler: &mut RequestHandler,
    ) -> io::Result<ControlFlow<Option<Work>>> {
        if self.lifecycle.quits() {
            return Ok(ControlFlow::Break(None));
        }
        let must_begin_to_leave = self.lifecycle.must_begin_to_leave();
        // The rest is for the siblings.
        let goes_on = !must_begin_to_leave && !self.lifecycle.must_pause();
        while goes_on && let Some(place) = self.turn.following {
            self.turn.look_for_following();
            let others = self.turn.following.is_some();
            handler.coalescing.others_follow(others);
            if let Some(connection) = self.connections.take(place) {
                return Ok(ControlFlow::Break(Some(connection.into())));
            }
        }
        handler.end_turn();
        if must_begin_to_leave {
            self.begin_to_leave(py)?;
        }
        self.turn.begin_stage(Stage::Others);
        Ok(ControlFlow::Continue(()))
    }

    /// The next new connection; follows orders.
    fn next_other(&mut self, py: Python<'_>) -> io::Result<Option<Work>> {
        while self.turn.has_others
            && let Some(source) = self.turn.events.get(self.turn.next)
        {
            match source {
                Source::Wake => {
                    self.follow_orders(py);
                    // A signal handler of the app may have ordered it just now.
                    if self.lifecycle.must_begin_to_leave() {
                        self.begin_to_leave(py)?;
                    }
                }
                Source::Listener(index) => {
                    if let Some(connection) = self.next_arrival(index)? {
                        return Ok(Some(connection));
                    }
                }
                Source::Handoff | Source::Connection(_) => {}
            }
            self.turn.next = self.turn.next.saturating_add(1);
            self.turn.taken = 0;
        }
        Ok(None)
    }

    fn end_turn(&mut self, handler: &mut RequestHandler) -> io::Result<()> {
        self.turn.begin_stage(Stage::Waiting);
        self.go_on_leaving()?;
        self.end_waits(handler);
        self.acceptor.resume_if_due()?;
        self.lifecycle.retire_if_due();
        match self.lifecycle.service(self.turn.begun) {
            Service::GoesOn => {}
            Service::Pauses => {
                self.cell.set_leaves(true);
                self.acceptor.close()?;
                self.connections.hand_all_on(self.acceptor.handoff());
            }
            Service::Resumes => {
                // This worker may get them again, with the bytes that it has read.
                self.connections.hand_all_on(self.acceptor.handoff());
                self.acceptor.open()?;
                self.cell.set_leaves(false);
            }
        }
        Ok(())
    }

    /// Waits until something is ready or due.
    fn wait(&mut self, py: Python<'_>, handler: &RequestHandler) -> io::Result<()> {
        let timeout = self.timeout();
        let (poller, cell, turn) = (&self.poller, self.cell, &mut self.turn);
        let pool = match &self.driver {
            Driver::Alone(_) => None,
            Driver::Threads(pool) => Some(pool),
        };
        // To release the GIL beside a thread that wants it costs the switch interval.
        if pool.is_some_and(|pool| pool.leadership.elsewhere() > 0)
            && turn.keeps_gil(handler.requests(), clock::coarse_now())
        {
            poller.wait(&mut turn.events, Some(Duration::ZERO))?;
            if turn.events.get(0).is_some() {
                return Ok(());
            }
        }
        let events = &mut turn.events;
        // Releasing the GIL costs 45 ns when nobody wants it.
        let (ready, asked) = py.detach(|| {
            cell.sleep();
            let ready = poller.wait(events, timeout);
            // Before the GIL is taken again: a thread of the app that never releases it is a hang,
            // too.
            cell.wake(clock::coarse_now());
            (ready, pool.map(ThreadPool::wants_gil))
        });
        if let (Some(pool), Some(asked)) = (pool, asked) {
            pool.has_gil(asked);
            turn.python_ran = clock::coarse_now();
        }
        Ok(ready?)
    }

    /// How long to wait at most; `None`: for ever, because nothing is due.
    fn timeout(&self) -> Option<Duration> {
        if let Some(until) = self.acceptor.paused_until() {
            return Some(until.since(clock::now()));
        }
        let due = self.connections.next_deadline();
        let look = self.lifecycle.look_interval();
        let wait = (due != Monotonic::NEVER).then(|| due.since(clock::coarse_now()));
        let wait = wait
            .into_iter()
            .chain(look)
            .chain(self.others_look_interval());
        let wait = wait.min()?;
        // So that it is due at the wake-up.
        Some(wait.saturating_add(COARSE_CLOCK_LAG))
    }

    /// How often to look at what other threads do, which wake nobody. A connection that an app
    /// thread has parked may have an early deadline. When the worker leaves, the last connection
    /// may be in the hands of the I/O thread.
    fn others_look_interval(&self) -> Option<Duration> {
        let has_others = match &self.driver {
            Driver::Alone(_) => false,
            Driver::Threads(pool) => pool.leadership.elsewhere() > 0,
        };
        let leaves = self.lifecycle.leaving().is_some() && self.connections.held() > 0;
        (has_others || leaves).then_some(OTHERS_LOOK_INTERVAL)
    }

    /// The next connection of the hand-off queue.
    fn next_handed_on(&mut self) -> io::Result<Option<Work>> {
        let taken = self.turn.taken;
        if taken >= self.turn.most || taken > 0 && !self.lifecycle.goes_on() {
            return Ok(None);
        }
        if !self.has_room_for_one()? {
            return Ok(None);
        }
        self.turn.taken = taken.saturating_add(1);
        match self.acceptor.handoff().receive()? {
            Some(handed) if self.lifecycle.awaits_replacement() => Ok(self.pass_on(handed)),
            Some(handed) => Ok(Some(Work::from(self.acceptor.welcome(handed)))),
            // A sibling was faster; or the arbiter asks us to look at the listeners, because a
            // worker that was woken for a connection has died.
            None if taken == 0 && self.may_accept() => {
                self.turn.taken = self.turn.most;
                self.accept_any()
            }
            None => Ok(None),
        }
    }

    /// Hands a connection on that was received from the hand-off queue: nobody else may have been
    /// woken for it.
    fn pass_on(&mut self, handed: TransferredConnection) -> Option<Work> {
        self.turn.taken = self.turn.most;
        let connection = self.acceptor.welcome(handed);
        let has_gone = connection.hand_on(self.acceptor.handoff());
        (!has_gone).then(|| Work::from(connection))
    }

    fn may_accept(&self) -> bool {
        self.acceptor.is_open() || self.lifecycle.takes_late_connections()
    }

    /// The next connection of a listener that has some.
    fn next_arrival(&mut self, index: usize) -> io::Result<Option<Work>> {
        if self.turn.taken == 0 {
            if !self.may_accept() {
                return Ok(None);
            }
            // A second new connection is rare if no other client waits, and looking for one costs a
            // system call.
            if self.turn.own == 0 {
                let alone = self.connections.held() > 0;
                self.turn.most = if alone { 1 } else { MIN_NEW_PER_TURN };
            }
        }
        loop {
            if self.turn.taken > 0 {
                if !self.lifecycle.goes_on() {
                    return Ok(None);
                }
                if self.acceptor.is_open() && self.has_more_than_its_share() {
                    self.acceptor.pause_for_siblings(clock::now())?;
                    return Ok(None);
                }
                if self.turn.taken >= self.turn.most {
                    return Ok(None);
                }
            }
            let arrival = self.accept(index)?;
            self.turn.taken = self.turn.taken.saturating_add(1);
            match arrival {
                Arrival::Connection(work) => return Ok(Some(work)),
                Arrival::Gone => {}
                Arrival::Nothing => return Ok(None),
            }
        }
    }

    fn has_more_than_its_share(&self) -> bool {
        let held = self.connections.held();
        self.lifecycle.leaving().is_none()
            && has_more_than_its_share(self.rules.scoreboard, held, clock::coarse_now())
    }

    /// Takes one connection from a listener.
    fn accept(&mut self, index: usize) -> io::Result<Arrival> {
        match self.acceptor.accept(index) {
            Accepted::Connection(connection) => {
                // If a sibling takes it, its first response need not close the connection.
                let hands_on = self.lifecycle.hands_new_on();
                if hands_on && connection.hand_on(self.acceptor.handoff()) {
                    Ok(Arrival::Gone)
                } else {
                    Ok(Arrival::Connection(connection.into()))
                }
            }
            Accepted::Left => Ok(Arrival::Gone),
            Accepted::Nothing => Ok(Arrival::Nothing),
            Accepted::Failed(error) => {
                if self.connections.make_room(&error) {
                    Ok(Arrival::Gone)
                } else {
                    self.acceptor.pause_for_lack(clock::now())?;
                    Ok(Arrival::Nothing)
                }
            }
        }
    }

    /// One connection from any listener.
    fn accept_any(&mut self) -> io::Result<Option<Work>> {
        for index in 0..self.acceptor.listeners() {
            loop {
                match self.accept(index)? {
                    Arrival::Connection(work) => return Ok(Some(work)),
                    Arrival::Gone => {}
                    Arrival::Nothing => break,
                }
            }
        }
        Ok(None)
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

    /// Does what signals have ordered, except to leave.
    fn follow_orders(&mut self, py: Python<'_>) {
        match &mut self.driver {
            Driver::Alone(orders) => orders.follow(py),
            // The main thread does it.
            Driver::Threads(pool) => pool.wake.clear(),
        }
    }

    /// Ends the waits that are over.
    fn end_waits(&mut self, handler: &mut RequestHandler) {
        for place in self.connections.expired(self.turn.begun) {
            match self.connections.end_wait(place) {
                Expired::Nothing => {}
                Expired::Request(connection) => {
                    handler.refuse_late(&self.rules, &connection);
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
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub(super) fn begin_to_leave(&mut self, py: Python<'_>) -> io::Result<()> {
        let now = self.turn.begun;
        self.cell.set_leaves(true);
        self.rules.keep_nothing_alive();
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
    fn go_on_leaving(&mut self) -> io::Result<()> {
        let now = self.turn.begun;
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

    /// A connection that still waits when the server stops.
    fn last_of_queue(&mut self) -> io::Result<Option<Work>> {
        if self.lifecycle.empties_handoff_queue()
            && self.has_room_for_one()?
            && let Some(handed) = self.acceptor.handoff().receive()?
        {
            return Ok(Some(Work::from(self.acceptor.welcome(handed))));
        }
        if self.lifecycle.watches_queue_until().is_none() {
            return Ok(None);
        }
        self.accept_any()
    }

    /// Whether a leaving worker has nothing left to do.
    fn has_nothing_left(&self) -> bool {
        let until = self.lifecycle.watches_queue_until();
        let is_over = until.is_none_or(|until| clock::coarse_now() >= until);
        is_over && self.has_nothing_in_hand()
    }

    /// Whether there is no connection but those of threads that are given up.
    fn has_nothing_in_hand(&self) -> bool {
        match &self.driver {
            Driver::Alone(_) => self.connections.held() == 0,
            Driver::Threads(pool) => {
                // In this order: a thread that comes back leaves its place first.
                let elsewhere = pool.leadership.elsewhere();
                let given_up = pool.hung.given_up(clock::coarse_now());
                elsewhere <= given_up.threads && self.connections.held() <= given_up.places
            }
        }
    }
}
