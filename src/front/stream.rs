//! The connection of a client: TCP or a unix socket, with TLS or without.

use std::io::{self, IoSlice, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use nix::sys::socket::{MsgFlags, recv};
use rcorn_sys::net::{reset_on_close, unacknowledged};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::buffered::Buffered;

/// How much encrypted data waits to be sent at most, in bytes: what is collected, and a full frame
/// of HTTP/2 after it.
const ENCRYPTED_BYTES: usize = 96 * 1024;

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Connected {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connected socket, and how much it has taken: that is what shows whether a client reads, for
/// TLS takes a lot before the socket does.
#[derive(Debug)]
pub(crate) struct Socket {
    connected: Connected,
    taken: u64,
}

/// What a client speaks through.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// A client's connection, and what it has sent that nobody has used yet.
pub(crate) type Client = Buffered<Stream>;

/// Calls a method of what is inside, pinned.
macro_rules! inside {
    ($self:ident, $kind:ident::{$one:ident, $other:ident}, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            $kind::$one($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            $kind::$other($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
        }
    };
}

macro_rules! reads_and_writes {
    ($kind:ident::{$one:ident, $other:ident}) => {
        impl AsyncRead for $kind {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                room: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                inside!(self, $kind::{$one, $other}, stream => stream.poll_read(cx, room))
            }
        }

        impl AsyncWrite for $kind {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                inside!(self, $kind::{$one, $other}, stream => stream.poll_write(cx, bytes))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                parts: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                inside!(self, $kind::{$one, $other}, stream => stream.poll_write_vectored(cx, parts))
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                inside!(self, $kind::{$one, $other}, stream => stream.poll_flush(cx))
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                inside!(self, $kind::{$one, $other}, stream => stream.poll_shutdown(cx))
            }
        }
    };
}

reads_and_writes!(Connected::{Tcp, Unix});
reads_and_writes!(Stream::{Plain, Tls});

impl Socket {
    pub(crate) fn new(connected: Connected) -> Self {
        Self {
            connected,
            taken: 0,
        }
    }

    /// The address that the client has connected to; `None` of a unix socket.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match &self.connected {
            Connected::Tcp(stream) => stream.local_addr().ok(),
            Connected::Unix(_) => None,
        }
    }

    /// The first byte that the client has sent, which stays where it is; `None` if it has closed
    /// the connection without one.
    ///
    /// # Errors
    ///
    /// Those of recv(2).
    pub(crate) async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let peek = || {
            Ok(recv(
                self.as_fd().as_raw_fd(),
                &mut byte,
                MsgFlags::MSG_PEEK,
            )?)
        };
        let count = match &self.connected {
            Connected::Tcp(stream) => stream.async_io(Interest::READABLE, peek).await,
            Connected::Unix(stream) => stream.async_io(Interest::READABLE, peek).await,
        };
        let [byte] = byte;
        count.map(|count| (count > 0).then_some(byte))
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.connected {
            Connected::Tcp(stream) => stream.as_fd(),
            Connected::Unix(stream) => stream.as_fd(),
        }
    }

    fn noticed(&mut self, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &done {
            let count = u64::try_from(*count).unwrap_or(u64::MAX);
            self.taken = self.taken.saturating_add(count);
        }
        done
    }
}

impl Stream {
    /// A connection whose handshake is done.
    pub(crate) fn secured(mut stream: TlsStream<Socket>) -> Self {
        stream.get_mut().1.set_buffer_limit(Some(ENCRYPTED_BYTES));
        Self::Tls(Box::new(stream))
    }

    /// Encrypts these parts without sending them, as far as there is room: `poll_flush` sends them.
    /// `None` without TLS, where there is nowhere to keep them.
    ///
    /// # Errors
    ///
    /// The session cannot go on.
    pub(crate) fn collect(&mut self, parts: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => Some(stream.get_mut().1.writer().write_vectored(parts)),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connected).poll_read(cx, room)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.connected).poll_write(cx, bytes);
        self.noticed(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Most responses are one record, and send(2) costs less than writev(2).
        if let [one] = parts {
            return self.poll_write(cx, one);
        }
        let done = Pin::new(&mut self.connected).poll_write_vectored(cx, parts);
        self.noticed(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.connected.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connected).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connected).poll_shutdown(cx)
    }
}

impl Client {
    fn socket(&self) -> &Socket {
        match &self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }

    /// How many bytes have reached the client so far. The kernel says that there is room for more
    /// only when a third of its buffer is free, and that may be a megabyte.
    pub(crate) fn taken(&self) -> u64 {
        self.socket().taken.saturating_sub(self.waiting())
    }

    /// How many bytes the kernel has taken that have not reached the client.
    pub(crate) fn waiting(&self) -> u64 {
        unacknowledged(self.socket().as_fd()).unwrap_or(0)
    }

    /// Whether the client has sent what was not read; not whether it has closed the connection.
    pub(crate) fn has_sent(&self) -> bool {
        let socket = self.socket().as_fd().as_raw_fd();
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(socket, &mut [0], flags).is_ok_and(|count| count > 0)
    }

    /// Lets the client see that what it has is not all, when the connection is closed.
    pub(crate) fn reset_on_close(&self) {
        // A unix socket cannot, and loses nothing.
        reset_on_close(self.socket().as_fd()).ok();
    }
}
