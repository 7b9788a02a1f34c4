//! A client of an exchange whose response is compressed on the way, if it may be.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rcorn_front_link::{Coding, Compress};
use tokio::task::coop::poll_proceed;

use crate::buffer::BLOCK_BYTES;
use crate::compression::{is_compressible, write_head};
use crate::encoder::{Encoder, Failed};
use crate::response_head::ResponseHead;
use crate::side::{ClientError, Part, Side};

/// Another client, and what is between.
pub(crate) struct CompressedSide<'a, S> {
    side: &'a mut S,
    rules: Option<&'a Compress>,
    /// What the client is to get.
    coding: Option<Coding>,
    /// Once a response has begun that is compressed.
    encoder: Option<Encoder>,
    /// It has taken what it has not put out.
    is_dirty: bool,
    has_ended: bool,
    /// What was put out and not sent.
    out: Vec<u8>,
    sent: usize,
}

impl<'a, S: Side> CompressedSide<'a, S> {
    /// Without rules nothing is compressed.
    pub(crate) fn new(
        side: &'a mut S,
        rules: Option<&'a Compress>,
        coding: Option<Coding>,
    ) -> Self {
        Self {
            side,
            rules,
            coding,
            encoder: None,
            is_dirty: false,
            has_ended: false,
            out: Vec::new(),
            sent: 0,
        }
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let sent = ready!(self.side.poll_send(cx, rest, false))?;
            self.sent = self.sent.saturating_add(sent);
        }
        self.out.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

/// The response ends where it is, incomplete, as if the client had left.
impl From<Failed> for ClientError {
    fn from(_failed: Failed) -> Self {
        Self::Gone
    }
}

impl<S: Side> Side for CompressedSide<'_, S> {
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<Result<Part, ClientError>> {
        self.side.poll_body(cx, out)
    }

    fn interim(&mut self, head: &ResponseHead, bytes: &[u8]) -> Result<(), ClientError> {
        self.side.interim(head, bytes)
    }

    fn begin(&mut self, head: &ResponseHead, bytes: &[u8], ends: bool) -> Result<(), ClientError> {
        let rules = self
            .rules
            .filter(|rules| is_compressible(rules, head, bytes));
        let Some(rules) = rules else {
            return self.side.begin(head, bytes, ends);
        };
        let coding = self.coding;
        let encoder = coding.and_then(|coding| Encoder::new(coding, rules.level));
        let text = write_head(head, bytes, coding.filter(|_| encoder.is_some()));
        let mut changed = ResponseHead::default();
        // It is made of one that was parsed.
        if changed.parse(&text, false) != Ok(true) {
            return self.side.begin(head, bytes, ends);
        }
        self.encoder = encoder;
        self.side.begin(&changed, &text, ends)
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        last: bool,
    ) -> Poll<Result<usize, ClientError>> {
        if self.encoder.is_none() {
            return self.side.poll_send(cx, data, last);
        }
        ready!(self.poll_out(cx))?;
        if let Some(encoder) = &mut self.encoder {
            encoder.write(data, &mut self.out)?;
            self.is_dirty = true;
        }
        Poll::Ready(Ok(data.len()))
    }

    fn poll_send_shared(
        &mut self,
        cx: &mut Context<'_>,
        data: &Bytes,
    ) -> Poll<Result<usize, ClientError>> {
        if self.encoder.is_none() {
            return self.side.poll_send_shared(cx, data);
        }
        ready!(self.poll_out(cx))?;
        // There is no I/O that would let other clients of this thread have their turn.
        let turn = ready!(poll_proceed(cx));
        turn.made_progress();
        // An encoder looks at its input more than once.
        let part = data.get(..BLOCK_BYTES).unwrap_or(data).to_vec();
        self.poll_send(cx, &part, part.len() == data.len())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        if let Some(encoder) = &mut self.encoder
            && self.is_dirty
        {
            encoder.flush(&mut self.out)?;
            self.is_dirty = false;
        }
        ready!(self.poll_out(cx))?;
        self.side.poll_flush(cx)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        if let Some(encoder) = &mut self.encoder
            && !self.has_ended
        {
            encoder.finish(&mut self.out)?;
            self.has_ended = true;
        }
        ready!(self.poll_out(cx))?;
        self.side.poll_finish(cx)
    }

    fn taken(&self) -> u64 {
        self.side.taken()
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.side.poll_gone(cx)
    }
}
