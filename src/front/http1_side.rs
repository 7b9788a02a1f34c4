//! A client of HTTP/1 in an exchange: reads its body, and writes it the response.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rcorn_http::ChunkedDecoder;
use tokio::io::AsyncWrite;

use crate::buffer::BLOCK_BYTES;
use crate::local::Local;
use crate::response_head::{Delimited, ResponseHead};
use crate::side::{ClientError, Part, Side};
use crate::stream::Client;

/// How much of a response is collected before it is written, in bytes.
const MAX_COLLECTED: usize = 64 * 1024;

/// What has not been read of a request's body.
pub(crate) enum Body {
    Ended,
    Length(u64),
    Chunked(ChunkedDecoder),
}

/// How the client gets the body of the response.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As it is: by its length, or until the end of the connection.
    Plain,
    Chunked,
    /// The last chunk is written.
    Ended,
}

/// A client in an exchange.
pub(crate) struct Http1Side<'a> {
    client: &'a mut Client,
    local: &'a Local,
    body: Body,
    /// It speaks HTTP/1.0.
    is_old: bool,
    keeps: bool,
    hsts: Option<&'a str>,
    form: Form,
    until_close: bool,
    /// What was not written yet.
    out: Vec<u8>,
    written: usize,
}

impl<'a> Http1Side<'a> {
    pub(crate) fn new(
        client: &'a mut Client,
        local: &'a Local,
        body: Body,
        is_old: bool,
        keeps: bool,
        hsts: Option<&'a str>,
    ) -> Self {
        Self {
            client,
            local,
            body,
            is_old,
            keeps,
            hsts,
            form: Form::Plain,
            until_close: false,
            out: Vec::new(),
            written: 0,
        }
    }

    /// Whether the client may send another request.
    pub(crate) fn keeps(&self) -> bool {
        self.keeps
    }

    /// Whether the end of the connection is what tells the client that the response is complete.
    pub(crate) fn ends_with_connection(&self) -> bool {
        self.until_close
    }

    /// Writes what is left.
    pub(crate) async fn flush(&mut self) -> Result<(), ClientError> {
        std::future::poll_fn(|cx| self.poll_flush(cx)).await
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            let written = Pin::new(&mut self.client.stream).poll_write(cx, rest);
            match ready!(written) {
                Ok(0) | Err(_) => return Poll::Ready(Err(ClientError::Gone)),
                Ok(count) => self.written = self.written.saturating_add(count),
            }
        }
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Reads more of what the client sends.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        if !self.client.input.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match ready!(self.client.poll_fill(cx)) {
            Ok(0) | Err(_) => Poll::Ready(Err(ClientError::Gone)),
            Ok(_) => Poll::Ready(Ok(())),
        }
    }

    fn write_status(&mut self, head: &ResponseHead, bytes: &[u8]) {
        let [hundreds, tens, ones] = [100, 10, 1].map(|unit| {
            let digit = head.status.checked_div(unit).unwrap_or(0) % 10;
            b'0'.saturating_add(u8::try_from(digit).unwrap_or(0))
        });
        self.out.extend_from_slice(b"HTTP/1.1 ");
        self.out.extend_from_slice(&[hundreds, tens, ones, b' ']);
        self.out.extend_from_slice(head.reason(bytes));
        self.out.extend_from_slice(b"\r\n");
    }

    fn write_fields(&mut self, head: &ResponseHead, bytes: &[u8]) {
        for (name, value) in head.fields(bytes) {
            if name.eq_ignore_ascii_case(b"strict-transport-security") {
                self.hsts = None;
            }
            for part in [name, b": ", value, b"\r\n"] {
                self.out.extend_from_slice(part);
            }
        }
    }
}

impl Side for Http1Side<'_> {
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<Result<Part, ClientError>> {
        loop {
            if matches!(self.body, Body::Ended | Body::Length(0)) {
                return Poll::Ready(Ok(Part::End));
            }
            ready!(self.poll_more(cx))?;
            let data = self.client.input.data();
            match &mut self.body {
                Body::Ended => {}
                Body::Length(left) => {
                    let here = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    let count = usize::try_from(here.min(*left)).unwrap_or(usize::MAX);
                    out.extend_from_slice(data.get(..count).unwrap_or_default());
                    *left = left.saturating_sub(here);
                    self.client.input.consume(count);
                    return Poll::Ready(Ok(Part::Data));
                }
                Body::Chunked(decoder) => {
                    let chunk = decoder.decode(data).map_err(ClientError::Refused)?;
                    let (has_data, is_done) = (!chunk.data.is_empty(), chunk.done);
                    out.extend_from_slice(chunk.data);
                    let consumed = chunk.consumed;
                    self.client.input.consume(consumed);
                    if is_done {
                        self.body = Body::Ended;
                    }
                    if has_data {
                        return Poll::Ready(Ok(Part::Data));
                    }
                }
            }
        }
    }

    fn interim(&mut self, head: &ResponseHead, bytes: &[u8]) -> Result<(), ClientError> {
        // HTTP/1.0 has none (RFC 9110 section 15.2).
        if !self.is_old {
            self.write_status(head, bytes);
            let hsts = self.hsts;
            self.write_fields(head, bytes);
            self.hsts = hsts;
            self.out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    fn begin(&mut self, head: &ResponseHead, bytes: &[u8], _ends: bool) -> Result<(), ClientError> {
        self.out.reserve(head.length.saturating_add(128));
        self.write_status(head, bytes);
        self.write_fields(head, bytes);
        let is_unbounded = matches!(head.delimited, Delimited::Chunked | Delimited::Close);
        if is_unbounded && !self.is_old {
            self.form = Form::Chunked;
            self.out
                .extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        self.until_close = is_unbounded && self.is_old;
        // Who has not sent its body yet may send it or another request: nobody can tell.
        let is_read = matches!(self.body, Body::Ended | Body::Length(0));
        self.keeps &= is_read && self.local.draining().is_none() && !self.until_close;
        if let Some(hsts) = self.hsts {
            for part in ["Strict-Transport-Security: ", hsts, "\r\n"] {
                self.out.extend_from_slice(part.as_bytes());
            }
        }
        if head.status == 101 {
            let upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n";
            self.out.extend_from_slice(upgrade);
        } else if !self.keeps {
            self.out.extend_from_slice(b"Connection: close\r\n");
        } else if self.is_old {
            self.out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        _last: bool,
    ) -> Poll<Result<usize, ClientError>> {
        if self.out.len() >= MAX_COLLECTED {
            ready!(self.poll_out(cx))?;
        }
        if self.form == Form::Chunked {
            let size = format!("{:x}\r\n", data.len());
            for part in [size.as_bytes(), data, b"\r\n"] {
                self.out.extend_from_slice(part);
            }
        } else if !self.out.is_empty() {
            // The head, and what follows it at once.
            self.out.extend_from_slice(data);
        } else {
            let written = ready!(Pin::new(&mut self.client.stream).poll_write(cx, data));
            return Poll::Ready(match written {
                Ok(0) | Err(_) => Err(ClientError::Gone),
                Ok(count) => Ok(count),
            });
        }
        Poll::Ready(Ok(data.len()))
    }

    fn poll_send_shared(
        &mut self,
        cx: &mut Context<'_>,
        data: &Bytes,
    ) -> Poll<Result<usize, ClientError>> {
        let part = data.get(..BLOCK_BYTES).unwrap_or(data);
        self.poll_send(cx, part, part.len() == data.len())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        ready!(self.poll_out(cx))?;
        let flushed = Pin::new(&mut self.client.stream).poll_flush(cx);
        flushed.map_err(|_error| ClientError::Gone)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        if self.form == Form::Chunked {
            self.form = Form::Ended;
            self.out.extend_from_slice(b"0\r\n\r\n");
        }
        self.poll_flush(cx)
    }

    fn taken(&self) -> u64 {
        self.client.taken()
    }

    fn poll_gone(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}
