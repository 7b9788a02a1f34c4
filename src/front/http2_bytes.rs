//! The bytes of an HTTP/2 connection between the library and the client: what comes is watched, and
//! what goes is collected.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::http2_shared::Shared;
use crate::stream::Client;

/// Where a client's first frame has its type and its flags, behind the preface of 24 bytes; and
/// what they must be: SETTINGS, and no ACK (RFC 9113 section 3.4).
const FIRST_TYPE_AT: u64 = 27;
const FIRST_FLAGS_AT: u64 = 28;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;

/// How many bytes of frames are collected before they are sent: four full ones.
const COLLECTED_BYTES: usize = 64 * 1024;

/// What is written to the client.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Since when the client takes nothing that is to be written.
    blocked_since: Cell<Option<Instant>>,
    /// What the client had taken when it was last seen to take nothing.
    taken: Cell<u64>,
    /// What is written is collected until [`Outgoing::poll_flush`].
    collects: Cell<bool>,
    /// How many bytes were collected.
    collected: Cell<usize>,
}

impl Outgoing {
    /// Since when the client takes nothing.
    pub(crate) fn blocked_since(&self) -> Option<Instant> {
        self.blocked_since.get()
    }

    /// From now on the library's frames are collected, if there is TLS, and sent by
    /// [`Outgoing::poll_flush`]: the library flushes after each.
    pub(crate) fn collect(&self) {
        self.collects.set(true);
    }

    /// Sends what was collected.
    ///
    /// # Errors
    ///
    /// The client is gone.
    pub(crate) fn poll_flush(
        &self,
        client: &RefCell<Client>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.collected.get() == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut client = client.borrow_mut();
        let done = Pin::new(&mut *client).poll_flush(cx);
        if done.is_ready() {
            self.collected.set(0);
        }
        self.noticed(&client, done)
    }

    /// Notes whether the client takes what is written.
    fn noticed<T>(&self, client: &Client, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.blocked_since.set(None);
            return done;
        }
        let taken = client.taken();
        if self.blocked_since.get().is_none() || self.taken.get() != taken {
            self.taken.set(taken);
            self.blocked_since.set(Some(Instant::now()));
        }
        done
    }
}

/// Whether these bytes, which come after so many others of a connection, leave it possible that its
/// first frame is the one that must be. The library does not look.
fn may_begin_with_settings(before: u64, bytes: &[u8]) -> bool {
    let at = |place: u64| {
        let index = place.checked_sub(before)?;
        bytes.get(usize::try_from(index).ok()?)
    };
    at(FIRST_TYPE_AT).is_none_or(|kind| *kind == SETTINGS)
        && at(FIRST_FLAGS_AT).is_none_or(|flags| flags & ACK == 0)
}

/// The connection as the library has it.
pub(crate) struct Watched {
    client: Rc<RefCell<Client>>,
    shared: Rc<Shared>,
    outgoing: Rc<Outgoing>,
}

impl Watched {
    pub(crate) fn new(
        client: Rc<RefCell<Client>>,
        shared: Rc<Shared>,
        outgoing: Rc<Outgoing>,
    ) -> Self {
        Self {
            client,
            shared,
            outgoing,
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = room.filled().len();
        let done = Pin::new(&mut *self.client.borrow_mut()).poll_read(cx, room);
        let bytes = room.filled().get(before..).unwrap_or_default();
        let came_before = self.shared.received(bytes.len());
        if !may_begin_with_settings(came_before, bytes) {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        done
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outgoing = &self.outgoing;
        while outgoing.collects.get() {
            if outgoing.collected.get() >= COLLECTED_BYTES {
                ready!(outgoing.poll_flush(&self.client, cx))?;
            }
            let Some(taken) = self.client.borrow_mut().stream.collect(parts) else {
                break;
            };
            let taken = taken?;
            if taken > 0 || parts.iter().all(|part| part.is_empty()) {
                let collected = outgoing.collected.get().saturating_add(taken);
                outgoing.collected.set(collected);
                return Poll::Ready(Ok(taken));
            }
            // Many short records have filled the session.
            outgoing.collected.set(COLLECTED_BYTES);
        }
        let mut client = self.client.borrow_mut();
        let done = Pin::new(&mut *client).poll_write_vectored(cx, parts);
        outgoing.noticed(&client, done)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.collects.get() {
            return Poll::Ready(Ok(()));
        }
        let mut client = self.client.borrow_mut();
        let done = Pin::new(&mut *client).poll_flush(cx);
        self.outgoing.noticed(&client, done)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.client.borrow_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_frame_is_one_of_settings_in_whatever_pieces_it_comes() {
        for (kind, flags, expected) in [(4, 0, true), (4, 1, false), (6, 0, false), (1, 5, false)] {
            let mut bytes = vec![0; 27];
            bytes.extend([kind, flags, 0, 0, 0, 0]);
            assert_eq!(may_begin_with_settings(0, &bytes), expected);
            let mut pieces = (0_u64..).zip(bytes.chunks(1));
            let whole = pieces.all(|(before, piece)| may_begin_with_settings(before, piece));
            assert_eq!(whole, expected);
        }
        assert!(may_begin_with_settings(29, &[1; 100]));
    }
}
