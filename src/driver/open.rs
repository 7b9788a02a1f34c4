//! How a listening socket comes to be: bound to an address, or inherited.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use socket2::{Domain, SockAddr, Socket, Type};

use rcorn_settings::{Address, Settings};
use rcorn_sys::net;
use rcorn_sys::process::adopt;
use rcorn_sys::user::Identity;

use super::listeners::{ListenError, Listener};

/// How long the kernel may keep a connection without bytes from us: it wakes us with the request instead.
const DEFER: Duration = Duration::from_secs(1);

pub(super) fn open(address: &Address, settings: &Settings) -> Result<Vec<Listener>, ListenError> {
    match address.socket() {
        Address::Tcp { host, port } => tcp(address, host, *port, settings),
        Address::Unix(path) => Ok(vec![unix(address, path, settings)?]),
        Address::Abstract(name) => {
            let bind = || {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                // A leading NUL makes the name abstract (unix(7)).
                socket.bind(&SockAddr::unix(Path::new(&format!("\0{name}")))?)?;
                socket.listen(backlog(settings))?;
                Listener::wrap(socket, Some(address.clone()))
            };
            Ok(vec![bind().map_err(|source| refused(address, source))?])
        }
        Address::Fd(fd) => Ok(vec![inherit(*fd, Some(address.clone()))?]),
        // `socket` is what is behind it.
        Address::Uwsgi(inner) => open(inner, settings),
    }
}

fn backlog(settings: &Settings) -> i32 {
    i32::try_from(settings.backlog).unwrap_or(i32::MAX)
}

fn refused(address: &Address, source: io::Error) -> ListenError {
    let address = address.to_string();
    if source.kind() == io::ErrorKind::AddrInUse {
        ListenError::InUse { address, source }
    } else {
        ListenError::Refused { address, source }
    }
}

fn tcp(
    address: &Address,
    host: &str,
    port: u16,
    settings: &Settings,
) -> Result<Vec<Listener>, ListenError> {
    let found = (host, port)
        .to_socket_addrs()
        .map_err(|source| refused(address, source))?;
    let mut made: Vec<Listener> = Vec::new();
    for ip in found {
        // A name such as localhost may give the same address twice.
        if made
            .iter()
            .any(|listener| listener.local() == Some(ip.into()))
        {
            continue;
        }
        made.push(tcp_one(address, ip, settings)?);
        // As gunicorn: a name means its first address.
        break;
    }
    if made.is_empty() {
        return Err(refused(
            address,
            io::Error::other("the name has no address"),
        ));
    }
    Ok(made)
}

fn tcp_one(
    address: &Address,
    ip: SocketAddr,
    settings: &Settings,
) -> Result<Listener, ListenError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(ip), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if settings.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if let SocketAddr::V6(v6) = ip {
            // As the system has it, and so gunicorn: mostly `[::]` is for IPv4 too (ipv6(7), bindv6only). Not beside an
            // address for IPv4 alone.
            if v6.ip().is_unspecified() && has_v4(settings, v6.port()) {
                socket.set_only_v6(true)?;
            }
        }
        socket.bind(&ip.into())?;
        net::defer_accept(socket.as_fd(), DEFER)?;
        socket.listen(backlog(settings))?;
        Listener::wrap(socket, Some(address.clone()))
    };
    bind().map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            // gunicorn prints Python's form of the address; people grep for it.
            let address = format!("('{}', {})", ip.ip(), ip.port());
            ListenError::InUse { address, source }
        } else {
            refused(address, source)
        }
    })
}

/// Whether IPv4 has an address of its own on this port.
fn has_v4(settings: &Settings, port: u16) -> bool {
    let mut all = settings.bind.iter().map(Address::socket);
    all.any(|one| match one {
        Address::Tcp { host, port: its } => *its == port && !host.contains(':'),
        Address::Unix(_) | Address::Abstract(_) | Address::Fd(_) | Address::Uwsgi(_) => false,
    })
}

fn unix(address: &Address, path: &Path, settings: &Settings) -> Result<Listener, ListenError> {
    if let Ok(about) = path.symlink_metadata() {
        use std::os::unix::fs::FileTypeExt;
        if !about.file_type().is_socket() {
            let source = io::Error::other("there is a file of that name that is not a socket");
            return Err(refused(address, source));
        }
        // Somebody answers: it is not ours to take. Nobody does: a left-over of a crash.
        if UnixStream::connect(path).is_ok() {
            let source = io::Error::from(io::ErrorKind::AddrInUse);
            return Err(ListenError::InUse {
                address: address.to_string(),
                source,
            });
        }
        std::fs::remove_file(path).map_err(|source| refused(address, source))?;
    }
    let bind = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let before = umask(Mode::from_bits_truncate(settings.umask.bits()));
        let bound = socket.bind(&SockAddr::unix(path)?);
        umask(before);
        bound?;
        socket.listen(backlog(settings))?;
        give_to_worker_user(path, settings)?;
        let mut listener = Listener::wrap(socket, Some(address.clone()))?;
        listener.own_file();
        Ok(listener)
    };
    bind().map_err(|source| refused(address, source))
}

/// The socket belongs to the user and group of the workers, as gunicorn's does: a proxy in that group may connect.
fn give_to_worker_user(path: &Path, settings: &Settings) -> io::Result<()> {
    let identity = Identity::find(settings.user.as_deref(), settings.group.as_deref())?;
    if identity.is_current() {
        return Ok(());
    }
    std::os::unix::fs::chown(
        path,
        Some(identity.uid.as_raw()),
        Some(identity.gid.as_raw()),
    )
}

/// Takes over a listening socket that our parent opened.
pub(super) fn inherit(fd: RawFd, address: Option<Address>) -> Result<Listener, ListenError> {
    let owned: OwnedFd =
        adopt(fd).map_err(|_closed| ListenError::NotListening(fd, ": it is not open"))?;
    let socket = Socket::from(owned);
    let stream = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
    if !stream {
        return Err(ListenError::NotListening(fd, ""));
    }
    if !socket.is_listener().unwrap_or(false) {
        // Bound but not listening yet: that is ours to do.
        socket
            .listen(2048)
            .map_err(|_refused| ListenError::NotListening(fd, ": it cannot listen"))?;
    }
    Listener::wrap(socket, address)
        .map_err(|_odd| ListenError::NotListening(fd, ": it has no address"))
}
