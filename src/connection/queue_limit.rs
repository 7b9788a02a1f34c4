//! `queue_timeout`: how long a request may wait while each thread of its worker is in the app. The
//! I/O thread answers one that waits longer: nobody else has time.

use std::fmt::Debug;
use std::time::Duration;

use rcorn_log as log;
use rcorn_scoreboard::Metric;
use rcorn_types::Monotonic;

use crate::acceptor::{Accepted, Listener, accept};
use crate::channel::ClientTimeouts;
use crate::connection::Connection;
use crate::sync::Lock;

/// How often the log may say so.
const NOTE_INTERVAL: Duration = Duration::from_mins(1);
/// Bytes of the request that are looked at.
const PEEKED_BYTES: usize = 64 * 1024;

/// Makes the answer to a request that has waited too long, and logs the request. It is called by
/// the I/O thread, so it must touch no Python object.
pub trait OverdueAnswer<E>: Debug + Send + Sync {
    /// The answer to the request of this connection. `received`: what has come of it, behind a
    /// PROXY header if one comes first. `waited`: for how long the request has waited.
    fn answer(&self, connection: &Connection<E>, received: &[u8], waited: Duration) -> Answer;
}

/// A whole response, after which the connection is closed.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How many of them are its body.
    pub body_bytes: u64,
}

/// The limit, and what it takes to know that a request waits: also connections that no thread has
/// accepted are looked at.
#[derive(Debug)]
pub struct QueueLimit<E> {
    limit: Duration,
    answer: Box<dyn OverdueAnswer<E>>,
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

/// What the log is to be told.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    After(Duration),
    /// That so many were refused since the last time.
    Now(u64),
}

impl Told {
    fn due(&mut self, now: Monotonic) -> Due {
        if self.refused == 0 {
            return Due::Nothing;
        }
        if now < self.next {
            return Due::After(self.next.since(now));
        }
        self.next = now.after(NOTE_INTERVAL);
        Due::Now(std::mem::take(&mut self.refused))
    }
}

impl<E> QueueLimit<E> {
    /// A limit for requests that come by these listeners, with this answer. `timeouts` and
    /// `may_be_proxied` are for its connections, of which there may be `most`.
    #[must_use]
    pub fn new(
        limit: Duration,
        answer: Box<dyn OverdueAnswer<E>>,
        listeners: Vec<Listener>,
        timeouts: ClientTimeouts,
        may_be_proxied: bool,
        most: usize,
    ) -> Self {
        Self {
            limit,
            answer,
            listeners,
            timeouts,
            may_be_proxied,
            most,
            told: Lock::default(),
        }
    }

    /// The next connection that waits to be accepted; `held`: how many there are already.
    pub(crate) fn accept(&self, held: usize) -> Option<Connection<E>> {
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
    pub(crate) fn is_over(&self, connection: &mut Connection<E>, now: Monotonic) -> bool {
        let since = *connection.waits_since.get_or_insert(now);
        now >= since.after(self.limit)
    }

    /// Answers the request that has waited too long. The connection is then to be closed.
    pub(crate) fn refuse(&self, connection: &mut Connection<E>, now: Monotonic) {
        let mut received = std::mem::take(&mut connection.buffer);
        let channel = &connection.channel;
        // What is not read would reset the connection when it is closed.
        channel.try_receive_into(&mut received, PEEKED_BYTES).ok();
        let since = connection.waits_since.unwrap_or(now);
        let answer = self.answer.answer(connection, &received, now.since(since));
        channel.send_or_give_up(&answer.bytes);
        channel.transport().shutdown_write().ok();
        channel.count(Metric::QueueTimeouts);
        // Among the counters of the worker itself, where no thread with requests counts these.
        channel.count(Metric::Responses5xx);
        channel.add(Metric::SentBodyBytes, answer.body_bytes);
        let mut told = self.told.lock();
        told.refused = told.refused.saturating_add(1);
    }

    /// Tells the log of those refused, if that is due; returns when it will be, if there are some.
    pub(crate) fn tell_of_refused(&self, now: Monotonic) -> Option<Duration> {
        let due = self.told.lock().due(now);
        match due {
            Due::Nothing => None,
            Due::After(time) => Some(time),
            Due::Now(refused) => {
                self.tell(refused);
                None
            }
        }
    }

    /// Tells the log of those that it was not told of: the I/O thread has ended, so there are no
    /// more.
    pub(crate) fn tell_of_the_last(&self) {
        if let Due::Now(refused) = self.told.lock().due(Monotonic::NEVER) {
            self.tell(refused);
        }
    }

    fn tell(&self, refused: u64) {
        let limit = self.limit.as_secs_f64();
        log::warning(format_args!(
            "No thread was free within queue_timeout ({limit} s): answered {refused} requests with 503; hint: raise \
             threads or workers"
        ));
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_told_once_a_minute_how_many_there_were_since() {
        let at = |seconds: u64| Monotonic::ZERO.after(Duration::from_secs(1000 + seconds));
        let mut told = Told::default();
        assert_eq!(told.due(at(0)), Due::Nothing);
        told.refused = 1;
        assert_eq!(told.due(at(0)), Due::Now(1));
        assert_eq!(told.due(at(1)), Due::Nothing);
        told.refused = 2;
        assert_eq!(told.due(at(20)), Due::After(Duration::from_secs(40)));
        told.refused = 7;
        assert_eq!(told.due(at(60)), Due::Now(7));
        told.refused = 3;
        assert_eq!(told.due(at(61)), Due::After(Duration::from_secs(59)));
        // The worker leaves.
        assert_eq!(told.due(Monotonic::NEVER), Due::Now(3));
    }
}
