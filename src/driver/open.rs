//! Binds a listening socket to an address.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use rcorn_settings::{Address, Settings};
use rcorn_sys::net;

use super::listener::{ListenError, Listener};
use super::lookup::Addresses;
use super::owner::Owner;
use super::unix_socket::{Occupied, remove_stale, with_umask};

/// How long the kernel may hold back a connection without bytes, so that a worker wakes when the
/// request has arrived.
const DEFER_ACCEPT: Duration = Duration::from_secs(1);

/// Opens the socket of one address.
///
/// # Errors
///
/// The address is in use, not available or not permitted, or its name has no address.
pub(super) fn open(
    address: &Address,
    settings: &Settings,
    addresses: &Addresses,
    owner: Owner,
) -> Result<Listener, ListenError> {
    match address.socket() {
        Address::Tcp { host, port } => {
            let found = addresses.of(host, *port);
            tcp(
                address,
                found.map_err(|source| refused(address, source))?,
                settings,
            )
        }
        Address::Unix(path) => unix(address, path, settings, owner),
        Address::Abstract(name) => {
            let bind = || {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                // A leading NUL makes the name abstract (unix(7)).
                socket.bind(&SockAddr::unix(Path::new(&format!("\0{name}")))?)?;
                socket.listen(backlog(settings))?;
                Listener::wrap(socket, Some(address.clone()))
            };
            bind().map_err(|source| refused(address, source))
        }
        Address::Fd(fd) => Listener::inherit(*fd, Some(address.clone())),
        // `socket` returns the path after it.
        Address::Uwsgi(inner) | Address::Https(inner) => open(inner, settings, addresses, owner),
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

fn tcp(address: &Address, ip: SocketAddr, settings: &Settings) -> Result<Listener, ListenError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(ip), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if settings.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if let SocketAddr::V6(v6) = ip {
            // The system's default, as in gunicorn: usually `[::]` is for IPv4, too (ipv6(7),
            // bindv6only), but not beside an address for IPv4 alone.
            if v6.ip().is_unspecified() && has_v4(settings, v6.port()) {
                socket.set_only_v6(true)?;
            }
        }
        socket.bind(&ip.into())?;
        net::defer_accept(socket.as_fd(), DEFER_ACCEPT)?;
        socket.listen(backlog(settings))?;
        Listener::wrap(socket, Some(address.clone()))
    };
    bind().map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            // gunicorn prints Python's form of the address, which people search for.
            let address = format!("('{}', {})", ip.ip(), ip.port());
            ListenError::InUse { address, source }
        } else {
            refused(address, source)
        }
    })
}

/// Whether there is a separate address for IPv4 on this port.
fn has_v4(settings: &Settings, port: u16) -> bool {
    let mut all = settings.bind.iter().map(Address::socket);
    all.any(|one| match one {
        Address::Tcp { host, port: its } => *its == port && !host.contains(':'),
        Address::Unix(_)
        | Address::Abstract(_)
        | Address::Fd(_)
        | Address::Uwsgi(_)
        | Address::Https(_) => false,
    })
}

fn unix(
    address: &Address,
    path: &Path,
    settings: &Settings,
    owner: Owner,
) -> Result<Listener, ListenError> {
    remove_stale(path).map_err(|occupied| match occupied {
        Occupied::InUse => refused(address, io::ErrorKind::AddrInUse.into()),
        Occupied::NotSocket => refused(address, io::Error::other(occupied)),
        Occupied::Stays(source) => refused(address, source),
    })?;
    let bind = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let local = SockAddr::unix(path)?;
        with_umask(settings.umask.bits(), || socket.bind(&local))?;
        socket.listen(backlog(settings))?;
        owner.take(path)?;
        let mut listener = Listener::wrap(socket, Some(address.clone()))?;
        listener.own_file();
        Ok(listener)
    };
    bind().map_err(|source| refused(address, source))
}
