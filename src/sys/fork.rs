//! `fork`, and what is left of a process in the child.
//!
//! Between a fork and an exec or exit, and for good in a child that goes on, only the forking
//! thread exists. What other threads held stays held: POSIX (fork(3p)) therefore allows the child
//! of a process with several threads async-signal-safe calls only. The places that fork:
//!
//! - `driver::background`, `driver::lookup`: the arbiter, by [`fork`], which refuses when there are
//!   more threads. The child may do anything.
//! - `python::fork`: the template, twice ([`fork_twice`](crate::fork_twice)). With one thread, as
//!   above. With threads that a preloaded app started, by the operator's explicit order, as
//!   [`fork_with_threads`] says.
//! - `sys::spawn`: by the standard library, which allocates before the fork; what runs after it is
//!   listed there.
#![expect(
    unsafe_code,
    reason = "fork is unsafe by nature; the contract is on the function"
)]

use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use nix::unistd::{ForkResult, Pid};

use crate::private;

/// On which side of a fork this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The parent, with the child's pid.
    Parent(Pid),
    /// The child.
    Child,
}

/// How many threads this process has (`/proc/self/task`, proc(5)). A thread that is ending may be
/// among them.
///
/// # Errors
///
/// There is no `/proc`.
pub fn count_threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Errors unless the calling thread is the only one: then nobody else can start another before it
/// goes on.
pub(crate) fn require_one_thread(for_what: &str) -> io::Result<()> {
    match count_threads()? {
        1 => Ok(()),
        threads => Err(io::Error::other(format!(
            "{for_what} needs a process with one thread; this one has {threads}"
        ))),
    }
}

/// [`mark_forks`] is in force.
static MARKS: AtomicBool = AtomicBool::new(false);

/// The handlers stand: they stay as long as the process and all that are forked from it.
static HANDLERS: Once = Once::new();

/// This process was forked by the app of a worker.
static FORKED: AtomicBool = AtomicBool::new(false);

/// This process has forked a child since [`mark_forks`], or is about to.
static HAS_FORKED: AtomicBool = AtomicBool::new(false);

/// Runs before any fork: one store into an atomic.
extern "C" fn note_fork() {
    if MARKS.load(Ordering::Relaxed) {
        HAS_FORKED.store(true, Ordering::Relaxed);
    }
}

/// Runs in the child of any fork, before anything else of it: atomics and close(2).
extern "C" fn mark_child() {
    if MARKS.load(Ordering::Relaxed) {
        FORKED.store(true, Ordering::Relaxed);
        private::close_all();
    }
}

/// From now on each process that this one forks knows it ([`is_forked_child`]) and has none of the
/// private descriptors ([`private`]), whoever forks it: glibc's fork(3) calls the handlers, and
/// Python's `os.fork`, multiprocessing and C code call that. Until [`unmark_forks`].
///
/// # Errors
///
/// That of `pthread_atfork(3)`: no memory.
pub fn mark_forks() -> io::Result<()> {
    let mut errno = 0;
    HANDLERS.call_once(|| {
        // SAFETY: the handlers are async-signal-safe; this library is never unloaded.
        errno = unsafe { libc::pthread_atfork(Some(note_fork), None, Some(mark_child)) };
    });
    if errno != 0 {
        return Err(io::Error::from_raw_os_error(errno));
    }
    HAS_FORKED.store(false, Ordering::Relaxed);
    MARKS.store(true, Ordering::Relaxed);
    Ok(())
}

/// Processes that this one forks from now on are its equals, and nothing is private any more: the
/// process is no worker, but forks workers.
pub fn unmark_forks() {
    MARKS.store(false, Ordering::Relaxed);
    private::forget_all();
}

/// Whether this process has forked since [`mark_forks`]: a child may have copies of descriptors
/// that were not private at that moment.
#[must_use]
pub fn has_forked() -> bool {
    HAS_FORKED.load(Ordering::Relaxed)
}

/// Whether this process was forked from the one that called [`mark_forks`].
#[must_use]
pub fn is_forked_child() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Forks a process that has one thread.
///
/// # Errors
///
/// Those of fork(2). `Other` when there are other threads, or they cannot be counted.
pub fn fork() -> io::Result<Fork> {
    require_one_thread("fork")?;
    // SAFETY: no other thread exists, so none can hold a lock or be in the middle of anything.
    unsafe { fork_with_threads() }
}

/// Forks, whatever threads there are.
///
/// # Errors
///
/// Those of fork(2).
///
/// # Safety
///
/// If there are other threads, the child calls nothing but async-signal-safe functions
/// (signal-safety(7)) until it execs or exits, or puts in order every lock that it then takes.
/// glibc does so for `malloc` and stdio in its own fork; a Python process does so for the
/// interpreter by `PyOS_BeforeFork` and `PyOS_AfterFork_Child` around the call.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that forks"
)]
pub unsafe fn fork_with_threads() -> io::Result<Fork> {
    // SAFETY: the caller keeps to the conditions above.
    match unsafe { nix::unistd::fork() } {
        Ok(ForkResult::Parent { child }) => Ok(Fork::Parent(child)),
        Ok(ForkResult::Child) => Ok(Fork::Child),
        Err(errno) => Err(errno.into()),
    }
}

/// For tests: calls `test` while this process has a second thread.
#[cfg(not(miri))]
#[cfg(test)]
pub(crate) fn beside_a_thread(test: impl FnOnce()) {
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || ends.recv());
    test();
    drop(end);
    other.join().unwrap().unwrap_err();
}

#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_not_forked() {
        beside_a_thread(|| {
            assert!(count_threads().unwrap() > 1);
            let refused = fork().unwrap_err().to_string();
            assert!(refused.contains("one thread"), "{refused}");
        });
    }
}
