//! The lock of this crate: one type, which loom's replaces when it explores the interleavings of
//! threads (`loom_tests.rs`).
//!
//! Lock order: the I/O thread's agenda, then a connection's write buffer. No other two are held at
//! once, and none is held during a call that waits.

#[cfg(all(loom, test))]
use loom::sync::{Mutex, MutexGuard};
use std::sync::PoisonError;
#[cfg(not(all(loom, test)))]
use std::sync::{Mutex, MutexGuard};

#[cfg(all(loom, test))]
pub(crate) use loom::sync::atomic::AtomicU64;
#[cfg(not(all(loom, test)))]
pub(crate) use std::sync::atomic::AtomicU64;

/// What holds a [`Lock`].
pub(crate) type Guard<'a, T> = MutexGuard<'a, T>;

/// A mutex that a panic does not poison: what it guards is whole between any two statements.
#[derive(Debug, Default)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> Guard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
