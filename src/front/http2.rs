//! A client that speaks HTTP/2 (RFC 9113): each stream is a request.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use rcorn_front_link::{Facts, Http2Limits};
use rcorn_http::{Head, Progress, Refusal, parse_head};
use rcorn_types::Level;
use tokio::time::Instant;

use crate::buffer::BLOCK_BYTES;
use crate::compressed_side::CompressedSide;
use crate::compression::negotiated;
use crate::counters::Counter;
use crate::exchange::{Request, pass};
use crate::http1_io::close;
use crate::http2_bytes::{Outgoing, Watched};
use crate::http2_request::as_http1;
use crate::http2_shared::{Active, Shared};
use crate::http2_side::Http2Side;
use crate::local::Local;
use crate::outcome::Outcome;
use crate::page;
use crate::request_head;
use crate::running::Running;
use crate::stream::Client;
use crate::timer::{Timer, due_in, limit};

/// How much of the response of one stream waits to be written, in bytes.
const SEND_BUFFER_BYTES: usize = BLOCK_BYTES;

/// Streams that were reset by the front and are remembered, and for how long: frames for them may
/// be on their way.
const MAX_REMEMBERED: usize = 50;
const REMEMBERED_FOR: Duration = Duration::from_secs(1);

/// For how long a client has time to take the last frame.
const LAST_FRAME: Duration = Duration::from_secs(2);

/// What happens on a connection.
enum Event {
    Request(Box<http::Request<RecvStream>>, SendResponse<Bytes>),
    /// The client has closed it, or all is done.
    End,
    Drain,
    /// The client floods.
    Flood,
    /// There was no stream for long enough.
    Idle,
    /// The client takes nothing that is written, or not even the last frame.
    Stalled,
}

/// What each stream needs.
struct Streams {
    local: Rc<Local>,
    running: Arc<Running>,
    shared: Rc<Shared>,
    outgoing: Rc<Outgoing>,
    facts: String,
    client: String,
    is_tls: bool,
}

/// Serves a connection until its end.
pub(crate) async fn serve(local: Rc<Local>, running: Arc<Running>, client: Client, facts: &Facts) {
    local.count(Counter::Http2Connections);
    let (shared, outgoing) = (Shared::new(), Rc::<Outgoing>::default());
    let client = Rc::new(RefCell::new(client));
    let watched = Watched::new(Rc::clone(&client), Rc::clone(&shared), Rc::clone(&outgoing));
    let handshake = builder(&running.configuration.http2).handshake(watched);
    let due = due_in(limit(running.limits().header_ms));
    let mut timer = Timer::new();
    let Some(Ok(connection)) = timer.until(due, handshake).await else {
        return;
    };
    let name = facts.client.map(|client| client.ip().to_string());
    let streams = Streams {
        local,
        running,
        shared,
        outgoing,
        facts: facts.encode(),
        client: name.unwrap_or_default(),
        is_tls: facts.tls.is_some(),
    };
    streams.outgoing.collect();
    let lingers = Rc::new(streams).run(connection, &client, timer).await;
    // The library has sent all, and given the connection back. A client is always sending, be it
    // that it opens windows: what it has not read would be lost if the socket were closed at once.
    if lingers && let Some(client) = Rc::into_inner(client) {
        close(client.into_inner(), true).await;
    }
}

fn builder(limits: &Http2Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(limits.window)
        .initial_connection_window_size(limits.window.saturating_mul(4))
        .max_concurrent_streams(limits.concurrent_streams)
        .max_header_list_size(limits.header_list_size)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_concurrent_reset_streams(MAX_REMEMBERED)
        .reset_stream_duration(REMEMBERED_FOR)
        .max_pending_accept_reset_streams(limits.pending_resets)
        .max_local_error_reset_streams(Some(limits.error_resets));
    builder
}

impl Streams {
    /// Serves until the end; returns whether the client may still have something to read.
    async fn run(
        self: Rc<Self>,
        mut connection: Connection<Watched, Bytes>,
        client: &RefCell<Client>,
        mut timer: Timer,
    ) -> bool {
        let mut last_frame = None;
        let local = Rc::clone(&self.local);
        let mut drain = pin!(local.until_drain());
        let mut drains = false;
        loop {
            let event = std::future::poll_fn(|cx| {
                if let Poll::Ready(accepted) = connection.poll_accept(cx) {
                    return Poll::Ready(match accepted {
                        Some(Ok((request, respond))) => Event::Request(Box::new(request), respond),
                        Some(Err(_)) | None => Event::End,
                    });
                }
                if let Poll::Ready(Err(_gone)) = self.outgoing.poll_flush(client, cx) {
                    return Poll::Ready(Event::End);
                }
                if last_frame.is_none() && self.shared.is_flooded() {
                    return Poll::Ready(Event::Flood);
                }
                if !drains && drain.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Event::Drain);
                }
                self.poll_time(cx, &mut timer, last_frame)
            });
            match event.await {
                Event::Request(request, respond) => {
                    let active = self.shared.begin();
                    let stream = Rc::clone(&self).stream(*request, respond, active);
                    tokio::task::spawn_local(stream);
                }
                Event::End => return true,
                Event::Stalled => return false,
                Event::Drain => {
                    drains = true;
                    connection.graceful_shutdown();
                }
                Event::Idle => {
                    connection.abrupt_shutdown(Reason::NO_ERROR);
                    last_frame = due_in(Some(LAST_FRAME));
                }
                Event::Flood => {
                    self.calm();
                    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                    last_frame = due_in(Some(LAST_FRAME));
                }
            }
        }
    }

    /// Ready when the client has had its time.
    fn poll_time(
        &self,
        cx: &mut Context<'_>,
        timer: &mut Timer,
        last_frame: Option<Instant>,
    ) -> Poll<Event> {
        let limits = self.running.limits();
        let after = |since: Option<Instant>, milliseconds| {
            since.and_then(|since| since.checked_add(limit(milliseconds)?))
        };
        let stalled = after(self.outgoing.blocked_since(), limits.write_ms);
        let stalled = [stalled, last_frame].into_iter().flatten().min();
        let idle = after(self.shared.idle_since(), limits.idle_ms);
        let idle = idle.filter(|_| last_frame.is_none());
        let due = [stalled, idle].into_iter().flatten().min();
        timer.set(due);
        timer.poll(cx).map(|()| {
            if due == stalled {
                Event::Stalled
            } else {
                Event::Idle
            }
        })
    }

    fn calm(&self) {
        self.local.count(Counter::Floods);
        self.local.record(
            Level::Warning,
            format!(
                "The HTTP/2 connection of ip={} was ended: it floods",
                self.client
            ),
        );
    }

    /// Serves one stream.
    async fn stream(
        self: Rc<Self>,
        request: http::Request<RecvStream>,
        respond: SendResponse<Bytes>,
        active: Active,
    ) {
        let (parts, body) = request.into_parts();
        let configuration = &self.running.configuration;
        let hsts = configuration.hsts.as_deref().filter(|_| self.is_tls);
        let has_body = !body.is_end_stream();
        let mut side = Http2Side::new(&self.shared, body, respond, hsts);
        let is_head = parts.method == http::Method::HEAD;
        let text = as_http1(&parts, has_body);
        let outcome = match text.and_then(|text| self.parse(text, has_body)) {
            Ok((head, text)) => self.exchange(&head, &text, &mut side).await,
            Err(refusal) => {
                self.local.count(Counter::RefusedRequests);
                Outcome::Page(refusal.status(), refusal.to_string().into())
            }
        };
        match outcome {
            Outcome::Done { .. } => {
                self.shared.was_answered();
                side.linger().await;
            }
            Outcome::Page(status, message) => {
                let text = page::body(status, &message);
                side.page(status, text, configuration.server.as_deref(), is_head);
                side.linger().await;
            }
            Outcome::Abort | Outcome::Tunnel(_) => side.abort(),
            Outcome::Gone => self.shared.was_cancelled(),
        }
        drop(active);
    }

    /// Holds the request to the rules of HTTP/1.1.
    fn parse(&self, text: Vec<u8>, has_body: bool) -> Result<(Head, Vec<u8>), Refusal> {
        self.shared.brought(text.len());
        let mut head = Head::default();
        match parse_head(&text, &self.running.head_limits, &mut head)? {
            Progress::Done(()) if head.length == text.len() => {}
            // A field cannot end the head: the library refuses line ends.
            Progress::Done(()) | Progress::More => return Err(Refusal::FieldValue),
        }
        if !has_body {
            // Whatever length it has announced.
            head.framing = rcorn_http::Framing::None;
        }
        head.upgrades_to_websocket = false;
        Ok((head, text))
    }

    async fn exchange(&self, head: &Head, text: &[u8], side: &mut Http2Side<'_>) -> Outcome {
        let mut out = Vec::new();
        request_head::write(&mut out, head, text, &self.facts);
        let method = head.method(text);
        let about = [method, b" ", head.path.of(text)].concat();
        let request = Request {
            framing: head.framing,
            is_head: method == b"HEAD",
            is_idempotent: request_head::is_idempotent(method),
            expects_continue: head.expect_continue,
            upgrades: false,
            about: about.get(..request_head::ABOUT_BYTES).unwrap_or(&about),
        };
        let rules = self.running.configuration.compress.as_ref();
        let coding = rules.and_then(|rules| negotiated(rules, head, text));
        let mut side = CompressedSide::new(side, rules, coding);
        let (limits, mut timer) = (self.running.limits(), Timer::new());
        pass(&self.local, limits, request, out, &mut side, &mut timer).await
    }
}
