//! The lot: a queue shared by all workers, through which a worker hands on connections that it cannot serve
//! (it retires, or is busy with a long request). Whoever is free takes them, with any bytes that were read; the client notices nothing.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{MsgFlags, SockaddrStorage, getpeername};
use serde::{Deserialize, Serialize};

use rcorn_connection::Pace;
use rcorn_http::Passage;
use rcorn_log as log;
use rcorn_settings::Protocol;
use rcorn_sys::net::Peer;
use rcorn_sys::passing::{receive_with, send_with};

use super::connection::Waiting;

/// Longest message: bytes of a request that has partly come travel with its connection.
const LONGEST: usize = 32 * 1024;

/// What another worker must know of a connection beside its socket.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Passport {
    /// Which listener it came by.
    pub listener: usize,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Its first bytes may be a PROXY header.
    pub may_be_proxied: bool,
    /// Whom a PROXY header has named.
    pub passage: Option<Passage>,
    /// Requests served on it.
    pub served: u64,
    /// What it waits for, and how its client does at it. A client gains no time by a change of workers.
    #[serde(default)]
    pub waiting: Waiting,
    /// See `waiting`.
    #[serde(default)]
    pub pace: Pace,
}

/// A connection from the lot.
#[derive(Debug)]
pub struct Handed {
    /// Its socket.
    pub socket: OwnedFd,
    /// Its other end.
    pub peer: Peer,
    /// The rest that must be known.
    pub passport: Passport,
    /// Bytes that were read and not served.
    pub buffer: Vec<u8>,
}

/// Hands a connection on. `false`: the lot is full or the connection carries too much; it stays ours.
pub fn hand_on(
    lot: BorrowedFd<'_>,
    socket: BorrowedFd<'_>,
    passport: &Passport,
    buffer: &[u8],
) -> bool {
    let Ok(passport) = serde_json::to_vec(passport) else {
        return false;
    };
    let Ok(length) = u16::try_from(passport.len()) else {
        return false;
    };
    let length = length.to_ne_bytes();
    let total = [&length, passport.as_slice(), buffer].map(<[u8]>::len);
    if total.iter().sum::<usize>() > LONGEST {
        return false;
    }
    let parts = [
        IoSlice::new(&length),
        IoSlice::new(&passport),
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
        // The arbiter sends a single byte.
        if length > 1 {
            log::error(format_args!(
                "a connection is lost: there was no descriptor for it"
            ));
        }
        return Ok(None);
    };
    text.truncate(length);
    let malformed = || io::Error::other("a malformed message in the lot");
    let (length, rest) = text.split_first_chunk::<2>().ok_or_else(malformed)?;
    let length = u16::from_ne_bytes(*length).into();
    let (passport, buffer) = rest.split_at_checked(length).ok_or_else(malformed)?;
    let passport = serde_json::from_slice(passport)?;
    let buffer = buffer.to_vec();
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
        passport,
        buffer,
    }))
}
