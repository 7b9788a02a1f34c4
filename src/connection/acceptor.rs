//! Where connections come from: the listeners and the hand-off queue; and when the worker leaves them to its siblings.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::libc::{EAGAIN, ECONNABORTED, EHOSTUNREACH, EINTR, ENETDOWN, ENOTCONN, EPROTO};

use rcorn_scoreboard::{Metric, Scoreboard};
use rcorn_settings::Protocol;
use rcorn_sys::{clock, net};
use rcorn_types::Monotonic;

use super::channel::{Channel, ClientTimeouts};
use super::connection::Connection;
use super::handoff::{HandoffQueue, TransferredConnection};
use super::poller::{Poller, Source};
use super::progress::TransferProgress;
use super::state::{ConnectionState, Waiting};
use super::transport::Transport;

/// How long a worker with more than its share of connections leaves the listeners to others. They may have done the same.
const FAIR_SHARE_PAUSE: Duration = Duration::from_millis(1);
/// How long a worker that can take no connection leaves them to wait, or to its siblings.
const LACK_PAUSE: Duration = Duration::from_millis(100);
/// A worker whose request takes longer takes no connections now (by the coarse clock, which may be 4 ms late).
const BUSY_REQUEST: Duration = Duration::from_millis(8);

/// One listening socket.
#[derive(Debug)]
pub struct Listener {
    /// Non-blocking, shared with the siblings.
    /// Also in the hands of a signal handler, which makes it refer to nothing when the arbiter has died.
    pub socket: Arc<OwnedFd>,
    /// What is spoken on its connections.
    pub protocol: Protocol,
}

/// Whether listeners are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    /// Yes.
    Open,
    /// Not until then.
    Paused(Monotonic),
    /// Not any more.
    Closed,
}

/// What came of a look at a listener.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a box for each connection costs more"
)]
pub enum Accepted<E> {
    /// A connection.
    Connection(Connection<E>),
    /// A client that left before we came.
    Left,
    /// Nothing waits.
    Nothing,
    /// A connection waits and cannot be taken.
    Failed(io::Error),
}

/// The listeners and the hand-off queue.
#[derive(Debug)]
pub struct Acceptor {
    poller: Arc<Poller>,
    listeners: Vec<Listener>,
    handoff: Arc<HandoffQueue>,
    accepting: Accepting,
    watches_handoff: bool,
    timeouts: ClientTimeouts,
    may_be_proxied: bool,
}

impl Acceptor {
    /// Watches nothing yet. `timeouts` and `may_be_proxied` are for its connections.
    #[must_use]
    pub fn new(
        poller: Arc<Poller>,
        listeners: Vec<Listener>,
        handoff: Arc<HandoffQueue>,
        timeouts: ClientTimeouts,
        may_be_proxied: bool,
    ) -> Self {
        Self {
            poller,
            listeners,
            handoff,
            accepting: Accepting::Closed,
            watches_handoff: false,
            timeouts,
            may_be_proxied,
        }
    }

    /// How long the app waits for clients of its connections.
    #[must_use]
    pub fn timeouts(&self) -> ClientTimeouts {
        self.timeouts
    }

    /// The queue that it shares with its siblings.
    #[must_use]
    pub fn handoff(&self) -> &HandoffQueue {
        &self.handoff
    }

    /// Watches the listeners and the queue. One worker is woken for one connection.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub fn open(&mut self) -> io::Result<()> {
        if self.accepting != Accepting::Open {
            for (index, listener) in self.listeners.iter().enumerate() {
                self.poller
                    .add_shared(&listener.socket, Source::Listener(index))?;
            }
            self.accepting = Accepting::Open;
        }
        if !self.watches_handoff {
            self.poller
                .add_shared(self.handoff.receiver(), Source::Handoff)?;
            self.watches_handoff = true;
        }
        Ok(())
    }

    /// Takes connections neither from the listeners nor from the queue any more.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub fn close(&mut self) -> io::Result<()> {
        self.leave_listeners(Accepting::Closed)?;
        self.leave_handoff()
    }

    /// Leaves new connections to siblings with less of them for a while.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub fn pause_for_siblings(&mut self, now: Monotonic) -> io::Result<()> {
        self.pause(now.after(FAIR_SHARE_PAUSE))
    }

    /// Takes no connections for a while, because there is no room for one.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub fn pause_for_lack(&mut self, now: Monotonic) -> io::Result<()> {
        self.pause(now.after(LACK_PAUSE))?;
        self.leave_handoff()
    }

    /// After [`Self::close`] there is nothing to pause.
    fn pause(&mut self, until: Monotonic) -> io::Result<()> {
        match self.accepting {
            Accepting::Open | Accepting::Paused(_) => {
                self.leave_listeners(Accepting::Paused(until))
            }
            Accepting::Closed => Ok(()),
        }
    }

    fn leave_listeners(&mut self, then: Accepting) -> io::Result<()> {
        if std::mem::replace(&mut self.accepting, then) == Accepting::Open {
            for listener in &self.listeners {
                match self.poller.remove(&listener.socket) {
                    // An orphan's listeners were closed by its signal handler.
                    Ok(()) | Err(nix::Error::EPERM | nix::Error::ENOENT) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        Ok(())
    }

    fn leave_handoff(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.watches_handoff) {
            self.poller.remove(self.handoff.receiver())?;
        }
        Ok(())
    }

    /// Whether the listeners are watched.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.accepting == Accepting::Open
    }

    /// When a pause ends, in one.
    #[must_use]
    pub fn paused_until(&self) -> Option<Monotonic> {
        match self.accepting {
            Accepting::Paused(until) => Some(until),
            Accepting::Open | Accepting::Closed => None,
        }
    }

    /// Goes on when a pause is over.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub fn resume_if_due(&mut self) -> io::Result<()> {
        match self.accepting {
            Accepting::Paused(until) if clock::now() >= until => self.open(),
            Accepting::Paused(_) | Accepting::Open | Accepting::Closed => Ok(()),
        }
    }

    /// How many listeners there are.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.listeners.len()
    }

    /// Takes one connection from a listener.
    #[must_use]
    pub fn accept<E>(&self, index: usize) -> Accepted<E> {
        let Some(listener) = self.listeners.get(index) else {
            return Accepted::Nothing;
        };
        let (socket, peer) = match net::accept(listener.socket.as_fd()) {
            Ok(accepted) => accepted,
            Err(error) => return refused(error),
        };
        let state = ConnectionState {
            listener: index,
            protocol: listener.protocol,
            may_be_proxied: self.may_be_proxied,
            proxied: None,
            served: 0,
            waiting: Waiting::FirstByte,
            progress: TransferProgress::new(clock::coarse_now()),
        };
        let channel = Channel::new(Transport::plain(socket), self.timeouts);
        channel.count(Metric::AcceptedConnections);
        Accepted::Connection(Connection::new(channel, peer, state))
    }

    /// Takes over a connection that another worker has handed on.
    #[must_use]
    pub fn welcome<E>(&self, transferred: TransferredConnection) -> Connection<E> {
        let channel = Channel::new(transferred.transport, self.timeouts);
        channel.count(Metric::TakenConnections);
        let mut state = transferred.state;
        // From a worker of other settings it may have come by a socket that we do not have.
        let last = self.listeners.len().saturating_sub(1);
        state.listener = state.listener.min(last);
        let mut connection = Connection::new(channel, transferred.peer, state);
        connection.buffer = transferred.buffer;
        connection
    }
}

/// What an error of accept(2) means.
fn refused<E>(error: io::Error) -> Accepted<E> {
    match error.raw_os_error() {
        // Also pending network errors of the connection.
        Some(ECONNABORTED | EINTR | ENOTCONN | EPROTO | ENETDOWN | EHOSTUNREACH) => Accepted::Left,
        Some(EAGAIN) => Accepted::Nothing,
        Some(_) | None => Accepted::Failed(error),
    }
}

/// Whether a worker with `held` connections has more than a fair share of all. The kernel wakes the same worker for each
/// new connection, as long as it sleeps; kept ones would all come to be its own.
#[must_use]
pub fn has_more_than_its_share(scoreboard: &Scoreboard, held: usize, now: Monotonic) -> bool {
    let wanted = scoreboard.shared().wanted();
    if wanted <= 1 || held <= 1 {
        return false;
    }
    let cells = u16::try_from(wanted.saturating_mul(2)).unwrap_or(u16::MAX);
    let (mut workers, mut total) = (0_usize, 0_usize);
    for index in 0..cells.min(scoreboard.cells()) {
        let Some(cell) = scoreboard.cell(index) else {
            break;
        };
        let begun = cell.request_entry().begun();
        let is_busy = begun.is_some_and(|begun| now.since(begun) > BUSY_REQUEST);
        if cell.is_taken() && !is_busy {
            workers = workers.saturating_add(1);
            let held = usize::try_from(cell.connections()).unwrap_or(usize::MAX);
            total = total.saturating_add(held);
        }
    }
    // Rounded up: with 5 connections and 4 workers, two are a fair share.
    workers > 1 && held > total.div_ceil(workers)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::handoff::tests::queue;
    use crate::poller::Events;

    const TIMEOUTS: ClientTimeouts = ClientTimeouts {
        read: None,
        write: None,
        buffer: 0,
        entry: None,
    };

    struct World {
        acceptor: Acceptor,
        poller: Arc<Poller>,
        events: Events,
        address: std::net::SocketAddr,
    }

    impl World {
        fn new() -> Self {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            let address = socket.local_addr().unwrap();
            let listener = Listener {
                socket: Arc::new(socket.into()),
                protocol: Protocol::Http,
            };
            let poller = Arc::new(Poller::new().unwrap());
            let mut acceptor = Acceptor::new(
                Arc::clone(&poller),
                vec![listener],
                Arc::new(queue()),
                TIMEOUTS,
                false,
            );
            acceptor.open().unwrap();
            Self {
                acceptor,
                poller,
                events: Events::with_capacity(4),
                address,
            }
        }

        fn ready(&mut self) -> Vec<Source> {
            let timeout = Some(Duration::ZERO);
            self.poller.wait(&mut self.events, timeout).unwrap();
            self.events.iter().collect()
        }
    }

    #[test]
    fn a_pause_leaves_connections_to_wait() {
        let mut world = World::new();
        let _client = TcpStream::connect(world.address).unwrap();
        assert_eq!(world.ready(), [Source::Listener(0)]);
        let now = clock::now();
        world.acceptor.pause_for_siblings(now).unwrap();
        assert!(world.ready().is_empty() && !world.acceptor.is_open());
        let until = world.acceptor.paused_until().unwrap();
        assert_eq!(until, now.after(FAIR_SHARE_PAUSE));
        while clock::now() < until {
            std::thread::yield_now();
        }
        world.acceptor.resume_if_due().unwrap();
        assert_eq!(world.ready(), [Source::Listener(0)]);
        let accepted = world.acceptor.accept::<()>(0);
        assert!(matches!(accepted, Accepted::Connection(_)));
        assert!(matches!(world.acceptor.accept::<()>(0), Accepted::Nothing));
        assert!(matches!(world.acceptor.accept::<()>(1), Accepted::Nothing));
    }

    #[test]
    fn a_lack_keeps_away_from_the_queue_too() {
        let mut world = World::new();
        let (one, _two) = std::os::unix::net::UnixStream::pair().unwrap();
        let state = ConnectionState {
            listener: 5,
            protocol: Protocol::Http,
            may_be_proxied: false,
            proxied: None,
            served: 1,
            waiting: Waiting::NextRequest,
            progress: TransferProgress::default(),
        };
        let transport = Transport::plain(one.into());
        assert!(world.acceptor.handoff().send(&transport, &state, b"GET"));
        assert_eq!(world.ready(), [Source::Handoff]);
        world.acceptor.pause_for_lack(Monotonic::ZERO).unwrap();
        assert!(world.ready().is_empty());
        // Over long ago.
        world.acceptor.resume_if_due().unwrap();
        assert_eq!(world.ready(), [Source::Handoff]);
        let transferred = world.acceptor.handoff().receive().unwrap().unwrap();
        let connection = world.acceptor.welcome::<()>(transferred);
        assert_eq!(
            (connection.state.listener, &connection.buffer[..]),
            (0, &b"GET"[..])
        );
    }

    #[test]
    fn what_is_closed_does_not_open_by_a_pause() {
        let mut world = World::new();
        let _client = TcpStream::connect(world.address).unwrap();
        world.acceptor.close().unwrap();
        world.acceptor.pause_for_lack(Monotonic::ZERO).unwrap();
        world.acceptor.resume_if_due().unwrap();
        assert!(world.ready().is_empty());
        // A server that stops empties its queue.
        world.acceptor.open().unwrap();
        assert_eq!(world.ready(), [Source::Listener(0)]);
    }

    #[test]
    fn errors_of_accept_are_told_apart() {
        let meaning = |errno| refused::<()>(io::Error::from_raw_os_error(errno));
        assert!(matches!(meaning(ECONNABORTED), Accepted::Left));
        assert!(matches!(meaning(EAGAIN), Accepted::Nothing));
        assert!(matches!(meaning(nix::libc::EMFILE), Accepted::Failed(_)));
    }

    #[test]
    fn a_fair_share_counts_only_those_who_can_take_connections() {
        let (board, _fd) = Scoreboard::create(8).unwrap();
        let now = Monotonic::from_nanos(10_000_000_000);
        let set = |index: u16, held: u32| {
            let cell = board.cell(index).unwrap();
            cell.register(u64::from(index) + 1, 1, 1);
            cell.set_connections(held);
        };
        board.shared().set_wanted(4);
        set(0, 3);
        set(1, 1);
        set(2, 1);
        set(3, 0);
        assert!(has_more_than_its_share(&board, 3, now));
        assert!(!has_more_than_its_share(&board, 2, now));
        // One that is busy counts for nothing, and so do its connections.
        set(3, 90);
        let busy = board.cell(3).unwrap().request_entry();
        busy.begin(Monotonic::from_nanos(9_000_000_000), b"", b"");
        assert!(has_more_than_its_share(&board, 3, now));
        board.shared().set_wanted(1);
        assert!(!has_more_than_its_share(&board, 3, now));
    }
}
