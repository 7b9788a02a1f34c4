//! What a process does to itself: its title, its death signal, being a subreaper, leaving.
#![expect(
    unsafe_code,
    reason = "the argument area, the environment and adopted descriptors have no safe form"
)]

use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use nix::libc;

use super::procfs::Stat;

/// Ends the process at once: no destructors, no exit handlers, no flushing of stdio.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes any integer and never returns.
    unsafe { libc::_exit(code) }
}

/// Takes ownership of an inherited descriptor, after checking that it is open.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD only reads the descriptor's flags; any number is allowed.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open (just checked), and callers name each inherited number once: it came
    // from the parent for exactly this use.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Borrows a descriptor that other code of this process owns (a Python file object), for a call that ends
/// before that code runs again.
pub fn borrow_inherited<'fd>(fd: RawFd) -> io::Result<BorrowedFd<'fd>> {
    // SAFETY: F_GETFD only reads the descriptor's flags; any number is allowed.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open (just checked); callers hold the GIL and use it at once.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// A second descriptor, closed at exec, of what a number means to other code of this process (a Python file object).
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC fails for a number that is not open.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fcntl has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// The resident memory of a process in KiB: `VmRSS` of `proc_pid_status(5)`.
#[must_use]
pub fn resident_kib(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Makes the number `over` mean what `fd` means; what it meant is closed, if this was its last descriptor. For signal
/// handlers: dup2(2) is async-signal-safe, and whoever owns the number goes on owning something.
pub fn put_over(fd: BorrowedFd<'_>, over: RawFd) {
    use std::os::fd::AsRawFd;
    // SAFETY: dup2 takes any numbers.
    unsafe { libc::dup2(fd.as_raw_fd(), over) };
}

/// A descriptor that becomes readable when the process ends (`pidfd_open(2)`, Linux 5.3).
pub fn watch(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes any pid, and flags of 0.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    adopt(RawFd::try_from(fd).map_err(io::Error::other)?)
}

/// Gives the pages of a part of this program's file back: it was read once and is not needed again. What
/// is read later comes from the file.
pub fn forget_pages(bytes: &'static [u8]) {
    const PAGE: usize = 4096;
    let start = bytes.as_ptr().addr().next_multiple_of(PAGE);
    let end = bytes.as_ptr().addr().saturating_add(bytes.len()) & !(PAGE - 1);
    let Some(length) = end.checked_sub(start).filter(|length| *length > 0) else {
        return;
    };
    let skip = start.saturating_sub(bytes.as_ptr().addr());
    let Some(first) = bytes.get(skip..) else {
        return;
    };
    // SAFETY: the range lies within a static, read-only mapping of the executable; MADV_DONTNEED on a
    // private file mapping only drops clean pages.
    unsafe {
        libc::madvise(
            first.as_ptr().cast_mut().cast(),
            length,
            libc::MADV_DONTNEED,
        )
    };
}

/// Gives the pages of this process's code back, the libraries' too: most of it ran once, at the start. What runs again
/// comes back from the page cache by itself.
pub fn forget_code() -> io::Result<()> {
    for line in std::fs::read_to_string("/proc/self/maps")?.lines() {
        // Code alone (proc_pid_maps(5)): where data was written, dropping a page would lose it.
        let mut words = line.split_ascii_whitespace();
        let (Some(range), Some("r-xp"), Some(path)) = (words.next(), words.next(), words.nth(3))
        else {
            continue;
        };
        let parse = |text| usize::from_str_radix(text, 16).ok();
        let bounds = range
            .split_once('-')
            .and_then(|(start, end)| parse(start).zip(parse(end)));
        let Some((start, end)) = bounds.filter(|_| path.starts_with('/')) else {
            continue;
        };
        // SAFETY: a mapping of a file that is never written to; MADV_DONTNEED on it only drops clean pages.
        unsafe {
            libc::madvise(
                std::ptr::without_provenance_mut(start),
                end.saturating_sub(start),
                libc::MADV_DONTNEED,
            )
        };
    }
    Ok(())
}

/// Sets a variable of this process's C environment.
pub fn set_variable(name: &str, value: &str) {
    // SAFETY: called only while this process has one thread (arbiter at start; template before the app).
    unsafe { std::env::set_var(name, value) }
}

/// Removes a variable of this process's C environment.
pub fn unset_variable(name: &str) {
    // SAFETY: as for `set_variable`.
    unsafe { std::env::remove_var(name) }
}

/// Gives the unused pages of the C heap back to the kernel, so that a fork shares fewer dirty ones.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim may be called at any time; 0 keeps no padding.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Start and end of the memory that `/proc/PID/cmdline` shows.
static TITLE_AREA: OnceLock<Option<(usize, usize)>> = OnceLock::new();

/// Moves the environment to the heap, so that the title may also use the memory that it had at exec.
/// For the arbiter, whose own arguments are short; to be called before anything else reads variables.
pub fn widen_title_area() {
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    for (name, value) in variables {
        // SAFETY: the arbiter has one thread, and calls this first of all. setenv copies the strings.
        unsafe { std::env::set_var(name, value) };
    }
    let area = Stat::of_self().and_then(|stat| Some((stat.address(48)?, stat.address(51)?)));
    TITLE_AREA.get_or_init(|| area);
}

/// What `ps` shows for this process from now on. Does nothing where the kernel does not tell the area.
pub fn title(text: &str) {
    let area = *TITLE_AREA.get_or_init(|| {
        Stat::of_self().and_then(|stat| Some((stat.address(48)?, stat.address(49)?)))
    });
    let Some((start, end)) = area else { return };
    let Some(length) = end.checked_sub(start).filter(|&length| length > 1) else {
        return;
    };
    let shown = text.as_bytes();
    let used = shown.len().min(length.saturating_sub(1));
    // SAFETY: /proc/self/stat says that [start, end) is this process's own argument (and, when widened,
    // environment) area, which the kernel mapped writable at exec and nothing refers to any more: CPython
    // and Rust copied their arguments, widen_title_area copied the environment.
    let area = unsafe {
        std::slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut::<u8>(start), length)
    };
    area.fill(0);
    for (to, from) in area.iter_mut().zip(shown.iter().take(used)) {
        *to = *from;
    }
    let mut name = [0_u8; 16];
    for (to, from) in name.iter_mut().take(15).zip(b"rcorn") {
        *to = *from;
    }
    // SAFETY: PR_SET_NAME reads at most 16 bytes from a live, NUL-terminated array.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}
