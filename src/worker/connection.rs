//! One accepted connection while no worker time is spent on it: what it waits for, until when, and the bytes
//! that have come. A parked connection that has sent nothing costs a few hundred bytes.

use std::io;
use std::net::SocketAddr;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::settings::AllowList;
use crate::sys::net::Peer;
use crate::wsgi::channel::Channel;
use crate::wsgi::environ::Ends;

/// What a parked connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The first byte of its first request.
    FirstByte,
    /// The rest of a head.
    Head,
    /// The rest of a body, until so many bytes are there.
    Body(usize),
    /// The first byte of its next request.
    NextRequest,
    /// The client's close, after ours: what still comes is thrown away, so that the kernel does not answer
    /// it with a reset that would destroy our reply on its way (RFC 9112 section 9.6).
    Close,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub channel: Channel,
    /// Which listener it came by.
    pub listener: usize,
    /// The other end.
    pub peer: Peer,
    /// The other end as Python objects, made for the first request.
    pub ends: Option<Ends>,
    /// Received and not served yet.
    pub buffer: Vec<u8>,
    /// What it waits for.
    pub waiting: Waiting,
    /// When the wait is over (coarse monotonic ns); `u64::MAX`: never.
    pub deadline: u64,
    /// Requests served.
    pub served: u64,
    /// Whether it is in the epoll set.
    pub registered: bool,
}

impl Connection {
    /// A connection just accepted.
    #[must_use]
    pub fn new(channel: Channel, listener: usize, peer: Peer) -> Self {
        Self {
            channel,
            listener,
            peer,
            ends: None,
            buffer: Vec::new(),
            waiting: Waiting::FirstByte,
            deadline: u64::MAX,
            served: 0,
            registered: false,
        }
    }

    /// The other end, for a log line: `127.0.0.1`, or `unix`.
    #[must_use]
    pub fn peer_address(&self) -> String {
        match self.peer {
            Peer::Inet(address) => canonical(address).to_string(),
            Peer::Unix => String::new(),
        }
    }

    /// The other end as the environ needs it; made once.
    pub fn ends(&mut self, py: Python<'_>, trusted: &AllowList) -> PyResult<&Ends> {
        if self.ends.is_none() {
            let (address, port, trusted) = match self.peer {
                Peer::Inet(address) => {
                    let ip = canonical(address);
                    (
                        ip.to_string(),
                        Some(address.port().to_string()),
                        trusted.allows(ip),
                    )
                }
                // A unix peer is on this machine and passed the socket file's permissions.
                Peer::Unix => (String::new(), None, true),
            };
            self.ends = Some(Ends {
                address: PyString::new(py, &address).unbind(),
                port: port.map(|port| PyString::new(py, &port).unbind()),
                trusted,
                listener: self.listener,
            });
        }
        self.ends
            .as_ref()
            .ok_or_else(|| io::Error::other("a connection lost its ends").into())
    }
}

/// The address without the IPv6 form of an IPv4 peer (`::ffff:1.2.3.4`): allow lists name the latter.
fn canonical(address: SocketAddr) -> std::net::IpAddr {
    address.ip().to_canonical()
}
