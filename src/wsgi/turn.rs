//! Lets one of several threads at a time receive from a connection.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a thread waits for the turn of another before it checks for the order to leave, which
/// does not wake it.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// The turn to receive from a connection, and to wait for it. Without it, a thread could take the
/// last bytes after another one has found none and before that one waits: it would wait for bytes
/// that never arrive.
#[derive(Debug, Default)]
pub(super) struct ReceivingTurn {
    is_taken: Mutex<bool>,
    freed: Condvar,
}

/// A turn that was taken. When it is dropped, another thread may take its turn.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a ReceivingTurn);

impl ReceivingTurn {
    /// Takes the turn, unless another thread has it.
    pub(super) fn take(&self) -> Option<Turn<'_>> {
        let was_taken = std::mem::replace(&mut *self.lock(), true);
        // Not `then_some`, which would make a turn and drop it, and so end the turn of another
        // thread.
        (!was_taken).then(|| Turn(self))
    }

    /// Waits, for a short time at most, until no thread has the turn.
    pub(super) fn wait_until_free(&self) {
        let until_free = |is_taken: &mut bool| *is_taken;
        drop(
            self.freed
                .wait_timeout_while(self.lock(), MAX_PAUSE, until_free),
        );
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.lock() = false;
        self.0.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn one_thread_has_the_turn_and_the_others_wait_for_its_end() {
        let turn = ReceivingTurn::default();
        let taken = turn.take();
        assert!(taken.is_some());
        assert!(turn.take().is_none());
        assert!(turn.take().is_none());
        // Not for ever.
        turn.wait_until_free();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                while turn.take().is_none() {
                    turn.wait_until_free();
                }
            });
            drop(taken);
            waiting.join().expect("the turn came");
        });
        assert!(turn.take().is_some());
    }
}
