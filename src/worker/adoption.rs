//! How a new worker comes to be the arbiter's child.

use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::getppid;

use rcorn_sys::clock;

/// The middle process of the double fork leaves within microseconds. This long only when the arbiter is dead and another
/// process has adopted us.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Waits until the middle process of the double fork is gone and the arbiter is our parent; only then asks for a signal at
/// the parent's death. Asked for earlier, the middle process's leaving would be that death. `false`: the arbiter is gone.
pub(super) fn wait(arbiter: i32) -> io::Result<bool> {
    let limit = clock::now().after(MAX_WAIT);
    while getppid().as_raw() != arbiter {
        if clock::now() > limit {
            return Ok(false);
        }
        nix::sched::sched_yield()?;
    }
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    Ok(getppid().as_raw() == arbiter)
}
