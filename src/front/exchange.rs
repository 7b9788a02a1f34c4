//! One request and its response, between a client and a worker: in both directions at a time, and
//! no faster than the slower side. What nothing has been heard of is tried a second time, if that
//! is safe.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rcorn_front_link::Limits;
use rcorn_http::{ChunkedDecoder, Framing, Refusal};
use rcorn_types::Level;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::counters::Counter;
use crate::inner::Inner;
use crate::local::Local;
use crate::response_head::{Delimited, ResponseHead};
use crate::timer::{Timer, due_in, limit};

/// How much of a request's body is passed on at a time, in bytes.
const PART_BYTES: usize = 64 * 1024;

/// Where the size of a chunk is written, when its data is there.
const CHUNK_HEAD: &[u8] = b"00000000\r\n";

/// What came of the request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Some more of it.
    Data,
    /// It has ended.
    End,
}

/// Why a client gets no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientError {
    /// It has left.
    Gone,
    /// Its body is malformed.
    Refused(Refusal),
}

/// The client of an exchange, whatever it speaks.
pub(crate) trait Side {
    /// Appends some more of the request's body.
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<Result<Part, ClientError>>;

    /// Sends an interim response (RFC 9110 section 15.2).
    fn interim(&mut self, head: &ResponseHead, bytes: &[u8]) -> Result<(), ClientError>;

    /// Begins the response. With `ends` it has no body.
    fn begin(&mut self, head: &ResponseHead, bytes: &[u8], ends: bool) -> Result<(), ClientError>;

    /// Takes some of the body, and returns how much. Nothing comes after the `last` data.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        last: bool,
    ) -> Poll<Result<usize, ClientError>>;

    /// Sends what was taken.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>>;

    /// Ends the response, and sends all of it.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>>;

    /// A number that grows whenever the client takes something.
    fn taken(&self) -> u64;

    /// Ready when the client has told that it does not want the response any more.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// What is asked of a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// How the worker gets the body.
    pub(crate) framing: Framing,
    /// The response has no body.
    pub(crate) is_head: bool,
    /// It may be sent twice.
    pub(crate) is_idempotent: bool,
    /// The client waits for `100 Continue`.
    pub(crate) expects_continue: bool,
    /// The client wants another protocol.
    pub(crate) upgrades: bool,
    /// Method and target, for logs.
    pub(crate) about: &'a [u8],
}

/// How an exchange has ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The response is complete.
    Done {
        /// The request's body was read to its end.
        body_ended: bool,
    },
    /// The worker has agreed to another protocol.
    Tunnel(Inner),
    /// There was no response: the client gets this page.
    Page(u16, Cow<'static, str>),
    /// The response cannot be completed, and the client must not take it for complete.
    Abort,
    /// The client has left.
    Gone,
}

/// Why a worker's response did not come to its end.
enum Failure {
    /// Nothing came of it.
    None(io::Error),
    /// It is no HTTP.
    Malformed(&'static str),
    /// It has ended too early.
    Cut,
    Client(ClientError),
    /// The client takes too long to send the body.
    BodyLate,
    /// The client takes too long to take the response.
    ReadLate,
}

/// What has come of a response.
enum End {
    Complete,
    Upgrade,
}

/// How far the response has come.
enum Down {
    Head,
    Length(u64),
    /// With what is left of the data that the decoder has found, and whether it was the last.
    Chunked(ChunkedDecoder, usize, bool),
    UntilClose,
    Finish,
}

struct Exchange<'a, S> {
    local: &'a Local,
    request: Request<'a>,
    limits: &'a Limits,
    side: &'a mut S,
    /// What is on its way to the worker.
    out: Vec<u8>,
    sent: usize,
    /// `out` has all that was taken from the client.
    is_whole: bool,
    body_ended: bool,
    /// Something came from the worker.
    is_answered: bool,
    has_begun: bool,
    head: ResponseHead,
    /// Until when the client must go on with its body, and with taking the response.
    body_due: Option<Instant>,
    read_due: Option<Instant>,
    /// What the client had taken when `read_due` was set.
    taken: u64,
}

/// Passes a request on and its response back. `out` is the request's head as workers get it.
pub(crate) async fn pass<S: Side>(
    local: &Local,
    limits: &Limits,
    request: Request<'_>,
    out: Vec<u8>,
    side: &mut S,
    timer: &mut Timer,
) -> Outcome {
    local.count(Counter::Requests);
    let exchange = Exchange {
        local,
        limits,
        side,
        out,
        sent: 0,
        is_whole: true,
        body_ended: request.framing == Framing::None,
        is_answered: false,
        has_begun: false,
        head: ResponseHead::default(),
        body_due: None,
        read_due: None,
        taken: 0,
        request,
    };
    exchange.run(timer).await
}

impl<S: Side> Exchange<'_, S> {
    async fn run(mut self, timer: &mut Timer) -> Outcome {
        let mut kept = self.local.pool.take(self.request.is_idempotent);
        let mut is_second = false;
        loop {
            let mut inner = match kept.take() {
                Some(inner) => inner,
                None => match self.local.pool.connect(limit(self.limits.connect_ms)).await {
                    Ok(inner) => {
                        self.local.count(Counter::InnerConnections);
                        inner
                    }
                    Err(error) => return self.unavailable(&error),
                },
            };
            match self.attempt(&mut inner, timer).await {
                Ok(End::Upgrade) => return Outcome::Tunnel(inner),
                Ok(End::Complete) => {
                    let is_sent = self.body_ended && self.sent == self.out.len();
                    if self.head.keeps && is_sent && inner.input.is_empty() {
                        self.local.pool.keep(inner);
                    }
                    let body_ended = self.body_ended;
                    return Outcome::Done { body_ended };
                }
                Err(Failure::None(_)) if !is_second && self.may_retry() => {
                    self.local.count(Counter::Retries);
                    is_second = true;
                    self.sent = 0;
                }
                Err(failure) => return self.fail(&failure),
            }
        }
    }

    /// Whether the request may be sent to another worker: the first one has not begun to answer,
    /// and cannot have begun to work, or may do so twice (RFC 9110 section 9.2.2).
    fn may_retry(&self) -> bool {
        !self.is_answered && self.is_whole && (self.sent == 0 || self.request.is_idempotent)
    }

    async fn attempt(&mut self, inner: &mut Inner, timer: &mut Timer) -> Result<End, Failure> {
        let mut down = Down::Head;
        // Why the worker does not take the rest of the request: it may have answered all the same.
        let mut broken = None;
        if self.request.framing != Framing::None && !self.body_ended {
            // What is there already goes with the head.
            std::future::poll_fn(|cx| match self.poll_part(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(Failure::Client(error))),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
            })
            .await?;
        }
        std::future::poll_fn(|cx| {
            if self.side.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Failure::Client(ClientError::Gone)));
            }
            if broken.is_none() {
                match self.poll_up(cx, inner) {
                    Poll::Ready(Err(Up::Client(error))) => {
                        return Poll::Ready(Err(Failure::Client(error)));
                    }
                    Poll::Ready(Err(Up::Inner(error))) => broken = Some(error),
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            match self.poll_down(cx, inner, &mut down) {
                Poll::Ready(Err(Failure::None(error))) => {
                    let error = broken.take().unwrap_or(error);
                    return Poll::Ready(Err(Failure::None(error)));
                }
                Poll::Ready(done) => return Poll::Ready(done),
                Poll::Pending => {}
            }
            self.poll_late(cx, timer)
        })
        .await
    }

    /// The client has its limits on both ways.
    fn poll_late(&self, cx: &mut Context<'_>, timer: &mut Timer) -> Poll<Result<End, Failure>> {
        let due = match (self.body_due, self.read_due) {
            (Some(body), Some(read)) => Some(body.min(read)),
            (body, read) => body.or(read),
        };
        timer.set(due);
        ready!(timer.poll(cx));
        Poll::Ready(Err(if due == self.read_due {
            Failure::ReadLate
        } else {
            Failure::BodyLate
        }))
    }

    /// Sends the request.
    fn poll_up(&mut self, cx: &mut Context<'_>, inner: &mut Inner) -> Poll<Result<(), Up>> {
        loop {
            while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
                let sent = ready!(Pin::new(&mut *inner).poll_write(cx, rest)).map_err(Up::Inner)?;
                self.sent = self.sent.saturating_add(sent);
            }
            if self.body_ended {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_part(cx)).map_err(Up::Client)?;
        }
    }

    /// Takes some of the body that is there, in the form that the worker gets.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        let all_sent = self.sent > 0 && self.sent == self.out.len();
        let start = self.out.len();
        let is_chunked = self.request.framing == Framing::Chunked;
        if is_chunked {
            self.out.extend_from_slice(CHUNK_HEAD);
        }
        let data = self.out.len();
        let part = loop {
            let room = data.saturating_add(PART_BYTES);
            match self.side.poll_body(cx, &mut self.out) {
                Poll::Ready(Ok(Part::Data)) if self.out.len() < room => {}
                other @ (Poll::Ready(_) | Poll::Pending) => break other,
            }
        };
        let length = self.out.len().saturating_sub(data);
        if is_chunked {
            end_chunk(&mut self.out, start, length);
        }
        if let Poll::Ready(Ok(Part::End)) = part {
            self.body_ended = true;
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
        if length > 0 {
            self.body_due = None;
        }
        match part {
            Poll::Ready(done) => Poll::Ready(done.map(|_part| ())),
            Poll::Pending if length > 0 => Poll::Ready(Ok(())),
            Poll::Pending => {
                let is_asked = !self.request.expects_continue || self.is_answered;
                if self.body_due.is_none() && is_asked {
                    self.body_due = due_in(limit(self.limits.body_ms));
                }
                Poll::Pending
            }
        }
    }

    /// Passes the response back.
    fn poll_down(
        &mut self,
        cx: &mut Context<'_>,
        inner: &mut Inner,
        down: &mut Down,
    ) -> Poll<Result<End, Failure>> {
        loop {
            match down {
                Down::Head => match ready!(self.poll_head(cx, inner))? {
                    Some(next) => *down = next,
                    None => return Poll::Ready(Ok(End::Upgrade)),
                },
                Down::Length(left) => {
                    ready!(self.poll_more(cx, inner))?.ok_or(Failure::Cut)?;
                    let here = u64::try_from(inner.input.data().len()).unwrap_or(u64::MAX);
                    let wanted = usize::try_from((*left).min(here)).unwrap_or(usize::MAX);
                    let sent = ready!(self.poll_data(cx, inner, wanted, here >= *left))?;
                    *left = left.saturating_sub(u64::try_from(sent).unwrap_or(u64::MAX));
                    if *left == 0 {
                        *down = Down::Finish;
                    }
                }
                Down::Chunked(_, 0, true) => *down = Down::Finish,
                Down::Chunked(decoder, left, is_last) if *left == 0 => {
                    ready!(self.poll_more(cx, inner))?.ok_or(Failure::Cut)?;
                    let chunk = decoder.decode(inner.input.data());
                    let chunk = chunk.map_err(|_refusal| Failure::Cut)?;
                    (*left, *is_last) = (chunk.data.len(), chunk.done);
                    let before = chunk.consumed.saturating_sub(*left);
                    inner.input.consume(before);
                }
                Down::Chunked(_, left, _) => {
                    let wanted = *left;
                    let sent = ready!(self.poll_data(cx, inner, wanted, false))?;
                    *left = wanted.saturating_sub(sent);
                }
                Down::UntilClose => {
                    if ready!(self.poll_more(cx, inner))?.is_none() {
                        *down = Down::Finish;
                        continue;
                    }
                    let here = inner.input.data().len();
                    ready!(self.poll_data(cx, inner, here, false))?;
                }
                Down::Finish => {
                    let done = self.side.poll_finish(cx);
                    return self.noticed(done).map_ok(|()| End::Complete);
                }
            }
        }
    }

    /// Waits for the head of the final response; `None` if the protocol changes.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        inner: &mut Inner,
    ) -> Poll<Result<Option<Down>, Failure>> {
        loop {
            let bytes = inner.input.data();
            self.is_answered |= !bytes.is_empty();
            let is_whole = self.head.parse(bytes, self.request.is_head);
            if !is_whole.map_err(Failure::Malformed)? {
                let flushed = self.side.poll_flush(cx);
                // Whether it is waiting or done, the worker may go on.
                if let Poll::Ready(Err(error)) = self.noticed(flushed) {
                    return Poll::Ready(Err(error));
                }
                match ready!(inner.poll_fill(cx)) {
                    Ok(0) => {
                        let kind = io::ErrorKind::UnexpectedEof;
                        let error = io::Error::new(kind, "the connection was closed");
                        return Poll::Ready(Err(Failure::None(error)));
                    }
                    Ok(_) => continue,
                    Err(error) => return Poll::Ready(Err(Failure::None(error))),
                }
            }
            let (length, status) = (self.head.length, self.head.status);
            if status == 101 && !self.request.upgrades {
                return Poll::Ready(Err(Failure::Malformed("nobody asked for its protocol")));
            }
            if matches!(status, 100 | 102..200) {
                let done = self.side.interim(&self.head, bytes);
                done.map_err(Failure::Client)?;
                inner.input.consume(length);
                continue;
            }
            let ends = self.head.delimited == Delimited::None && status != 101;
            let done = self.side.begin(&self.head, bytes, ends);
            done.map_err(Failure::Client)?;
            self.has_begun = true;
            inner.input.consume(length);
            return Poll::Ready(Ok(match self.head.delimited {
                _ if status == 101 => None,
                Delimited::None => Some(Down::Finish),
                Delimited::Length(length) => Some(Down::Length(length)),
                Delimited::Chunked => {
                    let decoder = ChunkedDecoder::new(&rcorn_http::Limits::default());
                    Some(Down::Chunked(decoder, 0, false))
                }
                Delimited::Close => Some(Down::UntilClose),
            }));
        }
    }

    /// Waits until there is something of the body; `None` at the end of the connection.
    fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        inner: &mut Inner,
    ) -> Poll<Result<Option<()>, Failure>> {
        if !inner.input.is_empty() {
            return Poll::Ready(Ok(Some(())));
        }
        match inner.poll_fill(cx) {
            Poll::Ready(Ok(0)) => Poll::Ready(Ok(None)),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(Some(()))),
            Poll::Ready(Err(_)) => Poll::Ready(Err(Failure::Cut)),
            Poll::Pending => {
                let flushed = self.side.poll_flush(cx);
                match self.noticed(flushed) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    /// Passes so many bytes of the input on, and returns how many the client took.
    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
        inner: &mut Inner,
        wanted: usize,
        last: bool,
    ) -> Poll<Result<usize, Failure>> {
        let data = inner.input.data().get(..wanted).unwrap_or_default();
        let sent = self.side.poll_send(cx, data, last);
        let sent = ready!(self.noticed(sent))?;
        inner.input.consume(sent);
        Poll::Ready(Ok(sent))
    }

    /// Notes whether the client takes the response.
    fn noticed<T>(&mut self, done: Poll<Result<T, ClientError>>) -> Poll<Result<T, Failure>> {
        if done.is_ready() {
            self.read_due = None;
        } else if self.read_due.is_none() || self.taken != self.side.taken() {
            self.taken = self.side.taken();
            self.read_due = due_in(limit(self.limits.write_ms));
        }
        done.map_err(Failure::Client)
    }

    fn unavailable(&self, error: &io::Error) -> Outcome {
        self.local.count(Counter::Unavailable);
        let about = self.request.about.escape_ascii();
        self.local.record(
            Level::Warning,
            format!("No worker took a connection for {about}: {error}"),
        );
        Outcome::Page(503, "No worker takes connections at the moment.".into())
    }

    fn fail(&self, failure: &Failure) -> Outcome {
        let about = self.request.about.escape_ascii();
        match failure {
            Failure::Client(ClientError::Gone) => Outcome::Gone,
            Failure::Client(ClientError::Refused(refusal)) if !self.has_begun => {
                self.local.count(Counter::RefusedRequests);
                Outcome::Page(refusal.status(), refusal.to_string().into())
            }
            Failure::BodyLate if !self.has_begun => {
                self.local.count(Counter::LateRequests);
                Outcome::Page(408, "The request took too long to arrive.".into())
            }
            Failure::Client(ClientError::Refused(_)) | Failure::BodyLate => Outcome::Abort,
            Failure::ReadLate => {
                self.local.count(Counter::SlowReaders);
                Outcome::Abort
            }
            Failure::Cut => {
                self.local.count(Counter::CutResponses);
                let what = format!("A worker did not finish its response to {about}");
                self.local.record(Level::Warning, what);
                Outcome::Abort
            }
            Failure::None(error) => {
                let what = format!("No worker answered {about}: {error}");
                self.bad_gateway(what, "The worker ended before it answered.")
            }
            Failure::Malformed(reason) => {
                let what = format!("A worker's answer to {about} is malformed: {reason}");
                self.bad_gateway(what, "The worker's answer is malformed.")
            }
        }
    }

    fn bad_gateway(&self, record: String, page: &'static str) -> Outcome {
        self.local.count(Counter::BadGateways);
        self.local.record(Level::Warning, record);
        Outcome::Page(502, page.into())
    }
}

/// Why the request cannot be sent on.
enum Up {
    Client(ClientError),
    Inner(io::Error),
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
