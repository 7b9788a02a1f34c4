//! `queue_timeout`: how long a request may wait while each thread of its worker is in the app, and
//! the answer to one that waits longer. The I/O thread gives it: nobody else has time.

use std::time::Duration;

use rcorn_http::response::error_page;
use rcorn_log as log;
use rcorn_scoreboard::Metric;
use rcorn_types::Monotonic;

use crate::acceptor::{Accepted, Listener, accept};
use crate::channel::ClientTimeouts;
use crate::connection::Connection;
use crate::sync::Lock;

/// Service Unavailable (RFC 9110 section 15.6.4).
const STATUS: u16 = 503;
/// How often the log may say so.
const NOTE_INTERVAL: Duration = Duration::from_secs(10);
/// Bytes of the request that are looked at.
const PEEKED_BYTES: usize = 4096;

/// The limit, and what it takes to know that a request waits: also connections that no thread has
/// accepted are looked at.
#[derive(Debug)]
pub struct QueueLimit {
    limit: Duration,
    listeners: Vec<Listener>,
    timeouts: ClientTimeouts,
    may_be_proxied: bool,
    /// `worker_connections`.
    most: usize,
    told: Lock<Told>,
}

/// What the log was told.
#[derive(Debug, Default)]
struct Told {
    /// Requests that it was not told of.
    refused: u64,
    next: Monotonic,
}

impl QueueLimit {
    /// A limit for requests that come by these listeners. `timeouts` and `may_be_proxied` are for
    /// its connections, of which there may be `most`.
    #[must_use]
    pub fn new(
        limit: Duration,
        listeners: Vec<Listener>,
        timeouts: ClientTimeouts,
        may_be_proxied: bool,
        most: usize,
    ) -> Self {
        Self {
            limit,
            listeners,
            timeouts,
            may_be_proxied,
            most,
            told: Lock::default(),
        }
    }

    /// The next connection that waits to be accepted; `held`: how many there are already.
    pub(crate) fn accept<E>(&self, held: usize) -> Option<Connection<E>> {
        if held >= self.most {
            return None;
        }
        let mut listeners = self.listeners.iter().enumerate();
        listeners.find_map(|(index, listener)| {
            match accept(listener, index, self.timeouts, self.may_be_proxied) {
                Accepted::Connection(connection) => Some(connection),
                Accepted::Left | Accepted::Nothing | Accepted::Failed(_) => None,
            }
        })
    }

    /// Whether the request of this connection, of which bytes have come, has waited too long.
    pub(crate) fn is_over<E>(&self, connection: &mut Connection<E>, now: Monotonic) -> bool {
        let since = *connection.waits_since.get_or_insert(now);
        now >= since.after(self.limit)
    }

    /// Answers the request that has waited too long. The connection is then to be closed.
    pub(crate) fn refuse<E>(&self, connection: &Connection<E>) {
        let channel = &connection.channel;
        let mut received = [0; PEEKED_BYTES];
        // What is not read would reset the connection when it is closed.
        let got = channel.try_receive(&mut received).ok().flatten();
        let first = if connection.buffer.is_empty() {
            received.get(..got.unwrap_or(0)).unwrap_or_default()
        } else {
            &connection.buffer
        };
        let mut page = Vec::new();
        let message = "Every thread was busy for too long.";
        let is_head = first.starts_with(b"HEAD ");
        error_page(
            &mut page,
            STATUS,
            message,
            b"",
            b"Retry-After: 1\r\n",
            is_head,
        );
        channel.send_or_give_up(&page);
        channel.transport().shutdown_write().ok();
        channel.count(Metric::QueueTimeouts);
        // Among the counters of the worker itself, where no thread with requests counts these.
        channel.count(Metric::Responses5xx);
        let mut told = self.told.lock();
        told.refused = told.refused.saturating_add(1);
    }

    /// Tells the log of those refused, if that is due; returns when it will be, if there are some.
    pub(crate) fn tell_of_refused(&self, now: Monotonic) -> Option<Duration> {
        let refused = {
            let mut told = self.told.lock();
            if told.refused == 0 {
                return None;
            }
            if now < told.next {
                return Some(told.next.since(now));
            }
            told.next = now.after(NOTE_INTERVAL);
            std::mem::take(&mut told.refused)
        };
        self.tell(refused);
        None
    }

    fn tell(&self, refused: u64) {
        let limit = self.limit.as_secs_f64();
        log::warning(format_args!(
            "No thread was free within queue_timeout ({limit} s): answered {refused} requests with 503; hint: raise \
             threads or workers"
        ));
    }
}
