//! What the streams of an HTTP/2 connection share: how many there are, and how much they bring for
//! what the client sends. One that sends frames which bring nothing is told to calm down (RFC 9113
//! section 10.5).

use std::cell::Cell;
use std::rc::Rc;

use tokio::time::Instant;

/// How many bytes of frames a client may send for each byte that they bring: PING, SETTINGS,
/// PRIORITY, empty DATA and the rest bring nothing.
const MAX_FRAMING: u64 = 8;

/// How many bytes the frames of a connection may seem to bring to begin with.
const CREDIT_BYTES: u64 = 256 * 1024;

/// How many requests a client may take back beyond those that it lets be answered.
const MAX_CANCELLED: u64 = 200;

/// One connection.
#[derive(Debug)]
pub(crate) struct Shared {
    active: Cell<usize>,
    idle_since: Cell<Instant>,
    received: Cell<u64>,
    useful: Cell<u64>,
    answered: Cell<u64>,
    cancelled: Cell<u64>,
}

/// Adds to a count.
fn add(count: &Cell<u64>, more: usize) {
    let more = u64::try_from(more).unwrap_or(u64::MAX);
    count.set(count.get().saturating_add(more));
}

impl Shared {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            active: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            received: Cell::new(0),
            useful: Cell::new(0),
            answered: Cell::new(0),
            cancelled: Cell::new(0),
        })
    }

    /// A stream, until what is returned is dropped.
    pub(crate) fn begin(self: &Rc<Self>) -> Active {
        self.active.set(self.active.get().saturating_add(1));
        Active(Rc::clone(self))
    }

    /// Since when there is no stream; `None` while there is one.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        (self.active.get() == 0).then(|| self.idle_since.get())
    }

    /// Some bytes have come from the client; returns how many had come before.
    pub(crate) fn received(&self, bytes: usize) -> u64 {
        let before = self.received.get();
        add(&self.received, bytes);
        before
    }

    /// Some bytes of requests or responses were passed on.
    pub(crate) fn brought(&self, bytes: usize) {
        add(&self.useful, bytes);
    }

    pub(crate) fn was_answered(&self) {
        add(&self.answered, 1);
    }

    pub(crate) fn was_cancelled(&self) {
        add(&self.cancelled, 1);
    }

    /// Whether the client sends too much that brings nothing.
    pub(crate) fn is_flooded(&self) -> bool {
        let credit = self.useful.get().saturating_add(CREDIT_BYTES);
        let cancelled = self.cancelled.get().saturating_sub(self.answered.get());
        self.received.get() / MAX_FRAMING > credit || cancelled > MAX_CANCELLED
    }
}

/// A stream that is open.
#[derive(Debug)]
pub(crate) struct Active(Rc<Shared>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
        self.0.idle_since.set(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_bring_nothing_are_a_flood_and_long_transfers_are_none() {
        let shared = Shared::new();
        let limit = usize::try_from(MAX_FRAMING * CREDIT_BYTES).unwrap();
        add(&shared.received, limit);
        assert!(!shared.is_flooded());
        add(&shared.received, 100);
        assert!(shared.is_flooded());
        shared.brought(100);
        assert!(!shared.is_flooded());
    }

    #[test]
    fn who_takes_back_more_than_is_answered_floods() {
        let shared = Shared::new();
        for _request in 0..MAX_CANCELLED {
            shared.was_cancelled();
        }
        assert!(!shared.is_flooded());
        shared.was_cancelled();
        assert!(shared.is_flooded());
        shared.was_answered();
        assert!(!shared.is_flooded());
    }

    #[test]
    fn it_is_idle_when_the_last_stream_has_ended() {
        let shared = Shared::new();
        assert!(shared.idle_since().is_some());
        let (one, other) = (shared.begin(), shared.begin());
        drop(one);
        assert!(shared.idle_since().is_none());
        drop(other);
        assert!(shared.idle_since().is_some());
    }
}
