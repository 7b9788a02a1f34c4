//! Signal dispositions next to an interpreter that has its own ideas about them.
#![expect(unsafe_code, reason = "sigaction, and handlers that run at any moment")]

use std::io;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Runs `action` in the handler of a signal. It must be async-signal-safe: stores into atomics, write(2).
/// Programs that the app starts do not inherit it, and in processes that the app forks (multiprocessing)
/// the signal has its default effect.
pub fn on(signal: Signal, action: impl Fn() + Send + Sync + 'static) -> io::Result<()> {
    let number = nix::libc::c_int::from(signal_number(signal));
    let owner = std::process::id();
    let guarded = move || {
        if std::process::id() == owner {
            action();
        } else {
            // Fails only for signals that cannot be caught, which never get here.
            drop(signal_hook::low_level::emulate_default_handler(number));
        }
    };
    // SAFETY: callers keep to what the doc comment demands; getpid and the emulation (sigaction, raise)
    // are async-signal-safe.
    unsafe { signal_hook::low_level::register(number, guarded) }?;
    Ok(())
}

/// The kernel's number of a signal.
fn signal_number(signal: Signal) -> u16 {
    #[expect(
        clippy::as_conversions,
        reason = "a fieldless enum whose values are small and positive"
    )]
    let number = signal as u16;
    number
}

/// Ignores a signal, whatever the app's import made of it.
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
