//! The status address: a small HTTP server in the arbiter's own loop. What it answers is made in
//! `src/monitor`.
//!
//! Supervision comes first, whatever clients do. There are few connections at a time, each has a
//! deadline and serves one request, new ones are accepted at a bounded rate, and a turn of the loop
//! serves a few of them. What is expensive to make is made a few times a second.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockAddr, Socket, Type};

use rcorn_control::Status;
use rcorn_log as log;
use rcorn_monitor::{
    Body, Hosts, MAX_REQUEST_BYTES, Question, Reading, Resource, answer, head, read, refusal,
};
use rcorn_settings::{Address, AllowList, Settings};
use rcorn_types::Monotonic;

use super::unix_socket::{Occupied, SocketFile, remove_stale, with_umask};

/// The token of the listening socket; those of its clients follow. The control socket's clients
/// have lower ones.
const LISTENER: usize = usize::MAX / 2;
/// The most clients at a time: a new one takes the place of the one that has been there for
/// longest.
const MAX_CLIENTS: usize = 64;
/// The most clients that are accepted in one [`WINDOW`].
const MAX_ACCEPTED: usize = 25;
const WINDOW: Duration = Duration::from_millis(100);
/// The most clients that one turn of the loop serves.
const MAX_SERVED: usize = 16;
/// For how long what was made is answered again.
const FRESH_TIME: Duration = Duration::from_millis(100);
/// In how many pieces a request may arrive: each costs a parse.
const MAX_READS: u32 = 32;
/// How long a client may take to send its request.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// How long it may take to receive the answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// How long it may take to close its connection, and how much of what it sends is read meanwhile:
/// unread bytes would reset the connection, and the answer could be lost.
const CLOSE_TIME: Duration = Duration::from_secs(1);
const MAX_DISCARDED_BYTES: usize = 64 * 1024;
/// Only this user may connect before the permissions that the settings name are set.
const PRIVATE_UMASK: u32 = 0o177;
const BACKLOG: i32 = 128;

/// Why there is no status address.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the status address {address}: {source}")]
pub struct MonitorError {
    address: String,
    source: io::Error,
}

/// The listening socket and its clients.
#[derive(Debug)]
pub(super) struct MonitorServer {
    listener: Socket,
    /// The file of a unix socket.
    file: Option<SocketFile>,
    /// Peers beside those of this machine.
    allowed: AllowList,
    hosts: Hosts,
    clients: BTreeMap<usize, Client>,
    next: usize,
    /// Clients that wait somewhere may be accepted.
    has_arrivals: bool,
    /// When the window began, and how many were accepted in it.
    window: (Monotonic, usize),
    /// Clients whose sockets are ready.
    ready: VecDeque<usize>,
    made: Made,
}

/// What was made last, for clients that ask soon after.
#[derive(Debug, Default)]
struct Made {
    at: Monotonic,
    status: Option<Status>,
    answers: Vec<(Resource, Rc<Body>)>,
}

#[derive(Debug)]
struct Client {
    socket: Socket,
    stage: Stage,
    until: Monotonic,
}

#[derive(Debug)]
enum Stage {
    /// Its request is arriving, in so many pieces.
    Request(Vec<u8>, u32),
    /// Its answer is leaving: the head, the body, and how much of both is sent.
    Answer(Vec<u8>, Option<Rc<Body>>, usize),
    /// It has its answer; so many bytes came since.
    Close(usize),
}

/// What becomes of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waits,
    Gone,
}

impl MonitorServer {
    /// Opens the address that the settings name.
    ///
    /// # Errors
    ///
    /// It cannot be bound.
    pub(super) fn open(settings: &Settings) -> Result<Option<Self>, MonitorError> {
        let Some(address) = &settings.status_bind else {
            return Ok(None);
        };
        let mode = settings.control_socket_mode.bits();
        let (listener, file) = bind(address, mode).map_err(|source| MonitorError {
            address: address.to_string(),
            source,
        })?;
        let local = listener.local_addr().ok();
        match local.and_then(|local| local.as_socket()) {
            Some(local) => log::info(format_args!("Status at: http://{local}")),
            None => log::info(format_args!("Status at: {address}")),
        }
        let mut server = Self {
            listener,
            file,
            allowed: AllowList::default(),
            hosts: Hosts::default(),
            clients: BTreeMap::new(),
            next: LISTENER,
            has_arrivals: true,
            window: (Monotonic::ZERO, 0),
            ready: VecDeque::new(),
            made: Made::default(),
        };
        server.renew(settings);
        Ok(Some(server))
    }

    /// Takes over what a reload may have changed.
    pub(super) fn renew(&mut self, settings: &Settings) {
        self.allowed = settings.status_allow.clone();
        let own = nix::unistd::gethostname().ok();
        let own = own.and_then(|name| name.into_string().ok());
        let named = settings.status_hosts.iter().cloned();
        self.hosts = Hosts::new(named.chain(own));
    }

    /// Waits for clients.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub(super) fn register(&self, registry: &Registry) -> io::Result<()> {
        let fd = self.listener.as_raw_fd();
        registry.register(&mut SourceFd(&fd), Token(LISTENER), Interest::READABLE)
    }

    /// Whether a token is one of ours.
    pub(super) fn has_token(token: Token) -> bool {
        token.0 >= LISTENER
    }

    /// Notes that a socket is ready. [`Self::turn`] serves it.
    pub(super) fn note(&mut self, token: Token) {
        if token.0 == LISTENER {
            self.has_arrivals = true;
        } else if self.clients.contains_key(&token.0) && !self.ready.contains(&token.0) {
            self.ready.push_back(token.0);
        }
    }

    /// When the next [`Self::turn`] is due.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        if !self.ready.is_empty() {
            return Some(Monotonic::ZERO);
        }
        let clients = self.clients.values().map(|client| client.until);
        let (begun, accepted) = self.window;
        let arrivals = self.has_arrivals.then(|| {
            if accepted < MAX_ACCEPTED {
                Monotonic::ZERO
            } else {
                begun.after(WINDOW)
            }
        });
        clients.chain(arrivals).min()
    }

    /// Serves those that are ready, within the limits of a turn. `view`: makes a status.
    pub(super) fn turn(
        &mut self,
        now: Monotonic,
        registry: &Registry,
        view: &mut dyn FnMut() -> Status,
    ) {
        self.clients.retain(|_, client| client.until > now);
        self.accept(now, registry);
        for _ in 0..MAX_SERVED {
            let Some(token) = self.ready.pop_front() else {
                break;
            };
            let Some(client) = self.clients.get_mut(&token) else {
                continue;
            };
            let fate = serve(client, &self.hosts, now, &mut |resource| {
                self.made.answer(resource, now, view)
            });
            if fate == Fate::Gone {
                self.clients.remove(&token);
            }
        }
        if self.clients.is_empty() {
            self.made = Made::default();
        }
    }

    /// Accepts clients that wait, at a bounded rate.
    fn accept(&mut self, now: Monotonic, registry: &Registry) {
        if now.since(self.window.0) >= WINDOW {
            self.window = (now, 0);
        }
        while self.has_arrivals && self.window.1 < MAX_ACCEPTED {
            self.window.1 = self.window.1.saturating_add(1);
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    if self.welcomes(&peer) {
                        self.add(socket, now, registry);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.has_arrivals = false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Perhaps a lack of descriptors: not before the next window.
                Err(_lack) => self.window.1 = MAX_ACCEPTED,
            }
        }
    }

    /// Whether a peer may ask. The permissions of a unix socket's file have decided that.
    fn welcomes(&self, peer: &SockAddr) -> bool {
        let Some(peer) = peer.as_socket() else {
            return self.file.is_some();
        };
        let peer = peer.ip().to_canonical();
        peer.is_loopback() || self.allowed.allows(peer)
    }

    fn add(&mut self, socket: Socket, now: Monotonic, registry: &Registry) {
        if self.clients.len() >= MAX_CLIENTS {
            // Those that have their answer wait for nothing.
            let done = |(_, client): &(&usize, &Client)| matches!(client.stage, Stage::Close(_));
            let done = self.clients.iter().find(done).map(|(token, _)| *token);
            let oldest = done.or_else(|| self.clients.keys().next().copied());
            if let Some(oldest) = oldest {
                self.clients.remove(&oldest);
            }
        }
        // At a thousand a second the numbers last for longer than the machine.
        self.next = self.next.saturating_add(1);
        let (token, fd) = (self.next, socket.as_raw_fd());
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = registry.register(&mut SourceFd(&fd), Token(token), interest);
        if socket.set_nonblocking(true).is_ok() && registered.is_ok() {
            let client = Client {
                socket,
                stage: Stage::Request(Vec::new(), 0),
                until: now.after(REQUEST_TIME),
            };
            self.clients.insert(token, client);
            // Its request may have come with it.
            self.ready.push_back(token);
        }
    }

    /// Removes the socket's file, if it is still ours.
    pub(super) fn remove_file(&self) {
        if let Some(file) = &self.file {
            file.remove();
        }
    }
}

impl Made {
    /// The answer for a resource, not older than [`FRESH_TIME`].
    fn answer(
        &mut self,
        resource: Resource,
        now: Monotonic,
        view: &mut dyn FnMut() -> Status,
    ) -> Rc<Body> {
        if now.since(self.at) >= FRESH_TIME {
            *self = Self {
                at: now,
                ..Self::default()
            };
        }
        let known = self.answers.iter().find(|(of, _)| *of == resource);
        if let Some((_, body)) = known {
            return Rc::clone(body);
        }
        let status = self.status.get_or_insert_with(view);
        let body = Rc::new(answer(resource, status));
        self.answers.push((resource, Rc::clone(&body)));
        body
    }
}

/// Does what a client waits for, as far as it goes without waiting. `make`: the answer to a
/// question.
fn serve(
    client: &mut Client,
    hosts: &Hosts,
    now: Monotonic,
    make: &mut dyn FnMut(Resource) -> Rc<Body>,
) -> Fate {
    if let Stage::Request(input, reads) = &mut client.stage {
        let mut bytes = [0; MAX_REQUEST_BYTES];
        let reading = match (&client.socket).read(&mut bytes) {
            // It has closed, or says that it sends no more: what it has sent is no request.
            Ok(0) => return Fate::Gone,
            Ok(count) => {
                input.extend_from_slice(bytes.get(..count).unwrap_or(&[]));
                *reads = reads.saturating_add(1);
                read(input, hosts)
            }
            Err(error) => return after(&error),
        };
        let (body, is_head) = match reading {
            Reading::More if *reads >= MAX_READS => return Fate::Gone,
            Reading::More => return Fate::Waits,
            Reading::Refused(status, why) => (Rc::new(refusal(status, &why)), false),
            Reading::Question(Question { resource, is_head }) => (make(resource), is_head),
        };
        let head = head(&body);
        client.stage = Stage::Answer(head, (!is_head).then_some(body), 0);
        client.until = now.after(ANSWER_TIME);
    }
    if let Stage::Answer(head, body, sent) = &mut client.stage {
        let parts = [head.as_slice(), body.as_ref().map_or(&[], |one| &one.bytes)];
        if let Some(fate) = send(&client.socket, parts, sent) {
            return fate;
        }
        client.socket.shutdown(Shutdown::Write).ok();
        client.stage = Stage::Close(0);
        client.until = now.after(CLOSE_TIME);
    }
    discard(client)
}

/// Sends the rest of the parts; `None`: all was sent.
fn send(socket: &Socket, parts: [&[u8]; 2], sent: &mut usize) -> Option<Fate> {
    let [head, body] = parts;
    loop {
        let rest = match head.get(*sent..) {
            Some(rest) if !rest.is_empty() => rest,
            _ => {
                let of_body = sent.saturating_sub(head.len());
                body.get(of_body..).unwrap_or(&[])
            }
        };
        if rest.is_empty() {
            return None;
        }
        match (&*socket).write(rest) {
            Ok(0) => return Some(Fate::Gone),
            Ok(count) => *sent = sent.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Some(after(&error)),
        }
    }
}

/// Reads what a client sends that has its answer, until it closes.
fn discard(client: &mut Client) -> Fate {
    let Stage::Close(discarded) = &mut client.stage else {
        return Fate::Waits;
    };
    let mut bytes = [0; 4096];
    while *discarded < MAX_DISCARDED_BYTES {
        match (&client.socket).read(&mut bytes) {
            Ok(0) => return Fate::Gone,
            Ok(count) => *discarded = discarded.saturating_add(count),
            Err(error) => return after(&error),
        }
    }
    Fate::Gone
}

/// What an error of a socket means.
fn after(error: &io::Error) -> Fate {
    if error.kind() == io::ErrorKind::WouldBlock {
        Fate::Waits
    } else {
        Fate::Gone
    }
}

fn bind(address: &Address, mode: u32) -> io::Result<(Socket, Option<SocketFile>)> {
    let (listener, file) = match address {
        Address::Tcp { host, port } => (tcp(ip(host)?, *port)?, None),
        Address::Unix(path) => {
            let (listener, file) = unix(path, mode)?;
            (listener, Some(file))
        }
        Address::Abstract(_) | Address::Fd(_) | Address::Uwsgi(_) | Address::Https(_) => {
            return Err(io::ErrorKind::Unsupported.into());
        }
    };
    listener.listen(BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok((listener, file))
}

/// The settings allow nothing else.
fn ip(host: &str) -> io::Result<IpAddr> {
    match host {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        address => address.parse().map_err(io::Error::other),
    }
}

fn tcp(ip: IpAddr, port: u16) -> io::Result<Socket> {
    let address = SocketAddr::new(ip, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn unix(path: &Path, mode: u32) -> io::Result<(Socket, SocketFile)> {
    remove_stale(path).map_err(|occupied| match occupied {
        Occupied::InUse => io::ErrorKind::AddrInUse.into(),
        Occupied::NotSocket => io::Error::other(occupied),
        Occupied::Stays(source) => source,
    })?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let local = SockAddr::unix(path)?;
    with_umask(PRIVATE_UMASK, || socket.bind(&local))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok((socket, SocketFile::at(path)?))
}
