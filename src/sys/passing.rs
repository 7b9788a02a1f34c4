//! Messages that carry descriptors (`SCM_RIGHTS`, unix(7)): one, over sockets that keep message
//! boundaries, or many, over a stream.
#![expect(unsafe_code, reason = "a received descriptor is a number")]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// The most descriptors that one message can carry: `SCM_MAX_FD` of unix(7).
pub const MAX_DESCRIPTORS: usize = 253;

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

/// Sends what a stream socket takes without waiting, with descriptors that come with the first
/// byte; returns the number of bytes. Never raises SIGPIPE.
///
/// # Errors
///
/// Those of sendmsg(2), but for EINTR; `WouldBlock` when there is no room, and then no descriptor
/// was sent.
pub fn send_many(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let rights = if numbers.is_empty() { &[][..] } else { &rights };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), parts, rights, flags, None) {
            Ok(sent) => return Ok(sent),
            Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Receives what is there from a stream socket without waiting, and appends the descriptors that
/// came with it. Returns the number of bytes, 0 at the end of the stream; `None` when nothing is
/// there.
///
/// # Errors
///
/// Those of recvmsg(2), but for EAGAIN and EINTR; `OutOfMemory` when this process had no room for
/// all descriptors (EMFILE).
pub fn receive_many(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<Option<usize>> {
    let mut control = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
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
    let (bytes, is_cut) = (
        received.bytes,
        received.flags.contains(MsgFlags::MSG_CTRUNC),
    );
    if is_cut {
        let what = "there is no room for all descriptors of a message; hint: raise LimitNOFILE";
        return Err(io::Error::new(io::ErrorKind::OutOfMemory, what));
    }
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            for number in numbers {
                // SAFETY: the kernel has just made it for this process.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
    }
    Ok(Some(bytes))
}
