//! Files in memory (`memfd_create(2)`), also those whose contents nobody can change any more.
#![expect(unsafe_code, reason = "the call has no function in older C libraries")]

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::MFdFlags;
use nix::unistd::ftruncate;

/// An empty file in memory. By the number of the call, because glibc has the function from 2.27 on.
///
/// # Errors
///
/// Those of `memfd_create(2)`.
pub fn create(name: &CStr, flags: MFdFlags) -> io::Result<OwnedFd> {
    // SAFETY: a NUL-terminated name, which the kernel copies, and flags.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags.bits()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the call has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A file of so many zeros, for processes to share: its size is sealed (`F_ADD_SEALS` of fcntl(2)),
/// its contents are not. It is close-on-exec. What nobody has written takes no memory.
///
/// # Errors
///
/// Those of `memfd_create(2)`, ftruncate(2) and fcntl(2).
pub fn of_size(name: &CStr, bytes: usize) -> io::Result<OwnedFd> {
    let fd = create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    ftruncate(&fd, i64::try_from(bytes).map_err(io::Error::other)?)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(fd)
}

/// What is in the file. Says the kernel what it may be used for where `vm.memfd_noexec` asks for
/// that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Data.
    Data,
    /// A program or a shared library.
    Program,
}

/// Makes a file that holds `bytes` for good: sealed against writing and any change of its size
/// (`F_ADD_SEALS` of fcntl(2)). It is close-on-exec, and its position is at the beginning.
///
/// # Errors
///
/// Those of `memfd_create(2)`, write(2) and fcntl(2); EACCES for a program where `vm.memfd_noexec`
/// is 2.
pub fn sealed(name: &CStr, bytes: &[u8], content: Content) -> io::Result<OwnedFd> {
    let mut file = sealable(name, content)?;
    file.write_all(bytes)?;
    seal(&mut file)?;
    Ok(file.into())
}

/// Makes an empty file, to be written and then sealed by [`seal`].
///
/// # Errors
///
/// Those of `memfd_create(2)`; EACCES for a program where `vm.memfd_noexec` is 2.
pub fn sealable(name: &CStr, content: Content) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let purpose = MFdFlags::from_bits_retain(match content {
        Content::Data => libc::MFD_NOEXEC_SEAL,
        Content::Program => libc::MFD_EXEC,
    });
    let memory = match create(name, flags | purpose) {
        // Linux before 6.3 does not know the purposes.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => create(name, flags),
        made => made,
    };
    Ok(memory?.into())
}

/// Makes what a file of [`sealable`] holds final; see [`sealed`].
///
/// # Errors
///
/// Those of lseek(2) and fcntl(2).
pub fn seal(file: &mut File) -> io::Result<()> {
    file.rewind()?;
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SEAL;
    fcntl(&*file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(())
}

#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use std::io::Read;

    use nix::errno::Errno;

    use super::*;

    #[test]
    fn a_sealed_file_is_read_and_never_changed() {
        for content in [Content::Data, Content::Program] {
            let mut file = File::from(sealed(c"test", b"orders", content).unwrap());
            assert!(crate::descriptor::is_closed_on_exec(&file).unwrap());
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "orders");
            for size in [0, 3, 100] {
                let error = file.set_len(size).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{size}");
            }
            file.rewind().unwrap();
            let error = file.write(b"x").unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EPERM));
            let more = fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW));
            assert_eq!(more, Err(Errno::EPERM));
        }
    }

    #[test]
    fn a_file_of_a_size_keeps_it_and_can_be_written() {
        let mut file = File::from(of_size(c"test", 100).unwrap());
        assert!(crate::descriptor::is_closed_on_exec(&file).unwrap());
        for size in [0, 99, 101] {
            let error = file.set_len(size).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{size}");
        }
        file.write_all(&[1; 100]).unwrap();
        assert!(file.write(b"x").is_err(), "it has ended");
    }
}
