//! File descriptors: which came through the exec and are nobody's yet, who takes them, and their
//! flags.
//!
//! Messages name inherited descriptors by number, and any code can make up a number. So the number
//! is not what is believed. All that this program opens is close-on-exec, hence a descriptor above
//! 2 without that flag came through the exec and has no owner; taking it sets the flag, hence it
//! can be taken once. The exceptions, descriptors of ours that the next exec is to inherit and
//! inherited ones that are taken later, are kept in a list.
#![expect(
    unsafe_code,
    reason = "an inherited descriptor is a number until somebody owns it"
)]

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::libc;

/// What is known of a number beyond its flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It came through the exec, is close-on-exec by now and has no owner.
    Unowned,
    /// It is not close-on-exec and has an owner: the next exec is to inherit it.
    Owned,
    /// It came through the exec, and stays open as long as this process lives.
    Kept,
}

/// Held for a few system calls. The thread that forks the worker does not hold it then.
static KNOWN: Mutex<BTreeMap<RawFd, Known>> = Mutex::new(BTreeMap::new());

fn known() -> MutexGuard<'static, BTreeMap<RawFd, Known>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn get_flags(fd: RawFd) -> io::Result<FdFlag> {
    // SAFETY: F_GETFD only reads the descriptor's flags; any number is allowed.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(FdFlag::from_bits_retain(flags))
}

fn set_flags(fd: RawFd, flags: FdFlag) -> io::Result<()> {
    // SAFETY: F_SETFD only changes what an exec does to the descriptor; any number is allowed.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, flags.bits()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn in_use(fd: RawFd) -> io::Error {
    io::Error::other(format!("descriptor {fd} is in use by this process"))
}

/// Makes an inherited descriptor close-on-exec and marks it as one that is taken later, by
/// [`adopt`]. To be called before anything else can start a program, which would inherit it. May be
/// repeated.
///
/// # Errors
///
/// Those of fcntl(2): it is not open. `Other` when it did not come through the exec, or has an
/// owner.
pub fn claim(fd: RawFd) -> io::Result<()> {
    claim_in(&mut known(), fd)
}

fn claim_in(known: &mut BTreeMap<RawFd, Known>, fd: RawFd) -> io::Result<()> {
    let flags = get_flags(fd)?;
    match known.get(&fd) {
        Some(Known::Unowned) => return Ok(()),
        Some(Known::Owned | Known::Kept) => return Err(in_use(fd)),
        None if fd <= libc::STDERR_FILENO || flags.contains(FdFlag::FD_CLOEXEC) => {
            return Err(in_use(fd));
        }
        None => {}
    }
    set_flags(fd, FdFlag::FD_CLOEXEC)?;
    known.insert(fd, Known::Unowned);
    Ok(())
}

/// Takes ownership of a descriptor that came through the exec, once; it is close-on-exec from then
/// on. Of a standard stream (0 to 2), which stays what it is, this gives a duplicate.
///
/// # Errors
///
/// Those of fcntl(2): it is not open. `Other` when it did not come through the exec, or was taken
/// before.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    if (libc::STDIN_FILENO..=libc::STDERR_FILENO).contains(&fd) {
        return duplicate(fd);
    }
    let mut known = known();
    claim_in(&mut known, fd)?;
    known.remove(&fd);
    // SAFETY: it is open, came through the exec, and nobody has taken it before: see the head of
    // the module. From here on it is close-on-exec and unknown, so that nobody takes it again.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Keeps a descriptor that came through the exec open for the rest of this process's life, for code
/// that knows it by its number. May be repeated: nobody closes it, also in a process that was
/// forked from one that kept it.
///
/// # Errors
///
/// Those of [`adopt`].
pub fn keep_open(fd: RawFd) -> io::Result<BorrowedFd<'static>> {
    let mut known = known();
    if known.get(&fd) != Some(&Known::Kept) {
        claim_in(&mut known, fd)?;
        known.insert(fd, Known::Kept);
    }
    // SAFETY: it is open, and nobody owns it or can come to own it: as for `adopt`.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// A second descriptor, close-on-exec, of what a number means to other code of this process (a
/// Python file object).
///
/// # Errors
///
/// Those of fcntl(2): it is not open, or there is no room for another.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes any number.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fcntl has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Lets a descriptor survive the next exec under its number, or closes it there (`FD_CLOEXEC`,
/// fcntl(2)). The flag belongs to the descriptor, not to what it refers to: duplicates keep theirs.
///
/// # Errors
///
/// Those of fcntl(2): the descriptor is not open.
pub fn set_inherited(fd: impl AsFd, is_inherited: bool) -> io::Result<()> {
    set_number_inherited(fd.as_fd().as_raw_fd(), is_inherited)
}

/// The same by number, for those who pass numbers on to the program that they are about to exec. A
/// descriptor that is closed at exec cannot be lost by this, nor taken over by [`adopt`].
///
/// # Errors
///
/// Those of fcntl(2): the descriptor is not open.
pub fn set_number_inherited(fd: RawFd, is_inherited: bool) -> io::Result<()> {
    let mut known = known();
    if is_inherited {
        // First: nobody may take it for one that came through the exec.
        known.entry(fd).or_insert(Known::Owned);
        return set_flags(fd, FdFlag::empty());
    }
    set_flags(fd, FdFlag::FD_CLOEXEC)?;
    if known.get(&fd) == Some(&Known::Owned) {
        known.remove(&fd);
    }
    Ok(())
}

/// Makes a descriptor refer to what `with` refers to, in one step (dup3(2)): whoever uses its
/// number meanwhile reaches the old or the new file. Its owner and its close-on-exec flag stay.
///
/// # Errors
///
/// Those of dup3(2).
pub fn replace(fd: &OwnedFd, with: impl AsFd) -> io::Result<()> {
    let number = fd.as_raw_fd();
    let flags = if get_flags(number)?.contains(FdFlag::FD_CLOEXEC) {
        libc::O_CLOEXEC
    } else {
        0
    };
    // SAFETY: both are open; the number goes on belonging to the owner of `fd`.
    if unsafe { libc::dup3(with.as_fd().as_raw_fd(), number, flags) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// How a file was opened (`F_GETFL` of fcntl(2)), by a number that other code of this process may
/// own.
///
/// # Errors
///
/// Those of fcntl(2): it is not open.
pub fn status_flags(fd: RawFd) -> io::Result<OFlag> {
    // SAFETY: F_GETFL only reads; any number is allowed.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(OFlag::from_bits_retain(flags))
}

/// Whether the kernel closes it at exec.
///
/// # Errors
///
/// Those of fcntl(2).
pub fn is_closed_on_exec(fd: impl AsFd) -> io::Result<bool> {
    let flags = fcntl(fd, FcntlArg::F_GETFD)?;
    Ok(FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC))
}

#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::process::Command;

    use super::*;

    /// As if it had come through the exec: open, not close-on-exec, nobody's.
    fn inherited() -> RawFd {
        let (one, _two) = std::os::unix::net::UnixStream::pair().unwrap();
        // SAFETY: dup takes any descriptor.
        let number = unsafe { libc::dup(one.as_raw_fd()) };
        assert!(number > 2);
        number
    }

    #[test]
    fn an_inherited_descriptor_is_open_in_the_child() {
        let (one, _two) = std::os::unix::net::UnixStream::pair().unwrap();
        let is_open = || {
            let script = format!("test -e /proc/self/fd/{}", one.as_raw_fd());
            let status = Command::new("sh").args(["-c", &script]).status();
            status.unwrap().success()
        };
        assert!(!is_open());
        set_inherited(&one, true).unwrap();
        assert!(is_open());
        set_inherited(&one, false).unwrap();
        assert!(!is_open());
    }

    #[test]
    fn a_descriptor_has_one_owner() {
        let number = inherited();
        let owned = adopt(number).unwrap();
        assert!(is_closed_on_exec(&owned).unwrap());
        // A second owner would close it under the first one.
        adopt(number).unwrap_err();
        keep_open(number).unwrap_err();
        claim(number).unwrap_err();
        drop(owned);
        // Closed, or another one of this process by now.
        adopt(number).unwrap_err();
    }

    #[test]
    fn what_this_process_opened_cannot_be_adopted() {
        let file = File::open("/dev/null").unwrap();
        adopt(file.as_raw_fd()).unwrap_err();
        // Not even while it is not closed at exec.
        set_inherited(&file, true).unwrap();
        adopt(file.as_raw_fd()).unwrap_err();
        set_inherited(&file, false).unwrap();
        adopt(file.as_raw_fd()).unwrap_err();
        assert!(file.metadata().is_ok());
    }

    #[test]
    fn a_claimed_descriptor_is_closed_on_exec_and_taken_once() {
        let number = inherited();
        claim(number).unwrap();
        claim(number).unwrap();
        assert_eq!(get_flags(number).unwrap(), FdFlag::FD_CLOEXEC);
        let owned = adopt(number).unwrap();
        adopt(number).unwrap_err();
        drop(owned);
    }

    #[test]
    fn a_standard_stream_is_duplicated() {
        let copy = adopt(2).unwrap();
        assert!(copy.as_raw_fd() > 2);
        drop(copy);
        assert!(get_flags(2).is_ok());
    }

    #[test]
    fn a_replaced_descriptor_keeps_its_number_and_its_flag() {
        let mut old = tempfile().unwrap();
        let mut new = tempfile().unwrap();
        old.write_all(b"old").unwrap();
        let fd = OwnedFd::from(old);
        for inherited in [false, true] {
            set_inherited(&fd, inherited).unwrap();
            replace(&fd, &new).unwrap();
            assert_eq!(is_closed_on_exec(&fd).unwrap(), !inherited);
        }
        File::from(fd).write_all(b"line").unwrap();
        new.rewind().unwrap();
        let mut text = String::new();
        new.read_to_string(&mut text).unwrap();
        assert_eq!(text, "line");
    }

    fn tempfile() -> io::Result<File> {
        use nix::sys::memfd::{MFdFlags, memfd_create};
        Ok(File::from(memfd_create(c"", MFdFlags::MFD_CLOEXEC)?))
    }
}
