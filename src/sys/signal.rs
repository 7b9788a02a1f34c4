//! Signal handlers and dispositions. Handlers run at any moment: what they do must be async-signal-safe.
#![expect(unsafe_code, reason = "sigaction, and handlers that run at any moment")]

use std::ffi::c_int;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// A signal as kill(2) counts it.
#[must_use]
pub fn number(signal: Signal) -> c_int {
    #[expect(
        clippy::as_conversions,
        reason = "a fieldless enum of i32 representation"
    )]
    let number = signal as c_int;
    number
}

/// Runs `action` in the handler of a signal. It must be async-signal-safe: stores into atomics, write(2).
/// Programs that this process starts do not inherit it, and in processes that it forks without exec (an
/// app's multiprocessing) the signal has its default effect.
pub fn on(signal: c_int, action: impl Fn() + Send + Sync + 'static) -> io::Result<()> {
    let owner = std::process::id();
    let guarded = move || {
        if std::process::id() == owner {
            action();
        } else {
            // Fails only for signals that cannot be caught, which never get here.
            drop(signal_hook::low_level::emulate_default_handler(signal));
        }
    };
    // SAFETY: callers keep to what the doc comment demands; getpid and the emulation (sigaction, raise)
    // are async-signal-safe.
    unsafe { signal_hook::low_level::register(signal, guarded) }?;
    Ok(())
}

/// Lets a signal interrupt blocking system calls, which are repeated otherwise. A signal that is pending stays
/// so: the disposition is read without a detour over "ignore", which would drop it.
pub fn interrupt_calls(signal: Signal) -> io::Result<()> {
    let number = number(signal);
    // SAFETY: sigaction is plain data for which all zeroes is a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a null new action only asks; the old one is written to a live local.
    let asked = unsafe { libc::sigaction(number, std::ptr::null(), &raw mut action) };
    if asked < 0 {
        return Err(io::Error::last_os_error());
    }
    action.sa_flags &= !libc::SA_RESTART;
    // SAFETY: the action is the one that was in force, with one flag less.
    let done = unsafe { libc::sigaction(number, &raw const action, std::ptr::null_mut()) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Whose handlers they are: in a process that this one forks without exec (an app's multiprocessing) the signal has its
/// default effect.
static SWALLOWER: AtomicU32 = AtomicU32::new(0);

/// Signals that [`disregard`] swallowed, as a bit set by number.
static SWALLOWED: AtomicU64 = AtomicU64::new(0);

extern "C" fn swallow(signal: c_int) {
    if std::process::id() != SWALLOWER.load(Ordering::Relaxed) {
        // Fails only for signals that cannot be caught, which never get here.
        drop(signal_hook::low_level::emulate_default_handler(signal));
        return;
    }
    let bit = u32::try_from(signal)
        .ok()
        .and_then(|bit| 1_u64.checked_shl(bit));
    SWALLOWED.fetch_or(bit.unwrap_or(0), Ordering::Relaxed);
}

/// A handler that does nothing. Not `SIG_IGN`: programs that this process starts would inherit that.
pub fn disregard(signal: Signal) -> io::Result<()> {
    disregard_here();
    set(signal, SigHandler::Handler(swallow))
}

/// What the process that forked this one disregards, this one does too.
pub fn disregard_here() {
    SWALLOWER.store(std::process::id(), Ordering::Relaxed);
}

/// Whether a signal came since it was disregarded; once for each.
#[must_use]
pub fn was_swallowed(signal: Signal) -> bool {
    let bit = u32::try_from(number(signal)).ok();
    let bit = bit.and_then(|bit| 1_u64.checked_shl(bit)).unwrap_or(0);
    SWALLOWED.fetch_and(!bit, Ordering::Relaxed) & bit != 0
}

/// The signal upon which our Pythons write down where all their threads are: the last real-time signal but one,
/// which hardly any program uses.
#[must_use]
pub fn testify() -> c_int {
    libc::SIGRTMAX().saturating_sub(1)
}

/// Sends a signal by number to one process: nix knows no real-time signals. Numbers that mean groups (kill(2): 0 is our
/// own) are refused.
pub fn send(pid: i32, number: c_int) -> io::Result<()> {
    if pid <= 0 {
        return Err(io::Error::other(format!("{pid} is no process")));
    }
    // SAFETY: kill takes any numbers.
    if unsafe { libc::kill(pid, number) } < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Ignores a signal, whatever other code made of it.
pub fn ignore(signal: Signal) -> io::Result<()> {
    set(signal, SigHandler::SigIgn)
}

/// Gives a signal its default action back.
pub fn reset(signal: Signal) -> io::Result<()> {
    set(signal, SigHandler::SigDfl)
}

/// What a process does about a signal: its handler, mask and flags, as sigaction(2) gave them.
#[derive(Clone, Copy, Debug)]
pub struct Disposition(SigAction);

/// Gives a signal its default action back and tells what it had before, to be put back by
/// [`Disposition::restore`].
///
/// # Errors
///
/// Those of sigaction(2).
pub fn replace_by_default(signal: Signal) -> io::Result<Disposition> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: SIG_DFL runs no code of ours.
    let before = unsafe { sigaction(signal, &default) }?;
    Ok(Disposition(before))
}

impl Disposition {
    /// Puts it back: in the process that it was taken from, or in a fork of it, which has the same code.
    ///
    /// # Errors
    ///
    /// Those of sigaction(2).
    pub fn restore(&self, signal: Signal) -> io::Result<()> {
        // SAFETY: the handler was in force in this process or in the one that it was forked from.
        unsafe { sigaction(signal, &self.0) }?;
        Ok(())
    }
}

fn set(signal: Signal, handler: SigHandler) -> io::Result<()> {
    // System calls go on after a signal that is swallowed.
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: SIG_IGN and SIG_DFL run no code of ours; the one handler of this module stores into an atomic.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}
