//! One reply: what `start_response` declared, turned into bytes, with the framing the server owes (RFC 9112
//! section 6): length where it is known, chunks where it is not, the end of the connection for HTTP/1.0.
//! Keeps count, so that a body never contradicts its Content-Length unnoticed.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::body::DRAINED;
use super::declare::Declared;
use super::fragment::{COPIED, ChunkLine, Fragment, FullReply, limited};
use super::violation::WsgiViolation;
use rcorn_connection::Channel;
use rcorn_connection::Flush;

/// The worker leaves after what it holds: replies whose head is not out yet end their connections.
static CLOSING: AtomicBool = AtomicBool::new(false);

/// Lets replies end their connections from now on. May be called from a signal handler.
pub fn close_connections() {
    CLOSING.store(true, Ordering::Relaxed);
}

/// What the request says about its reply.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseConstraints {
    /// HEAD: no body, whatever the app gives.
    pub head_only: bool,
    /// HTTP/1.1: chunks are understood.
    pub http11: bool,
    /// The client and the worker are willing to go on after this reply.
    pub keep_alive: bool,
    /// Other replies follow at once, to other clients: a whole one may leave with them.
    pub coalesce: bool,
}

/// How far the reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No request is in hand.
    Idle,
    /// The app has not called `start_response`.
    Open,
    /// It has; nothing was sent.
    Headed,
    /// The head is out: only the rest of the body, or an abort, may follow.
    Streaming,
}

/// How the body's end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// There is none (HEAD, 1xx, 204, 205, 304).
    Bodyless,
    /// By Content-Length.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection.
    Close,
}

/// The fields that every head ends with, unless the app gave its own. Whole lines.
#[derive(Clone, Debug, Default)]
pub struct CommonHeaders {
    /// `Server: …\r\n`
    pub server: Vec<u8>,
    /// `Date: …\r\n`
    pub date: Vec<u8>,
}

impl CommonHeaders {
    pub(super) fn set(&mut self, server: &[u8], date: &[u8]) {
        server.clone_into(&mut self.server);
        date.clone_into(&mut self.date);
    }
}

/// The state of one reply; its buffers are used again for the next.
#[derive(Debug)]
pub struct Reply {
    pub(crate) stage: Stage,
    constraints: ResponseConstraints,
    channel: Option<Channel>,
    /// The status line and the app's fields, as they go on the wire.
    pub(super) head: Vec<u8>,
    pub(super) status: u16,
    pub(super) length: Option<u64>,
    pub(super) has_date: bool,
    pub(super) has_server: bool,
    pub(super) close: bool,
    /// What was declared the last time.
    pub(super) declared: Declared,
    framing: Framing,
    /// The body is complete: nothing may follow it, not even from its `close()`.
    complete: bool,
    /// Body bytes handed on.
    sent: u64,
    /// Body bytes that did not fit into the declared length.
    excess: u64,
}

impl Default for Reply {
    fn default() -> Self {
        Self {
            stage: Stage::Idle,
            constraints: ResponseConstraints::default(),
            channel: None,
            head: Vec::new(),
            status: 0,
            length: None,
            has_date: false,
            has_server: false,
            close: false,
            declared: Declared::default(),
            framing: Framing::Close,
            complete: false,
            sent: 0,
            excess: 0,
        }
    }
}

impl Reply {
    /// Begins with a new request.
    pub fn open(&mut self, channel: Channel, constraints: ResponseConstraints) {
        self.channel = Some(channel);
        self.constraints = constraints;
        self.stage = Stage::Open;
        (self.sent, self.excess, self.status) = (0, 0, 0);
        // Whoever asks before the app has declared its own must not see another client's.
        self.head.clear();
        self.complete = false;
    }

    /// The body is out to its end.
    pub fn completed(&mut self) {
        self.complete = true;
    }

    /// Whether it is.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Where an interim reply (1xx) may go; nowhere if the client does not know of them (RFC 9110 section 15.2).
    pub fn interim_channel(&self) -> Option<Channel> {
        self.channel.clone().filter(|_| self.constraints.http11)
    }

    /// Endpoints with its request: whoever kept `start_response` or `write` gets an error from now on.
    pub fn end(&mut self) {
        self.stage = Stage::Idle;
        self.channel = None;
    }

    /// The status that was declared; 0 before.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Body bytes handed on.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Body bytes that the app gave beyond its Content-Length; they were not sent.
    pub fn excess(&self) -> u64 {
        self.excess
    }

    /// How many body bytes are missing from the declared length.
    pub fn missing(&self) -> u64 {
        match self.framing {
            Framing::Length(length) if self.stage == Stage::Streaming => {
                length.saturating_sub(self.sent)
            }
            Framing::Length(_) | Framing::Bodyless | Framing::Chunked | Framing::Close => 0,
        }
    }

    /// The declared length, if the app gave one.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether the connection can take another request after this reply.
    pub fn keeps_connection(&self) -> bool {
        self.constraints.keep_alive && !self.close && self.framing != Framing::Close
    }

    /// The status line and fields as they were sent.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Takes them out, to be given back by [`Self::return_head`].
    pub(super) fn take_head(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head)
    }

    /// Takes the buffer back for the next request.
    pub(super) fn return_head(&mut self, head: Vec<u8>) {
        self.head = head;
    }

    /// Whether a body may follow this status (RFC 9110 sections 6.4.1, 15.3.5, 15.3.6, 15.4.5).
    fn may_have_body(&self) -> bool {
        !self.constraints.head_only && self.status >= 200 && !matches!(self.status, 204 | 205 | 304)
    }

    /// Completes the head. `total`: the length of the whole body, if the server knows it.
    fn complete_head(&mut self, total: Option<u64>, common: &CommonHeaders) {
        let unread = self.channel.as_ref().map_or(0, Channel::unread);
        self.close |= CLOSING.load(Ordering::Relaxed) || unread > DRAINED;
        if self.status == 205 {
            self.head.extend_from_slice(b"Content-Length: 0\r\n");
        }
        self.framing = if !self.may_have_body() {
            Framing::Bodyless
        } else if let Some(length) = self.length {
            Framing::Length(length)
        } else if let Some(total) = total {
            self.head.extend_from_slice(b"Content-Length: ");
            self.head
                .extend_from_slice(itoa::Buffer::new().format(total).as_bytes());
            self.head.extend_from_slice(b"\r\n");
            Framing::Length(total)
        } else if self.constraints.http11 {
            self.head
                .extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            Framing::Chunked
        } else {
            Framing::Close
        };
        if !self.has_server {
            self.head.extend_from_slice(&common.server);
        }
        if !self.has_date {
            self.head.extend_from_slice(&common.date);
        }
        // HTTP/1.1 goes on unless told otherwise; HTTP/1.0 closes unless told otherwise (RFC 9112 9.3).
        if !self.keeps_connection() {
            self.head.extend_from_slice(b"Connection: close\r\n");
        } else if !self.constraints.http11 {
            self.head.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        self.head.extend_from_slice(b"\r\n");
        self.stage = Stage::Streaming;
        if let Some(channel) = &self.channel {
            // The reply has begun: the client need not send its body any more.
            channel.owe_continue(false);
        }
    }
}

impl Reply {
    fn account(&mut self, given: usize) -> usize {
        let given64 = u64::try_from(given).unwrap_or(u64::MAX);
        let take = match self.framing {
            Framing::Bodyless => 0,
            Framing::Length(length) => given64.min(length.saturating_sub(self.sent)),
            Framing::Chunked | Framing::Close => given64,
        };
        if self.framing != Framing::Bodyless {
            self.excess = self.excess.saturating_add(given64.saturating_sub(take));
        }
        self.sent = self.sent.saturating_add(take);
        usize::try_from(take).unwrap_or(given)
    }

    /// Prepares to send one part of the body. The channel is given back for sending without the lock.
    pub fn part(
        &mut self,
        given: usize,
        common: &CommonHeaders,
    ) -> Result<(Channel, Fragment), WsgiViolation> {
        let mut step = Fragment::default();
        if self.complete {
            return Err(WsgiViolation::Over);
        }
        match self.stage {
            Stage::Idle => return Err(WsgiViolation::Over),
            Stage::Open => return Err(WsgiViolation::NotStarted),
            Stage::Headed => {
                self.complete_head(None, common);
                step.head = std::mem::take(&mut self.head);
            }
            Stage::Streaming => {}
        }
        step.take = self.account(given);
        if self.framing == Framing::Chunked && step.take > 0 {
            step.chunk = ChunkLine::size(step.take);
        }
        if step.begins() {
            step.flush = self.flush(step.take);
        }
        let channel = self.channel.clone().ok_or(WsgiViolation::Over)?;
        Ok((channel, step))
    }

    /// When a reply is to leave whose first part has so many bytes: together with others if that is all of it.
    fn flush(&self, take: usize) -> Flush {
        let coalesce = self.constraints.coalesce
            && take <= COPIED
            && self.framing != Framing::Chunked
            && self.missing() == 0
            && self.keeps_connection();
        if coalesce { Flush::Later } else { Flush::Now }
    }

    /// Takes the head's buffer back, for the next request and for the access log.
    pub fn done(&mut self, step: Fragment) {
        if !step.head.is_empty() {
            self.head = step.head;
        }
    }

    /// Prepares to send a reply whose whole body is known, with one write.
    pub fn whole(
        &mut self,
        parts: &[Bound<'_, PyBytes>],
        common: &CommonHeaders,
    ) -> Option<(Channel, FullReply)> {
        let total: usize = parts.iter().map(|part| part.as_bytes().len()).sum();
        self.complete_head(u64::try_from(total).ok(), common);
        let channel = self.channel.clone()?;
        let take = self.account(total);
        self.complete = true;
        let mut head = std::mem::take(&mut self.head);
        let head_end = head.len();
        if take <= COPIED {
            for part in limited(parts, take) {
                head.extend_from_slice(part);
            }
        }
        Some((
            channel,
            FullReply {
                head,
                head_end,
                take,
                flush: self.flush(take),
            },
        ))
    }

    /// Takes the head's buffer back, for the next request and for the access log.
    pub fn sent_whole(&mut self, whole: FullReply) {
        self.head = whole.head;
        self.head.truncate(whole.head_end);
    }

    /// Prepares to send a file of so many bytes; gives how many of them to send.
    pub fn file(&mut self, size: u64, common: &CommonHeaders) -> Option<(Channel, Fragment, u64)> {
        let mut step = Fragment::default();
        if self.stage == Stage::Headed {
            self.complete_head(Some(size), common);
            step.head = std::mem::take(&mut self.head);
        }
        let take = match self.framing {
            Framing::Bodyless => 0,
            Framing::Length(length) => size.min(length.saturating_sub(self.sent)),
            Framing::Close => size,
            // Chunked can only be when write() was used before: the caller iterates then.
            Framing::Chunked => return None,
        };
        self.sent = self.sent.saturating_add(take);
        let channel = self.channel.clone()?;
        Some((channel, step, take))
    }

    /// Endpoints the body: an unsent head, or the last chunk.
    pub fn finish(&mut self, common: &CommonHeaders) -> Option<(Channel, Fragment)> {
        let mut step = Fragment::default();
        match self.stage {
            Stage::Headed => {
                // For HEAD the length of what GET would give is not known: say nothing (RFC 9110 9.3.2).
                self.complete_head(Some(0), common);
                step.head = std::mem::take(&mut self.head);
            }
            Stage::Streaming if self.framing == Framing::Chunked => {
                step.chunk = ChunkLine::last();
            }
            // Parts may wait for their next one.
            Stage::Streaming => {}
            Stage::Idle | Stage::Open => return None,
        }
        Some((self.channel.clone()?, step))
    }
}
