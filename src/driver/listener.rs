//! One listening socket: bound here, inherited or handed over; known to templates and workers by
//! its number.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use socket2::{SockAddr, Socket, Type};

use rcorn_link::{self as link, ListenerKind};
use rcorn_log as log;
use rcorn_settings::{Address, Protocol, Settings};
use rcorn_sys::descriptor::adopt;
use rcorn_sys::descriptor::set_inherited;
use rcorn_sys::net;

use super::lookup::Addresses;
use super::unix_socket::SocketFile;

/// The queue of a socket that another process has bound and not listened on.
const INHERITED_BACKLOG: i32 = 2048;

/// Congestion control without pacing. Every kernel has it, and every process may choose it (tcp(7),
/// `tcp_allowed_congestion_control`).
const UNPACED: &[u8] = b"reno";

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process has the address.
    #[error("{address} is in use")]
    InUse {
        /// As gunicorn prints it.
        address: String,
        /// The errno's text.
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Refused {
        /// As an operator types it.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The descriptor is not a listening socket.
    #[error("fd://{0} is not a listening stream socket{1}")]
    NotListening(RawFd, &'static str),
}

/// Who takes the connections of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Workers.
    Workers,
    /// Fronts, which speak TLS on it.
    Tls,
    /// Fronts, which redirect to an address with TLS.
    Redirects,
    /// Fronts, which speak HTTP/2 without TLS on it, and HTTP/1.1.
    PlainHttp2,
}

/// One listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    /// What it was made from; `None` for one that systemd gave.
    pub(super) address: Option<Address>,
    socket: Socket,
    kind: ListenerKind,
    host: String,
    port: String,
    shown: String,
    /// systemd holds it, too: its queue outlives this process, which must not close it for clients.
    is_systemds: bool,
    /// New connections are being refused.
    is_closed: bool,
    /// The file of a unix socket that is ours to remove.
    file: Option<SocketFile>,
}

impl Listener {
    /// Prepares a socket for clients.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2), fcntl(2) and setsockopt(2).
    pub(super) fn wrap(socket: Socket, address: Option<Address>) -> io::Result<Self> {
        let is_systemds = address.is_none();
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let (kind, host, port, shown) = if let Some(ip) = local.as_socket() {
            let (host, port) = (ip.ip().to_string(), ip.port().to_string());
            (ListenerKind::Tcp, host, port, format!("http://{ip}"))
        } else {
            let shown = match (local.as_pathname(), local.as_abstract_namespace()) {
                (Some(path), _) => format!("unix:{}", path.display()),
                (None, Some(name)) => format!("unix:@{}", String::from_utf8_lossy(name)),
                (None, None) => "unix:".to_owned(),
            };
            (ListenerKind::Unix, String::new(), String::new(), shown)
        };
        if let Some(ip) = local.as_socket() {
            prepare_for_clients(&socket, ip.ip())?;
        }
        Ok(Self {
            address,
            socket,
            kind,
            host,
            port,
            shown,
            is_systemds,
            is_closed: false,
            file: None,
        })
    }

    /// Takes over a listening socket that our parent opened.
    ///
    /// # Errors
    ///
    /// The number is not that of a stream socket.
    pub(super) fn inherit(fd: RawFd, address: Option<Address>) -> Result<Self, ListenError> {
        let owned: OwnedFd =
            adopt(fd).map_err(|_closed| ListenError::NotListening(fd, ": it is not open"))?;
        let socket = Socket::from(owned);
        if !socket.r#type().is_ok_and(|kind| kind == Type::STREAM) {
            return Err(ListenError::NotListening(fd, ""));
        }
        if !socket.is_listener().unwrap_or(false) {
            // It is bound but does not listen yet, so this process makes it listen.
            socket
                .listen(INHERITED_BACKLOG)
                .map_err(|_refused| ListenError::NotListening(fd, ": it cannot listen"))?;
        }
        Self::wrap(socket, address)
            .map_err(|_odd| ListenError::NotListening(fd, ": it has no address"))
    }

    /// Takes a socket from another arbiter: the one whose place this process has taken (then it
    /// owns the file), or the one beside it.
    ///
    /// # Errors
    ///
    /// The descriptor is not that of a socket.
    pub(super) fn hand_over(
        socket: OwnedFd,
        address: Option<Address>,
        in_place: bool,
    ) -> io::Result<Self> {
        set_inherited(&socket, false)?;
        let mut listener = Self::wrap(Socket::from(socket), address)?;
        if in_place {
            listener.own_file();
        }
        Ok(listener)
    }

    /// `http://127.0.0.1:8000`, `unix:/run/x.sock`: as in gunicorn's start line; with `https://` or
    /// `uwsgi://` if that is the protocol.
    #[must_use]
    pub(super) fn shown(&self, settings: &Settings) -> String {
        let place = self.shown.strip_prefix("http://").unwrap_or(&self.shown);
        match (self.role(settings), self.protocol(settings)) {
            (Role::Tls, _) => format!("https://{place}"),
            (_, Protocol::Http) => self.shown.clone(),
            (_, Protocol::Uwsgi) => format!("uwsgi://{place}"),
        }
    }

    /// Its name in log lines about the socket, without the protocol.
    pub(super) fn name(&self) -> &str {
        &self.shown
    }

    /// Who takes its connections.
    pub(super) fn role(&self, settings: &Settings) -> Role {
        match (self.said(settings), self.kind) {
            (Some(Address::Https(_)), _) => Role::Tls,
            (Some(Address::Tcp { .. } | Address::Fd(_)), _) => Self::plain_role(settings),
            (Some(Address::Unix(_) | Address::Abstract(_) | Address::Uwsgi(_)), _)
            | (None, ListenerKind::Unix) => Role::Workers,
            // One of systemd, whose port tells which address it stands for.
            (None, ListenerKind::Tcp) => self.role_by_port(settings),
        }
    }

    fn role_by_port(&self, settings: &Settings) -> Role {
        let is_here = |address: &&Address| match address.socket() {
            Address::Tcp { port, .. } => port.to_string() == self.port,
            Address::Unix(_)
            | Address::Abstract(_)
            | Address::Fd(_)
            | Address::Uwsgi(_)
            | Address::Https(_) => false,
        };
        let is_https = match settings.bind.iter().find(is_here) {
            Some(address) => address.is_https(),
            // As gunicorn: a certificate is for all.
            None => settings.bind.iter().any(Address::is_https),
        };
        if is_https {
            Role::Tls
        } else {
            Self::plain_role(settings)
        }
    }

    /// That of an address with a port, without TLS.
    fn plain_role(settings: &Settings) -> Role {
        match settings.protocol {
            Protocol::Http if settings.redirect_https => Role::Redirects,
            Protocol::Http if settings.h2c => Role::PlainHttp2,
            Protocol::Http | Protocol::Uwsgi => Role::Workers,
        }
    }

    /// The address in the settings that it was made from.
    fn said<'s>(&self, settings: &'s Settings) -> Option<&'s Address> {
        let bind: Vec<_> = settings.bind.iter().map(Some).collect();
        let index = same_socket(&bind, self.address.as_ref()?)?;
        settings.bind.get(index)
    }

    /// The protocol of its connections. If only the protocol changes with the settings, the socket
    /// stays.
    fn protocol(&self, settings: &Settings) -> Protocol {
        match self.said(settings) {
            Some(Address::Uwsgi(_)) => Protocol::Uwsgi,
            Some(Address::Https(_)) => Protocol::Http,
            Some(
                Address::Tcp { .. } | Address::Unix(_) | Address::Abstract(_) | Address::Fd(_),
            )
            | None => settings.protocol,
        }
    }

    /// Its descriptor's number.
    pub(super) fn number(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Its descriptor.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// systemd keeps it, too.
    pub(super) fn set_stored(&mut self) {
        self.is_systemds = true;
    }

    /// Whether it is the socket of this address.
    pub(super) fn is_bound_to(&self, address: &Address, addresses: &Addresses) -> bool {
        let Ok(local) = self.socket.local_addr() else {
            return false;
        };
        match address.socket() {
            Address::Tcp { host, port } => addresses
                .of(host, *port)
                .is_ok_and(|found| SockAddr::from(found) == local),
            Address::Unix(path) => local.as_pathname() == Some(path),
            Address::Abstract(name) => local.as_abstract_namespace() == Some(name.as_bytes()),
            Address::Fd(_) | Address::Uwsgi(_) | Address::Https(_) => false,
        }
    }

    /// Takes ownership of the file that the unix socket has now.
    pub(super) fn own_file(&mut self) {
        if let Some(Address::Unix(path)) = self.address.as_ref().map(Address::socket) {
            self.file = SocketFile::at(path).ok();
        }
    }

    /// Whether somebody has removed the file of a unix socket, so that no client finds it.
    pub(super) fn is_lost(&self) -> bool {
        self.file.as_ref().is_some_and(SocketFile::is_gone)
    }

    /// Its description for templates and workers with these settings.
    #[must_use]
    pub(super) fn for_link(&self, settings: &Settings) -> link::Listener {
        link::Listener {
            fd: self.socket.as_raw_fd(),
            kind: self.kind,
            protocol: self.protocol(settings),
            host: self.host.clone(),
            port: self.port.clone(),
            is_inner: false,
        }
    }

    /// Refuses new connections; those in the queue stay there.
    pub(super) fn close(&mut self) {
        if self.is_systemds {
            return;
        }
        self.remove_file();
        self.is_closed = true;
        if self.kind == ListenerKind::Tcp
            && let Err(error) = net::refuse_new_connections(self.socket.as_fd())
        {
            log::debug(format_args!(
                "{}: cannot refuse new connections while stopping: {error}",
                self.shown
            ));
        }
    }

    /// Undoes [`Self::close`], for other processes that may hold the same socket.
    pub(super) fn reopen(&self) {
        if self.is_closed && self.kind == ListenerKind::Tcp {
            drop(net::accept_new_connections(self.socket.as_fd()));
        }
    }

    /// Removes the unix socket's file, if it is still ours. One that systemd keeps stays, because
    /// clients find the socket by it.
    pub(super) fn remove_file(&mut self) {
        if let Some(file) = self.file.take().filter(|_| !self.is_systemds) {
            file.remove();
        }
    }
}

/// Sets what the sockets inherit that `socket` will accept, so that no connection costs a call for
/// it.
fn prepare_for_clients(socket: &Socket, local: IpAddr) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    // If the system uses BBR, the kernel paces a large response with a timer. On the loopback
    // interface, which has no queue, that only costs CPU time: a fifth for a file of 1 MiB.
    if local.to_canonical().is_loopback()
        && let Err(error) = socket.set_tcp_congestion(UNPACED)
    {
        log::debug(format_args!("{local}: large replies may be paced: {error}"));
    }
    Ok(())
}

/// The position of this address, or else of one with the same socket and another protocol.
pub(super) fn same_socket(among: &[Option<&Address>], address: &Address) -> Option<usize> {
    let exactly = among.iter().position(|one| *one == Some(address));
    exactly.or_else(|| {
        among
            .iter()
            .position(|one| one.map(Address::socket) == Some(address.socket()))
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

    use socket2::Domain;

    use super::*;

    /// The congestion control of a socket for `ip` after it was prepared. Nobody can connect to it,
    /// because it does not listen.
    fn control(ip: impl Into<IpAddr>, before: &str) -> String {
        let address = SocketAddr::new(ip.into(), 0);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_tcp_congestion(before.as_bytes()).unwrap();
        socket.bind(&address.into()).unwrap();
        let listener = Listener::wrap(socket, None).unwrap();
        let name = listener.socket.tcp_congestion().unwrap();
        String::from_utf8(name)
            .unwrap()
            .trim_end_matches('\0')
            .to_owned()
    }

    #[test]
    fn only_replies_that_stay_on_this_machine_are_never_paced() {
        let allowed =
            std::fs::read_to_string("/proc/sys/net/ipv4/tcp_allowed_congestion_control").unwrap();
        for before in allowed.split_whitespace() {
            assert_eq!(control(Ipv4Addr::LOCALHOST, before), "reno");
            assert_eq!(control(Ipv6Addr::LOCALHOST, before), "reno");
            assert_eq!(control(Ipv4Addr::UNSPECIFIED, before), before);
        }
    }
}
