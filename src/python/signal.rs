//! Signal dispositions next to an interpreter that has its own ideas about them.
#![expect(unsafe_code, reason = "sigaction has no safe form")]

use std::io;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

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
