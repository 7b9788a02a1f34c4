//! The connections of one worker while no worker time is spent on them: parked until what they wait for has come or
//! their time is over, closed when there are too many, handed on when the worker leaves.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use rcorn_log as log;
use rcorn_scoreboard::Metric;
use rcorn_sys::clock;
use rcorn_types::Monotonic;

use super::connection::{Connection, WaitTimeouts};
use super::fd_budget::{Excess, FdBudget};
use super::handoff::HandoffQueue;
use super::parking::Parking;
use super::poller::{Interest, Poller, Source};
use super::state::{Next, Waiting};

/// The parked connections, and the only owner of the next deadline.
#[derive(Debug)]
pub struct Connections<E> {
    poller: Arc<Poller>,
    parking: Arc<Parking<Connection<E>>>,
    timeouts: WaitTimeouts,
    budget: FdBudget,
}

/// What a connection that has waited too long is to be told.
#[derive(Debug)]
pub enum Expired<E> {
    /// Its request did not come in time: the server answers, and settles it.
    Request(Box<Connection<E>>),
    /// It did not take its reply in time; it is closed. The client's address, for the log.
    Reply(Arc<str>),
    /// Nothing; it is closed, or may wait on.
    Nothing,
}

impl<E> Connections<E> {
    /// No connections yet; `published` is told how many there are.
    #[must_use]
    pub fn new(
        poller: Arc<Poller>,
        published: &'static AtomicU32,
        timeouts: WaitTimeouts,
        budget: FdBudget,
    ) -> Self {
        Self {
            poller,
            parking: Arc::new(Parking::new(published)),
            timeouts,
            budget,
        }
    }

    pub(crate) fn parking(&self) -> &Arc<Parking<Connection<E>>> {
        &self.parking
    }

    /// How many connections are ours, also those taken out.
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

    /// Takes a connection out of its place, to deal with it and [`Self::settle`] it; `None`: the helper thread has it.
    #[must_use]
    pub fn take(&self, place: usize) -> Option<Box<Connection<E>>> {
        self.parking.take(place)
    }

    /// Parks or closes a connection that has no place yet.
    pub fn settle_new(&mut self, connection: Connection<E>, next: Next) {
        match next.after_reply(connection.channel.owes()) {
            // Not worth a box.
            Next::Done | Next::Abort => {}
            next @ (Next::Park(_) | Next::Close) => self.settle(Box::new(connection), next),
        }
    }

    /// Parks or closes a connection.
    pub fn settle(&mut self, connection: Box<Connection<E>>, next: Next) {
        let waiting = match next.after_reply(connection.channel.owes()) {
            Next::Park(waiting) => waiting,
            Next::Close => match connection.channel.transport().shutdown_write() {
                Ok(()) => Waiting::Close,
                Err(_gone) => return self.close(connection),
            },
            Next::Done | Next::Abort => return self.close(connection),
        };
        self.park(connection, waiting);
    }

    fn park(&mut self, mut connection: Box<Connection<E>>, waiting: Waiting) {
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
            match self.budget.excess(self.held(), descriptor, now) {
                None => {}
                Some(excess @ Excess::Connections) => self.close_most_idle(excess, None, now),
                Some(excess @ Excess::Descriptors) => {
                    self.close_most_idle(excess, Some(place), now);
                }
            }
        }
    }

    /// Lets the poller tell of what the connection waits for.
    fn watch(&self, connection: &mut Connection<E>, place: usize) -> nix::Result<()> {
        let interest = match connection.state.waiting {
            Waiting::Reply(_) => Interest::Writable,
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

    /// The places of those that have waited too long: each is to be given to [`Self::end_wait`].
    #[must_use]
    pub fn expired(&self, now: Monotonic) -> Vec<usize> {
        if now < self.next_deadline() {
            return Vec::new();
        }
        self.parking.expired(now)
    }

    /// A parked connection has waited too long.
    pub fn end_wait(&mut self, place: usize) -> Expired<E> {
        let Some(mut connection) = self.parking.take(place) else {
            return Expired::Nothing;
        };
        match connection.state.waiting {
            // Nothing was asked, nothing is owed; or the client had its time to read our last reply.
            Waiting::FirstByte | Waiting::NextRequest | Waiting::Close => {
                self.close(connection);
                Expired::Nothing
            }
            Waiting::Head | Waiting::Body(_) | Waiting::Chunks => {
                connection.channel.count(Metric::TimedOutConnections);
                Expired::Request(connection)
            }
            waiting @ Waiting::Reply(_) => {
                // The kernel tells of room late; what the client has taken counts.
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
                Expired::Reply(client)
            }
        }
    }

    /// Lets no connection wait longer than until then for a request to begin.
    pub fn shorten_waits(&self, until: Monotonic) {
        self.parking
            .shorten(until, |parked| parked.state.waiting.is_for_request());
    }

    /// Gives every parked connection to the siblings; those that the queue does not take stay.
    pub fn hand_all_on(&self, queue: &HandoffQueue) {
        let mut handed = Vec::new();
        for (place, connection) in self.parking.places().parked() {
            if connection.hand_on(queue) {
                // Closing does not end it: the connection lives on in the queue, and would stay in our poller.
                let socket = connection.channel.transport().descriptor();
                if connection.watched.is_some()
                    && let Err(errno) = self.poller.remove(socket)
                {
                    log::debug(format_args!(
                        "a connection handed on stays watched: {errno}"
                    ));
                }
                handed.push(place);
            }
        }
        for place in handed {
            self.forget(place);
        }
    }

    /// Whether room was made for a connection that cannot be taken because of `error`: one that was idle is closed.
    pub fn make_room(&mut self, error: &io::Error) -> bool {
        let now = clock::coarse_now();
        if FdBudget::is_lack(error) && self.forget_most_idle(None) {
            self.tell_of_closed(Excess::Descriptors, now);
            return true;
        }
        if let Some(note) = self.budget.note_waiting(error, now) {
            log::error(format_args!("{note}"));
        }
        false
    }

    /// Whether a connection can be received from the queue, if need be after others were closed for it.
    pub fn has_room_for_one(&mut self, queue: &HandoffQueue) -> bool {
        loop {
            match queue.probe_descriptor() {
                Ok(()) => return true,
                Err(error) if self.make_room(&error) => {}
                Err(_told) => return false,
            }
        }
    }

    fn close_most_idle(&mut self, excess: Excess, spared: Option<usize>, now: Monotonic) {
        if self.forget_most_idle(spared) {
            self.tell_of_closed(excess, now);
        }
    }

    /// Closes the connection of the most dispensable kind that has waited longest; `false`: none can be spared. None that
    /// a reply is on its way to.
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

    fn tell_of_closed(&mut self, excess: Excess, now: Monotonic) {
        if let Some(note) = self.budget.note_closed(excess, now) {
            log::warning(format_args!("{note}"));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{IoSlice, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use rcorn_settings::Protocol;
    use rcorn_sys::net::Peer;

    use super::*;
    use crate::channel::{Channel, ClientTimeouts};
    use crate::handoff::tests::queue;
    use crate::poller::Events;
    use crate::progress::TransferProgress;
    use crate::state::{AfterReply, ConnectionState};
    use crate::transport::{Flush, Transport};
    use crate::unlocked::tests::Alone;

    const TIMEOUTS: WaitTimeouts = WaitTimeouts {
        head: Some(Duration::from_secs(1)),
        body: Some(Duration::from_secs(2)),
        idle: Some(Duration::from_secs(3)),
        write: Some(Duration::from_secs(4)),
        close: Some(Duration::from_secs(5)),
    };

    pub(crate) fn connections(most: u32) -> (Connections<()>, &'static AtomicU32) {
        let published: &AtomicU32 = Box::leak(Box::default());
        let poller = Arc::new(Poller::new().unwrap());
        let budget = FdBudget::new(most);
        (
            Connections::new(poller, published, TIMEOUTS, budget),
            published,
        )
    }

    pub(crate) fn connection() -> (Connection<()>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let timeouts = ClientTimeouts {
            read: None,
            write: None,
            buffer: 1 << 30,
            entry: None,
        };
        let channel = Channel::new(Transport::plain(ours.into()), timeouts);
        let state = ConnectionState {
            listener: 0,
            protocol: Protocol::Http,
            may_be_proxied: false,
            proxied: None,
            served: 0,
            waiting: Waiting::FirstByte,
            progress: TransferProgress::new(clock::coarse_now()),
        };
        (Connection::new(channel, Peer::Unix, state), theirs)
    }

    fn ready(connections: &Connections<()>) -> Vec<usize> {
        let mut events = Events::with_capacity(8);
        connections
            .poller
            .wait(&mut events, Some(Duration::ZERO))
            .unwrap();
        events.connections().collect()
    }

    #[test]
    fn a_parked_connection_is_told_of_and_keeps_its_place() {
        let (mut connections, published) = connections(10);
        let (one, mut client) = connection();
        connections.settle_new(one, Next::Park(Waiting::FirstByte));
        assert!(ready(&connections).is_empty());
        client.write_all(b"GET").unwrap();
        let place = ready(&connections)[0];
        let taken = connections.take(place).unwrap();
        assert!(taken.has_place() && connections.take(place).is_none());
        connections.settle(taken, Next::Park(Waiting::Head));
        assert_eq!(ready(&connections), [place]);
        let taken = connections.take(place).unwrap();
        connections.settle(taken, Next::Abort);
        assert_eq!(
            (connections.held(), published.load(Ordering::Relaxed)),
            (0, 0)
        );
        client.read_to_end(&mut Vec::new()).unwrap_or(0);
    }

    #[test]
    fn each_wait_has_a_time_of_its_own() {
        let (mut connections, _) = connections(10);
        let (one, _client) = connection();
        let before = clock::coarse_now();
        connections.settle_new(one, Next::Park(Waiting::NextRequest));
        let due = connections.next_deadline();
        assert!(due >= before.after(Duration::from_secs(3)));
        assert!(connections.expired(before).is_empty());
        connections.shorten_waits(before);
        assert_eq!(connections.next_deadline(), before);
        let [place] = connections.expired(before)[..] else {
            panic!("one is expired");
        };
        assert!(matches!(connections.end_wait(place), Expired::Nothing));
        assert_eq!(connections.held(), 0);
    }

    #[test]
    fn a_request_that_is_late_is_for_the_server_to_answer() {
        let (mut connections, _) = connections(10);
        let (one, mut client) = connection();
        connections.settle_new(one, Next::Park(Waiting::Head));
        // Not a wait for a request to begin.
        connections.shorten_waits(Monotonic::ZERO);
        let late = clock::coarse_now().after(Duration::from_mins(1));
        let [place] = connections.expired(late)[..] else {
            panic!("one is expired");
        };
        let Expired::Request(connection) = connections.end_wait(place) else {
            panic!("its request is late");
        };
        connection.channel.send_or_give_up(b"408");
        connections.settle(connection, Next::Close);
        let mut got = String::new();
        client.read_to_string(&mut got).unwrap();
        assert_eq!(got, "408");
        // Until the client closes too.
        assert_eq!(connections.held(), 1);
    }

    #[test]
    fn what_is_owed_comes_before_everything_else() {
        let (mut connections, _) = connections(10);
        let (one, mut client) = connection();
        let reply = vec![1; 4 << 20];
        let sent = one
            .channel
            .send(&Alone::default(), &mut [IoSlice::new(&reply)], Flush::Now);
        assert!(!sent.unwrap());
        connections.settle_new(one, Next::Done);
        let place = 0;
        let taken = connections.take(place).unwrap();
        assert_eq!(taken.state.waiting, Waiting::Reply(AfterReply::Done));
        connections.settle(taken, Next::Park(Waiting::Reply(AfterReply::Done)));
        assert!(ready(&connections).is_empty());
        let mut some = vec![0; 2 << 20];
        client.set_nonblocking(true).unwrap();
        while client.read(&mut some).is_ok() {}
        assert_eq!(ready(&connections), [place]);
        // It has taken something since: its time is not over yet.
        let late = clock::coarse_now().after(Duration::from_mins(1));
        assert_eq!(connections.expired(late), [place]);
        assert!(matches!(connections.end_wait(place), Expired::Nothing));
        assert_eq!(connections.held(), 1);
    }

    #[test]
    fn too_many_cost_the_most_dispensable_one() {
        let (mut connections, _) = connections(2);
        let waits = [
            Waiting::Head,
            Waiting::NextRequest,
            Waiting::Body(10),
            Waiting::FirstByte,
        ];
        let mut clients = Vec::new();
        for waiting in waits {
            let (one, client) = connection();
            connections.settle_new(one, Next::Park(waiting));
            clients.push(client);
        }
        let places = connections.parking.places();
        let left: Vec<_> = places.parked().map(|(_, one)| one.state.waiting).collect();
        assert_eq!(left, [Waiting::Head, Waiting::Body(10)]);
    }

    #[test]
    fn all_that_can_travel_is_handed_on() {
        let (mut connections, _) = connections(10);
        let mut clients = Vec::new();
        for waiting in [Waiting::NextRequest, Waiting::Close, Waiting::Head] {
            let (one, client) = connection();
            connections.settle_new(one, Next::Park(waiting));
            clients.push(client);
        }
        let queue = queue();
        connections.hand_all_on(&queue);
        assert_eq!(connections.held(), 1);
        let handed: Vec<_> = std::iter::from_fn(|| queue.receive().unwrap()).collect();
        let waits: Vec<_> = handed.iter().map(|one| one.state.waiting).collect();
        assert_eq!(waits, [Waiting::NextRequest, Waiting::Head]);
        // Nothing of them is left in the poller.
        for client in &mut clients {
            client.write_all(b"x").unwrap();
        }
        assert_eq!(ready(&connections).len(), 1);
    }

    #[test]
    fn a_lack_of_descriptors_costs_an_idle_connection() {
        let (mut connections, _) = connections(10);
        let (one, _client) = connection();
        connections.settle_new(one, Next::Park(Waiting::NextRequest));
        let lack = io::Error::from_raw_os_error(nix::libc::EMFILE);
        assert!(!connections.make_room(&io::Error::from_raw_os_error(nix::libc::EPERM)));
        assert!(connections.make_room(&lack));
        assert_eq!(connections.held(), 0);
        assert!(!connections.make_room(&lack));
        assert!(connections.has_room_for_one(&queue()));
    }
}
