//! What workers count: one table, from which the memory of a worker's counters, the plain struct of
//! their values, the names in `rcorn ctl --json status`, the families of `/metrics`
//! (`src/monitor`) and the section METRICS of rcorn(1) are made.
//!
//! CONTRIBUTING lists what belongs to a new metric.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::atomic::{AtomicU64, Ordering};
use crate::durations::{SharedTimes, Times, Timing};

/// Places for the rows of the table; those of the durations follow them.
const ROWS: usize = 64;
/// Places in the memory of one cell.
pub(crate) const PLACES: usize = ROWS + Timing::PLACES;

/// How a metric behaves over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows. What a worker counted stays in the totals when it has ended.
    Counter,
    /// Goes up and down, and ends with its worker.
    Gauge,
}

/// Who writes a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// The cell, with its own methods: the two metrics of the first build (cb54ddf), and what is
    /// counted beside the second of them.
    Cell,
    /// Only the thread that runs the event loop: a load and a store are enough.
    Loop,
    /// Several threads of the worker: an atomic addition.
    AnyThread,
}

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $variant:ident = $name:ident: $kind:ident by $writer:ident;)+) => {
        /// One row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Metric {
            $($(#[doc = $help])+ $variant,)+
        }

        impl Metric {
            /// All of them, in the order of their places in memory.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name: lower case with underscores; counters as a plural.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($name),)+ }
            }

            /// What it counts, in one sentence.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($help),+).trim_ascii(),)+ }
            }

            /// How it behaves over time.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)+ }
            }

            const fn writer(self) -> Writer {
                match self { $(Self::$variant => Writer::$writer,)+ }
            }
        }

        /// The values of all metrics at one moment. Values that another build does not know are 0.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Counts {
            $($(#[doc = $help])+ pub $name: u64,)+
        }

        impl Counts {
            /// The value of one metric.
            #[must_use]
            pub const fn get(&self, metric: Metric) -> u64 {
                match metric { $(Metric::$variant => self.$name,)+ }
            }

            pub(crate) const fn get_mut(&mut self, metric: Metric) -> &mut u64 {
                match metric { $(Metric::$variant => &mut self.$name,)+ }
            }
        }
    };
}

// Append only: the place of a row is its place in the memory that old and new workers share.
//
// `by Loop` if only the thread that runs the event loop counts it, `by AnyThread` if the I/O thread
// or a thread of the app does too. `by Cell` is closed: its padding is used up.
counters! {
    /// Requests for which the app was called, or would have been if their environ could be made.
    Requests = requests: Counter by Cell;
    /// Responses with a status from 100 to 199 that ended a request.
    Responses1xx = responses_1xx: Counter by Loop;
    /// Responses with a status from 200 to 299.
    Responses2xx = responses_2xx: Counter by Loop;
    /// Responses with a status from 300 to 399.
    Responses3xx = responses_3xx: Counter by Loop;
    /// Responses with a status from 400 to 499, those to refused requests among them.
    Responses4xx = responses_4xx: Counter by Loop;
    /// Responses with a status from 500 to 599.
    Responses5xx = responses_5xx: Counter by Loop;
    /// Requests in which the app raised an exception or broke PEP 3333.
    AppErrors = app_errors: Counter by Loop;
    /// Requests whose client left before it had the whole response.
    ClientDisconnects = client_disconnects: Counter by Loop;
    /// Requests that the server refused: the head, or the body that the app was reading, is
    /// malformed, contradictory or not allowed.
    RefusedRequests = refused_requests: Counter by Loop;
    /// Connections accepted from a listening socket.
    AcceptedConnections = accepted_connections: Counter by AnyThread;
    /// Connections handed to another worker through the hand-off queue.
    HandedOffConnections = handed_off_connections: Counter by AnyThread;
    /// Connections taken from the hand-off queue.
    TakenConnections = taken_connections: Counter by Loop;
    /// Connections closed because their client was too slow to send a request or to take a
    /// response.
    TimedOutConnections = timed_out_connections: Counter by Loop;
    /// Bytes received from clients.
    ReceivedBytes = received_bytes: Counter by AnyThread;
    /// Bytes of response bodies, those of error pages among them.
    SentBodyBytes = sent_body_bytes: Counter by Loop;
    /// Connections held now.
    Connections = connections: Gauge by Cell;
    /// Records of the error log and lines of the access log that could not be written: nobody reads
    /// the log, or the disk is full. Those of the arbiter are in the sum only.
    LostLogRecords = lost_log_records: Counter by AnyThread;
    /// Microseconds for which the event loops of workers with threads have waited for the GIL, the
    /// global lock of CPython. How long the app waits for it is not known.
    GilWaitMicroseconds = gil_wait_microseconds: Counter by AnyThread;
    /// Requests that were answered with status 503 because no thread was free in time (the setting
    /// `queue_timeout`).
    QueueTimeouts = queue_timeouts: Counter by AnyThread;
    /// Refused requests that are not HTTP, or whose request line or version is malformed.
    RefusedLine = refused_line: Counter by AnyThread;
    /// Refused requests with a header field that is malformed.
    RefusedField = refused_field: Counter by AnyThread;
    /// Refused requests whose head is longer than the limits.
    RefusedSize = refused_size: Counter by AnyThread;
    /// Refused requests whose host or scheme is missing, malformed or contradictory.
    RefusedHost = refused_host: Counter by AnyThread;
    /// Refused requests the end of whose body cannot be told for certain.
    RefusedFraming = refused_framing: Counter by AnyThread;
    /// Refused requests with a chunked body that is malformed.
    RefusedChunk = refused_chunk: Counter by AnyThread;
    /// Refused packets of the uwsgi protocol, and PROXY headers, that are malformed.
    RefusedProxy = refused_proxy: Counter by AnyThread;
    /// Refused requests of peers that may not speak that protocol here.
    RefusedPeer = refused_peer: Counter by AnyThread;
    /// Health checks that were answered in place of the app (the setting `health_path`).
    HealthChecks = health_checks: Counter by AnyThread;
    /// Connections that wait for the next request of their client.
    IdleConnections = idle_connections: Gauge by Cell;
}

const _: () = assert!(Metric::ALL.len() <= ROWS, "no row may reach the durations");
// Where workers of other builds look for the durations.
const _: () = assert!(ROWS == 64 && PLACES >= 112);

impl Metric {
    /// The counter of responses with this status; `None` for a number that is not a status (RFC
    /// 9110 section 15).
    #[must_use]
    pub const fn of_status(status: u16) -> Option<Self> {
        match status {
            100..200 => Some(Self::Responses1xx),
            200..300 => Some(Self::Responses2xx),
            300..400 => Some(Self::Responses3xx),
            400..500 => Some(Self::Responses4xx),
            500..600 => Some(Self::Responses5xx),
            _ => None,
        }
    }

    /// Its place in a worker's counters.
    #[expect(
        clippy::as_conversions,
        reason = "a fieldless enum, numbered from 0 in the order of the table"
    )]
    const fn place(self) -> usize {
        self as usize
    }
}

impl Counts {
    /// All metrics with their values, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = (Metric, u64)> + '_ {
        Metric::ALL
            .iter()
            .map(|metric| (*metric, self.get(*metric)))
    }

    /// Adds what another worker counted.
    pub fn add(&mut self, other: &Self) {
        for metric in Metric::ALL {
            let sum = self.get(*metric).wrapping_add(other.get(*metric));
            *self.get_mut(*metric) = sum;
        }
    }
}

/// The counts of all workers that have ended. The arbiter keeps it and hands it over at an upgrade
/// in place, so that the sums over all workers never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Totals(Counts);

impl Totals {
    /// Adds the counts of a worker that has ended, without its gauges.
    pub fn add_ended(&mut self, worker: &Counts) {
        let mut counted = *worker;
        for metric in Metric::ALL {
            match metric.kind() {
                Kind::Counter => {}
                Kind::Gauge => *counted.get_mut(*metric) = 0,
            }
        }
        self.0.add(&counted);
    }

    /// The sums over these and the living workers.
    #[must_use]
    pub fn with_living(&self, living: impl IntoIterator<Item = Counts>) -> Counts {
        let mut sums = self.0;
        for worker in living {
            sums.add(&worker);
        }
        sums
    }
}

/// The counters of one worker, in shared memory. Counts nothing if there is no memory for the
/// counter.
#[derive(Clone, Copy, Debug)]
pub struct Counters<'a> {
    places: &'a [AtomicU64],
}

impl<'a> Counters<'a> {
    pub(crate) fn new(places: &'a [AtomicU64]) -> Self {
        Self { places }
    }

    /// Counts one.
    pub fn count(self, metric: Metric) {
        self.add(metric, 1);
    }

    /// Counts a response by the class of its status.
    pub fn count_response(self, status: u16) {
        if let Some(metric) = Metric::of_status(status) {
            self.count(metric);
        }
    }

    /// Adds an amount. Each row of the table says which threads may do this.
    pub fn add(self, metric: Metric, amount: u64) {
        let Some(place) = self.places.get(metric.place()) else {
            return;
        };
        match metric.writer() {
            Writer::Loop => {
                let sum = place.load(Ordering::Relaxed).wrapping_add(amount);
                place.store(sum, Ordering::Relaxed);
            }
            Writer::AnyThread => {
                place.fetch_add(amount, Ordering::Relaxed);
            }
            Writer::Cell => debug_assert!(false, "{} is in the cell", metric.name()),
        }
    }

    /// Counts a duration. Only the thread that serves the requests of this cell may do this.
    pub fn observe(self, timing: Timing, duration: Duration) {
        self.durations().observe(timing, duration);
    }

    /// What was measured.
    pub(crate) fn times(self) -> Times {
        self.durations().read()
    }

    fn durations(self) -> SharedTimes<'a> {
        SharedTimes::new(self.places.get(ROWS..).unwrap_or(&[]))
    }

    /// Reads all that are not in the cell.
    pub(crate) fn read_into(self, counts: &mut Counts) {
        for (metric, place) in Metric::ALL.iter().zip(self.places) {
            match metric.writer() {
                Writer::Cell => {}
                Writer::Loop | Writer::AnyThread => {
                    *counts.get_mut(*metric) = place.load(Ordering::Relaxed);
                }
            }
        }
    }

    pub(crate) fn reset(self) {
        for place in self.places {
            place.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    /// Old and new workers share the memory, and old and new arbiters the totals.
    #[test]
    fn rows_are_only_appended() {
        let names: Vec<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
        let expected = [
            "requests",
            "responses_1xx",
            "responses_2xx",
            "responses_3xx",
            "responses_4xx",
            "responses_5xx",
            "app_errors",
            "client_disconnects",
            "refused_requests",
            "accepted_connections",
            "handed_off_connections",
            "taken_connections",
            "timed_out_connections",
            "received_bytes",
            "sent_body_bytes",
            "connections",
            "lost_log_records",
            "gil_wait_microseconds",
            "queue_timeouts",
            "refused_line",
            "refused_field",
            "refused_size",
            "refused_host",
            "refused_framing",
            "refused_chunk",
            "refused_proxy",
            "refused_peer",
            "health_checks",
            "idle_connections",
        ];
        assert_eq!(names, expected, "append a new row here too");
        for (place, metric) in Metric::ALL.iter().enumerate() {
            assert_eq!(metric.place(), place);
            assert!(metric.help().ends_with('.'), "{}", metric.help());
        }
    }

    #[test]
    fn a_status_has_one_class() {
        let names = [99, 100, 204, 304, 404, 599, 600]
            .map(|status| Metric::of_status(status).map(Metric::name));
        assert_eq!(
            names,
            [
                None,
                Some("responses_1xx"),
                Some("responses_2xx"),
                Some("responses_3xx"),
                Some("responses_4xx"),
                Some("responses_5xx"),
                None
            ]
        );
    }

    #[test]
    fn the_dead_keep_their_counts_and_no_gauges() {
        let mut totals = Totals::default();
        let mut worker = Counts {
            requests: 3,
            responses_2xx: 2,
            connections: 7,
            ..Counts::default()
        };
        totals.add_ended(&worker);
        totals.add_ended(&worker);
        worker.connections = 1;
        let sums = totals.with_living([worker]);
        assert_eq!((sums.requests, sums.responses_2xx), (9, 6));
        assert_eq!(sums.connections, 1, "of the living alone");
    }

    #[test]
    fn totals_of_a_build_with_other_metrics_are_read() {
        let old: Totals = serde_json::from_str(r#"{"requests": 5, "from_the_future": 1}"#).unwrap();
        assert_eq!(old.with_living([]).requests, 5);
        let text = serde_json::to_string(&old).unwrap();
        assert!(text.contains(r#""responses_5xx":0"#), "{text}");
    }
}
