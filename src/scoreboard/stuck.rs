//! An action that a signal handler takes only in a worker that makes no progress.

#![expect(unsafe_code, reason = "a promise about what runs in a signal handler")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rcorn_sys::clock;
use rcorn_sys::signal::AsyncSignalSafe;

use super::Cell;

/// An action for a worker whose request takes too long. It checks that, because the arbiter may
/// have meant the previous request.
#[derive(Debug)]
pub struct WhenStuck<A> {
    /// The worker's own cell.
    pub cell: &'static Cell,
    /// How long a request may take; `None`: every request counts as stuck.
    pub limit: Option<Duration>,
    /// Once it is set, every request counts as stuck, too.
    pub means_all: Arc<AtomicBool>,
    /// The action.
    pub action: A,
}

// SAFETY: atomics of the scoreboard and clock_gettime(2), which is async-signal-safe; and the
// action, by its type.
unsafe impl<A: AsyncSignalSafe> AsyncSignalSafe for WhenStuck<A> {
    fn run(&self) {
        let is_young = self.limit.is_some_and(|limit| {
            let since = self.cell.no_progress_since();
            since.is_some_and(|since| clock::now() < since.after(limit))
        });
        if !is_young || self.means_all.load(Ordering::Relaxed) {
            self.action.run();
        }
    }
}
