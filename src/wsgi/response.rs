//! One response: what `start_response` declared, as bytes, with the framing of its body and the
//! fields that the server adds.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use rcorn_http::body::{BodyCounter, BodyFraming, ChunkLine, FramingInput};

use super::body::MAX_DRAIN_BYTES;
use super::declare::{Declaration, Refused};
use super::fragment::{Fragment, FullResponse, MAX_COPIED_BYTES, limited};
use super::violation::WsgiViolation;
use rcorn_connection::Channel;
use rcorn_connection::Flush;

/// Set when the worker leaves: responses whose head is not sent yet close their connections. There
/// is one per process, because a signal handler sets it.
static CLOSING: AtomicBool = AtomicBool::new(false);

/// The flag that makes every response of this process close its connection once it is set, for a
/// signal handler.
#[must_use]
pub fn close_flag() -> &'static AtomicBool {
    &CLOSING
}

/// What the request requires of its response.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseConstraints {
    /// HEAD: no body is sent, whatever the app returns.
    pub head_only: bool,
    /// HTTP/1.1: the client understands chunks.
    pub http11: bool,
    /// The client and the worker can keep the connection after this response.
    pub keep_alive: bool,
    /// Responses to other clients follow at once: a complete response may be sent together with
    /// them.
    pub coalesce: bool,
    /// The client wants to speak another protocol: the app may take the connection.
    pub offers_socket: bool,
}

/// The state of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is no request.
    Idle,
    /// The app has not called `start_response`.
    Open,
    /// The app has called it; nothing was sent.
    Headed,
    /// The head was sent: only the rest of the body, or an abort, may follow.
    Streaming,
    /// The app has taken the connection: what it gives is not sent.
    Taken,
}

/// The fields that every head ends with, unless the app gave its own. Whole lines.
#[derive(Clone, Debug, Default)]
pub struct CommonHeaders {
    /// `Server: …\r\n`
    pub server: Vec<u8>,
    /// `Date: …\r\n`
    pub date: Vec<u8>,
    /// `X-Request-ID: …\r\n`; empty without ids.
    pub request_id: Vec<u8>,
}

impl CommonHeaders {
    pub(super) fn set(&mut self, server: &[u8], date: &[u8]) {
        server.clone_into(&mut self.server);
        date.clone_into(&mut self.date);
    }
}

/// The state of one response; its buffers are reused for the next.
#[derive(Debug)]
pub(super) struct Response {
    pub(crate) stage: Stage,
    constraints: ResponseConstraints,
    channel: Option<Channel>,
    declaration: Declaration,
    /// The body, once the head is complete.
    body: BodyCounter,
    /// The body is complete: nothing may follow it, not even from its `close()`.
    complete: bool,
}

impl Default for Response {
    fn default() -> Self {
        Self {
            stage: Stage::Idle,
            constraints: ResponseConstraints::default(),
            channel: None,
            declaration: Declaration::default(),
            body: BodyCounter::default(),
            complete: false,
        }
    }
}

impl Response {
    /// Begins a response.
    pub(super) fn open(&mut self, channel: Channel, constraints: ResponseConstraints) {
        self.channel = Some(channel);
        self.constraints = constraints;
        self.stage = Stage::Open;
        (self.body, self.declaration.status) = (BodyCounter::default(), 0);
        // An access log must not show the head of another client's response.
        self.declaration.head.clear();
        self.complete = false;
    }

    /// Takes status and fields from the app. A second call (with `exc_info`) replaces the first. If
    /// a declaration is refused, nothing of it is sent: the server sends its error page instead.
    ///
    /// Runs no code of the app, because the response is locked.
    pub(super) fn declare<'py>(
        &mut self,
        status: &Bound<'py, PyAny>,
        fields: &Bound<'py, PyAny>,
    ) -> Result<(), Refused<'py>> {
        self.stage = Stage::Open;
        self.declaration.take(status, fields)?;
        self.stage = Stage::Headed;
        Ok(())
    }

    /// Makes this a complete interim response with the fields that the app hints at.
    pub(super) fn declare_hints<'py>(
        &mut self,
        fields: &Bound<'py, PyAny>,
    ) -> Result<(), Refused<'py>> {
        self.declaration.take_hints(fields)
    }

    /// Notes that the body was sent to its end.
    pub(super) fn completed(&mut self) {
        self.complete = true;
    }

    /// Whether the body was sent to its end.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The channel for an interim response (1xx); none if the client does not know them (RFC 9110
    /// section 15.2).
    pub(super) fn interim_channel(&self) -> Option<Channel> {
        self.channel.clone().filter(|_| self.constraints.http11)
    }

    /// Ends the response with its request. From now on calls of `start_response` and `write` fail.
    pub(super) fn end(&mut self) {
        self.stage = Stage::Idle;
        self.channel = None;
    }

    /// Gives the connection to the app. No part of a response may have been sent.
    pub(super) fn give_socket(&mut self) -> Result<Channel, WsgiViolation> {
        match self.stage {
            Stage::Open | Stage::Headed => {}
            Stage::Streaming => return Err(WsgiViolation::SocketLate),
            Stage::Idle | Stage::Taken => return Err(WsgiViolation::SocketOver),
        }
        let channel = self.channel.clone().ok_or(WsgiViolation::SocketOver)?;
        self.stage = Stage::Taken;
        self.declaration.head.clear();
        Ok(channel)
    }

    /// The status that was declared; 0 before that.
    pub(super) fn status(&self) -> u16 {
        self.declaration.status
    }

    /// How much of the body was sent, and by how much it was too short or too long.
    pub(super) fn body(&self) -> &BodyCounter {
        &self.body
    }

    /// How many body bytes are missing from the declared length.
    pub(super) fn missing(&self) -> u64 {
        if self.stage == Stage::Streaming {
            self.body.missing()
        } else {
            0
        }
    }

    /// Whether the head has a length, and the body has come to it.
    fn has_its_length(&self) -> bool {
        matches!(self.body.framing(), BodyFraming::Length(_)) && self.missing() == 0
    }

    /// The declared length, if the app gave one.
    pub(super) fn length(&self) -> Option<u64> {
        self.declaration.length
    }

    /// Whether the connection can take another request after this response.
    pub(super) fn keeps_connection(&self) -> bool {
        self.constraints.keep_alive
            && !self.declaration.close
            && self.body.framing() != BodyFraming::UntilClose
    }

    /// The status line and fields as they were sent.
    pub(super) fn head(&self) -> &[u8] {
        &self.declaration.head
    }

    /// Takes them out. [`Self::return_head`] gives them back.
    pub(super) fn take_head(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.declaration.head)
    }

    /// Takes the buffer back for the next request.
    pub(super) fn return_head(&mut self, head: Vec<u8>) {
        self.declaration.head = head;
    }

    /// Completes the head. `total`: the length of the whole body, if the server knows it.
    fn complete_head(&mut self, total: Option<u64>, common: &CommonHeaders) {
        let unread = self.channel.as_ref().map_or(0, Channel::unread);
        self.declaration.close |= CLOSING.load(Ordering::Relaxed) || unread > MAX_DRAIN_BYTES;
        if self.declaration.status == 205 {
            self.declaration
                .head
                .extend_from_slice(b"Content-Length: 0\r\n");
        }
        let framing = FramingInput {
            status: self.declaration.status,
            head_only: self.constraints.head_only,
            http11: self.constraints.http11,
            declared: self.declaration.length,
            known: total,
        };
        self.body = BodyCounter::new(framing.framing());
        match self.body.framing() {
            // Has the app's own Content-Length.
            BodyFraming::Length(_) if self.declaration.length.is_some() => {}
            BodyFraming::Length(length) => {
                self.declaration.head.extend_from_slice(b"Content-Length: ");
                let mut digits = itoa::Buffer::new();
                self.declaration
                    .head
                    .extend_from_slice(digits.format(length).as_bytes());
                self.declaration.head.extend_from_slice(b"\r\n");
            }
            BodyFraming::Chunked => {
                self.declaration
                    .head
                    .extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            }
            BodyFraming::Bodyless | BodyFraming::UntilClose => {}
        }
        if !self.declaration.has_server {
            self.declaration.head.extend_from_slice(&common.server);
        }
        if !self.declaration.has_date {
            self.declaration.head.extend_from_slice(&common.date);
        }
        if !common.request_id.is_empty() && !self.declaration.has_request_id {
            self.declaration.head.extend_from_slice(&common.request_id);
        }
        // HTTP/1.1 goes on unless told otherwise; HTTP/1.0 closes unless told otherwise (RFC 9112
        // section 9.3).
        if !self.keeps_connection() {
            self.declaration
                .head
                .extend_from_slice(b"Connection: close\r\n");
        } else if !self.constraints.http11 {
            self.declaration
                .head
                .extend_from_slice(b"Connection: keep-alive\r\n");
        }
        self.declaration.head.extend_from_slice(b"\r\n");
        self.stage = Stage::Streaming;
        if let Some(channel) = &self.channel {
            // The response has begun: the client need not send its body any more.
            channel.owe_continue(false);
        }
    }
}

impl Response {
    /// Counts `given` bytes; returns how many of them are to be sent.
    fn take(&mut self, given: usize) -> usize {
        let take = self.body.take(u64::try_from(given).unwrap_or(u64::MAX));
        // It is at most the number of bytes given.
        usize::try_from(take).unwrap_or(given)
    }

    /// Prepares to send one part of the body. Returns the channel, so that the part is sent without
    /// the lock.
    pub(super) fn part(
        &mut self,
        given: usize,
        common: &CommonHeaders,
    ) -> Result<(Channel, Fragment), WsgiViolation> {
        let mut fragment = Fragment::default();
        if self.complete {
            return Err(WsgiViolation::Over);
        }
        match self.stage {
            Stage::Idle => return Err(WsgiViolation::Over),
            Stage::Open => return Err(WsgiViolation::NotStarted),
            Stage::Taken => return Err(WsgiViolation::SocketTaken),
            Stage::Headed => {
                self.complete_head(None, common);
                fragment.head = std::mem::take(&mut self.declaration.head);
            }
            Stage::Streaming => {}
        }
        fragment.take = self.take(given);
        if self.body.framing() == BodyFraming::Chunked && fragment.take > 0 {
            fragment.chunk = ChunkLine::size(fragment.take);
        }
        let is_end = self.has_its_length();
        if fragment.begins() {
            fragment.flush = self.flush(fragment.take);
            fragment.is_whole = is_end;
        }
        let channel = self.channel.clone().ok_or(WsgiViolation::Over)?;
        if is_end {
            // The app does not know yet that this is the end.
            channel.ending();
        }
        Ok((channel, fragment))
    }

    /// When to flush a response whose first part sends `take` bytes: with others, if that is all of
    /// it.
    fn flush(&self, take: usize) -> Flush {
        let coalesce = self.constraints.coalesce
            && take <= MAX_COPIED_BYTES
            && self.body.framing() != BodyFraming::Chunked
            && self.missing() == 0
            && self.keeps_connection();
        if coalesce { Flush::Later } else { Flush::Now }
    }

    /// Takes the head's buffer back, for the next request and for the access log.
    pub(super) fn done(&mut self, fragment: Fragment) {
        if !fragment.head.is_empty() {
            self.declaration.head = fragment.head;
        }
    }

    /// Prepares to send a response whose whole body is known, with one write.
    pub(super) fn whole(
        &mut self,
        parts: &[Bound<'_, PyBytes>],
        common: &CommonHeaders,
    ) -> Option<(Channel, FullResponse)> {
        let total: usize = parts.iter().map(|part| part.as_bytes().len()).sum();
        self.complete_head(u64::try_from(total).ok(), common);
        let channel = self.channel.clone()?;
        let take = self.take(total);
        self.complete = true;
        let mut head = std::mem::take(&mut self.declaration.head);
        let head_end = head.len();
        if take <= MAX_COPIED_BYTES {
            for part in limited(parts, take) {
                head.extend_from_slice(part);
            }
        }
        Some((
            channel,
            FullResponse {
                head,
                head_end,
                take,
                flush: self.flush(take),
                is_whole: self.has_its_length(),
            },
        ))
    }

    /// Takes the head's buffer back, for the next request and for the access log.
    pub(super) fn sent_whole(&mut self, whole: FullResponse) {
        self.declaration.head = whole.head;
        self.declaration.head.truncate(whole.head_end);
    }

    /// Prepares to send a file of `size` bytes; returns how many of them to send.
    pub(super) fn file(
        &mut self,
        size: u64,
        common: &CommonHeaders,
    ) -> Option<(Channel, Fragment, u64)> {
        let mut fragment = Fragment::default();
        if self.stage == Stage::Headed {
            self.complete_head(Some(size), common);
            fragment.head = std::mem::take(&mut self.declaration.head);
        }
        if self.body.framing() == BodyFraming::Chunked {
            // Only after write(): then the caller iterates.
            return None;
        }
        // A file that is longer than declared is sent in part.
        let take = self.body.take(size.min(self.body.room()));
        let channel = self.channel.clone()?;
        Some((channel, fragment, take))
    }

    /// Ends the body: prepares the head if it is unsent, or the last chunk.
    pub(super) fn finish(&mut self, common: &CommonHeaders) -> Option<(Channel, Fragment)> {
        let mut fragment = Fragment::default();
        match self.stage {
            Stage::Headed => {
                // For HEAD the length that GET would have is not known, so no length is sent (RFC
                // 9110 section 9.3.2).
                self.complete_head(Some(0), common);
                fragment.head = std::mem::take(&mut self.declaration.head);
            }
            Stage::Streaming if self.body.framing() == BodyFraming::Chunked => {
                fragment.chunk = ChunkLine::last();
            }
            // Parts may wait for the next one.
            Stage::Streaming => {}
            Stage::Idle | Stage::Open | Stage::Taken => return None,
        }
        Some((self.channel.clone()?, fragment))
    }
}
