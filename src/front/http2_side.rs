//! A stream of HTTP/2 in an exchange.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{HeaderName, STRICT_TRANSPORT_SECURITY};
use http::{HeaderValue, Response, StatusCode};

use crate::buffer::{BLOCK_BYTES, FRAME_BYTES};
use crate::http1_io::linger;
use crate::http2_shared::Shared;
use crate::response_head::ResponseHead;
use crate::side::{ClientError, Part, Side};

/// A stream in an exchange.
pub(crate) struct Http2Side<'a> {
    shared: &'a Shared,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    /// Once the response has begun.
    send: Option<SendStream<Bytes>>,
    has_ended: bool,
    /// The end of a response that comes before the client has sent all of its body. curl 7.88 goes
    /// round in circles when it has a whole response and is still sending.
    held: Bytes,
    is_success: bool,
    hsts: Option<&'a str>,
}

impl<'a> Http2Side<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        body: RecvStream,
        respond: SendResponse<Bytes>,
        hsts: Option<&'a str>,
    ) -> Self {
        Self {
            shared,
            body,
            respond,
            send: None,
            has_ended: false,
            held: Bytes::new(),
            is_success: false,
            hsts,
        }
    }

    /// Ends the stream so that the client does not take it for complete.
    pub(crate) fn abort(&mut self) {
        match &mut self.send {
            Some(send) => send.send_reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }

    /// Whether all of the request's body has been read.
    fn is_read(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Reads on for a while, and ends the response only then: not all clients expect its end while
    /// they are sending, and the reset that follows (RFC 9113 section 8.1).
    pub(crate) async fn linger(&mut self) {
        if self.has_ended {
            return;
        }
        linger(async || match self.body.data().await {
            // Empty parts count, too.
            Some(Ok(data)) => {
                let control = self.body.flow_control();
                let released = control.release_capacity(data.len());
                released.map_or(0, |()| data.len().max(1))
            }
            Some(Err(_)) | None => 0,
        })
        .await;
        // The client may have left.
        self.end().ok();
    }

    /// Ends the response.
    fn end(&mut self) -> Result<(), ClientError> {
        if !self.has_ended
            && let Some(send) = &mut self.send
        {
            self.has_ended = true;
            let held = std::mem::take(&mut self.held);
            send.send_data(held, true).map_err(gone)?;
        }
        Ok(())
    }

    /// Answers with a page of the front.
    pub(crate) fn page(&mut self, status: u16, text: Vec<u8>, server: Option<&str>, is_head: bool) {
        let length = text.len();
        let mut response = Response::builder()
            .status(status)
            .header("content-type", "text/html; charset=utf-8")
            .header("content-length", length)
            .header("date", crate::page::date());
        if let Some(server) = server {
            response = response.header("server", server);
        }
        let response = response.body(()).ok();
        // The client has left if it is not sent.
        self.send = response.and_then(|response| self.respond.send_response(response, false).ok());
        if let Some(send) = &mut self.send
            && !is_head
        {
            send.send_data(text.into(), false).ok();
        }
    }

    fn response(&self, head: &ResponseHead, bytes: &[u8]) -> Result<Response<()>, ClientError> {
        let mut response = Response::new(());
        // The parser has checked all of it: none is lost.
        let status = StatusCode::from_u16(head.status);
        *response.status_mut() = status.map_err(|_range| ClientError::Gone)?;
        let headers = response.headers_mut();
        for (name, value) in head.fields(bytes) {
            let name = HeaderName::from_bytes(name).map_err(|_name| ClientError::Gone)?;
            let value = HeaderValue::from_bytes(value).map_err(|_value| ClientError::Gone)?;
            headers.append(name, value);
        }
        if let Some(hsts) = self.hsts
            && head.status >= 200
            && !headers.contains_key(STRICT_TRANSPORT_SECURITY)
            && let Ok(value) = HeaderValue::from_str(hsts)
        {
            headers.insert(STRICT_TRANSPORT_SECURITY, value);
        }
        Ok(response)
    }
}

impl Http2Side<'_> {
    /// Waits until the client takes a frame, if so many bytes are to be sent; returns how many go
    /// into it.
    fn poll_room(
        &mut self,
        cx: &mut Context<'_>,
        wanted: usize,
    ) -> Poll<Result<usize, ClientError>> {
        let send = self.send.as_mut().ok_or(ClientError::Gone)?;
        send.reserve_capacity(wanted.min(BLOCK_BYTES));
        while send.capacity() == 0 {
            let more = ready!(send.poll_capacity(cx));
            more.ok_or(ClientError::Gone)?.map_err(gone)?;
        }
        Poll::Ready(Ok(send.capacity().min(FRAME_BYTES)))
    }

    /// Sends one frame of the body. With `is_end` nothing follows it.
    fn send_frame(&mut self, data: Bytes, is_end: bool) -> Result<(), ClientError> {
        let is_read = self.is_read();
        if self.is_success && is_end && !is_read {
            self.held = data;
            return Ok(());
        }
        self.has_ended = is_end && is_read;
        let length = data.len();
        let send = self.send.as_mut().ok_or(ClientError::Gone)?;
        send.send_data(data, self.has_ended).map_err(gone)?;
        self.shared.brought(length);
        Ok(())
    }
}

fn gone(_error: h2::Error) -> ClientError {
    ClientError::Gone
}

impl Side for Http2Side<'_> {
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<Result<Part, ClientError>> {
        let Some(data) = ready!(self.body.poll_data(cx)) else {
            return Poll::Ready(Ok(Part::End));
        };
        let data = data.map_err(gone)?;
        out.extend_from_slice(&data);
        self.shared.brought(data.len());
        // The worker takes it before more is read of this stream.
        let control = self.body.flow_control();
        control.release_capacity(data.len()).map_err(gone)?;
        Poll::Ready(Ok(Part::Data))
    }

    fn interim(&mut self, head: &ResponseHead, bytes: &[u8]) -> Result<(), ClientError> {
        let response = self.response(head, bytes)?;
        self.respond.send_informational(response).map_err(gone)
    }

    fn begin(&mut self, head: &ResponseHead, bytes: &[u8], ends: bool) -> Result<(), ClientError> {
        let response = self.response(head, bytes)?;
        self.has_ended = ends && self.is_read();
        // Who is refused stops sending.
        self.is_success = head.status < 400;
        let send = self.respond.send_response(response, self.has_ended);
        self.send = Some(send.map_err(gone)?);
        self.shared.brought(head.length);
        Ok(())
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        last: bool,
    ) -> Poll<Result<usize, ClientError>> {
        let room = ready!(self.poll_room(cx, data.len()))?;
        let part = data.get(..room).unwrap_or(data);
        let is_end = last && part.len() == data.len();
        let sent = self.send_frame(Bytes::copy_from_slice(part), is_end);
        Poll::Ready(sent.map(|()| part.len()))
    }

    fn poll_send_shared(
        &mut self,
        cx: &mut Context<'_>,
        data: &Bytes,
    ) -> Poll<Result<usize, ClientError>> {
        let room = ready!(self.poll_room(cx, data.len()))?;
        let part = data.slice(..room.min(data.len()));
        let length = part.len();
        let sent = self.send_frame(part, length == data.len());
        Poll::Ready(sent.map(|()| length))
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        // Otherwise when the body was read.
        Poll::Ready(if self.is_read() { self.end() } else { Ok(()) })
    }

    fn taken(&self) -> u64 {
        // What has a place in the window is taken at once.
        0
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut self.send {
            Some(send) => send.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        reset.map(|_reason| ())
    }
}
