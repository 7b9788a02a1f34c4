//! The one wait of the arbiter, while it starts and while it serves: for signals, for whatever was
//! registered, and for a deadline.

use std::io;
use std::time::Duration;

use mio::{Events, Interest, Poll, Registry, Token};
use nix::sys::signal::Signal;

use rcorn_sys::clock;
use rcorn_types::Monotonic;

use super::signals::Signals;

/// The token of the signals' pipe.
const SIGNALS: Token = Token(0);
/// Events taken at once; more come with the next wait.
const MAX_EVENTS: usize = 64;

/// The epoll set, with the signals in it.
#[derive(Debug)]
pub(super) struct Poller {
    poll: Poll,
    events: Events,
    signals: Signals,
    /// Taken, and put back.
    put_back: Vec<Signal>,
}

impl Poller {
    /// A poller that waits for signals.
    ///
    /// # Errors
    ///
    /// Those of `epoll_create1(2)` and `epoll_ctl(2)`.
    pub(super) fn new(mut signals: Signals) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        registry.register(signals.source(), SIGNALS, Interest::READABLE)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(MAX_EVENTS),
            signals,
            put_back: Vec::new(),
        })
    }

    /// The registry for other sources. Readiness is reported once for each change (edge-triggered).
    pub(super) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Waits until something is ready, at most until `deadline`; returns the tokens of what is
    /// ready.
    ///
    /// # Errors
    ///
    /// Those of `epoll_wait(2)`, except EINTR.
    pub(super) fn wait(&mut self, deadline: Option<Monotonic>) -> io::Result<Vec<Token>> {
        let left = deadline.map(|deadline| {
            // Rounded up to milliseconds, in which epoll counts, so that the deadline has passed at
            // the wake-up.
            let left = deadline.since(clock::now());
            left.saturating_add(Duration::from_micros(999))
        });
        match self.poll.poll(&mut self.events, left) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
        Ok(self.events.iter().map(mio::event::Event::token).collect())
    }

    /// The signals that came since the last call, in order.
    pub(super) fn take_signals(&mut self) -> Vec<Signal> {
        let mut signals = std::mem::take(&mut self.put_back);
        signals.extend(self.signals.take());
        signals
    }

    /// Gives signals back, to be taken again. They end no wait.
    pub(super) fn put_signals_back(&mut self, signals: Vec<Signal>) {
        self.put_back = signals;
    }
}
