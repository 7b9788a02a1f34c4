//! A client that speaks HTTP/1: one request after the other.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use rcorn_front_link::Facts;
use rcorn_http::{ChunkedDecoder, Framing, Head, Version};
use tokio::io::copy_bidirectional;

use crate::compressed_side::CompressedSide;
use crate::compression::negotiated;
use crate::counters::Counter;
use crate::exchange::{Request, pass};
use crate::http1_io::{Next, close, has_all, next_head, write};
use crate::http1_side::{Body, Http1Side};
use crate::inner::Inner;
use crate::local::Local;
use crate::outcome::Outcome;
use crate::page;
use crate::request_head;
use crate::running::Running;
use crate::side::Side;
use crate::stream::Client;
use crate::timer::{Timer, limit};

/// What becomes of the connection.
enum After {
    Keep,
    /// All was read and answered.
    Close,
    /// The client may still be sending what nobody reads.
    Linger,
    /// At once: the client must not take what it has for complete.
    Drop,
    Tunnel(Inner),
}

/// A connection.
pub(crate) struct Http1 {
    local: Rc<Local>,
    running: Arc<Running>,
    client: Client,
    facts: String,
    hsts: bool,
    timer: Timer,
    head: Head,
}

/// Serves a connection until its end.
pub(crate) async fn serve(local: Rc<Local>, running: Arc<Running>, client: Client, facts: &Facts) {
    let connection = Http1 {
        local,
        running,
        client,
        facts: facts.encode(),
        hsts: facts.tls.is_some(),
        timer: Timer::new(),
        head: Head::default(),
    };
    connection.run().await;
}

impl Http1 {
    async fn run(mut self) {
        let after = loop {
            let Self {
                local,
                running,
                client,
                timer,
                head,
                ..
            } = &mut self;
            let after = match next_head(local, running, client, timer, head).await {
                Next::Head => self.exchange().await,
                Next::Close => After::Close,
                Next::Refused(refusal) => {
                    self.local.count(Counter::RefusedRequests);
                    self.page(refusal.status(), &refusal.to_string(), false)
                        .await
                }
                Next::Late => {
                    self.local.count(Counter::LateRequests);
                    self.page(408, "The request took too long to arrive.", false)
                        .await
                }
            };
            if !matches!(after, After::Keep) {
                break after;
            }
        };
        match after {
            After::Keep | After::Drop => {}
            After::Close => close(self.client, false).await,
            After::Linger => close(self.client, true).await,
            After::Tunnel(inner) => self.tunnel(inner).await,
        }
    }

    /// Passes the request on whose head is there.
    async fn exchange(&mut self) -> After {
        let head = &self.head;
        let data = self.client.input.data();
        let mut out = Vec::new();
        request_head::write(&mut out, head, data, &self.facts);
        let method = head.method(data);
        let mut about = [method, b" ", head.path.of(data)].concat();
        about.truncate(request_head::ABOUT_BYTES);
        let request = Request {
            framing: head.framing,
            is_head: method == b"HEAD",
            is_idempotent: request_head::is_idempotent(method),
            expects_continue: head.expect_continue,
            upgrades: head.upgrades_to_websocket,
            about: &about,
        };
        let is_head = request.is_head;
        let body = match head.framing {
            Framing::None => Body::Ended,
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked(ChunkedDecoder::new(&self.running.head_limits)),
        };
        let rules = self.running.configuration.compress.as_ref();
        let coding = rules.and_then(|rules| negotiated(rules, head, data));
        self.client.input.consume(head.length);
        let configuration = &self.running.configuration;
        let hsts = configuration.hsts.as_deref().filter(|_| self.hsts);
        let is_old = head.version == Version::Http10;
        let is_last = !head.keep_alive;
        let (local, client) = (&self.local, &mut self.client);
        let mut side = Http1Side::new(client, local, body, is_old, head.keep_alive, hsts);
        let limits = &configuration.limits;
        let mut wrapped = CompressedSide::new(&mut side, rules, coding);
        let outcome = pass(local, limits, request, out, &mut wrapped, &mut self.timer).await;
        let keeps = side.keeps();
        match outcome {
            Outcome::Done { body_ended: true } if keeps => After::Keep,
            Outcome::Done { body_ended: true } if is_last => self.after_last().await,
            Outcome::Done { .. } => After::Linger,
            Outcome::Gone => After::Close,
            Outcome::Abort => {
                // What has come of the response, if the client takes it.
                std::future::poll_fn(|cx| Poll::Ready(side.poll_flush(cx).is_ready())).await;
                if side.ends_with_connection() {
                    self.client.reset_on_close();
                }
                After::Drop
            }
            Outcome::Tunnel(inner) => match side.flush().await {
                Ok(()) => After::Tunnel(inner),
                Err(_gone) => After::Drop,
            },
            Outcome::Page(status, message) => {
                // An interim response may be in it.
                side.flush().await.ok();
                self.page(status, &message, is_head).await
            }
        }
    }

    /// What follows the response to a request that the client said is its last.
    async fn after_last(&mut self) -> After {
        if has_all(&mut self.client).await {
            After::Close
        } else {
            After::Linger
        }
    }

    /// Answers with a page, which is the last thing that the connection brings.
    async fn page(&mut self, status: u16, message: &str, head_only: bool) -> After {
        let mut bytes = Vec::new();
        let server = self.running.configuration.server.as_deref();
        page::write(&mut bytes, status, message, server, head_only);
        let limit = limit(self.running.limits().write_ms);
        if write(&mut self.client, &mut self.timer, limit, &bytes).await {
            After::Linger
        } else {
            After::Drop
        }
    }

    /// Passes bytes in both directions until both sides are done.
    async fn tunnel(mut self, mut inner: Inner) {
        self.local.count(Counter::Tunnels);
        // However it ends, there is nobody to tell.
        copy_bidirectional(&mut self.client, &mut inner).await.ok();
    }
}
