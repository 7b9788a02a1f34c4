//! The connections of a worker that are not being served. They are parked until what they wait for
//! happens or their time is over, closed if there are too many, and handed on when the worker
//! leaves.

use std::io;
use std::sync::Arc;

use rcorn_log as log;
use rcorn_scoreboard::Metric;
use rcorn_sys::clock;
use rcorn_types::Monotonic;

use crate::channel::Channel;
use crate::connection::{Connection, WaitTimeouts};
use crate::fd_budget::{Excess, FdBudget};
use crate::handoff::{Handed, HandoffQueue};
use crate::parking::{Parking, Published};
use crate::poller::{Interest, Poller, Source};
use crate::state::{Next, Waiting};
use crate::sync::Lock;

/// The parked connections, and the only owner of the next deadline. Cheap to clone: all clones are
/// the same connections.
#[derive(Debug)]
pub struct Connections<E> {
    poller: Arc<Poller>,
    parking: Arc<Parking<Connection<E>>>,
    timeouts: WaitTimeouts,
    budget: Arc<Lock<FdBudget>>,
}

impl<E> Clone for Connections<E> {
    fn clone(&self) -> Self {
        Self {
            poller: Arc::clone(&self.poller),
            parking: Arc::clone(&self.parking),
            timeouts: self.timeouts,
            budget: Arc::clone(&self.budget),
        }
    }
}

/// What to do about a connection that has waited too long.
#[derive(Debug)]
pub enum Expired<E> {
    /// Its request did not arrive in time: the caller answers, and gives the connection to
    /// [`Connections::park_or_close`].
    Request(Box<Connection<E>>),
    /// Its client did not take the response in time, so it was closed. The client's address, for
    /// the log.
    Response(Arc<str>),
    /// Nothing: it was closed, or may continue to wait.
    Nothing,
}

impl<E> Connections<E> {
    /// No connections yet; `published` is told how many there are.
    #[must_use]
    pub fn new(
        poller: Arc<Poller>,
        published: Published,
        timeouts: WaitTimeouts,
        budget: FdBudget,
    ) -> Self {
        Self {
            poller,
            parking: Arc::new(Parking::new(published)),
            timeouts,
            budget: Arc::new(Lock::new(budget)),
        }
    }

    pub(crate) fn timeouts(&self) -> WaitTimeouts {
        self.timeouts
    }

    pub(crate) fn parking(&self) -> &Arc<Parking<Connection<E>>> {
        &self.parking
    }

    /// How many connections the worker has, including those taken out.
    #[must_use]
    pub fn held(&self) -> usize {
        self.parking.held()
    }

    /// When to call [`Self::expired`] next; [`Monotonic::NEVER`] when nothing is due.
    #[must_use]
    pub fn next_deadline(&self) -> Monotonic {
        self.parking.next_deadline()
    }

    /// Whether connections are kept for another request at all.
    #[must_use]
    pub fn keeps_idle(&self) -> bool {
        self.timeouts.idle.is_some()
    }

    /// Takes a connection out of its place, to serve it and give it to [`Self::park_or_close`];
    /// `None`: the I/O thread has it.
    #[must_use]
    pub fn take(&self, place: usize) -> Option<Box<Connection<E>>> {
        self.parking.take(place)
    }

    /// Parks or closes a connection.
    pub fn park_or_close(&self, connection: Box<Connection<E>>, next: Next) {
        let waiting = match next.after_response(connection.channel.owes()) {
            Next::Park(waiting) => waiting,
            Next::Close => match connection.channel.transport().shutdown_write() {
                Ok(()) => Waiting::Close,
                Err(_gone) => return self.close(connection),
            },
            Next::Done | Next::Abort => return self.close(connection),
        };
        self.park(connection, waiting);
    }

    /// Watches a connection that was taken no longer: bytes that come meanwhile would wake whoever
    /// waits again and again. Whoever has taken it gives it to [`Self::park_or_close_unwatched`].
    pub fn unwatch(&self, channel: &Channel) {
        // It is watched, and the poller lives: this does not fail.
        self.poller.remove(channel.transport().descriptor()).ok();
    }

    /// Parks or closes a connection that [`Self::unwatch`] was called for.
    pub fn park_or_close_unwatched(&self, mut connection: Box<Connection<E>>, next: Next) {
        connection.watched = None;
        self.park_or_close(connection, next);
    }

    fn park(&self, mut connection: Box<Connection<E>>, waiting: Waiting) {
        let now = clock::coarse_now();
        let deadline = connection.wait_for(waiting, &self.timeouts, now);
        let is_new = connection.place.is_none();
        let place = *connection
            .place
            .get_or_insert_with(|| self.parking.reserve());
        if let Err(errno) = self.watch(&mut connection, place) {
            log::error(format_args!("cannot wait for a connection: {errno}"));
            return self.close(connection);
        }
        let descriptor = connection.channel.transport().number();
        self.parking.put(place, connection, deadline);
        if is_new {
            let excess = self.budget.lock().excess(self.held(), descriptor, now);
            match excess {
                None => {}
                Some(excess @ Excess::Connections) => self.close_most_idle(excess, None, now),
                Some(excess @ Excess::Descriptors) => {
                    self.close_most_idle(excess, Some(place), now);
                }
            }
        }
    }

    /// Makes the poller report what the connection waits for.
    fn watch(&self, connection: &mut Connection<E>, place: usize) -> nix::Result<()> {
        let interest = match connection.state.waiting {
            Waiting::Response(_) => Interest::Writable,
            // Its next request has been read, so it is ready.
            Waiting::NextRequest if !connection.buffer.is_empty() => Interest::Writable,
            Waiting::FirstByte
            | Waiting::Head
            | Waiting::Body(_)
            | Waiting::Chunks
            | Waiting::NextRequest
            | Waiting::Close => Interest::Readable,
        };
        if connection.watched == Some(interest) {
            return Ok(());
        }
        let before = connection.watched.replace(interest);
        let socket = connection.channel.transport().descriptor();
        let source = Source::Connection(place);
        self.poller.watch(socket, source, interest, before)
    }

    /// Closes a connection that was taken out.
    fn close(&self, connection: Box<Connection<E>>) {
        let place = connection.place;
        drop(connection);
        if let Some(place) = place {
            self.parking.vacate(place);
        }
    }

    /// The places of those that have waited too long. Call [`Self::end_wait`] for each.
    #[must_use]
    pub fn expired(&self, now: Monotonic) -> Vec<usize> {
        if now < self.next_deadline() {
            return Vec::new();
        }
        self.parking.expired(now)
    }

    /// Ends the wait of a parked connection that has waited too long.
    pub fn end_wait(&self, place: usize) -> Expired<E> {
        let Some(mut connection) = self.parking.take(place) else {
            return Expired::Nothing;
        };
        match connection.state.waiting {
            // There is no request to answer; or the client had its time to read our last response.
            Waiting::FirstByte | Waiting::NextRequest | Waiting::Close => {
                connection.channel.transport().shut_down();
                self.close(connection);
                Expired::Nothing
            }
            Waiting::Head | Waiting::Body(_) | Waiting::Chunks => {
                connection.channel.count(Metric::TimedOutConnections);
                Expired::Request(connection)
            }
            waiting @ Waiting::Response(_) => {
                // The kernel reports room late. What the client has taken counts.
                let now = clock::coarse_now();
                let deadline = connection.wait_for(waiting, &self.timeouts, now);
                if deadline > now {
                    self.parking.put(place, connection, deadline);
                    return Expired::Nothing;
                }
                let client = connection.client_address();
                connection.channel.count(Metric::TimedOutConnections);
                connection.channel.transport().reset_on_close();
                self.close(connection);
                Expired::Response(client)
            }
        }
    }

    /// Limits every wait for a request to begin to the time `until`.
    pub fn shorten_waits(&self, until: Monotonic) {
        self.parking
            .shorten(until, |parked| parked.state.waiting.is_for_request());
    }

    /// Limits every wait to the time `until`, except the wait for a client to take its response.
    pub fn shorten_waits_for_client(&self, until: Monotonic) {
        self.parking.shorten(until, |parked| {
            !matches!(parked.state.waiting, Waiting::Response(_))
        });
    }

    /// Hands every parked connection to the siblings. Those that do not fit into the queue stay.
    pub fn hand_all_on(&self, queue: &HandoffQueue) {
        // Taken out with what sends them: otherwise the I/O thread could send one again.
        let mut is_full = false;
        let handed = self.parking.take_those(|connection| {
            if is_full {
                return false;
            }
            match connection.try_to_hand_on(queue) {
                Handed::On => {}
                Handed::Stays => return false,
                Handed::QueueIsFull => {
                    is_full = true;
                    return false;
                }
            }
            // Closing does not remove it: the connection stays open in the queue, and would stay in
            // our poller.
            let socket = connection.channel.transport().descriptor();
            if connection.watched.is_some()
                && let Err(errno) = self.poller.remove(socket)
            {
                log::debug(format_args!(
                    "a connection handed on stays watched: {errno}"
                ));
            }
            true
        });
        for connection in handed {
            self.close(connection);
        }
    }

    /// Makes room for a connection that cannot be taken because of `error`, by closing an idle one.
    /// Returns whether there was one.
    pub fn make_room(&self, error: &io::Error) -> bool {
        let now = clock::coarse_now();
        if FdBudget::is_lack(error) && self.forget_most_idle(None) {
            self.tell_of_closed(Excess::Descriptors, now);
            return true;
        }
        let note = self.budget.lock().note_waiting(error, now);
        if let Some(note) = note {
            log::error(format_args!("{note}"));
        }
        false
    }

    /// Whether a connection can be received from the queue. Closes others for it if necessary.
    pub fn has_room_for_one(&self, queue: &HandoffQueue) -> bool {
        loop {
            match queue.probe_descriptor() {
                Ok(()) => return true,
                Err(error) if self.make_room(&error) => {}
                Err(_told) => return false,
            }
        }
    }

    fn close_most_idle(&self, excess: Excess, spared: Option<usize>, now: Monotonic) {
        if self.forget_most_idle(spared) {
            self.tell_of_closed(excess, now);
        }
    }

    /// Closes the connection that is the first to close ([`Waiting::rank`]) and has waited longest;
    /// `false` if there is none. One whose response is being sent is never closed.
    fn forget_most_idle(&self, spared: Option<usize>) -> bool {
        let most_idle = {
            let places = self.parking.places();
            let candidates = places.parked().filter_map(|(place, connection)| {
                let state = &connection.state;
                let rank = state.waiting.rank().filter(|_| Some(place) != spared)?;
                Some((rank, state.progress.begun(), place))
            });
            candidates.min()
        };
        let chosen = most_idle.map(|(_, _, place)| self.forget(place));
        chosen.is_some()
    }

    fn forget(&self, place: usize) {
        if let Some(connection) = self.parking.take(place) {
            self.close(connection);
        }
    }

    fn tell_of_closed(&self, excess: Excess, now: Monotonic) {
        let note = self.budget.lock().note_closed(excess, now);
        if let Some(note) = note {
            log::warning(format_args!("{note}"));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
