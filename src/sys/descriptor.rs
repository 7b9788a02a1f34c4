//! Flags of file descriptors.

use std::io;
use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Lets a descriptor survive the next exec under its number, or closes it there (`FD_CLOEXEC`, fcntl(2)).
/// The flag belongs to the descriptor, not to what it refers to: duplicates keep theirs.
///
/// # Errors
///
/// Those of fcntl(2): the descriptor is not open.
pub fn set_inherited(fd: impl AsFd, is_inherited: bool) -> io::Result<()> {
    let flags = if is_inherited {
        FdFlag::empty()
    } else {
        FdFlag::FD_CLOEXEC
    };
    fcntl(fd, FcntlArg::F_SETFD(flags))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn an_inherited_descriptor_is_open_in_the_child() {
        use std::os::fd::AsRawFd;
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
}
