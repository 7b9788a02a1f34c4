//! What the loop does when something is ready: accept, receive, park, time out, close. Serving itself is in
//! `serve.rs`.

use std::io;
use std::os::fd::AsFd;

use pyo3::prelude::*;

use rcorn_connection::Pace;
use rcorn_connection::channel::{Channel, Lost};
use rcorn_log as log;
use rcorn_settings::ProxyProtocol;
use rcorn_sys::clock;
use rcorn_sys::net;

use super::connection::{After, Connection, Waiting};
use super::desk::{Desk, Leaving, PIECE};
use super::lot::{Handed, Passport};
use super::settle::reply_first;

/// What becomes of a connection after its bytes were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It waits for this.
    Park(Waiting),
    /// The server ends it while the client may still send: close in the way that loses no reply.
    Close,
    /// The client expects nothing more and has sent nothing more: close.
    Done,
    /// A torn reply: reset.
    Abort,
}

impl Desk<'_> {
    /// A listener has connections for us. At most so many are served now.
    pub(super) fn door_is_ready(
        &mut self,
        py: Python<'_>,
        door: usize,
        most: usize,
    ) -> io::Result<()> {
        if !self.may_accept() {
            return Ok(());
        }
        for _ in 0..most {
            if !self.accept(py, door) || self.orders.quit() || self.is_to_leave() {
                break;
            }
            if self.doors_open && self.has_more_than_its_share() {
                self.sit_out()?;
                break;
            }
        }
        Ok(())
    }

    /// One connection from any listener; `false` when all queues are empty.
    pub(super) fn accept_any(&mut self, py: Python<'_>) -> bool {
        (0..self.doors.len()).any(|door| self.accept(py, door))
    }

    fn accept(&mut self, py: Python<'_>, door: usize) -> bool {
        let Some(listener) = self.doors.get(door) else {
            return false;
        };
        let (socket, peer) = match net::accept(listener.socket.as_fd()) {
            Ok(accepted) => accepted,
            Err(error) => match error.raw_os_error() {
                // The client left before we came (accept(2): also pending network errors of the connection).
                Some(
                    nix::libc::ECONNABORTED
                    | nix::libc::EINTR
                    | nix::libc::ENOTCONN
                    | nix::libc::EPROTO
                    | nix::libc::ENETDOWN
                    | nix::libc::EHOSTUNREACH,
                ) => return true,
                Some(nix::libc::EAGAIN) => return false,
                _ => return self.has_made_room(&error),
            },
        };
        let passport = Passport {
            listener: door,
            protocol: listener.protocol,
            may_be_proxied: self.settings.proxy_protocol != ProxyProtocol::Off,
            passage: None,
            served: 0,
            waiting: Waiting::FirstByte,
            pace: Pace::new(clock::coarse()),
        };
        let channel = Channel::new(socket, self.patience);
        let connection = Connection::new(channel, peer, passport);
        // A sibling need not end it with its first reply.
        let retired = self.leaving == Some(Leaving::Retired);
        if !(retired && connection.hand_on(self.lot.0.as_fd())) {
            self.receive_first(py, connection);
        }
        true
    }

    /// A connection that a sibling handed on.
    pub(super) fn welcome(&mut self, py: Python<'_>, handed: Handed) {
        let channel = Channel::new(handed.socket, self.patience);
        // From a worker of other settings it may have come by a socket that we do not have.
        let last = self.doors.len().saturating_sub(1);
        let mut passport = handed.passport;
        passport.listener = passport.listener.min(last);
        let mut connection = Connection::new(channel, handed.peer, passport);
        connection.buffer = handed.buffer;
        let next = self.receive(py, &mut connection);
        self.settle(Box::new(connection), None, next);
    }

    /// With `TCP_DEFER_ACCEPT` the request is there already: no need to ask epoll.
    fn receive_first(&mut self, py: Python<'_>, mut connection: Connection) {
        let next = self.receive(py, &mut connection);
        if !matches!(reply_first(&connection, next), Next::Done | Next::Abort) {
            self.settle(Box::new(connection), None, next);
        }
    }

    /// A parked connection has bytes, or was closed.
    pub(super) fn parked_is_ready(&mut self, py: Python<'_>, index: usize) {
        let Some(mut connection) = self.deputy.parking.take(index) else {
            return;
        };
        self.in_hand = 1;
        let next = match connection.waiting {
            Waiting::Reply(after) => self.go_on_with_reply(py, &mut connection, after),
            Waiting::Close => self.discard(&connection),
            Waiting::FirstByte
            | Waiting::Head
            | Waiting::Body(_)
            | Waiting::Chunks
            | Waiting::NextRequest => self.receive(py, &mut connection),
        };
        self.in_hand = 0;
        self.settle(connection, Some(index), next);
    }

    /// The client takes more of its reply.
    fn go_on_with_reply(
        &mut self,
        py: Python<'_>,
        connection: &mut Connection,
        after: After,
    ) -> Next {
        // A file may be on a slow disk.
        match py.detach(|| connection.channel.pump()) {
            Ok(false) => Next::Park(Waiting::Reply(after)),
            Ok(true) => match after {
                After::NextRequest if connection.buffer.is_empty() => {
                    Next::Park(Waiting::NextRequest)
                }
                After::NextRequest => {
                    let bytes = std::mem::take(&mut connection.buffer);
                    self.serve_all(py, connection, &bytes)
                }
                After::Close => Next::Close,
                After::Done => Next::Done,
            },
            Err(lost) => torn(connection, &lost),
        }
    }

    /// Reads what is there and serves the requests that are complete.
    fn receive(&mut self, py: Python<'_>, connection: &mut Connection) -> Next {
        // A partial request is kept with its connection; a whole one never leaves the shared buffer.
        if connection.buffer.is_empty() {
            let mut scratch = std::mem::take(&mut self.scratch);
            let next = match connection.channel.try_receive(&mut scratch) {
                Ok(None) => Next::Park(connection.waiting),
                Ok(Some(0)) | Err(_) => Next::Abort,
                Ok(Some(got)) => self.serve_all(py, connection, scratch.get(..got).unwrap_or(&[])),
            };
            self.scratch = scratch;
            return next;
        }
        let mut bytes = std::mem::take(&mut connection.buffer);
        let start = bytes.len();
        let room = match connection.waiting {
            Waiting::Body(needed) => needed.saturating_sub(start).clamp(1, PIECE),
            Waiting::FirstByte
            | Waiting::Head
            | Waiting::Chunks
            | Waiting::NextRequest
            | Waiting::Close
            | Waiting::Reply(_) => PIECE,
        };
        bytes.resize(start.saturating_add(room), 0);
        let waiting = connection.waiting;
        let got = connection
            .channel
            .try_receive(bytes.get_mut(start..).unwrap_or(&mut []));
        let count = got.as_ref().map_or(0, |got| got.unwrap_or(0));
        bytes.truncate(start.saturating_add(count));
        match got {
            Ok(None)
                if matches!(
                    connection.waiting,
                    Waiting::Head | Waiting::Body(_) | Waiting::Chunks
                ) =>
            {
                connection.buffer = bytes;
                Next::Park(connection.waiting)
            }
            // Bytes that a sibling read: look at them although nothing new came.
            Ok(None) => self.serve_all(py, connection, &bytes),
            Ok(Some(0)) | Err(_) => Next::Abort,
            Ok(Some(_)) => match waiting {
                Waiting::Body(needed) if bytes.len() < needed => {
                    connection.buffer = bytes;
                    Next::Park(connection.waiting)
                }
                // Without a look at the whole of it for each piece.
                Waiting::Chunks if self.has_more_to_come(connection, &bytes) => {
                    connection.buffer = bytes;
                    Next::Park(connection.waiting)
                }
                Waiting::Body(_)
                | Waiting::FirstByte
                | Waiting::Head
                | Waiting::Chunks
                | Waiting::NextRequest
                | Waiting::Close
                | Waiting::Reply(_) => self.serve_all(py, connection, &bytes),
            },
        }
    }

    /// Whether a chunked body that is waited for is neither here nor too large to wait for.
    fn has_more_to_come(&self, connection: &mut Connection, request: &[u8]) -> bool {
        let here = u64::try_from(request.len()).unwrap_or(u64::MAX);
        let scan = connection.chunks.as_mut();
        here < self.settings.request_buffer.bytes()
            && scan.is_some_and(|scan| matches!(scan.ends(request), Ok(false)))
    }

    /// After our close: throw away what still comes.
    fn discard(&mut self, connection: &Connection) -> Next {
        for _ in 0..4 {
            match connection.channel.try_receive(&mut self.scratch) {
                Ok(None) => return Next::Park(Waiting::Close),
                Ok(Some(0)) | Err(_) => return Next::Abort,
                Ok(Some(_)) => {}
            }
        }
        Next::Park(Waiting::Close)
    }
}

/// The client left before it had its reply.
fn torn(connection: &Connection, lost: &Lost) -> Next {
    let peer = connection.peer_address();
    log::debug(format_args!("Reply torn: ip={peer}: {lost}"));
    drop(net::reset_on_close(connection.channel.socket()));
    Next::Abort
}
