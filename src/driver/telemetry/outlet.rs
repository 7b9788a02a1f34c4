//! A connection to a server of logs or metrics that never waits: its name is looked up by a helper,
//! its socket does not block, and what fails is tried again after a while.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt::TcpUserTimeout};
use socket2::{Domain, SockAddr, Socket, Type};

use rcorn_log as log;
use rcorn_types::Monotonic;

use super::super::lookup::Lookup;

/// How long to wait after the first failure, and at most.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// How long a connection may take, or sent bytes may stay without an answer, in milliseconds.
const TCP_LIMIT_MILLIS: u32 = 15_000;
/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

/// How long after a refusal datagrams that nobody refuses do not count as taken.
const REFUSAL_MEMORY: Duration = Duration::from_secs(5);

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A socket file of datagrams, or if `or_stream` of a stream.
    Unix { path: PathBuf, or_stream: bool },
    /// A port for datagrams.
    Udp(String, u16),
    /// A port for a stream.
    Tcp(String, u16),
}

/// How bytes get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// Each message is a datagram.
    Datagram,
    /// A stream of a socket file.
    UnixStream,
    /// A stream of TCP.
    Tcp,
}

#[derive(Debug)]
enum State {
    /// It is tried again then.
    Waiting(Monotonic),
    LookingUp(Lookup),
    /// The connection is not made yet; until when it may take.
    Connecting(OwnedFd, Monotonic),
    Open(OwnedFd, Transport),
}

/// The outcome of one attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// So many bytes.
    Bytes(usize),
    /// There is no room; the loop wakes when there is.
    NoRoom,
    /// The server has refused an earlier datagram, which is lost.
    Refused,
    /// It is too long for this transport.
    TooLong,
    /// There is no connection.
    Down,
}

/// The connection.
#[derive(Debug)]
pub(super) struct Outlet {
    /// What it is, for the log: `syslog`.
    name: &'static str,
    /// The address, as the setting has it.
    shown: String,
    place: Place,
    state: State,
    retry: Duration,
    /// A failure was logged, and no success since then.
    is_in_trouble: bool,
    /// When a datagram was refused last.
    refused: Monotonic,
    /// How many messages were lost meanwhile.
    lost: u64,
}

impl Outlet {
    pub(super) fn new(name: &'static str, shown: String, place: Place) -> Self {
        Self {
            name,
            shown,
            place,
            state: State::Waiting(Monotonic::ZERO),
            retry: FIRST_RETRY,
            is_in_trouble: false,
            refused: Monotonic::ZERO,
            lost: 0,
        }
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        match &self.state {
            State::Waiting(at) => Some(*at),
            State::LookingUp(lookup) => Some(lookup.deadline()),
            State::Connecting(_, until) => Some(*until),
            State::Open(..) => None,
        }
    }

    /// How bytes get there now; `None`: they do not.
    pub(super) fn transport(&self) -> Option<Transport> {
        match &self.state {
            State::Open(_, transport) => Some(*transport),
            State::Waiting(_) | State::LookingUp(_) | State::Connecting(..) => None,
        }
    }

    /// Goes on towards a connection.
    pub(super) fn advance(&mut self, now: Monotonic, registry: &Registry, token: Token) {
        let state = std::mem::replace(&mut self.state, State::Waiting(now));
        self.state = match state {
            State::Waiting(at) if at > now => State::Waiting(at),
            State::Waiting(_) => return self.begin(now, registry, token),
            State::LookingUp(mut lookup) => match (lookup.poll(now), self.name_and_port()) {
                (None, _) => State::LookingUp(lookup),
                (Some(found), Some((host, port))) => {
                    return match found.addresses.of(&host, port) {
                        Ok(address) => self.connect(address, now, registry, token),
                        Err(error) => self.fail(now, &error),
                    };
                }
                (Some(_), None) => return,
            },
            State::Connecting(socket, until) => return self.check(socket, until, now),
            State::Open(socket, transport) => {
                if transport != Transport::Datagram && has_ended(&socket) {
                    let error = io::Error::other("the server has closed the connection");
                    return self.fail(now, &error);
                }
                State::Open(socket, transport)
            }
        };
    }

    fn name_and_port(&self) -> Option<(String, u16)> {
        match &self.place {
            Place::Udp(host, port) | Place::Tcp(host, port) => Some((host.clone(), *port)),
            Place::Unix { .. } => None,
        }
    }

    fn begin(&mut self, now: Monotonic, registry: &Registry, token: Token) {
        match self.name_and_port() {
            None => self.connect_unix(now, registry, token),
            Some(name) => {
                self.state = State::LookingUp(Lookup::of_name(name, registry, token));
                // A number needs no look-up, and is there at once.
                self.advance(now, registry, token);
            }
        }
    }

    fn connect(&mut self, address: SocketAddr, now: Monotonic, registry: &Registry, token: Token) {
        let is_stream = matches!(self.place, Place::Tcp(..));
        let kind = if is_stream { Type::STREAM } else { Type::DGRAM };
        let domain = Domain::for_address(address);
        let transport = if is_stream {
            Transport::Tcp
        } else {
            Transport::Datagram
        };
        let opened = open(domain, kind, &address.into(), registry, token);
        self.take(opened, transport, now);
    }

    fn connect_unix(&mut self, now: Monotonic, registry: &Registry, token: Token) {
        let Place::Unix { path, or_stream } = &self.place else {
            return;
        };
        let or_stream = *or_stream;
        let address = match SockAddr::unix(path) {
            Ok(address) => address,
            Err(error) => return self.fail(now, &error),
        };
        let wrong_kind = Some(Errno::EPROTOTYPE);
        let opened = match open(Domain::UNIX, Type::DGRAM, &address, registry, token) {
            Err(error) if or_stream && error.raw_os_error().map(Errno::from_raw) == wrong_kind => {
                let opened = open(Domain::UNIX, Type::STREAM, &address, registry, token);
                return self.take(opened, Transport::UnixStream, now);
            }
            opened => opened,
        };
        self.take(opened, Transport::Datagram, now);
    }

    fn take(&mut self, opened: io::Result<(OwnedFd, bool)>, transport: Transport, now: Monotonic) {
        match opened {
            Ok((socket, true)) => self.opened(socket, transport),
            Ok((socket, false)) => {
                self.state = State::Connecting(socket, now.after(CONNECT_LIMIT));
            }
            Err(error) => self.fail(now, &error),
        }
    }

    /// A connection of TCP that was begun.
    fn check(&mut self, socket: OwnedFd, until: Monotonic, now: Monotonic) {
        let socket = Socket::from(socket);
        match socket.take_error() {
            Ok(None) if socket.peer_addr().is_ok() => {
                self.opened(OwnedFd::from(socket), Transport::Tcp);
            }
            Ok(None) if until > now => self.state = State::Connecting(socket.into(), until),
            Ok(None) => self.fail(now, &io::ErrorKind::TimedOut.into()),
            Ok(Some(error)) | Err(error) => self.fail(now, &error),
        }
    }

    fn opened(&mut self, socket: OwnedFd, transport: Transport) {
        if transport == Transport::Tcp {
            // Only a convenience: without it a dead connection is noticed later.
            setsockopt(&socket, TcpUserTimeout, &TCP_LIMIT_MILLIS).ok();
        }
        self.state = State::Open(socket, transport);
        // Whether datagrams are taken is known when one was sent.
        if transport != Transport::Datagram {
            self.works();
        }
    }

    /// Notes that the server takes what is sent.
    fn works(&mut self) {
        self.retry = FIRST_RETRY;
        if self.is_in_trouble {
            self.is_in_trouble = false;
            let (name, shown) = (self.name, &self.shown);
            let lost = std::mem::take(&mut self.lost);
            log::info(format_args!(
                "{name} at {shown} is there again; {lost} messages are lost"
            ));
        }
    }

    /// Notes that metrics are lost. They are no records of a log.
    pub(super) const fn lose_unlogged(&mut self, count: u64) {
        self.lost = self.lost.saturating_add(count);
    }

    /// Notes that messages are lost while the server is away.
    pub(super) fn lose(&mut self, count: u64) {
        self.lost = self.lost.saturating_add(count);
        log::add_lost(count);
    }

    fn fail(&mut self, now: Monotonic, error: &io::Error) {
        self.state = State::Waiting(now.after(self.retry));
        self.retry = self.retry.saturating_mul(2).min(LONGEST_RETRY);
        self.tell(error);
    }

    /// Logs the first failure of a series.
    fn tell(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_in_trouble, true) {
            let (name, shown) = (self.name, &self.shown);
            log::warning(format_args!(
                "cannot send to {name} at {shown}: {error}; it is tried again, and what finds no room until then is lost"
            ));
        }
    }

    /// Sends a datagram, or a part of a stream.
    pub(super) fn send(&mut self, bytes: &[u8], now: Monotonic) -> Sent {
        let State::Open(socket, transport) = &self.state else {
            return Sent::Down;
        };
        let is_datagram = *transport == Transport::Datagram;
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let errno = match send(socket.as_raw_fd(), bytes, flags) {
            Ok(count) => {
                // That a server has refused a datagram is known only when the next one is sent.
                if now.since(self.refused) > REFUSAL_MEMORY {
                    self.works();
                }
                return Sent::Bytes(count);
            }
            Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR) => return Sent::NoRoom,
            Err(Errno::EMSGSIZE) => return Sent::TooLong,
            Err(errno) => errno,
        };
        let error = errno.into();
        if is_datagram && matches!(self.place, Place::Udp(..)) {
            // An ICMP message about an earlier datagram. The socket stays good.
            self.refused = now;
            self.tell(&error);
            return Sent::Refused;
        }
        self.fail(now, &error);
        Sent::Down
    }

    /// Where to wait until there is room, at the end of the process.
    pub(super) fn socket(&self) -> Option<&OwnedFd> {
        match &self.state {
            State::Open(socket, _) => Some(socket),
            State::Waiting(_) | State::LookingUp(_) | State::Connecting(..) => None,
        }
    }
}

/// A socket that is connected (true), or is about to be.
fn open(
    domain: Domain,
    kind: Type,
    address: &SockAddr,
    registry: &Registry,
    token: Token,
) -> io::Result<(OwnedFd, bool)> {
    let socket = Socket::new(domain, kind.nonblocking().cloexec(), None)?;
    let is_open = match socket.connect(address) {
        Ok(()) => true,
        Err(error) if error.raw_os_error().map(Errno::from_raw) == Some(Errno::EINPROGRESS) => {
            false
        }
        Err(error) => return Err(error),
    };
    let interest = Interest::READABLE | Interest::WRITABLE;
    registry.register(&mut SourceFd(&socket.as_raw_fd()), token, interest)?;
    Ok((socket.into(), is_open))
}

/// Whether the other side of a stream has closed it. What it says is ignored.
fn has_ended(socket: &OwnedFd) -> bool {
    let mut ignored = [0; 256];
    loop {
        match recv(socket.as_raw_fd(), &mut ignored, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return true,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return errno != Errno::EAGAIN,
        }
    }
}
