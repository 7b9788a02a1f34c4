//! Messages that carry descriptors (`SCM_RIGHTS`, unix(7)): one, over sockets that keep message
//! boundaries, or many, over a stream.
#![expect(unsafe_code, reason = "a received descriptor is a number")]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;
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

/// The room for one descriptor that comes with bytes, aligned as the kernel writes it.
#[repr(C)]
struct OneDescriptor {
    header: libc::cmsghdr,
    number: RawFd,
}

/// Whether a descriptor has come with bytes.
#[derive(Debug)]
pub enum Along {
    /// None.
    Nothing,
    /// This one.
    Descriptor(OwnedFd),
    /// This process had no room for it (EMFILE), or there were several: it is lost.
    Lost,
}

/// Reads what is there on a stream socket into `buffer`, with a descriptor that comes along; 0 at
/// the end of the stream. Never blocks.
///
/// The kernel ends what is read behind the bytes with a descriptor, even if more is there.
///
/// # Errors
///
/// Those of recvmsg(2); `WouldBlock` when nothing is there.
pub fn receive_one(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Along)> {
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: both are plain data for which all zeroes is a valid value.
    let (mut control, mut message): (OneDescriptor, libc::msghdr) = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    // Not the padding behind the number, in which the kernel would put a second one.
    message.msg_controllen =
        std::mem::offset_of!(OneDescriptor, number).saturating_add(size_of::<RawFd>());
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the message refers to a live, exclusively borrowed slice, and to `control`.
    let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let got = usize::try_from(got).map_err(|_negative| io::Error::last_os_error())?;
    let header = &control.header;
    let has_come = message.msg_controllen > 0
        && (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS);
    // SAFETY: the kernel has just made it for this process.
    let descriptor = has_come.then(|| unsafe { OwnedFd::from_raw_fd(control.number) });
    let along = match descriptor {
        _ if message.msg_flags & libc::MSG_CTRUNC != 0 => Along::Lost,
        Some(descriptor) => Along::Descriptor(descriptor),
        None => Along::Nothing,
    };
    Ok((got, along))
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

#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn received(socket: &UnixStream) -> (usize, Along) {
        receive_one(socket.as_fd(), &mut [0; 16]).unwrap()
    }

    #[test]
    fn a_descriptor_comes_along_and_ends_what_is_read() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        theirs.write_all(b"before").unwrap();
        let parts = [IoSlice::new(b"with")];
        send_many(theirs.as_fd(), &parts, &[file.as_fd()]).unwrap();
        theirs.write_all(b"behind").unwrap();
        let (10, Along::Descriptor(descriptor)) = received(&ours) else {
            panic!("no descriptor");
        };
        assert!(crate::descriptor::is_closed_on_exec(&descriptor).unwrap());
        assert!(matches!(received(&ours), (6, Along::Nothing)));
        let error = receive_one(ours.as_fd(), &mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        // Not even one of several is kept.
        send_many(theirs.as_fd(), &parts, &[file.as_fd(), file.as_fd()]).unwrap();
        assert!(matches!(received(&ours), (4, Along::Lost)));
        drop(theirs);
        assert!(matches!(received(&ours), (0, Along::Nothing)));
    }
}
