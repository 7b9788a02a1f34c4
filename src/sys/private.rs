//! Descriptors that a process keeps to itself: a child that is forked and does not exec closes them
//! as it is born, before any other code of it runs. The app's children (`os.fork`,
//! multiprocessing) would keep connections and listening sockets open otherwise: no client would
//! see the end of its response, and no successor could bind.
//!
//! Descriptors are closed at exec anyway; this is for children that never call it.

#![expect(unsafe_code, reason = "closes descriptors by their numbers")]

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use nix::libc;

/// Descriptor numbers below this can be kept private: as many as Linux allows a process by default
/// (`fs.nr_open`).
const MAX_DESCRIPTORS: usize = 1 << 20;
const BITS: usize = 64;

/// A bit for each private descriptor. Memory that is never written to takes no room.
static PRIVATE: [AtomicU64; MAX_DESCRIPTORS / BITS] =
    [const { AtomicU64::new(0) }; MAX_DESCRIPTORS / BITS];
/// How many of these words have ever been written to.
static WORDS: AtomicUsize = AtomicUsize::new(0);

/// As long as this lives, a forked child closes the descriptor. To be dropped before the descriptor
/// is closed: a field that stands before the owner of the descriptor is.
#[derive(Debug)]
pub struct PrivateMark(RawFd);

impl PrivateMark {
    /// Marks a descriptor.
    #[must_use]
    pub fn new(descriptor: &impl AsFd) -> Self {
        let number = descriptor.as_fd().as_raw_fd();
        keep_private(descriptor);
        Self(number)
    }
}

impl Drop for PrivateMark {
    fn drop(&mut self) {
        if let Some((word, bit, _)) = place(self.0) {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }
}

/// Marks a descriptor that stays open to the end of this process.
pub fn keep_private(descriptor: &impl AsFd) {
    if let Some((word, bit, index)) = place(descriptor.as_fd().as_raw_fd()) {
        WORDS.fetch_max(index.saturating_add(1), Ordering::Relaxed);
        word.fetch_or(bit, Ordering::Relaxed);
    }
}

/// The word, the bit in it, and the word's index.
fn place(number: RawFd) -> Option<(&'static AtomicU64, u64, usize)> {
    let number = usize::try_from(number).ok()?;
    let index = number / BITS;
    let word = PRIVATE.get(index)?;
    Some((word, 1 << (number % BITS), index))
}

/// No descriptor is private any more.
pub(crate) fn forget_all() {
    let words = WORDS.load(Ordering::Relaxed);
    for word in PRIVATE.iter().take(words) {
        word.store(0, Ordering::Relaxed);
    }
}

/// Closes the private descriptors, in a child just forked. Async-signal-safe: atomics and close(2).
pub(crate) fn close_all() {
    let words = WORDS.load(Ordering::Relaxed);
    for (index, word) in PRIVATE.iter().take(words).enumerate() {
        let mut bits = word.swap(0, Ordering::Relaxed);
        while bits != 0 {
            let bit = usize::try_from(bits.trailing_zeros()).unwrap_or(0);
            bits &= bits.wrapping_sub(1);
            let number = index.saturating_mul(BITS).saturating_add(bit);
            if let Ok(number) = RawFd::try_from(number) {
                // SAFETY: close takes any number. The owner of this one is a copy of the parent's:
                // no code of ours that could use it runs in the child, which ends when it comes
                // back from the app's code.
                unsafe { libc::close(number) };
            }
        }
    }
}

#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use nix::sys::wait::waitpid;

    use super::*;
    use crate::fork::{Fork, fork_with_threads, mark_forks};

    /// Forks a child that lives until the returned pipe is closed.
    fn child() -> (nix::unistd::Pid, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        // SAFETY: the child closes, reads and exits: async-signal-safe calls.
        match unsafe { fork_with_threads() }.unwrap() {
            Fork::Parent(pid) => (pid, ours),
            Fork::Child => {
                // SAFETY: the child's copy.
                unsafe { libc::close(ours.as_raw_fd()) };
                (&theirs).read_exact(&mut [0]).ok();
                crate::exit_now(0)
            }
        }
    }

    #[test]
    fn a_forked_child_has_no_copy_of_what_is_private() {
        mark_forks().unwrap();
        let (private, mut sees_private) = UnixStream::pair().unwrap();
        let (shared, mut sees_shared) = UnixStream::pair().unwrap();
        let (former, mut sees_former) = UnixStream::pair().unwrap();
        sees_shared.set_nonblocking(true).unwrap();
        sees_former.set_nonblocking(true).unwrap();
        let mark = PrivateMark::new(&private);
        drop(PrivateMark::new(&former));
        let (pid, end) = child();
        assert!(crate::fork::has_forked());
        drop(mark);
        drop((private, shared, former));
        // The last copy was closed: the end of the stream. It would wait for ever otherwise.
        assert_eq!(sees_private.read(&mut [0]).unwrap(), 0);
        sees_shared.read(&mut [0]).unwrap_err();
        sees_former.read(&mut [0]).unwrap_err();
        drop(end);
        waitpid(pid, None).unwrap();
    }
}
