//! A fork of a running interpreter: CPython's hooks around it, and the double fork by which a
//! worker becomes the arbiter's child.
#![expect(unsafe_code, reason = "CPython's fork hooks")]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid, pipe2};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};

use rcorn_sys as sys;
use rcorn_sys::fork::Fork;

/// On which side of a double fork this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forked {
    /// The template, with the grandchild's pid. The grandchild may have ended already.
    Template(i32),
    /// The grandchild: the new worker.
    Worker,
}

/// Forks twice ([`sys::fork_twice`]). The middle process exits at once, so that the grandchild is
/// re-parented to the nearest subreaper: the arbiter.
///
/// The grandchild's pid comes through a pipe. The pipe alone decides about success: whether the
/// middle process can be waited for depends on what the app made of SIGCHLD, and on who else waits
/// for children.
///
/// What runs where: the middle process makes one fork(2), one write(2) and one _exit(2), all
/// async-signal-safe. The grandchild restores its signal mask and hands over to
/// `PyOS_AfterFork_Child` before anything else, as `os.fork()` does; it goes on as a Python
/// process. Threads of the template are not there any more in either of them: a template
/// has some only when the operator insists on preloading (`--preload`) an app that started them.
///
/// All signals are blocked while there is a middle process: one that is sent to all of rcorn's
/// processes (`pkill -HUP rcorn`) must not end it, nor the grandchild before its handlers are its
/// own.
///
/// # Errors
///
/// Those of pipe(2) and of both fork(2) calls.
pub fn fork_twice(py: Python<'_>) -> io::Result<Forked> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    before(py);
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let restore_mask = || {
        if let Ok(mask) = mask {
            // Fails for an unknown "how" only.
            mask.thread_set_mask().ok();
        }
    };
    // SAFETY: what the children call is said above. The middle process holds CPython's fork locks
    // and runs no Python at all. glibc has put the locks of `malloc` and stdio in order in the
    // grandchild, `PyOS_AfterFork_Child` does so for the interpreter's. A lock of the app or of a C
    // library that one of the app's threads held stays held, as after Python's own `os.fork()`: the
    // log warns of it.
    match unsafe { sys::fork_twice::fork_twice(writer.as_fd()) } {
        Err(error) => {
            restore_mask();
            after_in_parent(py);
            Err(error)
        }
        Ok(Fork::Parent(middle)) => {
            drop(writer);
            let grandchild = read_outcome(reader);
            reap(middle);
            restore_mask();
            after_in_parent(py);
            grandchild.map(Forked::Template)
        }
        Ok(Fork::Child) => {
            drop(writer);
            sys::signal::disregard_here();
            restore_mask();
            after_in_child(py);
            Ok(Forked::Worker)
        }
    }
}

/// What the middle process said.
fn read_outcome(reader: OwnedFd) -> io::Result<i32> {
    let mut number = [0; 4];
    // Repeats what a signal interrupts.
    File::from(reader)
        .read_exact(&mut number)
        .map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                io::Error::other("the middle process of the fork was killed")
            } else {
                error
            }
        })?;
    match i32::from_ne_bytes(number) {
        pid if pid > 0 => Ok(pid),
        errno => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
    }
}

/// Waits for the middle process, which is leaving. With SIGCHLD ignored the kernel reaps it, and a
/// thread of the app may wait for any child: ECHILD means that it is gone.
fn reap(middle: Pid) {
    while waitpid(middle, None) == Err(Errno::EINTR) {}
}

/// Calls `call` in each process that Python forks from now on, here and in those processes, before
/// it goes on (`os.register_at_fork`). It must not panic. A fork of C code is not noticed.
///
/// # Errors
///
/// What Python raises: no memory.
pub fn after_in_children(py: Python<'_>, call: impl Fn() + Send + Sync + 'static) -> PyResult<()> {
    let after = PyCFunction::new_closure(py, None, None, move |_args, _named| call())?;
    let named = PyDict::new(py);
    named.set_item("after_in_child", after)?;
    py.import("os")?
        .call_method("register_at_fork", (), Some(&named))?;
    Ok(())
}

/// This process's pid, asked of the kernel: a cached one would be wrong in a fork.
#[must_use]
pub fn pid() -> i32 {
    getpid().as_raw()
}

fn before(_py: Python<'_>) {
    // SAFETY: the GIL is held (token), as os.fork() does.
    unsafe { ffi::PyOS_BeforeFork() }
}

fn after_in_parent(_py: Python<'_>) {
    // SAFETY: the GIL is held; pairs with `before` in this process.
    unsafe { ffi::PyOS_AfterFork_Parent() }
}

fn after_in_child(_py: Python<'_>) {
    // SAFETY: the GIL was held by the forking thread, which is the one that lives here; pairs with
    // `before`, whose locks the two forks inherited.
    unsafe { ffi::PyOS_AfterFork_Child() }
}
