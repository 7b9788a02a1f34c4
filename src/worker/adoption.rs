//! How a new worker becomes a child of the arbiter.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use rcorn_sys::{clock, process};

/// How long to wait for the middle process of the double fork to exit. It exits within
/// microseconds; the wait is this long only if the arbiter is dead and another process has adopted
/// us.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// The longest single wait for the parent to exit.
const MAX_POLL_MILLISECONDS: u8 = 100;

/// Waits until the middle process of the double fork is gone and the arbiter is our parent; only
/// then asks for a signal at the parent's death. If it asked earlier, the exit of the middle
/// process would send that signal. `false`: the arbiter is gone.
///
/// # Errors
///
/// Those of poll(2) and prctl(2).
pub fn wait(arbiter: i32) -> io::Result<bool> {
    let limit = clock::now().after(MAX_WAIT);
    loop {
        let parent = getppid().as_raw();
        if parent == arbiter {
            break;
        }
        if clock::now() > limit {
            return Ok(false);
        }
        await_end(parent)?;
    }
    ask_for_death_signal(arbiter)
}

/// Asks for a signal at the parent's death. `false`: the arbiter is gone. Also to be called after
/// what the app or a hook has done: a change of the user or the group takes the wish back
/// (`PR_SET_PDEATHSIG(2const)`).
///
/// # Errors
///
/// Those of prctl(2).
pub fn ask_for_death_signal(arbiter: i32) -> io::Result<bool> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    Ok(getppid().as_raw() == arbiter)
}

/// Waits until this process has another parent, or for a shorter time.
fn await_end(parent: i32) -> io::Result<()> {
    let watched = process::watch(parent);
    // If the parent has exited before, this pidfd may be of another process. The kernel assigns the
    // new parent before it reports the exit of the old one.
    if getppid().as_raw() != parent {
        return Ok(());
    }
    match watched {
        Ok(pidfd) => match poll(
            &mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)],
            PollTimeout::from(MAX_POLL_MILLISECONDS),
        ) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        },
        // A kernel without pidfds, or no descriptor for one.
        Err(_) => Ok(nix::sched::sched_yield()?),
    }
}
