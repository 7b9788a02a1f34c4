//! The transport of a connection's bytes. Everything else (responses, bodies, parking, the I/O
//! thread) calls these methods and never the socket, so another kind of transport is added here
//! alone.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown};

use rcorn_sys::fork::has_forked;
use rcorn_sys::net;
use rcorn_sys::private::PrivateMark;

use super::poller::Interest;

/// When the kernel sends the bytes of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flush {
    /// At once.
    #[default]
    Now,
    /// When [`Transport::flush`] is called, or after 200 ms (tcp(7), `TCP_CORK`).
    Later,
}

/// An accepted, non-blocking stream socket: TCP or unix, plain text. Only [`Transport::wait`]
/// blocks.
///
/// Dropping it ends the connection at once, even if a process that the app forked has a copy of the
/// socket, unless the connection was handed on.
#[derive(Debug)]
pub struct Transport {
    /// Dropped before the socket.
    _private: PrivateMark,
    socket: OwnedFd,
    is_handed_on: AtomicBool,
    /// The app has a copy of the socket.
    is_copied: AtomicBool,
    is_to_be_reset: AtomicBool,
}

impl Transport {
    /// Takes over an accepted socket.
    #[must_use]
    pub fn plain(socket: OwnedFd) -> Self {
        Self {
            _private: PrivateMark::new(&socket),
            socket,
            is_handed_on: AtomicBool::new(false),
            is_copied: AtomicBool::new(false),
            is_to_be_reset: AtomicBool::new(false),
        }
    }

    /// Receives the bytes that have arrived into `buffer`; 0 at the end of the stream.
    ///
    /// # Errors
    ///
    /// Those of recv(2): `WouldBlock` when nothing is there.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        retried(|| net::receive(self.socket.as_fd(), buffer))
    }

    /// Appends the bytes that have arrived, at most `max`, to `buffer`; 0 at the end of the stream.
    ///
    /// # Errors
    ///
    /// Those of recv(2): `WouldBlock` when nothing is there.
    pub fn receive_into(&self, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        retried(|| net::receive_into(self.socket.as_fd(), buffer, max))
    }

    /// For how long nothing has arrived, in whole milliseconds; `None`: the kernel does not know.
    #[must_use]
    pub fn quiet_for(&self) -> Option<Duration> {
        net::quiet_for(self.socket.as_fd()).ok()
    }

    /// Sends as much of `bytes` as fits.
    ///
    /// # Errors
    ///
    /// Those of send(2): `WouldBlock` when nothing fits.
    pub fn send(&self, bytes: &[u8], flush: Flush) -> io::Result<usize> {
        retried(|| net::send(self.socket.as_fd(), bytes, flush == Flush::Later))
    }

    /// Sends as much of all parts as fits, in one call.
    ///
    /// # Errors
    ///
    /// Those of sendmsg(2): `WouldBlock` when nothing fits.
    pub fn send_gathered(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        retried(|| net::send_gathered(self.socket.as_fd(), parts))
    }

    /// Sends at most `count` bytes of a file from `offset`, which it advances; 0 at the end of the
    /// file.
    ///
    /// # Errors
    ///
    /// Those of sendfile(2): `WouldBlock` when nothing fits.
    pub fn send_file(
        &self,
        file: BorrowedFd<'_>,
        offset: &mut i64,
        count: usize,
    ) -> io::Result<usize> {
        let socket = self.socket.as_fd();
        retried(|| {
            Ok(nix::sys::sendfile::sendfile(
                socket,
                file,
                Some(offset),
                count,
            )?)
        })
    }

    /// Makes the kernel send what it was given with [`Flush::Later`]. The next call that sends or
    /// receives reports a failure.
    pub fn flush(&self) {
        net::flush(self.socket.as_fd()).ok();
    }

    /// How many sent bytes the peer has not acknowledged (tcp(7), `SIOCOUTQ`); on a unix socket,
    /// has not read.
    #[must_use]
    pub fn unacknowledged(&self) -> u64 {
        net::unacknowledged(self.socket.as_fd()).unwrap_or(0)
    }

    /// Tells the peer that nothing more is sent; what it still sends can be received.
    ///
    /// # Errors
    ///
    /// Those of shutdown(2): the peer is gone.
    pub fn shutdown_write(&self) -> io::Result<()> {
        Ok(shutdown(self.socket.as_raw_fd(), Shutdown::Write)?)
    }

    /// Makes the kernel reset the connection when the transport is dropped, so that the peer never
    /// takes half a response for a whole one.
    pub fn reset_on_close(&self) {
        self.is_to_be_reset.store(true, Ordering::Relaxed);
        net::reset_on_close(self.socket.as_fd()).ok();
    }

    /// Ends the connection in both directions, even if others have copies of the socket. A failure
    /// means that the peer has ended it.
    pub fn shut_down(&self) {
        shutdown(self.socket.as_raw_fd(), Shutdown::Both).ok();
    }

    /// A copy of the socket. The connection still ends with this transport.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2), `F_DUPFD_CLOEXEC`.
    pub fn copy(&self) -> io::Result<OwnedFd> {
        let copy = self.socket.try_clone()?;
        self.is_copied.store(true, Ordering::Relaxed);
        Ok(copy)
    }

    /// Notes that another process has the connection now: dropping this transport does not end it.
    pub(crate) fn set_handed_on(&self) {
        self.is_handed_on.store(true, Ordering::Relaxed);
    }

    /// Waits until bytes can be received or sent; `false` if `timeout` is over before that.
    ///
    /// # Errors
    ///
    /// Those of poll(2): `Interrupted` when a signal came.
    pub fn wait(&self, interest: Interest, timeout: PollTimeout) -> io::Result<bool> {
        let flags = match interest {
            Interest::Readable => PollFlags::POLLIN,
            Interest::Writable => PollFlags::POLLOUT,
        };
        let ready = poll(&mut [PollFd::new(self.socket.as_fd(), flags)], timeout)?;
        Ok(ready > 0)
    }

    /// The descriptor, to watch for readiness and to pass to another process. Never used for bytes.
    #[must_use]
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The descriptor's number, which shows how full the table of descriptors is.
    #[must_use]
    pub(crate) fn number(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Drop for Transport {
    /// close(2) alone ends the connection only if no other process has the socket. Shutting it down
    /// costs a system call, so it is done only if there may be one.
    fn drop(&mut self) {
        let has_copies = has_forked() || self.is_copied.load(Ordering::Relaxed);
        if !has_copies || self.is_handed_on.load(Ordering::Relaxed) {
            return;
        }
        let is_to_be_reset = self.is_to_be_reset.load(Ordering::Relaxed);
        if !(is_to_be_reset && net::reset(self.socket.as_fd()).is_ok()) {
            self.shut_down();
        }
    }
}

/// Repeats a call that a signal interrupts.
fn retried<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
