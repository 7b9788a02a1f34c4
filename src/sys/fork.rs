//! `fork`, and who is left in the child.
#![expect(
    unsafe_code,
    reason = "fork is unsafe by nature; the contract is on the function"
)]

use std::io;

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
