//! What the streams of an HTTP/2 connection share, and what is watched of its bytes: a client that
//! sends frames which bring nothing is told to calm down (RFC 9113 section 10.5).

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::stream::Client;

/// How many bytes of frames a client may send for each byte that they bring: PING, SETTINGS,
/// PRIORITY, empty DATA and the rest bring nothing.
const MAX_FRAMING: u64 = 8;

/// How many bytes the frames of a connection may seem to bring to begin with.
const CREDIT_BYTES: u64 = 256 * 1024;

/// Where a client's first frame has its type and its flags, behind the preface of 24 bytes; and
/// what they must be: SETTINGS, and no ACK (RFC 9113 section 3.4).
const FIRST_TYPE_AT: u64 = 27;
const FIRST_FLAGS_AT: u64 = 28;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;

/// How many bytes of frames are collected before they are sent: four full ones.
const COLLECTED_BYTES: usize = 64 * 1024;

/// How many requests a client may take back beyond those that it lets be answered.
const MAX_CANCELLED: u64 = 200;

/// One connection.
#[derive(Debug)]
pub(crate) struct Shared {
    active: Cell<usize>,
    idle_since: Cell<Instant>,
    received: Cell<u64>,
    useful: Cell<u64>,
    answered: Cell<u64>,
    cancelled: Cell<u64>,
    /// Since when the client takes nothing that is to be written.
    blocked_since: Cell<Option<Instant>>,
    /// What the client had taken when it was last seen to take nothing.
    taken: Cell<u64>,
    /// What is written is collected until [`Shared::poll_flush`].
    collects: Cell<bool>,
    /// How many bytes were collected.
    collected: Cell<usize>,
}

/// Adds to a count.
fn add(count: &Cell<u64>, more: usize) {
    let more = u64::try_from(more).unwrap_or(u64::MAX);
    count.set(count.get().saturating_add(more));
}

impl Shared {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            active: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            received: Cell::new(0),
            useful: Cell::new(0),
            answered: Cell::new(0),
            cancelled: Cell::new(0),
            blocked_since: Cell::new(None),
            taken: Cell::new(0),
            collects: Cell::new(false),
            collected: Cell::new(0),
        })
    }

    /// A stream, until what is returned is dropped.
    pub(crate) fn begin(self: &Rc<Self>) -> Active {
        self.active.set(self.active.get().saturating_add(1));
        Active(Rc::clone(self))
    }

    /// Since when there is no stream; `None` while there is one.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        (self.active.get() == 0).then(|| self.idle_since.get())
    }

    /// Since when the client takes nothing.
    pub(crate) fn blocked_since(&self) -> Option<Instant> {
        self.blocked_since.get()
    }

    /// From now on the library's frames are collected, if there is TLS, and sent by
    /// [`Shared::poll_flush`]: the library flushes after each.
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

    /// Some bytes of requests or responses were passed on.
    pub(crate) fn brought(&self, bytes: usize) {
        add(&self.useful, bytes);
    }

    pub(crate) fn was_answered(&self) {
        add(&self.answered, 1);
    }

    pub(crate) fn was_cancelled(&self) {
        add(&self.cancelled, 1);
    }

    /// Whether the client sends too much that brings nothing.
    pub(crate) fn is_flooded(&self) -> bool {
        let credit = self.useful.get().saturating_add(CREDIT_BYTES);
        let cancelled = self.cancelled.get().saturating_sub(self.answered.get());
        self.received.get() / MAX_FRAMING > credit || cancelled > MAX_CANCELLED
    }
}

/// A stream that is open.
#[derive(Debug)]
pub(crate) struct Active(Rc<Shared>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
        self.0.idle_since.set(Instant::now());
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

/// The connection's bytes.
pub(crate) struct Watched {
    client: Rc<RefCell<Client>>,
    shared: Rc<Shared>,
}

impl Watched {
    pub(crate) fn new(client: Rc<RefCell<Client>>, shared: Rc<Shared>) -> Self {
        Self { client, shared }
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
        let is_begin = may_begin_with_settings(self.shared.received.get(), bytes);
        add(&self.shared.received, bytes.len());
        if !is_begin {
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
        let shared = &self.shared;
        while shared.collects.get() {
            if shared.collected.get() >= COLLECTED_BYTES {
                ready!(shared.poll_flush(&self.client, cx))?;
            }
            let Some(taken) = self.client.borrow_mut().stream.collect(parts) else {
                break;
            };
            let taken = taken?;
            if taken > 0 || parts.iter().all(|part| part.is_empty()) {
                let collected = shared.collected.get().saturating_add(taken);
                shared.collected.set(collected);
                return Poll::Ready(Ok(taken));
            }
            // Many short records have filled the session.
            shared.collected.set(COLLECTED_BYTES);
        }
        let mut client = self.client.borrow_mut();
        let done = Pin::new(&mut *client).poll_write_vectored(cx, parts);
        shared.noticed(&client, done)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shared.collects.get() {
            return Poll::Ready(Ok(()));
        }
        let mut client = self.client.borrow_mut();
        let done = Pin::new(&mut *client).poll_flush(cx);
        self.shared.noticed(&client, done)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.client.borrow_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_bring_nothing_are_a_flood_and_long_transfers_are_none() {
        let shared = Shared::new();
        let limit = usize::try_from(MAX_FRAMING * CREDIT_BYTES).unwrap();
        add(&shared.received, limit);
        assert!(!shared.is_flooded());
        add(&shared.received, 100);
        assert!(shared.is_flooded());
        shared.brought(100);
        assert!(!shared.is_flooded());
    }

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

    #[test]
    fn who_takes_back_more_than_is_answered_floods() {
        let shared = Shared::new();
        for _request in 0..MAX_CANCELLED {
            shared.was_cancelled();
        }
        assert!(!shared.is_flooded());
        shared.was_cancelled();
        assert!(shared.is_flooded());
        shared.was_answered();
        assert!(!shared.is_flooded());
    }

    #[test]
    fn it_is_idle_when_the_last_stream_has_ended() {
        let shared = Shared::new();
        assert!(shared.idle_since().is_some());
        let (one, other) = (shared.begin(), shared.begin());
        drop(one);
        assert!(shared.idle_since().is_none());
        drop(other);
        assert!(shared.idle_since().is_some());
    }
}
