//! The socket of a connection to a worker.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nix::sys::socket::{
    AddressFamily, Shutdown, SockFlag, SockType, UnixAddr, connect, shutdown, socket,
};
use rcorn_sys::net;
use rcorn_sys::passing::{self, Along};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use crate::body_block::BodyBlock;

/// A connected unix socket. The event loop hears that there is room to write only while somebody
/// waits for it: the kernel says so each time that the worker reads, and would wake the front once
/// more for every request.
#[derive(Debug)]
pub(crate) struct InnerSocket {
    socket: AsyncFd<OwnedFd>,
    /// A copy of the socket, while a write waits.
    room: Option<AsyncFd<OwnedFd>>,
    /// Where the worker puts large bodies, once it has.
    block: Option<BodyBlock>,
    /// The worker has offered memory that could not be taken.
    lacks_block: bool,
}

#[expect(
    deprecated,
    reason = "an OwnedFd is open and the same as long as it lives, and what came instead is unsafe"
)]
fn register(socket: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(socket, interest)
}

impl InnerSocket {
    /// Connects to the workers' socket.
    ///
    /// # Errors
    ///
    /// Those of connect(2), which never waits here: `WouldBlock` when the workers' queue is full.
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
        Self::new(socket)
    }

    /// Takes over a connected socket.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = register(socket, Interest::READABLE)?;
        Ok(Self {
            socket,
            room: None,
            block: None,
            lacks_block: false,
        })
    }

    /// Where the worker puts large bodies on this connection.
    pub(crate) fn block(&self) -> Option<&BodyBlock> {
        self.block.as_ref()
    }

    /// Gives the memory back: no response comes any more.
    pub(crate) fn drop_block(&mut self) {
        self.block = None;
    }

    /// Whether the worker believes that there is such a place, and there is none: it must get no
    /// other request.
    pub(crate) fn lacks_block(&self) -> bool {
        self.lacks_block
    }

    /// Reads what is there, as far as the event loop has heard.
    ///
    /// # Errors
    ///
    /// Those of recv(2): `WouldBlock` when nothing is there.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = |socket: &OwnedFd| net::receive(socket.as_fd(), buffer);
        self.socket.try_io(Interest::READABLE, read)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        net::send(self.as_fd(), bytes, false)
    }
}

impl AsFd for InnerSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

impl AsyncRead for InnerSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self {
            socket,
            block,
            lacks_block,
            ..
        } = &mut *self;
        loop {
            let mut ready = ready!(socket.poll_read_ready(cx))?;
            let free = room.initialize_unfilled();
            match passing::receive_one(socket.get_ref().as_fd(), free) {
                Ok((count, along)) => {
                    match along {
                        // What comes now is a new event (epoll(7), EPOLLET).
                        Along::Nothing if count > 0 && count < free.len() => ready.clear_ready(),
                        Along::Nothing => {}
                        // The kernel has ended the read here, whatever is behind it.
                        Along::Descriptor(descriptor) => {
                            *block = BodyBlock::open(&descriptor).ok();
                            *lacks_block = block.is_none();
                        }
                        Along::Lost => *lacks_block = true,
                    }
                    room.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for InnerSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let waited = match &self.room {
                Some(room) => Some(ready!(room.poll_write_ready(cx))?),
                None => None,
            };
            let sent = self.send(bytes);
            let is_full = sent
                .as_ref()
                .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            if !is_full {
                self.room = None;
                return Poll::Ready(sent);
            }
            if let Some(mut room) = waited {
                room.clear_ready();
            } else {
                let copy = self.socket.get_ref().try_clone()?;
                self.room = Some(register(copy, Interest::WRITABLE)?);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = shutdown(self.as_fd().as_raw_fd(), Shutdown::Write);
        Poll::Ready(done.map_err(io::Error::from))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pair() -> (InnerSocket, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (InnerSocket::new(ours.into()).unwrap(), theirs)
    }

    fn in_event_loop(test: impl AsyncFnOnce()) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(test());
    }

    #[test]
    fn a_write_waits_for_a_slow_reader() {
        in_event_loop(async || {
            let (mut ours, mut theirs) = pair();
            // Far more than a socket takes at once.
            let text: Vec<u8> = (0..=250).cycle().take(4_000_000).collect();
            let expected = text.clone();
            let reader = std::thread::spawn(move || {
                let mut read = Vec::new();
                theirs.read_to_end(&mut read).unwrap();
                assert!(read == expected);
            });
            ours.write_all(&text).await.unwrap();
            ours.shutdown().await.unwrap();
            reader.join().unwrap();
            assert!(ours.room.is_none());
            // The end, after what came before it.
            assert_eq!(ours.read(&mut [0; 8]).await.unwrap(), 0);
        });
    }

    #[test]
    fn reads_wait_and_find_all_of_it() {
        in_event_loop(async || {
            let (mut ours, mut theirs) = pair();
            let error = ours.try_read(&mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            let writer = std::thread::spawn(move || {
                for _ in 0..1000 {
                    io::Write::write_all(&mut theirs, b"0123456789").unwrap();
                }
            });
            let mut all = Vec::new();
            let mut part = [0; 64];
            loop {
                match ours.read(&mut part).await.unwrap() {
                    0 => break,
                    count => all.extend_from_slice(&part[..count]),
                }
            }
            writer.join().unwrap();
            assert!(all == b"0123456789".repeat(1000));
            let error = ours.write_all(b"x").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        });
    }
}
