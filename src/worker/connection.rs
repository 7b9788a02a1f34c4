//! One accepted connection while no worker time is spent on it: what it waits for, until when, and the bytes
//! that have come. A parked connection that has sent nothing costs a few hundred bytes.

use std::cell::OnceCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use nix::sys::epoll::EpollFlags;
use pyo3::prelude::*;
use pyo3::types::PyString;
use serde::{Deserialize, Serialize};

use rcorn_connection::Pace;
use rcorn_connection::channel::Channel;
use rcorn_http::{ChunkScan, Passage};
use rcorn_settings::{AllowList, Protocol};
use rcorn_sys::net::Peer;
use rcorn_wsgi::endpoints::{Endpoints, ProxyEndpoints};

use super::lot::Passport;

/// What a parked connection waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waiting {
    /// The first byte of its first request.
    #[default]
    FirstByte,
    /// The rest of a head.
    Head,
    /// The rest of a body, until so many bytes are there.
    Body(usize),
    /// The rest of a chunked body.
    Chunks,
    /// The first byte of its next request.
    NextRequest,
    /// The client, which has not taken all of a reply yet.
    Reply(After),
    /// The client's close, after ours: what still comes is thrown away, so that the kernel does not answer
    /// it with a reset that would destroy our reply on its way (RFC 9112 section 9.6).
    Close,
}

impl Waiting {
    /// Whether this is the same wait, gone on with. Each wait for a request is a new one.
    #[must_use]
    pub fn goes_on_as(self, next: Self) -> bool {
        let body = |waiting| matches!(waiting, Self::Body(_) | Self::Chunks);
        (self == next && next != Self::NextRequest) || (body(self) && body(next))
    }
}

/// What comes when the client has taken its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum After {
    /// The next request.
    NextRequest,
    /// Our close, in the way that loses no reply.
    Close,
    /// Our close; the client has sent all that it wants to.
    Done,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub channel: Channel,
    /// What travels with it to another worker.
    pub passport: Passport,
    /// The other end of the socket. Trust depends on it, not on whom it names.
    pub peer: Peer,
    /// Whether that is a process of this machine, by the loopback.
    pub is_near: bool,
    /// The client as text, made when it is first asked for.
    address: OnceCell<Arc<str>>,
    /// The other end as Python objects, made for the first request.
    pub ends: Option<Endpoints>,
    /// Received and not served yet.
    pub buffer: Vec<u8>,
    /// What it waits for.
    pub waiting: Waiting,
    /// How the client does at it.
    pub pace: Pace,
    /// What the client had taken before the reply that it is taking now.
    pub taken_before: u64,
    /// How far the body is looked through that it waits for.
    pub chunks: Option<Box<ChunkScan>>,
    /// When the wait is over (coarse monotonic ns); `u64::MAX`: never.
    pub deadline: u64,
    /// What the epoll set watches it for, if it is in there.
    pub watched: Option<EpollFlags>,
}

impl Connection {
    /// A connection just accepted, or one from the lot.
    #[must_use]
    pub fn new(channel: Channel, peer: Peer, passport: Passport) -> Self {
        Self {
            channel,
            peer,
            is_near: matches!(peer, Peer::Inet(address) if canonical(address).is_loopback()),
            address: OnceCell::new(),
            ends: None,
            buffer: Vec::new(),
            waiting: passport.waiting,
            pace: passport.pace,
            chunks: None,
            taken_before: 0,
            deadline: u64::MAX,
            watched: None,
            passport,
        }
    }

    /// Hands it on to a sibling; `false`: it stays ours.
    #[must_use]
    pub fn hand_on(&self, lot: BorrowedFd<'_>) -> bool {
        let passport = Passport {
            waiting: self.waiting,
            pace: self.pace,
            ..self.passport
        };
        // What is still to be sent does not travel.
        !matches!(self.waiting, Waiting::Close | Waiting::Reply(_))
            && super::lot::hand_on(lot, self.channel.socket(), &passport, &self.buffer)
    }

    /// What is spoken on it.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.passport.protocol
    }

    /// Whether the peer is on this list; one on a unix socket is on all of them.
    #[must_use]
    pub fn is_on(&self, list: &AllowList) -> bool {
        match self.peer {
            Peer::Inet(address) => list.allows(canonical(address)),
            // A unix peer is on this machine and passed the socket file's permissions.
            Peer::Unix => true,
        }
    }

    /// Notes whom a PROXY header names.
    pub fn introduce(&mut self, passage: Option<Passage>) {
        self.passport.passage = passage;
        self.address = OnceCell::new();
    }

    /// The client: the other end, or whom a PROXY header named.
    fn client(&self) -> Peer {
        self.passport
            .passage
            .map_or(self.peer, |passage| Peer::Inet(passage.client))
    }

    /// The client, for a log line: `127.0.0.1`; empty for one on a unix socket.
    #[must_use]
    pub fn peer_address(&self) -> Arc<str> {
        let text = self.address.get_or_init(|| match self.client() {
            Peer::Inet(address) => canonical(address).to_string().into(),
            Peer::Unix => "".into(),
        });
        Arc::clone(text)
    }

    /// The client as the environ needs it; made once.
    pub fn ends(&mut self, py: Python<'_>, trusted: &AllowList) -> PyResult<&Endpoints> {
        if self.ends.is_none() {
            let port = match self.client() {
                Peer::Inet(address) => Some(address.port().to_string()),
                Peer::Unix => None,
            };
            self.ends = Some(Endpoints {
                address: PyString::new(py, &self.peer_address()).unbind(),
                port: port.map(|port| PyString::new(py, &port).unbind()),
                trusted: self.is_on(trusted),
                listener: self.passport.listener,
                proxy: self.passport.passage.map(|passage| proxy(py, passage)),
            });
        }
        self.ends
            .as_ref()
            .ok_or_else(|| io::Error::other("a connection lost its ends").into())
    }
}

fn proxy(py: Python<'_>, passage: Passage) -> ProxyEndpoints {
    let text = |text: &str| PyString::new(py, text).unbind();
    ProxyEndpoints {
        protocol: text(if passage.client.is_ipv4() {
            "TCP4"
        } else {
            "TCP6"
        }),
        address: text(&passage.proxy.ip().to_string()),
        port: text(&passage.proxy.port().to_string()),
    }
}

/// The address without the IPv6 form of an IPv4 peer (`::ffff:1.2.3.4`): allow lists name the latter.
fn canonical(address: SocketAddr) -> std::net::IpAddr {
    address.ip().to_canonical()
}
