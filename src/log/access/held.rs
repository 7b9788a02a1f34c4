//! Lines that are written together: of requests that were ready at once. Half of what a line costs
//! is the system call that takes it to the file.
//!
//! No line is lost by it: what is held is with somebody else, too, who writes it if this process
//! dies. No lock is waited for: a fork, or another thread that writes to a file which nobody reads,
//! could keep it. A line that finds it taken is written by itself.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use rcorn_sys::fork::is_forked_child;

use super::destination::Destination;

/// Keeps lines of this process that are not written yet, for when it dies.
pub trait KeepsLines: Debug + Send + Sync {
    /// Adds a line; false: there is no room for it.
    fn keep(&self, line: &[u8]) -> bool;

    /// Forgets all lines: they are written.
    fn forget(&self);
}

/// The lines that a log holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// There may be some. To be asked before the lock.
    some: AtomicBool,
    /// Lines can be held.
    is_able: AtomicBool,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    keeper: Option<&'static dyn KeepsLines>,
    bytes: Vec<u8>,
    count: u64,
}

impl Held {
    /// Holds lines from now on, in this process.
    pub(super) fn begin(&self, keeper: &'static dyn KeepsLines) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        *lines = Lines {
            keeper: Some(keeper),
            ..Lines::default()
        };
        drop(lines);
        self.is_able.store(true, Ordering::Relaxed);
    }

    /// Whether none is held.
    pub(super) fn is_empty(&self) -> bool {
        !self.some.load(Ordering::Relaxed)
    }

    /// Whether this process may hold lines: not if it was forked from the one that may.
    pub(super) fn can_hold(&self) -> bool {
        self.is_able.load(Ordering::Relaxed) && !is_forked_child()
    }

    /// Holds a line. If there is no room for it beside the others, those are written before. False:
    /// the caller must write it.
    pub(super) fn hold(&self, line: &[u8], to: &Destination) -> bool {
        let Some(mut lines) = self.lock() else {
            return false;
        };
        let Some(keeper) = lines.keeper else {
            return false;
        };
        let fits = lines.bytes.len().saturating_add(line.len()) <= to.sink.whole_bytes();
        if !(fits && keeper.keep(line)) {
            lines.write(to);
            if !keeper.keep(line) {
                self.some.store(false, Ordering::Relaxed);
                return false;
            }
        }
        lines.bytes.extend_from_slice(line);
        lines.count = lines.count.saturating_add(1);
        self.some.store(true, Ordering::Relaxed);
        true
    }

    /// Writes what is held, and this line with it. False: the caller must write the line.
    pub(super) fn write_with(&self, line: &[u8], to: &Destination) -> bool {
        let Some(mut lines) = self.lock() else {
            return false;
        };
        let fits = lines.bytes.len().saturating_add(line.len()) <= to.sink.whole_bytes();
        if fits {
            lines.bytes.extend_from_slice(line);
            lines.count = lines.count.saturating_add(1);
        }
        lines.write(to);
        self.some.store(false, Ordering::Relaxed);
        fits
    }

    /// Writes what is held.
    pub(super) fn write(&self, to: &Destination) {
        if let Some(mut lines) = self.lock() {
            lines.write(to);
            self.some.store(false, Ordering::Relaxed);
        }
    }

    /// What is held, unless another thread has it, or it is another process's.
    fn lock(&self) -> Option<MutexGuard<'_, Lines>> {
        if is_forked_child() {
            return None;
        }
        match self.lines.try_lock() {
            Ok(lines) => Some(lines),
            Err(TryLockError::Poisoned(lines)) => Some(lines.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Lines {
    fn write(&mut self, to: &Destination) {
        if self.bytes.is_empty() {
            return;
        }
        to.write(&self.bytes, self.count);
        self.bytes.clear();
        self.count = 0;
        if let Some(keeper) = self.keeper {
            keeper.forget();
        }
    }
}
