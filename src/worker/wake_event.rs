//! What wakes a thread that waits for descriptors.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

use rcorn_sys::private::PrivateMark;

/// A descriptor that can be read from after [`WakeEvent::notify`] (eventfd(2)).
#[derive(Debug)]
pub(super) struct WakeEvent {
    /// Dropped before the descriptor.
    _private: PrivateMark,
    event: EventFd,
}

impl WakeEvent {
    /// Nobody has notified yet.
    ///
    /// # Errors
    ///
    /// Those of eventfd(2).
    pub(super) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_value_and_flags(0, flags)?;
        Ok(Self {
            _private: PrivateMark::new(&event),
            event,
        })
    }

    /// Wakes whoever waits, now or later, until [`WakeEvent::clear`].
    pub(super) fn notify(&self) {
        // Fails only after as many calls as a number has room for.
        self.event.write(1).ok();
    }

    /// Forgets the notifications so far.
    pub(super) fn clear(&self) {
        // Fails if there were none.
        self.event.read().ok();
    }
}

impl AsFd for WakeEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
