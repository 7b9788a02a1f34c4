//! Socket calls on the hot path, and those that no library offers: accept with the peer's address,
//! one gathered send, the SYN filter of a loss-free stop.
#![expect(
    unsafe_code,
    reason = "accept4 with address, sendmsg, SIOCOUTQ, TCP_INFO, SO_ATTACH_FILTER"
)]

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::libc;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP peer.
    Inet(SocketAddr),
    /// A unix socket's peer, which has no address.
    Unix,
}

/// Takes one connection from a listening socket: non-blocking, close-on-exec.
///
/// # Errors
///
/// Those of accept4(2); `WouldBlock` when the queue is empty.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Peer)> {
    // SAFETY: sockaddr_storage is plain data for which all zeroes is a valid value.
    let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of::<libc::sockaddr_storage>()).unwrap_or(0);
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the pointers are to live locals of the lengths given.
    let fd = unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            (&raw mut address).cast(),
            &raw mut length,
            flags,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: accept4 has just made this descriptor for us.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok((socket, peer(&address)))
}

/// The other end of a connection that came another way than by [`accept`].
///
/// # Errors
///
/// Those of getpeername(2): it is not connected any more.
pub fn peer_of(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    // SAFETY: sockaddr_storage is plain data for which all zeroes is a valid value.
    let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of::<libc::sockaddr_storage>()).unwrap_or(0);
    // SAFETY: the pointers are to live locals of the lengths given.
    let done = unsafe {
        libc::getpeername(
            socket.as_raw_fd(),
            (&raw mut address).cast(),
            &raw mut length,
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(peer(&address))
}

/// For how long a TCP socket has received no data: `tcpi_last_data_recv` of tcp(7), in the kernel's
/// ticks.
///
/// # Errors
///
/// Those of getsockopt(2): it is a unix socket.
pub fn quiet_for(socket: BorrowedFd<'_>) -> io::Result<Duration> {
    // SAFETY: tcp_info is plain data for which all zeroes is a valid value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).unwrap_or(0);
    // SAFETY: the pointers are to live locals of the lengths given.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::from_millis(info.tcpi_last_data_recv.into()))
}

/// An address as the kernel has written it into zeroes.
fn peer(address: &libc::sockaddr_storage) -> Peer {
    match libc::c_int::from(address.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in, which is smaller than
            // storage.
            let v4 = unsafe { &*(&raw const *address).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Peer::Inet(SocketAddr::new(ip.into(), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for sockaddr_in6.
            let v6 = unsafe { &*(&raw const *address).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Peer::Inet(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => Peer::Unix,
    }
}

/// Reads what is there into `buffer`; 0 at the end of the stream. Never blocks, never raises
/// SIGPIPE.
///
/// # Errors
///
/// Those of recv(2); `WouldBlock` when nothing is there.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are of a live, exclusively borrowed slice.
    let got = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            libc::MSG_DONTWAIT,
        )
    };
    usize::try_from(got).map_err(|_negative| io::Error::last_os_error())
}

/// Appends what is there to `buffer`, at most `max` bytes of it; 0 at the end of the stream. Never
/// blocks.
///
/// The bytes go into the vector's spare capacity, which grows to `max` if it is smaller and is
/// never cleared first. What the vector held stays.
///
/// # Errors
///
/// Those of recv(2); `WouldBlock` when nothing is there. The vector's contents are unchanged then.
pub fn receive_into(socket: BorrowedFd<'_>, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize> {
    buffer.reserve(max);
    let spare = buffer.spare_capacity_mut();
    let space = max.min(spare.len());
    // SAFETY: the pointer and length are of a live, exclusively borrowed slice; recv(2) only writes
    // to it.
    let got = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            spare.as_mut_ptr().cast(),
            space,
            libc::MSG_DONTWAIT,
        )
    };
    let got = usize::try_from(got).map_err(|_negative| io::Error::last_os_error())?;
    let length = buffer.len().saturating_add(got);
    // SAFETY: recv(2) has written `got` bytes behind the old length, at most as many as the spare
    // capacity.
    unsafe { buffer.set_len(length) };
    Ok(got)
}

/// Sends what fits. Never blocks, never raises SIGPIPE. With `more` the kernel may wait for the
/// rest.
///
/// # Errors
///
/// Those of send(2); `WouldBlock` when nothing fits.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], more: bool) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
    // SAFETY: the pointer and length are of a live slice.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            flags,
        )
    };
    usize::try_from(sent).map_err(|_negative| io::Error::last_os_error())
}

/// Sends several parts with one call. Never blocks, never raises SIGPIPE.
///
/// # Errors
///
/// Those of sendmsg(2); `WouldBlock` when nothing fits.
pub fn send_gathered(socket: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: msghdr is plain data for which all zeroes is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_ptr().cast::<libc::iovec>().cast_mut();
    message.msg_iovlen = parts.len();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: IoSlice is guaranteed to have iovec's layout; the slices live through the call, and
    // sendmsg only reads them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
    usize::try_from(sent).map_err(|_negative| io::Error::last_os_error())
}

/// Lets the kernel send what it was given with `more` (tcp(7): setting `TCP_NODELAY` flushes what
/// is pending).
///
/// # Errors
///
/// Those of setsockopt(2): it is no TCP socket.
pub fn flush(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1_i32)
}

/// How many bytes the kernel was given to send and the peer has not acknowledged (tcp(7),
/// `SIOCOUTQ`); on a unix socket, has not read.
///
/// # Errors
///
/// Those of ioctl(2).
pub fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut count: libc::c_int = 0;
    // SAFETY: TIOCOUTQ, which is SIOCOUTQ, writes one int.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Lets the kernel hold so many bytes that the peer has not read, as far as it may
/// (`net.core.wmem_max`).
///
/// # Errors
///
/// Those of setsockopt(2).
pub fn set_send_buffer(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
    set(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, &bytes)
}

/// Closes a connection so that the peer gets a reset: it must never take half a reply for a whole
/// one.
///
/// # Errors
///
/// Those of setsockopt(2).
pub fn reset_on_close(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(
        socket,
        libc::SOL_SOCKET,
        libc::SO_LINGER,
        &libc::linger {
            l_onoff: 1,
            l_linger: 0,
        },
    )
}

/// Ends a TCP connection with a reset at once, whoever has copies of the socket: close(2) does so
/// for the last copy only.
///
/// # Errors
///
/// Those of connect(2): it is no TCP socket.
pub fn reset(socket: BorrowedFd<'_>) -> io::Result<()> {
    // connect(2): "Some protocol sockets (e.g., TCP sockets as well as datagram and Unix domain
    // sockets) may dissolve the association by connecting to an address with the sa_family member
    // set to AF_UNSPEC".
    let nobody = libc::sockaddr {
        sa_family: libc::sa_family_t::try_from(libc::AF_UNSPEC).unwrap_or(0),
        sa_data: [0; 14],
    };
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr>()).unwrap_or(0);
    // SAFETY: the pointer and length are of a live local.
    let done = unsafe { libc::connect(socket.as_raw_fd(), &raw const nobody, length) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Drops every packet that would begin a new connection to this TCP listener, while handshakes in
/// progress and the accept queue live on. A stopping server thus loses nobody: who is in is served,
/// who comes later repeats its SYN and meets the next server, or a clear refusal. Needs no
/// privilege (socket(7), `SO_ATTACH_FILTER`); the filter of a TCP socket sees packets from the TCP
/// header on, where byte 13 has the flags (RFC 9293 section 3.1).
///
/// # Errors
///
/// Those of setsockopt(2).
pub fn refuse_new_connections(listener: BorrowedFd<'_>) -> io::Result<()> {
    const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
    const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
    const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const SYN: u32 = 0x02;
    const SYN_ACK: u32 = 0x12;
    let mut program = [
        libc::sock_filter {
            code: LOAD_BYTE,
            jt: 0,
            jf: 0,
            k: 13,
        },
        libc::sock_filter {
            code: AND,
            jt: 0,
            jf: 0,
            k: SYN_ACK,
        },
        libc::sock_filter {
            code: JUMP_EQUAL,
            jt: 0,
            jf: 1,
            k: SYN,
        },
        libc::sock_filter {
            code: RETURN,
            jt: 0,
            jf: 0,
            k: 0,
        },
        libc::sock_filter {
            code: RETURN,
            jt: 0,
            jf: 0,
            k: u32::MAX,
        },
    ];
    let filter = libc::sock_fprog {
        len: 5,
        filter: program.as_mut_ptr(),
    };
    set(listener, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)
}

/// Lets `accept` find a connection only when its first bytes are there, for so long (tcp(7),
/// `TCP_DEFER_ACCEPT`): the request can then be read at once.
///
/// # Errors
///
/// Those of setsockopt(2): it is no TCP socket.
pub fn defer_accept(listener: BorrowedFd<'_>, wait: Duration) -> io::Result<()> {
    let seconds = i32::try_from(wait.as_secs()).unwrap_or(i32::MAX);
    set(
        listener,
        libc::IPPROTO_TCP,
        libc::TCP_DEFER_ACCEPT,
        &seconds,
    )
}

/// Lets new connections in again.
///
/// # Errors
///
/// Those of setsockopt(2): there is no filter.
pub fn accept_new_connections(listener: BorrowedFd<'_>) -> io::Result<()> {
    set(listener, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0_i32)
}

fn set<T>(socket: BorrowedFd<'_>, level: i32, option: i32, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    // SAFETY: the pointer and length are of a live value of the type the option takes (callers
    // above).
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const *value).cast(),
            length,
        )
    };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

// Apart from the others, which need sockets: Miri runs these.
#[cfg(test)]
mod address_tests {
    use super::*;

    fn storage() -> libc::sockaddr_storage {
        // SAFETY: plain data for which all zeroes is a valid value.
        unsafe { std::mem::zeroed() }
    }

    #[test]
    fn addresses_are_read_as_their_family_has_them() {
        let mut address = storage();
        let v4 = libc::sockaddr_in {
            sin_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap(),
            sin_port: 8000_u16.to_be(),
            sin_addr: libc::in_addr {
                s_addr: u32::from(Ipv4Addr::new(192, 0, 2, 1)).to_be(),
            },
            sin_zero: [0; 8],
        };
        // SAFETY: the storage is larger and aligned to more.
        unsafe { (&raw mut address).cast::<libc::sockaddr_in>().write(v4) };
        let expected = Peer::Inet("192.0.2.1:8000".parse().unwrap());
        assert_eq!(peer(&address), expected);
        let mut address = storage();
        let v6 = libc::sockaddr_in6 {
            sin6_family: libc::sa_family_t::try_from(libc::AF_INET6).unwrap(),
            sin6_port: 8000_u16.to_be(),
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr {
                s6_addr: "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets(),
            },
            sin6_scope_id: 0,
        };
        // SAFETY: as above.
        unsafe { (&raw mut address).cast::<libc::sockaddr_in6>().write(v6) };
        let expected = Peer::Inet("[2001:db8::1]:8000".parse().unwrap());
        assert_eq!(peer(&address), expected);
        assert_eq!(peer(&storage()), Peer::Unix);
    }
}

#[cfg(not(miri))]
#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_filtered_listener_keeps_its_queue_and_lets_nobody_in() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = TcpStream::connect(address).unwrap();
        refuse_new_connections(listener.as_fd()).unwrap();
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(100));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (served, peer) = accept(listener.as_fd()).unwrap();
        assert_eq!(peer, Peer::Inet(queued.local_addr().unwrap()));
        queued.write_all(b"hi").unwrap();
        let mut served = TcpStream::from(served);
        served.set_nonblocking(false).unwrap();
        let mut got = [0; 2];
        served.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hi");
        accept_new_connections(listener.as_fd()).unwrap();
        TcpStream::connect(address).unwrap();
    }

    #[test]
    fn what_is_sent_for_later_leaves_when_it_is_flushed_or_with_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for end in [|socket: OwnedFd| flush(socket.as_fd()).unwrap(), drop] {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (served, _peer) = accept(listener.as_fd()).unwrap();
            assert_eq!(send(served.as_fd(), b"late", true).unwrap(), 4);
            // The loopback delivers within the call.
            let error = receive(client.as_fd(), &mut [0; 4]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            end(served);
            let mut got = [0; 4];
            client.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"late");
        }
    }

    #[test]
    fn the_peer_is_known_however_the_connection_came() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                assert!(address.starts_with('['), "IPv4 is there");
                continue;
            };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (served, peer) = accept(listener.as_fd()).unwrap();
            assert_eq!(peer, Peer::Inet(client.local_addr().unwrap()));
            assert_eq!(peer_of(served.as_fd()).unwrap(), peer);
        }
        let (one, _two) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(peer_of(one.as_fd()).unwrap(), Peer::Unix);
    }

    #[test]
    fn bytes_are_received_behind_those_that_are_there() {
        let (one, two) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut buffer = b"ab".to_vec();
        let empty = receive_into(one.as_fd(), &mut buffer, 8).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        (&two).write_all(b"cdefg").unwrap();
        // No more than asked for, however much the vector has room for.
        buffer.reserve(100);
        assert_eq!(receive_into(one.as_fd(), &mut buffer, 3).unwrap(), 3);
        assert_eq!(buffer, b"abcde");
        assert_eq!(receive_into(one.as_fd(), &mut buffer, 100).unwrap(), 2);
        assert_eq!(buffer, b"abcdefg");
        drop(two);
        assert_eq!(receive_into(one.as_fd(), &mut buffer, 1).unwrap(), 0);
        assert_eq!(buffer, b"abcdefg");
    }

    #[test]
    fn parts_are_sent_in_order() {
        let (one, mut two) = std::os::unix::net::UnixStream::pair().unwrap();
        let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cd")];
        assert_eq!(send_gathered(one.as_fd(), &parts).unwrap(), 4);
        assert_eq!(send(one.as_fd(), b"e", false).unwrap(), 1);
        let mut got = [0; 5];
        two.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"abcde");
        let error = receive(one.as_fd(), &mut got).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
