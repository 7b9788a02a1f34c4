//! Records that a log could not write: counted for the log itself, which says the number when it
//! can write again, and for the process, whose number the metrics show.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many records this process has lost, in all of its logs.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Is called for each of them.
static COUNT: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// How many records this process has lost, in all of its logs.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Calls `count` for each record that this process loses from now on, from whichever thread logs.
/// The first call counts; the process is a worker by then.
pub fn count_lost(count: impl Fn() + Send + Sync + 'static) {
    COUNT.get_or_init(|| Box::new(count));
}

/// Counts one of those that no log tells of.
pub(super) fn add_one() {
    add_many(1);
}

/// Counts records that somebody has lost for this process's logs: messages that a server did not
/// take.
pub fn add_many(count: u64) {
    LOST.fetch_add(count, Ordering::Relaxed);
    if let Some(each) = COUNT.get() {
        for _ in 0..count {
            each();
        }
    }
}

/// The records that one log has lost and not told yet.
#[derive(Debug, Default)]
pub(super) struct Lost {
    pending: AtomicU64,
    /// The process that lost them.
    pid: AtomicU64,
}

impl Lost {
    /// Adds so many; returns the previous number.
    pub(super) fn add(&self, count: u64) -> u64 {
        add_many(count);
        // A forked process does not tell what its parent has lost, which tells it itself.
        let pid = u64::from(std::process::id());
        if self.pid.swap(pid, Ordering::Relaxed) != pid {
            self.pending.store(0, Ordering::Relaxed);
        }
        self.pending.fetch_add(count, Ordering::Relaxed)
    }

    /// How many there are to be told.
    pub(super) fn pending(&self) -> u64 {
        let pending = self.pending.load(Ordering::Relaxed);
        if pending > 0 && self.pid.load(Ordering::Relaxed) != u64::from(std::process::id()) {
            return 0;
        }
        pending
    }

    /// Notes that so many have been told.
    pub(super) fn told(&self, count: u64) {
        // Not a store of 0: another thread may have lost one meanwhile.
        self.pending.fetch_sub(count, Ordering::Relaxed);
    }
}
