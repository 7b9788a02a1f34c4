//! Signal handlers and dispositions. Handlers run at any moment: what they do must be async-signal-safe.
#![expect(unsafe_code, reason = "sigaction, and handlers that run at any moment")]

use std::ffi::c_int;
use std::io;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

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

/// Lets a signal interrupt blocking system calls, which are repeated otherwise.
pub fn interrupt_calls(signal: Signal) -> io::Result<()> {
    let ignored = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: SIG_IGN runs no code of ours.
    let now = unsafe { sigaction(signal, &ignored) }?;
    let changed = SigAction::new(
        now.handler(),
        now.flags() & !SaFlags::SA_RESTART,
        now.mask(),
    );
    // SAFETY: the handler is the one that was there before.
    unsafe { sigaction(signal, &changed) }?;
    Ok(())
}

/// Ignores a signal, whatever other code made of it.
pub fn ignore(signal: Signal) -> io::Result<()> {
    set(signal, SigHandler::SigIgn)
}

/// Gives a signal its default action back.
pub fn reset(signal: Signal) -> io::Result<()> {
    set(signal, SigHandler::SigDfl)
}

fn set(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: SIG_IGN and SIG_DFL run no code of ours.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}
