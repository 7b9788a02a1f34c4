//! How long a request has waited until a thread had time for it, for those who ask at
//! `status_bind`. The kernel is not asked that for each request: while the loop looks at its
//! connections often, none can have waited for long.

use std::time::Duration;

use rcorn_types::Monotonic;

use super::connection::Connection;

/// Waits below this are not told apart. It is more than the coarse clock lags behind where the
/// kernel has 250 ticks a second (4 ms); with fewer ticks the kernel is asked more often.
const SHORTEST: Duration = Duration::from_millis(5);

/// Since when the requests of one turn of the loop may have waited at most, by the coarse clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WaitingSince {
    /// Those on parked connections: what was ready at the look before is served.
    parked: Monotonic,
    /// Those on new ones: each turn accepts only some.
    new: Monotonic,
}

impl WaitingSince {
    /// The loop looks at its connections at `now`, after it did so at `looked`, and began to wait
    /// at `waits_from`.
    pub(super) fn look(
        &mut self,
        looked: Monotonic,
        waits_from: Option<Monotonic>,
        now: Monotonic,
    ) {
        self.parked = looked;
        // Nothing was ready when it went to sleep.
        if waits_from.is_none_or(|from| from < now) {
            *self = Self {
                parked: now,
                new: now,
            };
        }
    }

    /// How long the request that begins now has waited; `None`: it is not known.
    pub(super) fn waited(self, connection: &Connection, begun: Monotonic) -> Option<Duration> {
        let since = if connection.has_place() {
            self.parked
        } else {
            self.new
        };
        if begun.since(since) < SHORTEST && !connection.has_waited_elsewhere() {
            return Some(Duration::ZERO);
        }
        connection.channel.transport().quiet_for()
    }
}
