//! A request on its way from a client to a worker.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rcorn_http::Framing;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::inner::Inner;
use crate::side::{ClientError, Part, Side};
use crate::timer::due_in;

/// How much of a body is passed on at a time, in bytes.
const PART_BYTES: usize = 64 * 1024;

/// Where the size of a chunk is written, when its data is there.
const CHUNK_HEAD: &[u8] = b"00000000\r\n";

/// A request, as far as it has come.
#[derive(Debug)]
pub(crate) struct Upload {
    framing: Framing,
    /// What is on its way to the worker.
    out: Vec<u8>,
    sent: usize,
    /// `out` has all that was taken from the client.
    is_whole: bool,
    has_ended: bool,
    /// The client waits for the worker's word before it sends the body.
    waits: bool,
    /// How long the client may take for the next part of the body, and until when.
    limit: Option<Duration>,
    due: Option<Instant>,
}

/// Why the request cannot be sent on.
#[derive(Debug)]
pub(crate) enum Stopped {
    ByClient(ClientError),
    ByWorker(io::Error),
}

impl Upload {
    /// A request with this head. With `waits` the client waits for `100 Continue`.
    pub(crate) fn new(
        head: Vec<u8>,
        framing: Framing,
        waits: bool,
        limit: Option<Duration>,
    ) -> Self {
        Self {
            framing,
            out: head,
            sent: 0,
            is_whole: true,
            has_ended: framing == Framing::None,
            waits,
            limit,
            due: None,
        }
    }

    /// Whether the body was read to its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether the worker has all of it.
    pub(crate) fn is_sent(&self) -> bool {
        self.has_ended && self.sent == self.out.len()
    }

    /// Whether the worker has not got some of what was taken from the client. Otherwise it may have
    /// all, though the client has not said so: it goes by the length.
    pub(crate) fn has_unsent(&self) -> bool {
        self.sent < self.out.len()
    }

    /// Until when the client must go on.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The worker has said something: the client waits for nothing any more.
    pub(crate) fn was_answered(&mut self) {
        self.waits = false;
    }

    /// Whether it can be sent to another worker: all of it is still there, and the first one has
    /// got nothing, or it may be sent twice (RFC 9110 section 9.2.2).
    pub(crate) fn may_restart(&self, may_be_sent_twice: bool) -> bool {
        self.is_whole && (self.sent == 0 || may_be_sent_twice)
    }

    /// Begins again.
    pub(crate) fn restart(&mut self) {
        self.sent = 0;
    }

    /// Takes what is there already of the body, so that it goes with the head.
    pub(crate) fn begin(
        &mut self,
        cx: &mut Context<'_>,
        side: &mut impl Side,
    ) -> Result<(), ClientError> {
        if self.has_ended {
            return Ok(());
        }
        match self.poll_part(cx, side) {
            Poll::Ready(done) => done,
            Poll::Pending => Ok(()),
        }
    }

    /// Sends it. Ready when the worker has it.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        inner: &mut Inner,
        side: &mut impl Side,
    ) -> Poll<Result<(), Stopped>> {
        loop {
            while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
                let sent = ready!(Pin::new(&mut *inner).poll_write(cx, rest));
                let sent = sent.map_err(Stopped::ByWorker)?;
                self.sent = self.sent.saturating_add(sent);
            }
            if self.has_ended {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_part(cx, side)).map_err(Stopped::ByClient)?;
        }
    }

    /// Takes some of the body that is there, in the form that the worker gets.
    fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
        side: &mut impl Side,
    ) -> Poll<Result<(), ClientError>> {
        let all_sent = self.sent > 0 && self.sent == self.out.len();
        let start = self.out.len();
        let is_chunked = self.framing == Framing::Chunked;
        if is_chunked {
            self.out.extend_from_slice(CHUNK_HEAD);
        }
        let data = self.out.len();
        let part = loop {
            let room = data.saturating_add(PART_BYTES);
            match side.poll_body(cx, &mut self.out) {
                Poll::Ready(Ok(Part::Data)) if self.out.len() < room => {}
                other @ (Poll::Ready(_) | Poll::Pending) => break other,
            }
        };
        let length = self.out.len().saturating_sub(data);
        if is_chunked {
            end_chunk(&mut self.out, start, length);
        }
        if let Poll::Ready(Ok(Part::End)) = part {
            self.has_ended = true;
            if is_chunked {
                self.out.extend_from_slice(b"0\r\n\r\n");
            }
        }
        if all_sent && self.out.len() > start {
            // What was sent is gone: the request cannot be repeated.
            self.is_whole = false;
            self.out.drain(..start);
            self.sent = 0;
        }
        if length > 0 || self.has_ended {
            self.due = None;
        }
        match part {
            Poll::Ready(done) => Poll::Ready(done.map(|_part| ())),
            Poll::Pending if length > 0 => Poll::Ready(Ok(())),
            Poll::Pending => {
                if self.due.is_none() && !self.waits {
                    self.due = due_in(self.limit);
                }
                Poll::Pending
            }
        }
    }
}

/// Writes the size of a chunk of `length` bytes into the place at `start`, and ends the chunk;
/// without data there is none.
fn end_chunk(out: &mut Vec<u8>, start: usize, length: usize) {
    if length == 0 {
        out.truncate(start);
        return;
    }
    let size = format!("{length:08x}");
    let place = out.iter_mut().skip(start);
    place
        .zip(size.bytes())
        .for_each(|(place, digit)| *place = digit);
    out.extend_from_slice(b"\r\n");
}
