//! What wakes a thread that waits for descriptors.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

use rcorn_sys::private::PrivateMark;

/// A descriptor that can be read from when the bell was rung (eventfd(2)).
#[derive(Debug)]
pub(super) struct Bell {
    /// Dropped before the descriptor.
    _private: PrivateMark,
    event: EventFd,
}

impl Bell {
    /// Not rung yet.
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

    /// Rings it: it stays rung until it is cleared.
    pub(super) fn ring(&self) {
        // Fails only if it was rung as often as a number has room for.
        self.event.write(1).ok();
    }

    /// Forgets that it was rung.
    pub(super) fn clear(&self) {
        // Fails if it was not.
        self.event.read().ok();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
