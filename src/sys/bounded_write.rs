//! Writing to a pipe, a socket or a terminal without waiting for its reader, although the open file
//! description may be shared with other programs. `O_NONBLOCK` belongs to the description, so to
//! set it would make the writes of a parent shell fail too.
#![expect(
    unsafe_code,
    reason = "no library offers RWF_NOWAIT, nor FIONREAD of a pipe"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

/// Writes as much as there is room for (`RWF_NOWAIT` of `pwritev2(2)`).
///
/// # Errors
///
/// Those of `pwritev2(2)`: `EAGAIN` when there is no room. `EOPNOTSUPP` for terminals, and for
/// pipes before Linux 6.4.
pub fn write_nowait(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // By its number, because glibc has the function from 2.26 on. An offset of -1 means the
    // position of the file, as for write(2); its upper half counts where a `long` has 32 bits.
    // SAFETY: one part, which is borrowed for the call; the kernel only reads it.
    let written = unsafe {
        libc::syscall(
            libc::SYS_pwritev2,
            fd.as_fd().as_raw_fd(),
            &raw const part,
            1_usize,
            -1_isize,
            0_isize,
            libc::RWF_NOWAIT,
        )
    };
    usize::try_from(written).map_err(|_negative| io::Error::last_os_error())
}

/// How many bytes wait in a pipe (`FIONREAD` of pipe(7)).
///
/// # Errors
///
/// Those of ioctl(2).
pub fn unread_bytes(pipe: impl AsFd) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int.
    let done = unsafe { libc::ioctl(pipe.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(count).unwrap_or(0))
}

#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use nix::errno::Errno;
    use nix::fcntl::OFlag;
    use nix::unistd::pipe2;

    use super::*;

    #[test]
    fn a_full_pipe_is_told_at_once() {
        let (_reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let chunk = [b'x'; 1 << 12];
        let mut sum = 0;
        loop {
            match write_nowait(&writer, &chunk) {
                Ok(written) => sum += written,
                Err(error)
                    if error.raw_os_error().map(Errno::from_raw) == Some(Errno::EOPNOTSUPP) =>
                {
                    return;
                }
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        assert!(sum >= chunk.len());
        assert_eq!(unread_bytes(&writer).unwrap(), sum);
    }
}
