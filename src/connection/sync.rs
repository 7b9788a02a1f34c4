//! The lock of this crate: one type, so that a model checker's can take its place.
//!
//! Lock order: the helper thread's agenda, then a connection's write buffer. No other two are held at once, and
//! each is held for calls that do not wait.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A mutex that a panic does not poison: what it guards is whole between any two statements.
#[derive(Debug, Default)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
