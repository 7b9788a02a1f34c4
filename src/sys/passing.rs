//! Messages that carry a descriptor (`SCM_RIGHTS`, unix(7)) over sockets that keep message
//! boundaries.
#![expect(unsafe_code, reason = "a received descriptor is a number")]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// Sends one message, with a descriptor if there is one. Never raises SIGPIPE.
///
/// # Errors
///
/// Those of sendmsg(2).
pub fn send_with(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    descriptor: Option<BorrowedFd<'_>>,
    flags: MsgFlags,
) -> io::Result<()> {
    let numbers = descriptor.map(|fd| [fd.as_raw_fd()]);
    let rights = numbers
        .as_ref()
        .map(|numbers| [ControlMessage::ScmRights(numbers)]);
    sendmsg::<()>(
        socket.as_raw_fd(),
        parts,
        rights.as_ref().map_or(&[], |rights| &rights[..]),
        flags | MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(())
}

/// Receives one message without waiting, with the descriptor that came with it: `None` when there
/// is none. The descriptor is missing when this process has no room for one more.
///
/// # Errors
///
/// Those of recvmsg(2), but for EAGAIN and EINTR.
pub fn receive_with(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<Option<(usize, Option<OwnedFd>)>> {
    let mut control = nix::cmsg_space!([RawFd; 1]);
    let mut slices = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let received = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags) {
            Ok(received) => break received,
            Err(nix::Error::EAGAIN) => return Ok(None),
            Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    };
    let mut descriptor = None;
    // Refused when the kernel had to leave something out.
    for message in received.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            for number in numbers {
                // SAFETY: the kernel has just made it for this process.
                descriptor = Some(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
    }
    Ok(Some((received.bytes, descriptor)))
}
