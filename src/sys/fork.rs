//! `fork`, and who is left in the child.
#![expect(
    unsafe_code,
    reason = "fork is unsafe by nature; the contract is on the function"
)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use nix::unistd::{ForkResult, Pid};

/// On which side of a fork we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The parent, with the child's pid.
    Parent(Pid),
    /// The child.
    Child,
}

/// How many threads this process has, by the kernel's count.
#[must_use]
pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

/// This process was forked by the app of a worker.
static STRAY: AtomicBool = AtomicBool::new(false);

extern "C" fn mark_stray() {
    STRAY.store(true, Ordering::Relaxed);
}

/// From now on a fork of this process, by whoever, knows that it is one.
pub fn mark_forks() -> io::Result<()> {
    // SAFETY: the handler only stores into an atomic; this library is never unloaded.
    let errno = unsafe { libc::pthread_atfork(None, None, Some(mark_stray)) };
    if errno == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(errno))
    }
}

/// Whether this process is a fork of the one that called [`mark_forks`].
#[must_use]
pub fn is_stray() -> bool {
    STRAY.load(Ordering::Relaxed)
}

/// Forks. In the child only the calling thread lives on. Callers that run a Python interpreter hold the
/// GIL and surround the call with CPython's fork hooks (`python::fork`).
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that forks"
)]
pub fn fork() -> io::Result<Fork> {
    // SAFETY: with one thread a fork is always sound. With several (an app that is preloaded although it
    // started threads, by the operator's explicit order) the child is a Python process after a fork, for
    // which CPython and glibc (pthread_atfork) put their locks in order; that is os.fork()'s own contract.
    match unsafe { nix::unistd::fork() } {
        Ok(ForkResult::Parent { child }) => Ok(Fork::Parent(child)),
        Ok(ForkResult::Child) => Ok(Fork::Child),
        Err(errno) => Err(errno.into()),
    }
}
