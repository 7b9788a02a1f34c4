//! Takes connections from the listeners and the hand-off queue, and decides when to leave them to
//! the siblings.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::libc::{EAGAIN, ECONNABORTED, EHOSTUNREACH, EINTR, ENETDOWN, ENOTCONN, EPROTO};

use rcorn_scoreboard::{Metric, Scoreboard};
use rcorn_sys::{clock, net};
use rcorn_types::Monotonic;

use crate::channel::{Channel, ClientTimeouts};
use crate::connection::Connection;
use crate::handoff::{HandoffQueue, TransferredConnection};
use crate::poller::{Poller, Source};
use crate::progress::TransferProgress;
use crate::state::{ConnectionState, Waiting};
use crate::transport::Transport;
use crate::wire_protocol::WireProtocol;

/// How long a worker with more than its share of connections leaves the listeners to its siblings.
/// It is short, because they may all do the same.
const FAIR_SHARE_PAUSE: Duration = Duration::from_millis(1);
/// How long a worker that cannot take a connection lets connections wait, or leaves them to its
/// siblings.
const LACK_PAUSE: Duration = Duration::from_millis(100);
/// A worker whose request takes longer than this is busy, and takes no connections (by the coarse
/// clock, which may be 4 ms late).
const BUSY_REQUEST: Duration = Duration::from_millis(8);

/// What the kernel is asked to hold of a response that a front has not read, in bytes. It doubles
/// that, for its own overhead (socket(7)): most of 1 MiB is sent by one call, and need not be
/// copied to wait.
const FRONT_SEND_BUFFER: usize = 512 * 1024;
/// What it usually holds without being asked (`net.core.wmem_default`).
const USUAL_SEND_BUFFER: usize = 208 * 1024;

/// One listening socket.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Non-blocking, shared with the siblings, open to the end of the process. A signal handler
    /// also has it, and replaces it by `/dev/null` when the arbiter has died.
    pub socket: BorrowedFd<'static>,
    /// The protocol of its connections.
    pub protocol: WireProtocol,
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

/// The result of an accept.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a box for each connection costs more"
)]
pub enum Accepted<E> {
    /// A connection.
    Connection(Connection<E>),
    /// A client that left before its connection was accepted.
    Left,
    /// No connection waits.
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
    /// An acceptor that watches nothing yet. `timeouts` and `may_be_proxied` are for its
    /// connections.
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

    /// How long the app waits for the clients of these connections.
    #[must_use]
    pub fn timeouts(&self) -> ClientTimeouts {
        self.timeouts
    }

    /// The queue that is shared with the siblings.
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
                    .add_shared(listener.socket, Source::Listener(index))?;
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

    /// Stops taking connections, from the listeners and from the queue.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub fn close(&mut self) -> io::Result<()> {
        self.leave_listeners(Accepting::Closed)?;
        self.leave_handoff()
    }

    /// Leaves new connections to siblings that have fewer, for a while.
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

    /// Does nothing after [`Self::close`].
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
                match self.poller.remove(listener.socket) {
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

    /// When the pause ends, if there is one.
    #[must_use]
    pub fn paused_until(&self) -> Option<Monotonic> {
        match self.accepting {
            Accepting::Paused(until) => Some(until),
            Accepting::Open | Accepting::Closed => None,
        }
    }

    /// Resumes when a pause is over.
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
        accept(listener, index, self.timeouts, self.may_be_proxied)
    }

    /// Takes over a connection that another worker has handed on.
    #[must_use]
    pub fn welcome<E>(&self, transferred: TransferredConnection) -> Connection<E> {
        let channel = Channel::new(transferred.transport, self.timeouts);
        channel.count(Metric::TakenConnections);
        let mut state = transferred.state;
        // A worker with other settings may have accepted it on a listener that this worker does not
        // have.
        let last = self.listeners.len().saturating_sub(1);
        state.listener = state.listener.min(last);
        let mut connection = Connection::new(channel, transferred.peer, state);
        connection.buffer = transferred.buffer;
        connection.is_handed = true;
        connection
    }
}

/// Takes one connection from the listener of this index.
pub(crate) fn accept<E>(
    listener: &Listener,
    index: usize,
    timeouts: ClientTimeouts,
    may_be_proxied: bool,
) -> Accepted<E> {
    let (socket, peer) = match net::accept(listener.socket) {
        Ok(accepted) => accepted,
        Err(error) => return refused(error),
    };
    let state = ConnectionState {
        listener: index,
        protocol: listener.protocol,
        // A front says in each request who its client is.
        may_be_proxied: may_be_proxied && listener.protocol != WireProtocol::Front,
        proxied: None,
        served: 0,
        waiting: Waiting::FirstByte,
        progress: TransferProgress::new(clock::coarse_now()),
    };
    if listener.protocol == WireProtocol::Front {
        enlarge(socket.as_fd(), timeouts.buffer);
    }
    let channel = Channel::new(Transport::plain(socket), timeouts);
    channel.count(Metric::AcceptedConnections);
    Accepted::Connection(Connection::new(channel, peer, state))
}

/// Has the kernel hold more of the responses on a connection of a front, but not more than the
/// worker itself may (`response_buffer`).
fn enlarge(socket: BorrowedFd<'_>, response_buffer: usize) {
    let bytes = FRONT_SEND_BUFFER.min(response_buffer / 2);
    if bytes > USUAL_SEND_BUFFER {
        // Otherwise it holds what it usually does.
        net::set_send_buffer(socket, bytes).ok();
    }
}

/// The meaning of an error of accept(2).
fn refused<E>(error: io::Error) -> Accepted<E> {
    match error.raw_os_error() {
        // Also pending network errors of the connection.
        Some(ECONNABORTED | EINTR | ENOTCONN | EPROTO | ENETDOWN | EHOSTUNREACH) => Accepted::Left,
        Some(EAGAIN) => Accepted::Nothing,
        Some(_) | None => Accepted::Failed(error),
    }
}

/// Whether a worker with `held` connections has more than a fair share of all. The kernel wakes the
/// same worker for each new connection as long as it sleeps, so that worker would get all
/// connections that are kept open.
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
        // One that has threads is busy when all of them are.
        let is_long = |begun| now.since(begun) > BUSY_REQUEST;
        let mut entries = scoreboard.request_entries(index);
        let is_busy = entries.all(|entry| entry.begun().is_some_and(is_long));
        if cell.is_taken() && !cell.leaves() && !is_busy {
            workers = workers.saturating_add(1);
            let held = usize::try_from(cell.connections()).unwrap_or(usize::MAX);
            total = total.saturating_add(held);
        }
    }
    // Rounded up: with 5 connections and 4 workers, two are a fair share.
    workers > 1 && held > total.div_ceil(workers)
}

#[cfg(test)]
mod tests;
