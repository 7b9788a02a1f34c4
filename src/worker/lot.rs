//! The lot: a queue shared by all workers, through which a worker hands on connections that it cannot serve
//! (it retires). Whoever is free takes them, with any bytes that were read; the client notices nothing.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{MsgFlags, SockaddrStorage, getpeername};

use crate::sys::net::Peer;
use crate::sys::passing::{receive_with, send_with};

/// Longest message: bytes of a request that has partly come travel with its connection.
const LONGEST: usize = 32 * 1024;

/// Bytes before the buffer: the listener's index and the requests served, both as 8 bytes.
const PREFIX: usize = 16;

/// A connection from the lot.
#[derive(Debug)]
pub struct Handed {
    /// Its socket.
    pub socket: OwnedFd,
    /// Its other end.
    pub peer: Peer,
    /// Which listener it came by.
    pub listener: usize,
    /// Requests served on it.
    pub served: u64,
    /// Bytes that were read and not served.
    pub buffer: Vec<u8>,
}

/// Hands a connection on. `false`: the lot is full or the connection carries too much; it stays ours.
pub fn hand_on(
    lot: BorrowedFd<'_>,
    socket: BorrowedFd<'_>,
    listener: usize,
    served: u64,
    buffer: &[u8],
) -> bool {
    if buffer.len() > LONGEST.saturating_sub(PREFIX) {
        return false;
    }
    let listener = u64::try_from(listener).unwrap_or(u64::MAX).to_ne_bytes();
    let served = served.to_ne_bytes();
    let parts = [
        IoSlice::new(&listener),
        IoSlice::new(&served),
        IoSlice::new(buffer),
    ];
    let sent = send_with(lot, &parts, Some(socket), MsgFlags::MSG_DONTWAIT);
    sent.is_ok()
}

/// Takes one connection out of the lot; `None` when it is empty.
pub fn take(lot: BorrowedFd<'_>) -> io::Result<Option<Handed>> {
    let mut text = vec![0; LONGEST];
    let Some((length, socket)) = receive_with(lot, &mut text)? else {
        return Ok(None);
    };
    let Some(socket) = socket else {
        return Ok(None);
    };
    text.truncate(length);
    let malformed = || io::Error::other("a malformed message in the lot");
    let (listener, rest) = text.split_first_chunk::<8>().ok_or_else(malformed)?;
    let (served, buffer) = rest.split_first_chunk::<8>().ok_or_else(malformed)?;
    let listener = usize::try_from(u64::from_ne_bytes(*listener)).unwrap_or(usize::MAX);
    let (served, buffer) = (u64::from_ne_bytes(*served), buffer.to_vec());
    let peer = getpeername::<SockaddrStorage>(socket.as_raw_fd())
        .ok()
        .and_then(|address| {
            let v4 = address
                .as_sockaddr_in()
                .map(|v4| std::net::SocketAddrV4::from(*v4).into());
            v4.or_else(|| {
                address
                    .as_sockaddr_in6()
                    .map(|v6| std::net::SocketAddrV6::from(*v6).into())
            })
        })
        .map_or(Peer::Unix, Peer::Inet);
    Ok(Some(Handed {
        socket,
        peer,
        listener,
        served,
        buffer,
    }))
}
