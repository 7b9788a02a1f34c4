//! What a connection of HTTP/1 does between exchanges: it waits for a request, and it ends.

use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rcorn_http::{Head, Progress, Refusal, parse_head};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::local::Local;
use crate::running::Running;
use crate::stream::Client;
use crate::timer::{Timer, due_in, limit};

/// For how long a connection on which nothing happens may still bring a request while the front
/// drains: one may be on its way.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// For how long is read of a client that is still sending what nobody wants: between two parts, and
/// in all.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_IN_ALL: Duration = Duration::from_secs(30);

/// How much of it is read, in bytes.
const LINGER_BYTES: usize = 4 << 20;

/// So much of a response is soon with the client once it is written, in bytes.
const PROMPT_BYTES: u64 = 32 * 1024;

/// What a client did.
pub(crate) enum Next {
    /// The head of a request is there.
    Head,
    /// It has closed the connection, or it is time to do so.
    Close,
    /// What it has sent is refused.
    Refused(Refusal),
    /// The head did not arrive in time.
    Late,
}

/// Waits for the head of the next request.
pub(crate) async fn next_head(
    local: &Local,
    running: &Running,
    client: &mut Client,
    timer: &mut Timer,
    head: &mut Head,
) -> Next {
    let limits = running.limits();
    let idle_due = due_in(limit(limits.idle_ms));
    let mut header_due = None;
    let mut drain = pin!(local.until_drain());
    let mut grace = None;
    std::future::poll_fn(|cx| {
        loop {
            if let Some(next) = parsed(client.input.data(), running, head) {
                return Poll::Ready(next);
            }
            match client.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::Close),
                Poll::Ready(Ok(_)) => continue,
                Poll::Pending => {}
            }
            if !client.input.is_empty() {
                header_due = header_due.or_else(|| due_in(limit(limits.header_ms)));
                timer.set(header_due);
                return timer.poll(cx).map(|()| Next::Late);
            }
            if grace.is_none() && drain.as_mut().poll(cx).is_ready() {
                grace = due_in(Some(DRAIN_GRACE));
            }
            return poll_idle(cx, timer, [idle_due, grace]);
        }
    })
    .await
}

fn poll_idle(cx: &mut Context<'_>, timer: &mut Timer, dues: [Option<Instant>; 2]) -> Poll<Next> {
    timer.set(dues.into_iter().flatten().min());
    timer.poll(cx).map(|()| Next::Close)
}

/// What has arrived; `None` if it is not all of a head.
fn parsed(data: &[u8], running: &Running, head: &mut Head) -> Option<Next> {
    if data.is_empty() {
        return None;
    }
    match parse_head(data, &running.head_limits, head) {
        Err(refusal) => Some(Next::Refused(refusal)),
        Ok(Progress::Done(())) => Some(Next::Head),
        Ok(Progress::More) if data.len() > running.max_head => {
            Some(Next::Refused(Refusal::TooManyFields))
        }
        Ok(Progress::More) => None,
    }
}

/// Writes all of it; false if the client does not take it in time.
pub(crate) async fn write(
    client: &mut Client,
    timer: &mut Timer,
    limit: Option<Duration>,
    bytes: &[u8],
) -> bool {
    let stream = &mut client.stream;
    let written = timer.until(due_in(limit), async {
        stream.write_all(bytes).await?;
        stream.flush().await
    });
    matches!(written.await, Some(Ok(())))
}

/// Reads what is still being sent, and forgets it. `read` returns how much has come; 0 at the end.
pub(crate) async fn linger(mut read: impl AsyncFnMut() -> usize) {
    let (mut timer, mut bytes) = (Timer::new(), 0_usize);
    let end = due_in(Some(LINGER_IN_ALL));
    while bytes < LINGER_BYTES {
        let due = due_in(Some(LINGER)).into_iter().chain(end).min();
        match timer.until(due, read()).await {
            Some(count) if count > 0 => bytes = bytes.saturating_add(count),
            Some(_) | None => return,
        }
    }
}

/// Whether a client that has announced its last request loses nothing if its connection is closed
/// at once: it has sent nothing after that request, and waits for little. Otherwise what it sends,
/// or has sent already, would make the kernel forget what it has not got.
pub(crate) async fn has_all(client: &mut Client) -> bool {
    if !client.input.is_empty() || client.waiting() > PROMPT_BYTES {
        return false;
    }
    let come = std::future::poll_fn(|cx| Poll::Ready(client.poll_fill(cx))).await;
    match come {
        Poll::Ready(read) => read.is_err() || client.input.is_empty(),
        // The event loop may not have heard of it.
        Poll::Pending => !client.has_sent(),
    }
}

/// Closes a connection. A client that is still sending would lose what it has not read if the
/// socket were closed at once: the kernel answers what nobody reads with a reset.
pub(crate) async fn close(mut client: Client, lingers: bool) {
    let mut timer = Timer::new();
    let due = due_in(Some(LINGER));
    timer.until(due, client.stream.shutdown()).await;
    if lingers {
        linger(async || {
            client.input.consume(client.input.data().len());
            let read = std::future::poll_fn(|cx| client.poll_fill(cx)).await;
            read.unwrap_or(0)
        })
        .await;
    }
}
