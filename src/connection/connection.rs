//! One accepted connection that is not being served: what it waits for, and the bytes received. One
//! that has sent nothing takes a few hundred bytes.

use std::cell::OnceCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rcorn_http::{ChunkScan, ProxiedAddresses};
use rcorn_scoreboard::Metric;
use rcorn_settings::AllowList;
use rcorn_sys::net::Peer;
use rcorn_types::Monotonic;

use super::channel::Channel;
use super::handoff::{Handed, HandoffQueue};
use super::head_scan::HeadScan;
use super::parking::Parked;
use super::poller::Interest;
use super::progress::TransferProgress;
use super::state::{ConnectionState, Waiting};
use super::wire_protocol::WireProtocol;
use super::write_buffer::wide;

/// How long connections may wait; `None`: for ever.
#[derive(Clone, Copy, Debug)]
pub struct WaitTimeouts {
    /// For a whole head.
    pub head: Option<Duration>,
    /// For the next piece of a body.
    pub body: Option<Duration>,
    /// For the next request.
    pub idle: Option<Duration>,
    /// For the client to take the next piece of a response.
    pub write: Option<Duration>,
    /// For the client's close after ours.
    pub close: Option<Duration>,
}

impl WaitTimeouts {
    fn limit(&self, waiting: Waiting) -> Option<Duration> {
        match waiting {
            Waiting::FirstByte | Waiting::Head => self.head,
            Waiting::Body(_) | Waiting::Chunks => self.body,
            Waiting::NextRequest => self.idle,
            Waiting::Response(_) => self.write,
            Waiting::Close => self.close,
        }
    }
}

/// One connection. `E` is what the worker keeps with it for its requests, and what only the
/// worker's own thread may drop (Python objects).
#[derive(Debug)]
pub struct Connection<E> {
    /// The channel for its bytes.
    pub channel: Channel,
    /// What is sent with it to another worker.
    pub state: ConnectionState,
    /// The client and the server as the app sees them, made for the first request.
    pub endpoints: Option<E>,
    /// Received and not served yet.
    pub buffer: Vec<u8>,
    /// How far the head in the buffer was scanned.
    pub head_scan: HeadScan,
    /// How far the chunked body in the buffer was scanned.
    pub chunks: Option<Box<ChunkScan>>,
    /// The other end of the socket. Trust depends on it, not on the client that it names.
    peer: Peer,
    is_local: bool,
    /// Another worker has handed it on, because it had no time for its request.
    pub(crate) is_handed: bool,
    /// The client as text, made at the first use.
    address: OnceCell<Arc<str>>,
    /// How many bytes the client had taken before the current response.
    taken_before: u64,
    /// Since when its request waits for a thread, as far as the I/O thread has seen.
    pub(crate) waits_since: Option<Monotonic>,
    /// What the poller watches it for, if it watches it.
    pub(crate) watched: Option<Interest>,
    /// Its place among the parked ones, if it has one.
    pub(crate) place: Option<usize>,
}

impl<E> Parked for Connection<E> {
    fn is_idle(&self) -> bool {
        matches!(self.state.waiting, Waiting::NextRequest)
    }
}

impl<E> Connection<E> {
    /// A connection just accepted, or handed on by another worker.
    #[must_use]
    pub fn new(channel: Channel, peer: Peer, state: ConnectionState) -> Self {
        Self {
            channel,
            state,
            endpoints: None,
            buffer: Vec::new(),
            head_scan: HeadScan::default(),
            chunks: None,
            peer,
            is_local: matches!(peer, Peer::Inet(address) if canonical(address).is_loopback()),
            is_handed: false,
            address: OnceCell::new(),
            taken_before: 0,
            waits_since: None,
            watched: None,
            place: None,
        }
    }

    /// Whether its request has come with it from another worker, where it has waited.
    #[must_use]
    pub fn has_waited_elsewhere(&self) -> bool {
        self.is_handed && self.place.is_none()
    }

    /// Hands it on to a sibling; `false`: it stays ours, for example because a part of a response
    /// is still to be sent.
    #[must_use]
    pub fn hand_on(&self, queue: &HandoffQueue) -> bool {
        self.try_to_hand_on(queue) == Handed::On
    }

    /// The same, and whether to try it with another one.
    #[must_use]
    pub(crate) fn try_to_hand_on(&self, queue: &HandoffQueue) -> Handed {
        match self.state.waiting {
            Waiting::Close | Waiting::Response(_) => Handed::Stays,
            Waiting::FirstByte
            | Waiting::Head
            | Waiting::Body(_)
            | Waiting::Chunks
            | Waiting::NextRequest => {
                let sent = queue.send(self.channel.transport(), &self.state, &self.buffer);
                if sent == Handed::On {
                    self.channel.count(Metric::HandedOffConnections);
                }
                sent
            }
        }
    }

    /// Whether it was parked before. Then it counts as one of the worker's connections.
    #[must_use]
    pub fn has_place(&self) -> bool {
        self.place.is_some()
    }

    /// What is spoken on it.
    #[must_use]
    pub fn protocol(&self) -> WireProtocol {
        self.state.protocol
    }

    /// Whether the other end is a process of this machine, connected through the loopback
    /// interface.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// Whether the peer is on this list; one on a unix socket is on all of them. A front speaks for
    /// the client of its last request.
    #[must_use]
    pub fn is_on(&self, list: &AllowList) -> bool {
        match self.peer {
            Peer::Inet(address) => list.allows(canonical(address)),
            Peer::Unix if self.state.protocol == WireProtocol::Front => {
                let named = self.state.proxied;
                named.is_some_and(|named| list.allows(canonical(named.client)))
            }
            // A unix peer is on this machine, and the permissions of the socket file have let it
            // in.
            Peer::Unix => true,
        }
    }

    /// Notes the addresses that a PROXY header names.
    pub fn set_proxied(&mut self, proxied: Option<ProxiedAddresses>) {
        self.state.may_be_proxied = false;
        self.state.proxied = proxied;
        self.address = OnceCell::new();
    }

    /// Notes whose request comes next from a front; `None`: its client has no IP address. And
    /// whether the front takes large bodies in memory.
    pub fn set_client_of_front(&mut self, client: Option<ProxiedAddresses>, takes_memory: bool) {
        self.channel.set_takes_memory(takes_memory);
        if self.state.proxied != client {
            self.state.proxied = client;
            self.address = OnceCell::new();
            self.endpoints = None;
        }
    }

    /// The client: the one that a PROXY header named, or else the other end.
    #[must_use]
    pub fn client(&self) -> Peer {
        let named = self.state.proxied.map(|named| Peer::Inet(named.client));
        named.unwrap_or(self.peer)
    }

    /// The client's address, for a log line: `127.0.0.1`; empty for one on a unix socket.
    #[must_use]
    pub fn client_address(&self) -> Arc<str> {
        let text = self.address.get_or_init(|| match self.client() {
            Peer::Inet(address) => canonical(address).to_string().into(),
            Peer::Unix => "".into(),
        });
        Arc::clone(text)
    }

    /// Sets what it waits for; returns until when.
    pub(crate) fn wait_for(
        &mut self,
        waiting: Waiting,
        timeouts: &WaitTimeouts,
        now: Monotonic,
    ) -> Monotonic {
        self.waits_since = None;
        let state = &mut self.state;
        let before = std::mem::replace(&mut state.waiting, waiting);
        if !before.goes_on_as(waiting) {
            state.progress = TransferProgress::new(now);
            if matches!(waiting, Waiting::Response(_)) {
                self.taken_before = self.channel.taken();
            }
        }
        let moved = match waiting {
            Waiting::Response(_) => self.channel.taken().saturating_sub(self.taken_before),
            Waiting::Body(_) | Waiting::Chunks => wide(self.buffer.len()),
            // These must end in time, however their bytes are spread.
            Waiting::FirstByte | Waiting::Head | Waiting::NextRequest | Waiting::Close => 0,
        };
        state.progress.moved(now, moved);
        state.progress.deadline(timeouts.limit(waiting))
    }
}

/// The address without the IPv6 form of an IPv4 peer (`::ffff:1.2.3.4`): allow lists name the
/// latter.
fn canonical(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::channel::ClientTimeouts;
    use crate::transport::Transport;

    fn connection(protocol: WireProtocol) -> Connection<&'static str> {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let timeouts = ClientTimeouts {
            read: None,
            write: None,
            buffer: 0,
            entry: None,
        };
        let state = ConnectionState {
            listener: 0,
            protocol,
            may_be_proxied: false,
            proxied: None,
            served: 0,
            waiting: Waiting::FirstByte,
            progress: TransferProgress::default(),
        };
        let channel = Channel::new(Transport::plain(ours.into()), timeouts);
        Connection::new(channel, Peer::Unix, state)
    }

    fn client(text: &str) -> ProxiedAddresses {
        ProxiedAddresses {
            client: text.parse().unwrap(),
            proxy: "192.0.2.9:443".parse().unwrap(),
        }
    }

    #[test]
    fn a_front_is_trusted_as_its_client_is() {
        let list = AllowList::of(["192.0.2.1/32".parse().unwrap()]);
        let mut front = connection(WireProtocol::Front);
        assert!(!front.is_on(&list), "nobody is known yet");
        front.set_client_of_front(Some(client("192.0.2.1:50124")), true);
        assert!(front.is_on(&list));
        front.set_client_of_front(Some(client("[::ffff:192.0.2.1]:50124")), true);
        assert!(front.is_on(&list));
        front.set_client_of_front(Some(client("192.0.2.2:50124")), true);
        assert!(!front.is_on(&list));
        front.set_client_of_front(None, true);
        assert!(!front.is_on(&list));
        assert!(connection(WireProtocol::Http).is_on(&list));
    }

    #[test]
    fn what_was_made_for_a_client_stays_with_it() {
        let mut front = connection(WireProtocol::Front);
        front.set_client_of_front(Some(client("192.0.2.1:50124")), true);
        front.endpoints = Some("made");
        assert_eq!(&*front.client_address(), "192.0.2.1");
        front.set_client_of_front(Some(client("192.0.2.1:50124")), true);
        assert_eq!(front.endpoints, Some("made"));
        front.set_client_of_front(Some(client("192.0.2.2:50124")), true);
        assert_eq!(front.endpoints, None);
        assert_eq!(&*front.client_address(), "192.0.2.2");
    }
}
