//! One request and its response, between a client and a worker: in both directions at a time, and
//! no faster than the slower side. What nothing has been heard of is tried a second time, if that
//! is safe.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use rcorn_front_link::{Limits, SharedBody};
use rcorn_http::{ChunkedDecoder, Framing};
use tokio::time::Instant;

use crate::counters::Counter;
use crate::inner::Inner;
use crate::local::Local;
use crate::outcome::{Failure, Outcome};
use crate::response_head::{Delimited, Malformed, ResponseHead};
use crate::side::{ClientError, Side};
use crate::timer::{Timer, due_in, limit};
use crate::upload::{Stopped, Upload};

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

/// What has come of a response.
enum End {
    Complete,
    Upgrade,
}

/// How far the response has come.
enum Down {
    Head,
    Length(u64),
    /// What is left of a body in memory.
    Shared(Bytes),
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
    upload: Upload,
    /// The worker has called the app before it had all of the request.
    has_app_begun: bool,
    /// Something came from the worker.
    is_answered: bool,
    has_begun: bool,
    /// The worker has announced the body of the response.
    shared: Option<SharedBody>,
    head: ResponseHead,
    /// Until when the client must go on taking the response.
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
    let body_limit = limit(limits.body_ms);
    let exchange = Exchange {
        local,
        limits,
        side,
        upload: Upload::new(out, request.framing, request.expects_continue, body_limit),
        has_app_begun: false,
        is_answered: false,
        has_begun: false,
        shared: None,
        head: ResponseHead::default(),
        read_due: None,
        taken: 0,
        request,
    };
    exchange.run(timer).await
}

impl<S: Side> Exchange<'_, S> {
    async fn run(mut self, timer: &mut Timer) -> Outcome {
        let idle = limit(self.limits.inner_idle_ms);
        let mut kept = self.local.pool.take(idle, self.request.is_idempotent);
        let mut is_second = false;
        loop {
            let mut inner = match kept.take() {
                Some(inner) => inner,
                None => match self.local.pool.connect(limit(self.limits.connect_ms)).await {
                    Ok(inner) => {
                        self.local.count(Counter::InnerConnections);
                        inner
                    }
                    Err(error) => return self.fail(&Failure::Unavailable(error)),
                },
            };
            match self.attempt(&mut inner, timer).await {
                Ok(End::Upgrade) => {
                    inner.stream.drop_block();
                    return Outcome::Tunnel(inner);
                }
                Ok(End::Complete) => {
                    let is_clean = inner.input.is_empty() && !inner.stream.lacks_block();
                    if self.head.keeps && self.upload.is_sent() && is_clean {
                        self.local.pool.keep(inner);
                    }
                    let body_ended = self.upload.has_ended();
                    return Outcome::Done { body_ended };
                }
                Err(Failure::None(error)) if !is_second && self.may_retry(&error) => {
                    self.local.count(Counter::Retries);
                    is_second = true;
                    self.upload.restart();
                }
                Err(failure) => return self.fail(&failure),
            }
        }
    }

    /// Whether the request may be sent to another worker: the first one has not begun to answer,
    /// and it may be sent twice, or no app has seen it.
    ///
    /// A worker calls the app when it has read all of the request, or has told so. When a unix
    /// socket is closed with unread bytes in it, Linux gives its peer a reset instead of the end,
    /// once the peer has read what it was sent (`unix_release_sock`). Nothing follows a request
    /// before it is answered: its last byte is one of those.
    fn may_retry(&self, error: &io::Error) -> bool {
        let lacks_some = self.upload.has_unsent() || error.kind() == io::ErrorKind::ConnectionReset;
        let is_unseen = lacks_some && !self.has_app_begun && !self.request.expects_continue;
        let may_be_sent_twice = self.request.is_idempotent || is_unseen;
        !self.is_answered && self.upload.may_restart(may_be_sent_twice)
    }

    fn fail(&self, failure: &Failure) -> Outcome {
        failure.outcome(self.local, self.request.about, self.has_begun)
    }

    async fn attempt(&mut self, inner: &mut Inner, timer: &mut Timer) -> Result<End, Failure> {
        let mut down = Down::Head;
        self.shared = None;
        // Why the worker does not take the rest of the request: it may have answered all the same.
        let mut broken = None;
        let begun = std::future::poll_fn(|cx| Poll::Ready(self.upload.begin(cx, self.side)));
        begun.await.map_err(Failure::Client)?;
        std::future::poll_fn(|cx| {
            if self.side.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Failure::Client(ClientError::Gone)));
            }
            if broken.is_none() {
                match self.upload.poll_send(cx, inner, self.side) {
                    Poll::Ready(Err(Stopped::ByClient(error))) => {
                        return Poll::Ready(Err(Failure::Client(error)));
                    }
                    Poll::Ready(Err(Stopped::ByWorker(error))) => broken = Some(error),
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
        let due = match (self.upload.due(), self.read_due) {
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
                Down::Shared(data) if data.is_empty() => *down = Down::Finish,
                Down::Shared(data) => {
                    let sent = self.side.poll_send_shared(cx, data);
                    let sent = ready!(self.noticed(sent))?;
                    data.advance(sent.min(data.len()));
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
            if !bytes.is_empty() {
                self.is_answered = true;
                self.upload.was_answered();
            }
            let is_whole = if !SharedBody::is_at(bytes) {
                self.head.parse(bytes, self.request.is_head)
            } else if let Some((shared, length)) = SharedBody::decode(bytes) {
                self.shared = Some(shared).filter(|shared| shared.length > 0);
                inner.input.consume(length);
                continue;
            } else {
                Ok(false)
            };
            if !is_whole.map_err(Failure::Malformed)? {
                ready!(self.poll_more_of_head(cx, inner))?;
                continue;
            }
            let (length, status) = (self.head.length, self.head.status);
            if status == 101 && !self.request.upgrades {
                return Poll::Ready(Err(Failure::Malformed("nobody asked for its protocol")));
            }
            if status == 100 && !self.request.expects_continue {
                // It is for the front: the app is called.
                (self.has_app_begun, self.is_answered) = (true, false);
                inner.input.consume(length);
                continue;
            }
            if matches!(status, 100 | 102..200) {
                let done = self.side.interim(&self.head, bytes);
                done.map_err(Failure::Client)?;
                inner.input.consume(length);
                continue;
            }
            let shared = self.shared_body(inner).map_err(Failure::Malformed)?;
            let ends = self.head.delimited == Delimited::None && status != 101;
            let done = self.side.begin(&self.head, bytes, ends);
            done.map_err(Failure::Client)?;
            self.has_begun = true;
            inner.input.consume(length);
            return Poll::Ready(Ok(match self.head.delimited {
                _ if status == 101 => None,
                Delimited::None => Some(Down::Finish),
                Delimited::Length(_) if let Some(data) = shared => Some(Down::Shared(data)),
                Delimited::Length(length) => Some(Down::Length(length)),
                Delimited::Chunked => {
                    let decoder = ChunkedDecoder::new(&rcorn_http::Limits::default());
                    Some(Down::Chunked(decoder, 0, false))
                }
                Delimited::Close => Some(Down::UntilClose),
            }));
        }
    }

    /// Waits until more of the head has come. The client gets what it was sent before.
    fn poll_more_of_head(
        &mut self,
        cx: &mut Context<'_>,
        inner: &mut Inner,
    ) -> Poll<Result<(), Failure>> {
        let flushed = self.side.poll_flush(cx);
        // Whether it is waiting or done, the worker may go on.
        if let Poll::Ready(Err(error)) = self.noticed(flushed) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(match ready!(inner.poll_fill(cx)) {
            Ok(0) => {
                let kind = io::ErrorKind::UnexpectedEof;
                let error = io::Error::new(kind, "the connection was closed");
                Err(Failure::None(error))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::None(error)),
        })
    }

    /// The body, if the worker has put it into memory.
    fn shared_body(&self, inner: &Inner) -> Result<Option<Bytes>, Malformed> {
        let Some(announced) = self.shared else {
            return Ok(None);
        };
        let is_body = self.head.delimited == Delimited::Length(announced.length.into());
        let is_all = inner.input.data().len() == self.head.length;
        let block = inner.stream.block().filter(|_| is_body && is_all);
        let body = block.and_then(|block| block.body(announced));
        body.ok_or("its body is not where it was announced")
            .map(Some)
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
}
