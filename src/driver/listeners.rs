//! The listening sockets: bound, inherited, passed on, closed. The arbiter owns them; workers share them.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use socket2::{SockAddr, Socket};

use rcorn_link::{self as link, ListenerKind};
use rcorn_log as log;
use rcorn_settings::{Address, Protocol, Settings};
use rcorn_sys::net;

use super::open::{inherit, open};

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address belongs to somebody else.
    #[error("{address} is in use")]
    InUse {
        /// As gunicorn prints it.
        address: String,
        /// The errno's text.
        source: io::Error,
    },
    /// It cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Refused {
        /// As one would type it.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The descriptor is not a listening socket.
    #[error("fd://{0} is not a listening stream socket{1}")]
    NotListening(RawFd, &'static str),
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
    /// systemd holds it too: its queue outlives us, and is not ours to stop.
    is_systemds: bool,
    /// New connections are being refused.
    is_shut: bool,
    /// The file of a unix socket, with device and inode.
    file: Option<(PathBuf, u64, u64)>,
}

impl Listener {
    /// `http://127.0.0.1:8000`, `unix:/run/x.sock`: as gunicorn's start line has it; `uwsgi://` before it where that
    /// is spoken.
    #[must_use]
    pub(super) fn shown(&self, settings: &Settings) -> String {
        match self.protocol(settings) {
            Protocol::Http => self.shown.clone(),
            Protocol::Uwsgi => {
                let place = self.shown.strip_prefix("http://").unwrap_or(&self.shown);
                format!("uwsgi://{place}")
            }
        }
    }

    /// The same whatever is spoken there, for a log line about the socket.
    pub(super) fn place(&self) -> &str {
        &self.shown
    }

    /// What is spoken here. A socket stays when only this changes with the settings.
    fn protocol(&self, settings: &Settings) -> Protocol {
        let bind: Vec<_> = settings.bind.iter().map(Some).collect();
        let place = |address| alike(&bind, address);
        let said = self.address.as_ref().and_then(place);
        let said = said.and_then(|index| settings.bind.get(index));
        match said {
            Some(Address::Uwsgi(_)) => Protocol::Uwsgi,
            Some(
                Address::Tcp { .. } | Address::Unix(_) | Address::Abstract(_) | Address::Fd(_),
            )
            | None => settings.protocol,
        }
    }

    /// The address it is bound to.
    pub(super) fn local(&self) -> Option<SockAddr> {
        self.socket.local_addr().ok()
    }

    /// Its descriptor's number.
    pub(super) fn number(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// A socket from another arbiter: from the one in whose place we are (then its file is ours), or from the one
    /// beside us.
    pub(super) fn hand_over(
        socket: OwnedFd,
        address: Option<Address>,
        whole: bool,
    ) -> io::Result<Self> {
        super::handover::keep(socket.as_raw_fd(), false)?;
        let mut listener = Self::wrap(Socket::from(socket), address)?;
        if whole {
            listener.own_file();
        }
        Ok(listener)
    }

    /// Its descriptor.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// systemd has it too.
    pub(super) fn is_stored(&mut self) {
        self.is_systemds = true;
    }

    fn is_bound_to(&self, address: &Address) -> bool {
        let Some(local) = self.local() else {
            return false;
        };
        match address.socket() {
            Address::Tcp { host, port } => (host.as_str(), *port)
                .to_socket_addrs()
                .is_ok_and(|mut found| found.next().map(SockAddr::from).as_ref() == Some(&local)),
            Address::Unix(path) => local.as_pathname() == Some(path),
            Address::Abstract(name) => local.as_abstract_namespace() == Some(name.as_bytes()),
            Address::Fd(_) | Address::Uwsgi(_) => false,
        }
    }

    /// The file of a unix socket that is there now is ours to remove.
    pub(super) fn own_file(&mut self) {
        if let Some(Address::Unix(path)) = self.address.as_ref().map(Address::socket)
            && let Ok(about) = path.symlink_metadata()
        {
            self.file = Some((path.clone(), about.dev(), about.ino()));
        }
    }

    /// How templates and workers with these settings know it.
    #[must_use]
    pub(super) fn for_link(&self, settings: &Settings) -> link::Listener {
        link::Listener {
            fd: self.socket.as_raw_fd(),
            kind: self.kind,
            protocol: self.protocol(settings),
            host: self.host.clone(),
            port: self.port.clone(),
        }
    }

    /// Nobody new gets in; who is in the queue stays there.
    pub(super) fn shut_the_door(&mut self, shared: bool) {
        if self.is_systemds || shared {
            return;
        }
        self.remove_file();
        self.is_shut = true;
        if self.kind == ListenerKind::Tcp
            && let Err(error) = net::refuse_new_connections(self.socket.as_fd())
        {
            log::debug(format_args!(
                "{}: connections stay welcome while stopping: {error}",
                self.shown
            ));
        }
    }

    /// Undoes it, for others who may hold the same socket.
    pub(super) fn open_the_door(&self) {
        if self.is_shut && self.kind == ListenerKind::Tcp {
            drop(net::accept_new_connections(self.socket.as_fd()));
        }
    }

    /// Removes the unix socket's file, if it is still ours.
    pub(super) fn remove_file(&mut self) {
        let Some((path, device, inode)) = self.file.take() else {
            return;
        };
        // Clients find the socket that systemd keeps by it.
        if self.is_systemds {
            return;
        }
        let ours = path
            .symlink_metadata()
            .is_ok_and(|now| now.dev() == device && now.ino() == inode);
        if ours && let Err(error) = std::fs::remove_file(&path) {
            log::warning(format_args!("cannot remove {}: {error}", path.display()));
        }
    }

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
            is_shut: false,
            file: None,
        })
    }
}

/// Congestion control without pacing. Every kernel has it, and every process may choose it (tcp(7),
/// `tcp_allowed_congestion_control`).
const UNPACED: &[u8] = b"reno";

/// Sets what the sockets inherit that `socket` will accept, so that no connection costs a call for it.
fn prepare_for_clients(socket: &Socket, local: IpAddr) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    // Where the system's choice is BBR, the kernel sends a large reply by the ticks of a timer. On a way that has no
    // queue this only costs: a fifth of the CPU of a file of 1 MiB.
    if local.to_canonical().is_loopback()
        && let Err(error) = socket.set_tcp_congestion(UNPACED)
    {
        log::debug(format_args!("{local}: large replies may be paced: {error}"));
    }
    Ok(())
}

/// Sockets that systemd passes: `LISTEN_FDS` of them from descriptor 3 on, if `LISTEN_PID` is us
/// (`sd_listen_fds(3)`). The caller removes the variables.
pub(super) fn from_systemd(
    environment: &dyn Fn(&str) -> Option<String>,
    pid: u32,
) -> Result<Vec<Listener>, ListenError> {
    let number = |name: &str| environment(name).and_then(|text| text.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(pid) {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS")
        .and_then(|count| RawFd::try_from(count).ok())
        .unwrap_or(0);
    (3..count.saturating_add(3))
        .map(|fd| inherit(fd, None))
        .collect()
}

/// The name under which our sockets lie in systemd's store of descriptors.
pub(super) const STORED: &str = "rcorn";

/// Sockets that we left in systemd's store before a restart: each gets back the address of `bind` that it has. One
/// whose address is not wanted any more is closed.
pub(super) fn recognised(stored: Vec<Listener>, settings: &Settings) -> Vec<Listener> {
    let mut known = Vec::new();
    for mut listener in stored {
        let address = settings
            .bind
            .iter()
            .find(|address| listener.is_bound_to(address));
        if let Some(address) = address {
            listener.address = Some(address.clone());
            listener.own_file();
            known.push(listener);
        }
    }
    known
}

/// Where this address is found; else one with the same socket, where something else was or will be spoken.
fn alike(among: &[Option<&Address>], address: &Address) -> Option<usize> {
    let exactly = among.iter().position(|one| *one == Some(address));
    exactly.or_else(|| {
        among
            .iter()
            .position(|one| one.map(Address::socket) == Some(address.socket()))
    })
}

/// The sockets of new settings: those of `before` that stay, by their index there, and new ones.
#[derive(Debug)]
pub(super) struct Plan {
    /// For each address: an index into the old sockets, or new sockets.
    parts: Vec<Result<usize, Vec<Listener>>>,
}

/// Opens what the settings want and `before` does not have. Nothing of `before` changes yet.
pub(super) fn plan(settings: &Settings, before: &[Listener]) -> Result<Plan, ListenError> {
    // systemd's sockets are the service's whatever `bind` says, for as long as it runs.
    if before.iter().any(|listener| listener.address.is_none()) {
        let parts = (0..before.len()).map(Ok).collect();
        return Ok(Plan { parts });
    }
    let addresses: Vec<_> = before.iter().map(|old| old.address.as_ref()).collect();
    let mut parts = Vec::new();
    for address in &settings.bind {
        let same = alike(&addresses, address);
        parts.push(match same {
            Some(index) => Ok(index),
            None => Err(open(address, settings)?),
        });
    }
    Ok(Plan { parts })
}

impl Plan {
    /// All sockets of the plan, in the order of `bind`.
    pub(super) fn sockets<'a>(&'a self, before: &'a [Listener]) -> Vec<&'a Listener> {
        let mut all = Vec::new();
        for part in &self.parts {
            match part {
                Ok(index) => all.extend(before.get(*index)),
                Err(new) => all.extend(new),
            }
        }
        all
    }

    /// Puts the plan into force; what is not wanted any more is closed.
    pub(super) fn commit(self, before: &mut Vec<Listener>) {
        let mut old: Vec<Option<Listener>> = std::mem::take(before).into_iter().map(Some).collect();
        for part in self.parts {
            match part {
                Ok(index) => before.extend(old.get_mut(index).and_then(Option::take)),
                Err(new) => before.extend(new),
            }
        }
        for mut listener in old.into_iter().flatten() {
            listener.remove_file();
        }
    }

    /// Gives the plan up: new unix sockets leave no file behind.
    pub(super) fn discard(self) {
        for mut listener in self.parts.into_iter().filter_map(Result::err).flatten() {
            listener.remove_file();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

    use socket2::{Domain, Type};

    use super::*;

    /// The congestion control of a socket for `ip` once it is ours. Nobody can connect to it: it does not listen.
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
