//! A fork by way of a middle process that exits at once, so that the new process is re-parented to
//! the nearest subreaper.
//!
//! A process with one thread lends the middle process its memory, as vfork(2) does. A fork copies
//! the page tables, which takes as long as half a millisecond for an interpreter with a small app:
//! the middle process has no use for a copy. glibc's own `vfork` cannot be used, because a function
//! that returns twice has no meaning in Rust. So the call and what the middle process does are one
//! piece of assembly, from which either side comes only once.
//!
//! A process that shares its memory is no longer registered for restartable sequences (rseq(2)),
//! and so neither is what it forks. The new process registers again what was registered. If that is
//! unknown, the middle process gets a copy of the memory. So it does on other machines, and where
//! there are other threads: they would run on while it changes what fork handlers change.
#![expect(unsafe_code, reason = "fork, and a middle process without own memory")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::libc::{self, c_int, c_long};

use crate::exit_now;
use crate::fork::{Fork, count_threads, fork_with_threads};

/// Forks twice. Returns to the caller, with the pid of the middle process, and in the new process.
/// The middle process writes the pid of the new one to `outcome`, or an errno below zero, in one
/// piece (pipe(7)).
///
/// # Errors
///
/// Those of fork(2).
///
/// # Safety
///
/// As for [`fork_with_threads`]. All signals are blocked.
pub unsafe fn fork_twice(outcome: BorrowedFd<'_>) -> io::Result<Fork> {
    let outcome = outcome.as_raw_fd();
    if count_threads().is_ok_and(|count| count == 1)
        && let Some(sequences) = lent::Sequences::of_this_thread()
    {
        // SAFETY: there is one thread; the rest is the caller's promise.
        return unsafe { lent::fork_twice(outcome, sequences) };
    }
    // SAFETY: the caller's promise.
    let forked = unsafe { fork_with_threads() };
    if matches!(forked, Ok(Fork::Child)) {
        fork_again(outcome);
    }
    forked
}

/// What the middle process does: forks, and exits. Returns in the new process.
extern "C" fn fork_again(outcome: RawFd) -> c_long {
    // SAFETY: the caller of `fork_twice` keeps to the conditions.
    let number: c_int = match unsafe { fork_with_threads() } {
        Ok(Fork::Child) => return 0,
        Ok(Fork::Parent(pid)) => pid.as_raw(),
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            errno.saturating_neg()
        }
    };
    // SAFETY: a number on the stack, of this size. Who reads sees the end of the pipe if it fails.
    unsafe { libc::write(outcome, (&raw const number).cast(), size_of::<c_int>()) };
    exit_now(0)
}

#[cfg(target_arch = "x86_64")]
mod lent {
    use std::arch::asm;
    use std::ffi::CStr;
    use std::io;
    use std::os::fd::RawFd;

    use nix::libc::{self, c_int, c_long, c_void};
    use nix::unistd::Pid;

    use super::fork_again;
    use crate::fork::Fork;

    /// The length that glibc registers: that of the area in the first kernels that have the call.
    const AREA_BYTES: usize = 32;
    /// What glibc registers with: it stands before the places to which a sequence is aborted.
    const SIGNATURE: c_int = 0x5305_3053;
    /// Takes a registration back.
    const UNREGISTER: c_int = 1;
    /// In the place of the number of the CPU: it is unknown, so it is to be asked for.
    const CPU_UNKNOWN: c_int = -2;

    /// How this thread is registered for restartable sequences: where; `None`: it is not.
    #[derive(Clone, Copy)]
    pub(super) struct Sequences(Option<*mut c_void>);

    #[repr(align(32))]
    struct Area([u8; AREA_BYTES]);

    impl Sequences {
        /// As it is now; `None`: in an unknown way.
        pub(super) fn of_this_thread() -> Option<Self> {
            let mut own = Area([0; AREA_BYTES]);
            let place = area_of_glibc();
            let tried = place.unwrap_or_else(|| own.0.as_mut_ptr().cast());
            match register(tried, 0) {
                // It was not registered at all.
                Ok(()) => register(tried, UNREGISTER).ok().map(|()| Self(None)),
                Err(libc::ENOSYS) => Some(Self(None)),
                // In just this way.
                Err(libc::EBUSY) if place.is_some() => Some(Self(place)),
                Err(_otherwise) => None,
            }
        }

        /// Registers as before.
        fn restore(self) {
            let Self(Some(area)) = self else {
                return;
            };
            if let Err(errno) = register(area, 0)
                && errno != libc::EBUSY
            {
                let cpu = area.cast::<c_int>().wrapping_add(1);
                // SAFETY: glibc's area for this thread, whose second number this is; nobody else
                // writes there when it is not registered.
                unsafe { cpu.write_volatile(CPU_UNKNOWN) };
            }
        }
    }

    /// rseq(2), which no library has a function for.
    fn register(area: *mut c_void, flags: c_int) -> Result<(), c_int> {
        // SAFETY: an area of this length that lives as long as the thread, or until it is taken
        // back.
        let done = unsafe { libc::syscall(libc::SYS_rseq, area, AREA_BYTES, flags, SIGNATURE) };
        if done == 0 {
            return Ok(());
        }
        Err(nix::errno::Errno::last_raw())
    }

    /// Where glibc 2.35 and later registers this thread; `None` if it does not.
    fn area_of_glibc() -> Option<*mut c_void> {
        let find = |name: &CStr| {
            // SAFETY: a NUL-terminated name; RTLD_DEFAULT searches what is already loaded.
            let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
            (!found.is_null()).then_some(found)
        };
        let size = find(c"__rseq_size")?.cast::<libc::c_uint>();
        let offset = find(c"__rseq_offset")?.cast::<isize>();
        // SAFETY: glibc's constant of this name has this type.
        let size = unsafe { size.read() };
        // SAFETY: as above.
        let offset = unsafe { offset.read() };
        let thread: *mut c_void;
        // SAFETY: the thread pointer, which is the first word of what it points to.
        unsafe {
            asm!("mov {}, fs:0", out(reg) thread, options(nostack, readonly, preserves_flags));
        }
        (size > 0).then(|| thread.wrapping_byte_offset(offset))
    }

    /// As [`super::fork_twice`].
    ///
    /// # Safety
    ///
    /// In addition there is one thread.
    pub(super) unsafe fn fork_twice(outcome: RawFd, sequences: Sequences) -> io::Result<Fork> {
        let result: c_long;
        // SAFETY: the middle process runs on this stack while this process waits for its exit, and
        // changes only what is below: the call's frame. What `fork_again` does to memory, this
        // process finds done, as after a call. Its registers are those before. The new process
        // returns from the call with a copy of all that. Of the registers that the kernel and the
        // call may change the compiler expects nothing.
        unsafe {
            asm!(
                "syscall",
                "test rax, rax",
                "jnz 2f",
                "mov edi, r12d",
                "call {fork_again}",
                "2:",
                fork_again = sym fork_again,
                in("r12") outcome,
                inlateout("rax") libc::SYS_vfork => result,
                clobber_abi("C"),
            );
        }
        match result {
            0 => {
                sequences.restore();
                Ok(Fork::Child)
            }
            errno @ ..0 => {
                let errno = i32::try_from(errno.saturating_neg()).unwrap_or(libc::EIO);
                Err(io::Error::from_raw_os_error(errno))
            }
            middle => {
                let middle = i32::try_from(middle).map_err(io::Error::other)?;
                Ok(Fork::Parent(Pid::from_raw(middle)))
            }
        }
    }
}

/// Not tried on other machines.
#[cfg(not(target_arch = "x86_64"))]
mod lent {
    use std::io;
    use std::os::fd::RawFd;

    use crate::fork::Fork;

    pub(super) struct Sequences;

    impl Sequences {
        pub(super) fn of_this_thread() -> Option<Self> {
            None
        }
    }

    pub(super) unsafe fn fork_twice(_outcome: RawFd, _sequences: Sequences) -> io::Result<Fork> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
