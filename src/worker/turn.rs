//! What the loop does when something is ready: accept, receive, park, time out, close. Serving itself is in
//! `serve.rs`.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::{Shutdown, shutdown};
use pyo3::prelude::*;
use std::os::fd::AsRawFd;

use crate::log;
use crate::settings::ProxyProtocol;
use crate::sys::clock;
use crate::sys::net;
use crate::wsgi::channel::Channel;

use super::connection::{Connection, Waiting};
use super::desk::{Desk, FIRST_CONNECTION, Limiting, PIECE};
use super::lot::{Handed, Passport};

/// New connections taken in one turn while no other connection waits.
const RUN: usize = 16;

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
    /// A listener has a connection for us.
    pub(super) fn door_is_ready(&mut self, py: Python<'_>, door: usize) -> io::Result<()> {
        if !self.may_accept() {
            return Ok(());
        }
        for _ in 0..RUN {
            if !self.accept(py, door) {
                break;
            }
            // With connections of our own, they come first: one new one a turn.
            if self.held > 0 || self.orders.quit() {
                break;
            }
        }
        if self.doors_open {
            self.share_doors()?;
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
                _ => {
                    // Out of descriptors or memory: keep serving what is here, try again later.
                    log::error(format_args!("cannot accept a connection: {error}"));
                    return false;
                }
            },
        };
        let passport = Passport {
            listener: door,
            protocol: listener.protocol,
            may_be_proxied: self.settings.proxy_protocol != ProxyProtocol::Off,
            passage: None,
            served: 0,
        };
        let channel = Channel::new(socket, self.patience);
        let connection = Connection::new(channel, peer, passport);
        self.receive_first(py, connection);
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
        if passport.served > 0 {
            connection.waiting = Waiting::NextRequest;
        }
        let next = self.receive(py, &mut connection);
        self.settle(Box::new(connection), None, next);
    }

    /// With `TCP_DEFER_ACCEPT` the request is there already: no need to ask epoll.
    fn receive_first(&mut self, py: Python<'_>, mut connection: Connection) {
        let next = self.receive(py, &mut connection);
        if !matches!(next, Next::Done | Next::Abort) {
            self.settle(Box::new(connection), None, next);
        }
    }

    /// A parked connection has bytes, or was closed.
    pub(super) fn parked_is_ready(&mut self, py: Python<'_>, index: usize) {
        let Some(mut connection) = self.connections.get_mut(index).and_then(Option::take) else {
            return;
        };
        let next = self.receive(py, &mut connection);
        self.settle(connection, Some(index), next);
    }

    /// Reads what is there and serves the requests that are complete.
    fn receive(&mut self, py: Python<'_>, connection: &mut Connection) -> Next {
        if connection.waiting == Waiting::Close {
            return self.discard(connection);
        }
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
            Waiting::FirstByte | Waiting::Head | Waiting::NextRequest | Waiting::Close => PIECE,
        };
        bytes.resize(start.saturating_add(room), 0);
        let got = connection
            .channel
            .try_receive(bytes.get_mut(start..).unwrap_or(&mut []));
        let count = got.as_ref().map_or(0, |got| got.unwrap_or(0));
        bytes.truncate(start.saturating_add(count));
        match got {
            Ok(None) if matches!(connection.waiting, Waiting::Head | Waiting::Body(_)) => {
                connection.buffer = bytes;
                Next::Park(connection.waiting)
            }
            // Bytes that a sibling read: look at them although nothing new came.
            Ok(None) => self.serve_all(py, connection, &bytes),
            Ok(Some(0)) | Err(_) => Next::Abort,
            Ok(Some(_)) => match connection.waiting {
                Waiting::Body(needed) if bytes.len() < needed => {
                    connection.buffer = bytes;
                    Next::Park(connection.waiting)
                }
                Waiting::Body(_)
                | Waiting::FirstByte
                | Waiting::Head
                | Waiting::NextRequest
                | Waiting::Close => self.serve_all(py, connection, &bytes),
            },
        }
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

    /// Parks or closes a connection that was taken out of its place.
    fn settle(&mut self, mut connection: Box<Connection>, place: Option<usize>, next: Next) {
        let waiting = match next {
            Next::Park(waiting) => waiting,
            Next::Close => match shutdown(connection.channel.socket().as_raw_fd(), Shutdown::Write)
            {
                Ok(()) => Waiting::Close,
                Err(_gone) => return self.release(place),
            },
            Next::Done | Next::Abort => return self.release(place),
        };
        let changed = connection_waiting(&mut connection, waiting, self.limiting);
        self.park(changed, connection, place);
    }

    fn park(&mut self, changed: bool, connection: Box<Connection>, place: Option<usize>) {
        let deadline = connection.deadline;
        if changed {
            self.due(deadline);
        }
        let index = match place {
            Some(index) => index,
            None => self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len().saturating_sub(1)
            }),
        };
        let mut connection = connection;
        if !connection.registered {
            let token = FIRST_CONNECTION.saturating_add(u64::try_from(index).unwrap_or(0));
            let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP, token);
            if let Err(errno) = self.epoll.add(connection.channel.socket(), event) {
                log::error(format_args!("cannot wait for a connection: {errno}"));
                self.free.push(index);
                return;
            }
            connection.registered = true;
        }
        if place.is_none() {
            self.held = self.held.saturating_add(1);
            self.publish_held();
        }
        if let Some(slot) = self.connections.get_mut(index) {
            *slot = Some(connection);
        }
    }

    /// The place of a connection that was taken out and is gone now.
    fn release(&mut self, place: Option<usize>) {
        if let Some(index) = place {
            self.free.push(index);
            self.held = self.held.saturating_sub(1);
            self.publish_held();
        }
    }

    /// Drops a parked connection.
    pub(super) fn forget(&mut self, index: usize) {
        if self
            .connections
            .get_mut(index)
            .and_then(Option::take)
            .is_some()
        {
            self.release(Some(index));
        }
    }

    fn publish_held(&self) {
        self.cell.connections.store(
            u32::try_from(self.held).unwrap_or(u32::MAX),
            Ordering::Relaxed,
        );
    }

    /// A parked connection has waited too long.
    pub(super) fn wait_is_over(&mut self, index: usize) {
        let Some(Some(connection)) = self.connections.get(index) else {
            return;
        };
        match connection.waiting {
            // Nothing was asked, nothing is owed; or the client had its time to read our last reply.
            Waiting::FirstByte | Waiting::NextRequest | Waiting::Close => self.forget(index),
            Waiting::Head | Waiting::Body(_) => {
                let Some(connection) = self.connections.get_mut(index).and_then(Option::take)
                else {
                    return;
                };
                self.too_slow(&connection);
                self.settle(connection, Some(index), Next::Close);
            }
        }
    }
}

/// Sets what the connection waits for and until when; tells whether the deadline changed.
fn connection_waiting(connection: &mut Connection, waiting: Waiting, limiting: Limiting) -> bool {
    let same = connection.waiting == waiting && connection.deadline != u64::MAX;
    connection.waiting = waiting;
    // A head must be complete in time, however its bytes are spread; a body must go on.
    if same && matches!(waiting, Waiting::FirstByte | Waiting::Head | Waiting::Close) {
        return false;
    }
    let limit = match waiting {
        Waiting::FirstByte | Waiting::Head => limiting.head,
        Waiting::Body(_) => limiting.body,
        Waiting::NextRequest => limiting.idle,
        Waiting::Close => limiting.close,
    };
    let limit = if limit == 0 { u64::MAX } else { limit };
    connection.deadline = clock::coarse().saturating_add(limit);
    true
}
