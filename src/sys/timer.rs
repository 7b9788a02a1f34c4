//! Timers that send this process a signal, and that a signal handler can start.
#![expect(
    unsafe_code,
    reason = "timer_create(2), which nix has for fewer targets"
)]

use std::ffi::c_int;
use std::io;
use std::ptr::null_mut;
use std::time::Duration;

use nix::libc;

/// A timer that sends this process a signal (`timer_create(2)`), by the monotonic clock. Processes
/// that this one forks, and programs that it becomes, do not have it.
#[derive(Debug)]
pub struct SignalTimer {
    timer: libc::timer_t,
    after: libc::itimerspec,
}

// SAFETY: a timer belongs to the process, not to a thread; the kernel's calls may come from any.
unsafe impl Send for SignalTimer {}
// SAFETY: as above.
unsafe impl Sync for SignalTimer {}

impl SignalTimer {
    /// A timer that sends `signal` once, this long after it is started.
    ///
    /// # Errors
    ///
    /// Those of `timer_create(2)`: too many timers (`RLIMIT_SIGPENDING`), or a kernel without them.
    pub fn new(signal: c_int, after: Duration) -> io::Result<Self> {
        // SAFETY: sigevent is plain data for which all zeroes is a valid value.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = signal;
        let mut timer = null_mut();
        let clock = libc::CLOCK_MONOTONIC;
        // SAFETY: both pointers are to live locals.
        let done = unsafe { libc::timer_create(clock, &raw mut event, &raw mut timer) };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        let never = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // Zero would stop it.
        let after = after.max(Duration::from_nanos(1));
        let after = libc::itimerspec {
            it_interval: never,
            it_value: libc::timespec {
                tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(after.subsec_nanos()),
            },
        };
        Ok(Self { timer, after })
    }

    /// Starts the time. Async-signal-safe.
    pub fn start(&self) {
        // SAFETY: the timer lives as long as this value, and the time is in it. The call fails for
        // bad arguments only.
        unsafe { libc::timer_settime(self.timer, 0, &raw const self.after, null_mut()) };
    }
}

impl Drop for SignalTimer {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and dropped once.
        unsafe { libc::timer_delete(self.timer) };
    }
}

#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    use super::*;
    use crate::signal::{SetFlag, handle};

    #[test]
    fn a_timer_sends_its_signal_once_it_is_started() {
        let came = Arc::new(AtomicBool::new(false));
        let signal = libc::SIGVTALRM;
        handle(signal, SetFlag(Arc::clone(&came))).unwrap();
        let timer = SignalTimer::new(signal, Duration::ZERO).unwrap();
        assert!(!came.load(Ordering::Relaxed));
        timer.start();
        let started = Instant::now();
        while !came.load(Ordering::Relaxed) {
            assert!(started.elapsed() < Duration::from_secs(10));
            std::thread::yield_now();
        }
    }
}
