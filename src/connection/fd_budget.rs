//! How many connections a worker may have: by `worker_connections`, and by its limit of
//! descriptors.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
use nix::sys::resource::{Resource, getrlimit};

use rcorn_types::Monotonic;

/// The least interval between two log records of the same kind, and how long a lack of room is
/// assumed to last.
const NOTE_INTERVAL: Duration = Duration::from_mins(1);

/// Why a connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// There are more than `worker_connections`.
    Connections,
    /// Few descriptors are left.
    Descriptors,
}

/// The limits, and what was logged about them.
#[derive(Debug)]
pub struct FdBudget {
    /// `worker_connections`.
    max_connections: usize,
    /// How many descriptors the process may have (getrlimit(2), `RLIMIT_NOFILE`).
    max_descriptors: u64,
    /// The kernel assigns the lowest free number. This number and those above it are reserved for
    /// the app.
    ceiling: RawFd,
    /// How many connections there was room for when the ceiling was reached, and until when that is
    /// assumed.
    room: usize,
    room_until: Monotonic,
    /// How many idle connections were closed since the last log record.
    closed: u64,
    /// When the next record may be logged: about closed connections, and about connections that
    /// could not be taken.
    next_closed_note: Monotonic,
    next_waiting_note: Monotonic,
}

impl FdBudget {
    /// By the limits of this process.
    #[must_use]
    pub fn new(worker_connections: u32) -> Self {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _hard)| soft);
        Self::with_limit(worker_connections, limit)
    }

    fn with_limit(worker_connections: u32, max_descriptors: u64) -> Self {
        let apps = (max_descriptors / 32).clamp(8, 64);
        let ceiling = max_descriptors.saturating_sub(apps);
        Self {
            max_connections: usize::try_from(worker_connections).unwrap_or(usize::MAX),
            max_descriptors,
            // There is no limit that a descriptor's number could reach.
            ceiling: RawFd::try_from(ceiling).unwrap_or(RawFd::MAX),
            room: usize::MAX,
            room_until: Monotonic::ZERO,
            closed: 0,
            next_closed_note: Monotonic::ZERO,
            next_waiting_note: Monotonic::ZERO,
        }
    }

    /// Whether a connection must be closed now that one more is parked, with this descriptor.
    /// `held`: how many there are.
    pub(crate) fn excess(
        &mut self,
        held: usize,
        descriptor: RawFd,
        now: Monotonic,
    ) -> Option<Excess> {
        if descriptor >= self.ceiling {
            self.room = held.saturating_sub(1);
            self.room_until = now.after(NOTE_INTERVAL);
        } else if now >= self.room_until {
            self.room = usize::MAX;
        }
        if held > self.max_connections {
            Some(Excess::Connections)
        } else if held > self.room {
            Some(Excess::Descriptors)
        } else {
            None
        }
    }

    /// Whether the lack that `error` reports can be remedied by closing a connection.
    pub(crate) fn is_lack(error: &io::Error) -> bool {
        let errno = error.raw_os_error();
        matches!(errno, Some(EMFILE | ENFILE | ENOBUFS | ENOMEM))
    }

    /// Notes that a connection was closed; returns the line for the log, if one is due.
    pub(crate) fn note_closed(&mut self, excess: Excess, now: Monotonic) -> Option<String> {
        self.closed = self.closed.saturating_add(1);
        if !is_due(&mut self.next_closed_note, now) {
            return None;
        }
        let closed = std::mem::take(&mut self.closed);
        let most = self.max_connections;
        let limit = self.max_descriptors;
        Some(match excess {
            Excess::Connections => format!(
                "More connections than worker_connections ({most}): closed {closed} that were idle for longest; hint: \
                 raise worker_connections, or lower keepalive"
            ),
            Excess::Descriptors => format!(
                "Few descriptors are left of {limit}: closed {closed} connections that were idle for longest; hint: \
                 raise the limit of open files (ulimit -n, LimitNOFILE=), or lower worker_connections or keepalive"
            ),
        })
    }

    /// Notes that a connection cannot be taken; returns the line for the log, if one is due.
    pub(crate) fn note_waiting(&mut self, error: &io::Error, now: Monotonic) -> Option<String> {
        is_due(&mut self.next_waiting_note, now).then(|| {
            format!(
                "cannot take a connection: {error}; new ones wait; hint: raise the limit of open files (ulimit -n, \
                 LimitNOFILE=), which is {}",
                self.max_descriptors
            )
        })
    }
}

/// Whether a record may be logged now. If so, the next is due after the interval.
fn is_due(next: &mut Monotonic, now: Monotonic) -> bool {
    let due = now >= *next;
    if due {
        *next = now.after(NOTE_INTERVAL);
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::ZERO.after(Duration::from_secs(seconds))
    }

    #[test]
    fn connections_are_limited_by_number() {
        let mut budget = FdBudget::with_limit(3, 1024);
        assert_eq!(budget.excess(3, 9, at(1)), None);
        assert_eq!(budget.excess(4, 10, at(1)), Some(Excess::Connections));
    }

    #[test]
    fn the_last_descriptors_are_the_apps() {
        // 100: the app has 8 of them.
        let mut budget = FdBudget::with_limit(1000, 100);
        assert_eq!(budget.excess(80, 91, at(1)), None);
        assert_eq!(budget.excess(81, 92, at(1)), Some(Excess::Descriptors));
        // One was closed; its low number does not mean that there is room again.
        assert_eq!(budget.excess(81, 12, at(2)), Some(Excess::Descriptors));
        assert_eq!(budget.excess(80, 12, at(2)), None);
        // Later that is tried again.
        assert_eq!(budget.excess(81, 12, at(62)), None);
    }

    #[test]
    fn the_log_is_told_once_a_minute_with_a_sum() {
        let mut budget = FdBudget::with_limit(3, 1024);
        let first = budget.note_closed(Excess::Connections, at(100)).unwrap();
        assert!(
            first.contains("worker_connections (3): closed 1 "),
            "{first}"
        );
        for _ in 0..4 {
            assert_eq!(budget.note_closed(Excess::Connections, at(159)), None);
        }
        let next = budget.note_closed(Excess::Descriptors, at(160)).unwrap();
        assert!(next.contains("of 1024: closed 5 "), "{next}");
        let error = io::Error::from_raw_os_error(EMFILE);
        assert!(FdBudget::is_lack(&error));
        assert!(budget.note_waiting(&error, at(160)).is_some());
        assert_eq!(budget.note_waiting(&error, at(161)), None);
    }
}
