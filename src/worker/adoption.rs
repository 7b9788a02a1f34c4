//! How a new worker comes to be the arbiter's child.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use rcorn_sys::{clock, process};

/// The middle process of the double fork leaves within microseconds. This long only when the
/// arbiter is dead and another process has adopted us.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// How long one wait for the parent's end takes at most.
const MAX_POLL_MILLISECONDS: u8 = 100;

/// Waits until the middle process of the double fork is gone and the arbiter is our parent; only
/// then asks for a signal at the parent's death. Asked for earlier, the middle process's leaving
/// would be that death. `false`: the arbiter is gone.
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
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    Ok(getppid().as_raw() == arbiter)
}

/// Waits until this process has another parent; perhaps less.
fn await_end(parent: i32) -> io::Result<()> {
    let watched = process::watch(parent);
    // One that left before is not what we watch; and the kernel gives us a new parent before it
    // tells of the old one's end.
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
