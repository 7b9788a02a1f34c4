//! What a connection needs from the interpreter, of which this crate knows nothing: to let other
//! threads run while it waits.

/// The interpreter as a connection sees it: the caller holds a lock (CPython's GIL) that must not
/// be held while waiting.
pub trait Unlocked {
    /// Runs a call that may block, without the lock.
    fn unlocked<R: Send>(&self, call: impl FnOnce() -> R + Send) -> R;

    /// Whether this process was told to leave at once: waiting ends with [`crate::Lost::Leaving`].
    fn must_leave(&self) -> bool;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::Unlocked;

    /// No interpreter, and so no lock.
    #[derive(Default)]
    pub(crate) struct Alone {
        pub(crate) leaving: bool,
    }

    impl Unlocked for Alone {
        fn unlocked<R: Send>(&self, call: impl FnOnce() -> R + Send) -> R {
            call()
        }

        fn must_leave(&self) -> bool {
            self.leaving
        }
    }
}
