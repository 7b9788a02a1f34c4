//! What the front counts, each thread for itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$about:meta])* $variant:ident = $field:ident,)*) => {
        /// What is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Counter {
            $($(#[$about])* $variant,)*
        }

        impl Counter {
            const ALL: &[(Self, &str)] = &[$((Self::$variant, stringify!($field)),)*];
        }

        /// The counters of one thread.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($field: AtomicU64,)*
        }

        impl Counters {
            fn of(&self, counter: Counter) -> &AtomicU64 {
                match counter {
                    $(Counter::$variant => &self.$field,)*
                }
            }
        }
    };
}

counters! {
    /// Connections that were accepted.
    Connections = connections,
    /// TLS handshakes that were completed.
    Handshakes = handshakes,
    /// Those among them that resumed a session.
    Resumptions = resumptions,
    /// TLS handshakes that failed or took too long.
    FailedHandshakes = failed_handshakes,
    /// Connections that speak HTTP/2.
    Http2Connections = http2_connections,
    /// Requests that were passed on.
    Requests = requests,
    /// Requests that were refused before a worker saw them.
    RefusedRequests = refused_requests,
    /// Requests that took too long to arrive.
    LateRequests = late_requests,
    /// Requests that were sent to a second worker.
    Retries = retries,
    /// Answers 502: a worker gave none, or none that is HTTP.
    BadGateways = bad_gateways,
    /// Answers 503: no worker took the connection.
    Unavailable = unavailable,
    /// Responses that a worker did not finish.
    CutResponses = cut_responses,
    /// Clients that did not take a response in time.
    SlowReaders = slow_readers,
    /// HTTP/2 connections that were ended because of a flood.
    Floods = floods,
    /// Connections to workers that were opened.
    InnerConnections = inner_connections,
    /// Connections that became tunnels.
    Tunnels = tunnels,
}

impl Counters {
    pub(crate) fn count(&self, counter: Counter) {
        self.of(counter).fetch_add(1, Ordering::Relaxed);
    }
}

/// The sums over all threads, by name.
pub(crate) fn sums(threads: &[Arc<Counters>]) -> BTreeMap<String, u64> {
    let sum = |counter: Counter| {
        let values = threads.iter();
        values
            .map(|thread| thread.of(counter).load(Ordering::Relaxed))
            .sum()
    };
    let all = Counter::ALL.iter();
    all.map(|(counter, name)| ((*name).to_owned(), sum(*counter)))
        .collect()
}
