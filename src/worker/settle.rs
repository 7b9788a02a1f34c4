//! What becomes of a connection that was looked at: parked until what it waits for, or until its time is over; or
//! closed.

use std::os::fd::AsRawFd;

use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::{Shutdown, shutdown};

use rcorn_connection::Pace;
use rcorn_log as log;
use rcorn_sys::clock;
use rcorn_sys::net;

use super::connection::{After, Connection, Waiting};
use super::desk::{Desk, FIRST_CONNECTION};
use super::turn::Next;

impl Desk<'_> {
    /// Parks or closes a connection that was taken out of its place.
    pub(super) fn settle(
        &mut self,
        mut connection: Box<Connection>,
        place: Option<usize>,
        next: Next,
    ) {
        let waiting = match reply_first(&connection, next) {
            Next::Park(waiting) => waiting,
            Next::Close => match shutdown(connection.channel.socket().as_raw_fd(), Shutdown::Write)
            {
                Ok(()) => Waiting::Close,
                Err(_gone) => return self.release(place),
            },
            Next::Done | Next::Abort => return self.release(place),
        };
        self.set_waiting(&mut connection, waiting);
        self.park(connection, place);
    }

    fn park(&mut self, mut connection: Box<Connection>, place: Option<usize>) {
        self.due(connection.deadline);
        let index = place.unwrap_or_else(|| self.deputy.parking.reserve());
        if let Err(errno) = self.watch(&mut connection, index) {
            log::error(format_args!("cannot wait for a connection: {errno}"));
            return self.deputy.parking.vacate(index);
        }
        let socket = connection.channel.socket().as_raw_fd();
        self.deputy.parking.put(index, connection);
        if place.is_none() {
            self.make_room(index, socket);
        }
    }

    /// Lets the epoll set tell of what the connection waits for.
    fn watch(&self, connection: &mut Connection, index: usize) -> nix::Result<()> {
        let flags = if matches!(connection.waiting, Waiting::Reply(_)) {
            EpollFlags::EPOLLOUT
        } else {
            EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP
        };
        if connection.watched == Some(flags) {
            return Ok(());
        }
        let token = FIRST_CONNECTION.saturating_add(u64::try_from(index).unwrap_or(0));
        let mut event = EpollEvent::new(flags, token);
        let (epoll, socket) = (&self.deputy.epoll, connection.channel.socket());
        match connection.watched {
            None => epoll.add(socket, event)?,
            Some(_) => epoll.modify(socket, &mut event)?,
        }
        connection.watched = Some(flags);
        Ok(())
    }

    /// The place of a connection that was taken out and is gone now.
    fn release(&mut self, place: Option<usize>) {
        if let Some(index) = place {
            self.deputy.parking.vacate(index);
        }
    }

    /// Drops a parked connection.
    pub(super) fn forget(&mut self, index: usize) {
        if self.deputy.parking.take(index).is_some() {
            self.release(Some(index));
        }
    }

    /// A parked connection has waited too long.
    pub(super) fn wait_is_over(&mut self, index: usize) {
        let Some(mut connection) = self.deputy.parking.take(index) else {
            return;
        };
        match connection.waiting {
            // Nothing was asked, nothing is owed; or the client had its time to read our last reply.
            Waiting::FirstByte | Waiting::NextRequest | Waiting::Close => self.release(Some(index)),
            Waiting::Head | Waiting::Body(_) | Waiting::Chunks => {
                self.too_slow(&connection);
                self.settle(connection, Some(index), Next::Close);
            }
            Waiting::Reply(after) => {
                // The kernel tells of room late; what the client has taken counts.
                self.set_waiting(&mut connection, Waiting::Reply(after));
                if connection.deadline > clock::coarse() {
                    self.due(connection.deadline);
                    return self.deputy.parking.put(index, connection);
                }
                let peer = connection.peer_address();
                log::info(format_args!(
                    "Client took its reply too slowly: ip={peer} (write_timeout)"
                ));
                drop(net::reset_on_close(connection.channel.socket()));
                self.release(Some(index));
            }
        }
    }

    /// Sets what the connection waits for and until when.
    fn set_waiting(&self, connection: &mut Connection, waiting: Waiting) {
        let now = clock::coarse();
        let before = std::mem::replace(&mut connection.waiting, waiting);
        if !before.goes_on_as(waiting) {
            connection.pace = Pace::new(now);
            if matches!(waiting, Waiting::Reply(_)) {
                connection.taken_before = connection.channel.taken();
            }
        }
        let moved = match waiting {
            Waiting::Reply(_) => connection
                .channel
                .taken()
                .saturating_sub(connection.taken_before),
            Waiting::Body(_) | Waiting::Chunks => {
                u64::try_from(connection.buffer.len()).unwrap_or(u64::MAX)
            }
            // These must be over in time, however their bytes are spread.
            Waiting::FirstByte | Waiting::Head | Waiting::NextRequest | Waiting::Close => 0,
        };
        connection.pace.moved(now, moved);
        let limiting = &self.limiting;
        connection.deadline = connection.pace.deadline(match waiting {
            Waiting::FirstByte | Waiting::Head => limiting.head,
            Waiting::Body(_) | Waiting::Chunks => limiting.body,
            Waiting::NextRequest => limiting.idle,
            Waiting::Reply(_) => limiting.write,
            Waiting::Close => limiting.close,
        });
    }
}

/// Nothing comes before the client has taken its reply.
pub(super) fn reply_first(connection: &Connection, next: Next) -> Next {
    let after = match next {
        Next::Park(Waiting::Reply(after)) => after,
        Next::Park(_) => After::NextRequest,
        Next::Close => After::Close,
        Next::Done => After::Done,
        Next::Abort => return next,
    };
    if connection.channel.owes() {
        Next::Park(Waiting::Reply(after))
    } else {
        next
    }
}
