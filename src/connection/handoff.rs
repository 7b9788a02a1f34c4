//! The hand-off queue, shared by all workers. A worker hands on the connections that it cannot
//! serve, because it retires or is busy with a long request. A free worker takes them, with the
//! bytes received; the client notices nothing.
//!
//! A message is the socket (`SCM_RIGHTS`), the length of the state as a native `u16`, the state as
//! JSON, and the bytes.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::MsgFlags;

use rcorn_log as log;
use rcorn_sys::descriptor::duplicate;
use rcorn_sys::net::{Peer, peer_of};
use rcorn_sys::passing::{receive_with, send_with};
use rcorn_sys::private::keep_private;

use super::state::ConnectionState;
use super::transport::Transport;

/// The longest message: the bytes of a partial request are sent with its connection.
const MAX_MESSAGE_BYTES: usize = 32 * 1024;

/// A connection from the queue.
#[derive(Debug)]
pub struct TransferredConnection {
    /// The transport of its bytes.
    pub transport: Transport,
    /// Its other end.
    pub peer: Peer,
    /// Everything else that its new worker must know.
    pub state: ConnectionState,
    /// Bytes that were received and not served.
    pub buffer: Vec<u8>,
}

/// What has become of a connection that was to be handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handed {
    /// A sibling takes it.
    On,
    /// It stays ours, for a reason of its own.
    Stays,
    /// It stays ours, as all others do for now.
    QueueIsFull,
}

/// Both ends of the queue: a pair of sockets that keep message boundaries.
#[derive(Debug)]
pub struct HandoffQueue {
    sender: BorrowedFd<'static>,
    receiver: BorrowedFd<'static>,
}

impl HandoffQueue {
    /// The queue with these ends, which are open to the end of the process.
    #[must_use]
    pub fn new(sender: BorrowedFd<'static>, receiver: BorrowedFd<'static>) -> Self {
        keep_private(&sender);
        keep_private(&receiver);
        Self { sender, receiver }
    }

    /// Hands a connection on. One that has too many bytes stays ours.
    #[must_use]
    pub(crate) fn send(
        &self,
        transport: &Transport,
        state: &ConnectionState,
        buffer: &[u8],
    ) -> Handed {
        let Ok(state) = serde_json::to_vec(state) else {
            return Handed::Stays;
        };
        let Ok(length) = u16::try_from(state.len()) else {
            return Handed::Stays;
        };
        let length = length.to_ne_bytes();
        let parts = [&length, state.as_slice(), buffer];
        if parts.map(<[u8]>::len).iter().sum::<usize>() > MAX_MESSAGE_BYTES {
            return Handed::Stays;
        }
        let parts = parts.map(IoSlice::new);
        let socket = Some(transport.descriptor());
        match send_with(self.sender, &parts, socket, MsgFlags::MSG_DONTWAIT) {
            Ok(_sent) => {
                transport.set_handed_on();
                Handed::On
            }
            Err(_no_room) => Handed::QueueIsFull,
        }
    }

    /// Takes one connection; `None` if the queue is empty, or has only the arbiter's hint to look
    /// at the listeners.
    ///
    /// # Errors
    ///
    /// Those of recvmsg(2), or a message that no worker has written.
    pub fn receive(&self) -> io::Result<Option<TransferredConnection>> {
        let mut message = vec![0; MAX_MESSAGE_BYTES];
        let Some((length, socket)) = receive_with(self.receiver, &mut message)? else {
            return Ok(None);
        };
        let Some(socket) = socket else {
            // The arbiter sends a single byte.
            if length > 1 {
                log::error(format_args!(
                    "a connection handed on by another worker is lost: no descriptor came with it"
                ));
            }
            return Ok(None);
        };
        message.truncate(length);
        let (state, buffer) = split(&message)
            .ok_or_else(|| io::Error::other("a malformed message in the hand-off queue"))?;
        Ok(Some(TransferredConnection {
            // A client that has left has no address any more.
            peer: peer_of(socket.as_fd()).unwrap_or(Peer::Unix),
            transport: Transport::plain(socket),
            state: serde_json::from_slice(state)?,
            buffer: buffer.to_vec(),
        }))
    }

    /// Whether this process has room for one more descriptor: the kernel drops one for which there
    /// is none (unix(7)).
    ///
    /// # Errors
    ///
    /// Those of fcntl(2), `F_DUPFD_CLOEXEC`: `EMFILE` when there is none.
    pub fn probe_descriptor(&self) -> io::Result<()> {
        duplicate(self.receiver.as_raw_fd()).map(drop)
    }

    /// What to watch for connections.
    pub(crate) fn receiver(&self) -> BorrowedFd<'_> {
        self.receiver
    }
}

/// The state and the bytes in a message.
fn split(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = message.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_ne_bytes(*length).into())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use rcorn_http::ProxiedAddresses;
    use rcorn_types::Monotonic;

    use super::*;
    use crate::progress::TransferProgress;
    use crate::state::Waiting;
    use crate::wire_protocol::WireProtocol;

    pub(crate) fn queue() -> HandoffQueue {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (sender, receiver) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        HandoffQueue::new(kept(sender), kept(receiver))
    }

    fn kept(socket: impl Into<OwnedFd>) -> BorrowedFd<'static> {
        let kept: &'static OwnedFd = Box::leak(Box::new(socket.into()));
        kept.as_fd()
    }

    fn state() -> ConnectionState {
        let mut progress = TransferProgress::new(Monotonic::from_nanos(12_000_000_001));
        progress.moved(Monotonic::from_nanos(13_000_000_002), 77);
        ConnectionState {
            listener: 1,
            protocol: WireProtocol::Http,
            may_be_proxied: false,
            proxied: Some(ProxiedAddresses {
                client: "192.0.2.7:4711".parse().unwrap(),
                proxy: "192.0.2.1:443".parse().unwrap(),
            }),
            served: 3,
            waiting: Waiting::Body(4096),
            progress,
        }
    }

    /// What a worker of the first build (cb54ddf) writes and reads.
    const GOLDEN: &str = r#"{"listener":1,"protocol":"http","may_be_proxied":false,"passage":{"client":"192.0.2.7:4711","proxy":"192.0.2.1:443"},"served":3,"waiting":{"Body":4096},"pace":{"begun":12000000001,"last":13000000002,"moved":77}}"#;

    #[test]
    fn the_state_on_the_wire_is_that_of_older_builds() {
        assert_eq!(serde_json::to_string(&state()).unwrap(), GOLDEN);
        assert_eq!(
            serde_json::from_str::<ConnectionState>(GOLDEN).unwrap(),
            state()
        );
    }

    #[test]
    fn a_connection_goes_through_the_queue_with_its_bytes() {
        let queue = queue();
        assert!(queue.receive().unwrap().is_none());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (served, _) = listener.accept().unwrap();
        let ours = Transport::plain(served.into());
        assert_eq!(queue.send(&ours, &state(), b"GET / HT"), Handed::On);
        drop(ours);
        let taken = queue.receive().unwrap().unwrap();
        assert_eq!(taken.peer, Peer::Inet(client.local_addr().unwrap()));
        assert_eq!((taken.state, taken.buffer), (state(), b"GET / HT".to_vec()));
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        taken.transport.send(b"hi", crate::Flush::Now).unwrap();
        let mut got = [0; 2];
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hi");
    }

    #[test]
    fn one_that_carries_too_much_stays() {
        let queue = queue();
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let ours = Transport::plain(ours.into());
        let sent = queue.send(&ours, &state(), &vec![0; MAX_MESSAGE_BYTES]);
        assert_eq!(sent, Handed::Stays);
        assert!(queue.receive().unwrap().is_none());
        // Not for long: the queue is full some time.
        while queue.send(&ours, &state(), &[0; 1024]) == Handed::On {}
    }

    #[test]
    fn the_arbiters_hint_is_no_connection() {
        let (arbiter, receiver) = std::os::unix::net::UnixStream::pair().unwrap();
        let queue = HandoffQueue::new(kept(arbiter.try_clone().unwrap()), kept(receiver));
        (&arbiter).write_all(b"x").unwrap();
        assert!(queue.receive().unwrap().is_none());
    }
}
